// SPDX-License-Identifier: GPL-2.0-only
//! Compiled BPF schedulers on the model: the functions they may call, the kernel objects they see, and their callbacks.

mod cgroups;
mod cpumask;
mod kfuncs;
mod load;
mod objects;
mod references;
mod scheduler;
mod seam;
mod timers;

pub use bpf_vm::Engine;
pub use load::SetupError;
pub use objects::Objects;
pub use scheduler::BpfScheduler;
pub use seam::{Look, Session, SimObject};

use bpf_vm::Registry;

use crate::kernel::Kernel;

/// The kernel types of the model.
pub(crate) const KERNEL_TYPES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernel_types.o"));

/// The same without what the oldest kernel lacks.
pub(crate) const OLDEST_KERNEL_TYPES: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/oldest_kernel_types.o"));

/// Every function that the model offers to BPF code, one row a function.
pub fn registry() -> Registry<Kernel> {
    let mut registry = Registry::new();
    kfuncs::register(&mut registry);
    cpumask::register(&mut registry);
    cgroups::register(&mut registry);
    references::register(&mut registry);
    timers::register(&mut registry);
    registry
}
