/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ISO 8583: how long each data element is, as it lies in a message, for the three
 * editions of the standard. What matters here is only the way past an element to
 * the next one: a fixed number of bytes, or a prefix of two to four digits that
 * says how many bytes follow. Binary elements of fixed length are raw bytes, or
 * twice as many hexadecimal digits where the message's encoding is ASCII.
 *
 * Sources: the tables of jPOS (1987, 1993, 2003) and pyiso8583 (1987), compared.
 */
#ifndef HOLDFAST_ISO8583_H
#define HOLDFAST_ISO8583_H

#include <linux/types.h>

#define HF_ISO8583_FIELDS 128

/* An entry: bits 0-11 the length, bit 12 binary, bits 13-15 the digits of the prefix (0: fixed length). */
#define HF_ISO8583_LENGTH 0x0fff
#define HF_ISO8583_BINARY 0x1000
#define HF_ISO8583_PREFIX_SHIFT 13

#define N 0
#define F(length) (length)
#define B(length) ((length) | HF_ISO8583_BINARY)
#define L2 (2 << HF_ISO8583_PREFIX_SHIFT)
#define L3 (3 << HF_ISO8583_PREFIX_SHIFT)
#define L4 (4 << HF_ISO8583_PREFIX_SHIFT)

/* By edition (the first digit of the message type), by the element's number. */
static const __u16 hf_iso8583_elements[3][HF_ISO8583_FIELDS + 1] = {
	{
		/* 1987 */
		/*   0 */ N,     N,     L2,    F(6),  F(12), F(12), F(12), F(10), F(8),  F(8),
		/*  10 */ F(8),  F(6),  F(6),  F(4),  F(4),  F(4),  F(4),  F(4),  F(4),  F(3),
		/*  20 */ F(3),  F(3),  F(3),  F(3),  F(3),  F(2),  F(2),  F(1),  F(9),  F(9),
		/*  30 */ F(9),  F(9),  L2,    L2,    L2,    L2,    L3,    F(12), F(6),  F(2),
		/*  40 */ F(3),  F(8),  F(15), F(40), L2,    L2,    L3,    L3,    L3,    F(3),
		/*  50 */ F(3),  F(3),  B(8),  F(16), L3,    L3,    L3,    L3,    L3,    L3,
		/*  60 */ L3,    L3,    L3,    L3,    B(8),  B(8),  F(1),  F(2),  F(3),  F(3),
		/*  70 */ F(3),  F(4),  F(4),  F(6),  F(10), F(10), F(10), F(10), F(10), F(10),
		/*  80 */ F(10), F(10), F(12), F(12), F(12), F(12), F(16), F(16), F(16), F(16),
		/*  90 */ F(42), F(1),  F(2),  F(5),  F(7),  F(42), B(8),  F(17), F(25), L2,
		/* 100 */ L2,    L2,    L2,    L2,    L3,    L3,    L3,    L3,    L3,    L3,
		/* 110 */ L3,    L3,    L3,    L3,    L3,    L3,    L3,    L3,    L3,    L3,
		/* 120 */ L3,    L3,    L3,    L3,    L3,    L3,    L3,    L3,    B(8),
	},
	{
		/* 1993 */
		/*   0 */ N,     N,     L2,    F(6),  F(12), F(12), F(12), F(10), F(8),  F(8),
		/*  10 */ F(8),  F(6),  F(12), F(4),  F(4),  F(6),  F(4),  F(4),  F(4),  F(3),
		/*  20 */ F(3),  F(3),  F(12), F(3),  F(3),  F(4),  F(4),  F(1),  F(6),  F(3),
		/*  30 */ F(24), L2,    L2,    L2,    L2,    L2,    L3,    F(12), F(6),  F(3),
		/*  40 */ F(3),  F(8),  F(15), L2,    L2,    L2,    L3,    L3,    L3,    F(3),
		/*  50 */ F(3),  F(3),  B(8),  L2,    L3,    L3,    L2,    F(3),  L2,    L3,
		/*  60 */ L3,    L3,    L3,    L3,    B(8),  B(8),  L3,    F(2),  F(3),  F(3),
		/*  70 */ F(3),  F(8),  L3,    F(6),  F(10), F(10), F(10), F(10), F(10), F(10),
		/*  80 */ F(10), F(10), F(10), F(10), F(10), F(10), F(16), F(16), F(16), F(16),
		/*  90 */ F(10), F(3),  F(3),  L2,    L2,    L2,    L3,    F(17), F(25), L2,
		/* 100 */ L2,    L2,    L2,    L2,    L3,    F(16), F(16), F(10), F(10), L2,
		/* 110 */ L2,    L3,    L3,    L3,    L3,    L3,    L3,    L3,    L3,    L3,
		/* 120 */ L3,    L3,    L3,    L3,    L3,    L3,    L3,    L3,    B(8),
	},
	{
		/* 2003 */
		/*   0 */ N,     N,     L2,    F(6), F(16), F(16), F(16), F(10), F(12), F(8),
		/*  10 */ F(8),  F(12), F(14), F(6), F(4),  F(8),  F(4),  F(4),  L3,    F(3),
		/*  20 */ F(3),  F(22), B(16), F(3), F(3),  F(4),  F(4),  B(27), F(8),  F(3),
		/*  30 */ F(32), F(23), L2,    L2,   L4,    L2,    L3,    F(12), F(6),  F(4),
		/*  40 */ F(3),  F(16), L2,    L4,   L4,    L2,    L3,    L3,    L3,    L4,
		/*  50 */ L4,    L4,    B(8),  L2,   L3,    L4,    L2,    F(3),  L2,    L3,
		/*  60 */ L3,    L3,    L3,    L3,   B(8),  B(8),  L3,    F(2),  F(9),  F(40),
		/*  70 */ F(18), L4,    L3,    F(8), B(78), F(90), L4,    L4,    L4,    L4,
		/*  80 */ L4,    L4,    L4,    L4,   L4,    L4,    L4,    L4,    L4,    L4,
		/*  90 */ L4,    L4,    L4,    L2,   L2,    L2,    L4,    F(21), F(25), L2,
		/* 100 */ L2,    L2,    L2,    L2,   L4,    L4,    L4,    L4,    L4,    L3,
		/* 110 */ L3,    L4,    L4,    L4,   L4,    L4,    L4,    L4,    L4,    L4,
		/* 120 */ L4,    L4,    L4,    L3,   L4,    L4,    L4,    L4,    B(8),
	},
};

#undef N
#undef F
#undef B
#undef L2
#undef L3
#undef L4

#endif
