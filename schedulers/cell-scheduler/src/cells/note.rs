// SPDX-License-Identifier: GPL-2.0-only
//! What an assignment could not do as asked: worth a line in the log, never a reason to end.

use std::fmt;

use super::check::Violation;
use super::types::CellId;

/// A wish that could not be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// None of the CPUs in the cell's cpuset is online; it runs in cell 0 until one is.
    CpusetOffline {
        /// The cell.
        cell: CellId,
    },
    /// The cell has fewer CPUs than its minimum.
    BelowMinimum {
        /// The cell.
        cell: CellId,
        /// Its `min_cpus`.
        wanted: u32,
        /// What it has.
        got: u32,
    },
    /// `max_cpus` is below `min_cpus`; the minimum counts.
    MaximumBelowMinimum {
        /// The cell.
        cell: CellId,
    },
    /// The demand or weight was not a usable number and counts as none (demand) or as the nearest allowed (weight).
    BadFigure {
        /// The cell.
        cell: CellId,
    },
    /// The cell was named more than once; the first counts.
    Duplicate {
        /// The cell.
        cell: CellId,
    },
    /// There are more cells than CPUs or table entries for them.
    Crowded {
        /// How many logical cells there are.
        cells: usize,
        /// How many physical cells there is room for.
        room: usize,
    },
    /// The layout broke its postcondition and was replaced by one cell for everything.
    Fallback {
        /// What was wrong.
        violation: Violation,
    },
}

impl Note {
    /// What kind of wish it is and whose: without the figures, which differ from one assignment to the next.
    pub fn subject(&self) -> (&'static str, Option<CellId>) {
        match self {
            Self::CpusetOffline { cell } => ("cpuset offline", Some(*cell)),
            Self::BelowMinimum { cell, .. } => ("below minimum", Some(*cell)),
            Self::MaximumBelowMinimum { cell } => ("maximum below minimum", Some(*cell)),
            Self::BadFigure { cell } => ("bad figure", Some(*cell)),
            Self::Duplicate { cell } => ("duplicate", Some(*cell)),
            Self::Crowded { .. } => ("crowded", None),
            Self::Fallback { .. } => ("fallback", None),
        }
    }

    /// The line for the log, with cells as `name` calls them.
    pub fn line(&self, name: &dyn Fn(CellId) -> String) -> String {
        match self {
            Self::CpusetOffline { cell } => {
                format!("cell {}: no CPU of its cpuset is online; it shares cell 0 until one is", name(*cell))
            }
            Self::BelowMinimum { cell, wanted, got } => format!(
                "cell {}: has {got} CPUs instead of the {wanted} of its minimum; lower the minima or widen cpusets",
                name(*cell)
            ),
            Self::MaximumBelowMinimum { cell } => {
                format!("cell {}: its maximum of CPUs is below its minimum; the minimum counts", name(*cell))
            }
            Self::BadFigure { cell } => {
                format!("cell {}: its demand or weight is no usable number; corrected", name(*cell))
            }
            Self::Duplicate { cell } => format!("cell {} is named twice; the first counts", name(*cell)),
            Self::Crowded { cells, room } => {
                format!("{cells} cells but room for {room}: those with the least demand share")
            }
            Self::Fallback { violation } => {
                format!("no layout fits ({violation}); all cells share all CPUs. Please report this")
            }
        }
    }
}

impl fmt::Display for Note {
    /// With cells by slot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(&|cell| cell.slot.to_string()))
    }
}
