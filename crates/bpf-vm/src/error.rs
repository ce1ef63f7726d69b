// SPDX-License-Identifier: GPL-2.0-only
//! What can go wrong: while loading, while using the interface, while running.

use std::fmt;

use thiserror::Error;

use crate::btf::BtfError;
use crate::memory::Addr;

/// Why an object cannot be parsed or loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are not an ELF file of BPF code.
    #[error("not a BPF object: {0}")]
    NotBpf(String),
    /// The type information is missing or damaged.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// Something in the object contradicts itself.
    #[error("the BPF object is damaged: {0}")]
    Damaged(String),
    /// A valid object that needs something this machine does not have.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// A program needs a kernel function that the registry does not have.
    #[error("function '{function}' called by '{caller}' is not modelled; register it or guard the call")]
    MissingFunction {
        /// The function.
        function: String,
        /// The BPF function that calls it.
        caller: String,
    },
    /// A program needs a variable of the kernel that nobody supplied.
    #[error("kernel symbol or option '{0}' is not modelled; supply it at load or declare it weak")]
    MissingSymbol(String),
    /// A program needs a field, type or enumerator that the target types do not have.
    #[error("{what}, needed at {location}, is not in the target kernel types; add it or guard the access")]
    MissingField {
        /// For example `field 'task_struct.scx.slice'`.
        what: String,
        /// Function, instruction and source line.
        location: String,
    },
    /// A caller named something the object does not have, or gave it a wrong size.
    #[error(transparent)]
    Usage(#[from] UsageError),
}

/// A wrong use of the interface: wrong name or size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UsageError {
    /// The object has no such thing.
    #[error("the BPF object has no {kind} named '{name}'")]
    Missing {
        /// "map", "program", "variable" and so on.
        kind: &'static str,
        /// What was looked for.
        name: String,
    },
    /// Bytes of another length than the thing has.
    #[error("'{name}' takes {expected} bytes, not {found}")]
    Size {
        /// Variable or map.
        name: String,
        /// Bytes it has.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The operation does not fit: a delete from an array, an update of a full map.
    #[error("{operation} of '{name}' refused: {reason}")]
    Refused {
        /// For example "delete".
        operation: &'static str,
        /// Variable or map.
        name: String,
        /// The errno a kernel would give, positive.
        errno: i32,
        /// Why.
        reason: String,
    },
}

/// Where a program was when it faulted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// BPF function.
    pub function: String,
    /// Index of the instruction within the function, as a disassembler counts (a 64-bit immediate counts two).
    pub insn: usize,
    /// Source file and line, where the object has them.
    pub source: Option<(String, u32)>,
    /// The text of the source line.
    pub text: Option<String>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at instruction {}", self.function, self.insn)?;
        if let Some((file, line)) = &self.source {
            write!(f, " ({file}:{line}")?;
            if let Some(text) = &self.text {
                write!(f, ": {}", text.trim())?;
            }
            write!(f, ")")?;
        }
        Ok(())
    }
}

/// What a program did wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// An access outside of a region, to a freed one, to none, or a write to read-only memory.
    Access {
        /// It was a write (or an atomic operation).
        write: bool,
        /// Bytes.
        size: u32,
        /// The address used.
        addr: Addr,
        /// Region, offset and the reason, in words.
        what: String,
    },
    /// The instruction budget of the call is used up.
    Budget(u64),
    /// Calls are nested too deeply.
    Depth,
    /// An instruction that depends on something the target lacks was reached.
    Poisoned(String),
    /// A missing weak function was called.
    MissingFunction(String),
    /// A helper, kfunc or the embedding model found fault with the program.
    Violation(String),
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultKind::Access { write, size, addr, what } => {
                let verb = if *write { "write" } else { "read" };
                write!(f, "{verb} of {size} bytes at {addr}: {what}")
            }
            FaultKind::Budget(budget) => write!(f, "more than {budget} instructions in one call"),
            FaultKind::Depth => write!(f, "calls nested too deeply"),
            FaultKind::Poisoned(what) => write!(f, "{what} is not in the target kernel types"),
            FaultKind::MissingFunction(name) => write!(f, "call of missing weak function '{name}'"),
            FaultKind::Violation(what) => write!(f, "{what}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FaultReport {
    kind: FaultKind,
    /// The registered function that found it.
    function: Option<String>,
    /// Innermost first.
    trace: Vec<Location>,
}

/// A program did something that no verified program on a real kernel may do, or ran out of its budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(Box<FaultReport>);

impl Fault {
    /// A fault found by a registered function; the machine adds where it happened.
    #[must_use]
    pub fn violation(what: impl Into<String>) -> Fault {
        FaultKind::Violation(what.into()).into()
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &FaultKind {
        &self.0.kind
    }

    /// Where: innermost function first, then its callers. Empty if no program was running.
    #[must_use]
    pub fn trace(&self) -> &[Location] {
        &self.0.trace
    }

    /// The registered function that was running, if one was.
    #[must_use]
    pub fn function(&self) -> Option<&str> {
        self.0.function.as_deref()
    }

    /// Notes the registered function it came from, unless it came from deeper: from a callback.
    pub(crate) fn within(mut self, function: &str) -> Fault {
        if self.0.trace.is_empty() && self.0.function.is_none() {
            self.0.function = Some(function.to_owned());
        }
        self
    }

    pub(crate) fn push_location(&mut self, location: Location) {
        self.0.trace.push(location);
    }
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Fault {
        Fault(Box::new(FaultReport { kind, function: None, trace: Vec::new() }))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(function) = &self.0.function {
            write!(f, "{function}: ")?;
        }
        write!(f, "{}", self.0.kind)?;
        for (depth, location) in self.0.trace.iter().enumerate() {
            write!(f, "{} {location}", if depth == 0 { "; in" } else { ", called by" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}
