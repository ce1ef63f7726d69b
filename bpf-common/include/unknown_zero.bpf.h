/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a count inside a walk over a queue begins: the verifier cannot converge on a loop whose count it knows, and would follow each of
 * the turns that the count allows.
 */
#ifndef BPF_COMMON_UNKNOWN_ZERO_BPF_H
#define BPF_COMMON_UNKNOWN_ZERO_BPF_H

/* Always 0, which the verifier does not know. */
u32 unknown_zero;

#endif /* BPF_COMMON_UNKNOWN_ZERO_BPF_H */
