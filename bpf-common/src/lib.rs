// SPDX-License-Identifier: GPL-2.0-only
//! C headers that the BPF programs share, and a way to run the very same code natively in tests.
//!
//! The headers live in `include/`; a scheduler's build script passes [`include_dir`] to clang. They are written so
//! that they compile for BPF (after `vmlinux.h`), for the host, and under bindgen. [`native`] wraps every function
//! of them, compiled for the host with undefined behaviour trapped, so that Rust twins can be compared with what
//! runs in the kernel.

use std::path::PathBuf;

pub mod native;

/// `struct ravg` of `ravg.h`: the running average of a step function.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ravg {
    /// Average as of `val_at`, 32.32 fixed point.
    pub avg: u64,
    /// Time of the last update, ns.
    pub val_at: u64,
    /// The value since `val_at`.
    pub val: u32,
    /// Explicit padding, always 0.
    pub pad: u32,
}

/// The folder of the shared headers, to be given to the compiler with `-I`.
///
/// It lies in the source tree from which this package was built.
#[must_use]
pub fn include_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("include")
}
