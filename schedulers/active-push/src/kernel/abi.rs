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

runtime::abi!(ap_level, ap_config, ap_place, ap_span, ap_cpu);
