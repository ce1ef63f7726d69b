// SPDX-License-Identifier: GPL-2.0-only
//! What is set in a BPF object before it is loaded, as plain data.
//!
//! A scheduler computes it from machine and options without touching any object; [`crate::libbpf::apply`] puts it into an
//! opened kernel object, and any other machine that runs the object can do the same.

/// Read-only variables, map sizes and ops of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// Read-only variables by name, each with all its bytes.
    pub read_only: Vec<(&'static str, Vec<u8>)>,
    /// Maps whose number of entries depends on the machine.
    pub map_entries: Vec<(&'static str, u32)>,
    /// Name of the struct_ops variable.
    pub ops: &'static str,
    /// Names of `enum scx_ops_flags` to set; their values belong to the kernel at hand.
    pub ops_flags: Vec<&'static str>,
    /// Size of the debug dump, bytes; 0 for the kernel's default.
    pub exit_dump_len: u32,
    /// How long a runnable task may wait until the kernel ends the scheduler, ms; 0 for what the object says.
    pub timeout_ms: u32,
}
