// SPDX-License-Identifier: GPL-2.0-only
//! The bindings of `abi.h`. They stop at [`crate::doors`] and [`crate::kernel`].

#![allow(
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    dead_code,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::allow_attributes_without_reason,
    reason = "generated from a C header"
)]

runtime::abi!(
    ravg,
    db_config,
    db_domain_snapshot,
    db_task_snapshot,
    db_snapshot_domains_args,
    db_snapshot_tasks_args,
    db_plan_move_args,
    db_renew_weights_args
);
