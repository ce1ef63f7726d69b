// SPDX-License-Identifier: GPL-2.0-only
//! Where the cgroups have their load: what a source says, and what the round's moves make of it.

use crate::hash::FastMap;
use crate::ledger::{DUTY_MAX, LoadScale};
use crate::plan::{CgroupDomain, CgroupStats};
use crate::weights::BUCKETS;
use crate::{CgroupShare, DomainId, LedgerError};

/// Duty cycle sums by cgroup, domain and weight bucket. Keeps its memory from round to round; its size follows the
/// number of different entries, not of tasks.
#[derive(Debug, Clone, Default)]
pub struct CgroupLedger {
    domains: usize,
    /// Rows in the order of their first mention, so that sums do not depend on a map's order.
    rows: Vec<Row>,
    row_of: FastMap<(u64, u32, u8), u32>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    cgroup: u64,
    domain: u32,
    bucket: u8,
    duty: f64,
}

impl CgroupLedger {
    /// Empties the ledger, for a tree with this many domains.
    pub(crate) fn reset(&mut self, domains: usize) {
        self.domains = domains;
        self.rows.clear();
        self.row_of.clear();
    }

    /// Adds to the duty cycle of a cgroup in a domain, in one weight bucket. Cgroup 0 stands for none and is ignored.
    pub fn add(
        &mut self,
        cgroup: u64,
        domain: DomainId,
        bucket: usize,
        duty: f64,
    ) -> Result<(), LedgerError> {
        if domain >= self.domains {
            return Err(LedgerError::UnknownDomain { domain, domains: self.domains });
        }
        if bucket >= BUCKETS {
            return Err(LedgerError::UnknownBucket(bucket));
        }
        if !(0.0..=DUTY_MAX).contains(&duty) {
            return Err(LedgerError::Duty { domain, bucket, duty });
        }
        if cgroup == 0 {
            return Ok(());
        }
        // Both are in range: a tree has at most 1024 domains, and there are 90 buckets.
        let (key_domain, key_bucket) = (domain as u32, bucket as u8);
        let next = self.rows.len() as u32;
        let row = *self.row_of.entry((cgroup, key_domain, key_bucket)).or_insert(next);
        if row == next {
            self.rows.push(Row { cgroup, domain: key_domain, bucket: key_bucket, duty });
        } else {
            self.rows[row as usize].duty += duty;
        }
        Ok(())
    }
}

/// One cgroup in one domain.
#[derive(Debug, Clone, Copy)]
struct Cell {
    cgroup: u64,
    domain: u32,
    load: f64,
    after: f64,
}

/// The ledger in a round's loads.
#[derive(Debug, Default)]
pub(crate) struct CgroupLoads {
    cells: Vec<Cell>,
    cell_of: FastMap<(u64, u32), u32>,
    totals: FastMap<u64, f64>,
}

impl CgroupLoads {
    pub fn clear(&mut self) {
        self.cells.clear();
        self.cell_of.clear();
        self.totals.clear();
    }

    pub fn load(&mut self, ledger: &CgroupLedger, scale: &LoadScale) {
        self.clear();
        for row in &ledger.rows {
            let load = scale.task_load(usize::from(row.bucket), row.duty);
            self.add(row.cgroup, row.domain, load, load);
            *self.totals.entry(row.cgroup).or_default() += load;
        }
    }

    fn add(&mut self, cgroup: u64, domain: u32, load: f64, after: f64) {
        let next = self.cells.len() as u32;
        let cell = *self.cell_of.entry((cgroup, domain)).or_insert(next);
        if cell == next {
            self.cells.push(Cell { cgroup, domain, load, after });
        } else {
            let cell = &mut self.cells[cell as usize];
            cell.load += load;
            cell.after += after;
        }
    }

    /// Where a cgroup has its load as the plan stands; `None` for cgroup 0 and cgroups that the source did not name.
    pub fn share(&self, cgroup: u64, from: DomainId, to: DomainId) -> Option<CgroupShare> {
        if cgroup == 0 {
            return None;
        }
        let total = *self.totals.get(&cgroup)?;
        let load = |domain: DomainId| {
            self.cell_of.get(&(cgroup, domain as u32)).map_or(0.0, |&cell| self.cells[cell as usize].after)
        };
        Some(CgroupShare { total, from: load(from), to: load(to) })
    }

    /// Notes a move. A cgroup that the source did not name stays unknown.
    pub fn moved(&mut self, cgroup: u64, from: DomainId, to: DomainId, load: f64) {
        if cgroup != 0 && self.totals.contains_key(&cgroup) {
            self.add(cgroup, from as u32, 0.0, -load);
            self.add(cgroup, to as u32, 0.0, load);
        }
    }

    pub fn stats(&mut self) -> Vec<CgroupStats> {
        self.cells.sort_unstable_by_key(|cell| (cell.cgroup, cell.domain));
        let of_domain = |cell: &Cell| CgroupDomain {
            domain: cell.domain as usize,
            load: cell.load,
            delta: cell.after - cell.load,
        };
        let of_cgroup = |cells: &[Cell]| CgroupStats {
            cgroup: cells[0].cgroup,
            load: self.totals[&cells[0].cgroup],
            domains: cells.iter().map(of_domain).collect(),
        };
        self.cells.chunk_by(|a, b| a.cgroup == b.cgroup).map(of_cgroup).collect()
    }
}
