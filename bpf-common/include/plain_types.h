// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fixed-width integer names as the kernel spells them, for the other headers here and for ABI structs.
 *
 * What it does: defines u8..u64 and s8..s64 for native C and bindgen.
 * Relies on: vmlinux.h being included first in BPF programs, which then brings these names (and its guard).
 * Does not handle: anything else; no bool, no size_t, no macros.
 */
#ifndef BPF_COMMON_PLAIN_TYPES_H
#define BPF_COMMON_PLAIN_TYPES_H

#ifndef __VMLINUX_H__
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
#endif

#endif /* BPF_COMMON_PLAIN_TYPES_H */
