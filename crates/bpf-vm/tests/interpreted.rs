// SPDX-License-Identifier: GPL-2.0-only
//! The tests of what programs do once more, this time in the interpreter.

#![allow(clippy::duplicate_mod, reason = "each of them brings the common part along")]

#[path = "instructions.rs"]
mod instructions;
#[path = "kernel.rs"]
mod kernel;
#[path = "kernel_objects.rs"]
mod kernel_objects;
#[path = "programs.rs"]
mod programs;
