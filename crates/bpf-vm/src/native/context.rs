// SPDX-License-Identifier: GPL-2.0-only
//! What compiled code and Rust share while a program runs. Compiled code knows the fields by their offsets.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

use crate::memory::{Memory, Region};

/// Data registers: r0 to r9. r10 does not change within a function.
pub(crate) const REGISTERS: usize = 10;

/// One of them for each machine. Compiled code changes the cells while Rust holds a shared reference, which is what
/// cells are for.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Context {
    /// Instructions that may still be executed.
    pub fuel: Cell<u64>,
    /// r0 of the function that ended last.
    pub result: Cell<u64>,
    /// The table of regions, and how many there are; brought up to date whenever Rust returns to compiled code.
    pub regions: Cell<*const Region>,
    pub region_count: Cell<u64>,
    /// Frame pointer of the function that is about to begin, and the end of its frame in host memory.
    pub frame: Cell<u64>,
    pub frame_end: Cell<*mut u8>,
    /// The CPU that code runs on, and the time it sees.
    pub cpu: Cell<u64>,
    pub time: Cell<u64>,
    /// Host address of what a short cut has found.
    pub host: Cell<*mut u8>,
    /// How often `may_goto` still falls through.
    pub may_goto: Cell<u64>,
    /// The `Vm` that runs, and its memory, for the functions in Rust.
    pub vm: Cell<*mut c_void>,
    pub memory: Cell<*mut Memory>,
    /// r0 to r9 when compiled code gives up in the middle of a function.
    pub registers: [Cell<u64>; REGISTERS],
}

impl Context {
    pub(crate) fn new() -> Context {
        Context {
            fuel: Cell::new(0),
            result: Cell::new(0),
            regions: Cell::new(null()),
            region_count: Cell::new(0),
            frame: Cell::new(0),
            frame_end: Cell::new(null_mut()),
            cpu: Cell::new(0),
            time: Cell::new(0),
            host: Cell::new(null_mut()),
            may_goto: Cell::new(0),
            vm: Cell::new(null_mut()),
            memory: Cell::new(null_mut()),
            registers: [const { Cell::new(0) }; REGISTERS],
        }
    }
}
