// SPDX-License-Identifier: GPL-2.0
/* The data path on TC ingress. */
#include "packet_skb.h"

#include "programs.h"
#include "splice/programs.h"
