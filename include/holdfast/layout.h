/* SPDX-License-Identifier: GPL-2.0 */
/* What every shared struct is written with. */
#ifndef HOLDFAST_LAYOUT_H
#define HOLDFAST_LAYOUT_H

#include <linux/types.h>

#include "limits.h"

#ifdef __cplusplus
#define HF_SIZE(type, size) static_assert(sizeof(struct type) == (size), #type)
#else
#define HF_SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type)
#endif

#endif
