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
    cs_config,
    cs_table,
    cs_member,
    cs_figures,
    cs_lending,
    cs_apply_args,
    cs_orphans_args,
    cs_drain_args,
    cs_totals_args
);
