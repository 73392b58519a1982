// SPDX-License-Identifier: GPL-2.0
/* The data path on XDP. */
#include "packet_xdp.h"

#include "programs.h"
