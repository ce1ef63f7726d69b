// SPDX-License-Identifier: GPL-2.0-only
//! Loads a compiled BPF object and runs it in userspace.
//!
//! The steps are those of a loader in front of a kernel:
//!
//! 1. [`Object::parse`] reads the ELF file: programs, maps, data sections, `struct_ops`, debug information.
//! 2. The caller fills read-only variables and sizes maps ([`Object::set_global`], [`Object::set_max_entries`]).
//! 3. [`Object::load`] links the programs against a [`Registry`] of functions and a *target* [`Btf`] that describes
//!    the kernel types as the embedding model lays them out. What the model lacks makes the load fail with its name.
//! 4. [`Machine::call`] runs a program over checked [`Memory`] with a budget of instructions: interpreted, and compiled
//!    for the host once it has run for a while ([`Engine`]).
//!
//! Addresses are 64-bit values that name a region and an offset ([`Addr`]); host memory is never reachable from BPF
//! code. The same calls in the same order give the same results and the same instruction counts.
//!
//! What it is not: a verifier. Programs are expected to have passed one; what they do wrong is found when they do it,
//! as a [`Fault`] with function, instruction and source line. Two things are checked at load, because a verifier
//! would: reachable instructions must not need a field or a function that does not exist.
#![deny(unsafe_code)]

mod btf;
mod error;
mod insn;
mod link;
mod memory;
mod native;
mod object;
mod registry;
mod relocate;
mod run;

pub use btf::{Btf, BtfError, Field};
pub use error::{Fault, FaultKind, LoadError, Location, UsageError};
pub use memory::{Access, Addr, MapEntry, MapInfo, Memory};
pub use object::{KconfigValue, LoadOptions, Object, StructOps};
pub use registry::{Ctx, Function, Registry};
pub use run::{CallStats, Engine, Machine, ProgramId};
