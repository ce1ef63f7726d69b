// SPDX-License-Identifier: GPL-2.0-only
/*
 * A stall on purpose, for tests of the way out: one task that is never dispatched, until the kernel's watchdog ends the
 * scheduler.
 *
 * What it does: tells ops.enqueue which task to forget. The number is read-only data, so that without the option the verifier
 * removes the question and what hangs on it.
 *
 * Relies on: the includer for s32/bool (vmlinux.h, or plain_types.h and stdbool.h otherwise); being included by one
 * compilation unit of an object. Does not handle: a task that wakes straight onto an idle CPU, past ops.enqueue; one that
 * computes without a pause comes through it.
 */
#ifndef BPF_COMMON_FORCED_STALL_H
#define BPF_COMMON_FORCED_STALL_H

#include "plain_types.h"
#ifndef __VMLINUX_H__
#include <stdbool.h>
#endif

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* The task that is never dispatched; 0: there is none. */
const volatile s32 forced_stall_pid;

static __always_inline bool is_forced_to_stall(s32 pid)
{
	return forced_stall_pid && pid == forced_stall_pid;
}

#endif /* BPF_COMMON_FORCED_STALL_H */
