// SPDX-License-Identifier: GPL-2.0-only
//! Which cell owns which CPUs: a pure function of demand, weights, cpusets, the machine and what was before.
//!
//! A **logical cell** is what an operator names: a cgroup, or a group of cgroups from a configuration file. A **physical
//! cell** owns CPUs. Usually the two are one to one; when logical cells outnumber the CPUs, or are too small to be worth
//! one, several share a physical cell (they are *merged*) and leave it again when their demand returns (they *split*).
//! Logical cell 0 ([`CellId::ROOT`]) is everything that belongs to no other cell; it always lives in physical cell 0.
//!
//! [`assign`] works in steps, each in its own module:
//!
//! 1. `quota`: what share of the machine each logical cell should have, a real number;
//! 2. `merge`: which logical cells share a physical one;
//! 3. `counts`: whole cores or CPUs for every physical cell (`apportion` rounds, once; `flow` honours cpusets);
//! 4. `place`: which CPUs, from those it had; `tidy` joins cores that several cells share;
//! 5. [`check`]: the postcondition. If it fails, everything shares one cell and a note says so: a wrong layout is worse
//!    than none.
//!
//! # Movement
//!
//! Without cpusets, a call moves at most the sum over all physical cells of what each must give up (its former CPUs
//! beyond its new count) plus [`Params::tidy_moves`]; CPUs of cells that ended count as given up. With cpusets, a CPU
//! that must be handed along a chain of cells moves every cell of the chain, so the bound is that times the number of
//! cells. If nothing changes, nothing moves once the tidying is done.

mod apportion;
mod assign;
mod check;
mod counts;
mod flow;
mod ground;
mod merge;
mod note;
mod place;
mod quota;
mod registry;
mod tidy;
mod types;

#[cfg(test)]
mod tests;

pub use assign::assign;
pub use check::{Violation, check};
pub use note::Note;
pub use registry::{CellKey, Changes, Registry};
pub use types::{Assignment, Cell, CellId, Input, LlcPolicy, Outcome, Params, PhysicalCell};
