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

include!(concat!(env!("OUT_DIR"), "/bpf_abi.rs"));

/// Declares C structs as plain bytes.
macro_rules! plain {
    ($($name:ident),+) => {$(
        // SAFETY: abi.h keeps these structs to integers and arrays of integers, so all-zero is a value.
        unsafe impl bytemuck::Zeroable for $name {}
        // SAFETY: repr(C), Copy, integers only, and free of padding (a test compares the size with the fields' sum).
        unsafe impl bytemuck::Pod for $name {}
    )+};
}

plain!(ap_level, ap_config, ap_place, ap_span, ap_cpu);
