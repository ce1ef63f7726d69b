// SPDX-License-Identifier: GPL-2.0-only
//! From cgroups to the members of cells: each child is one, or the configuration groups them.

use topology::CpuSet;

use super::{CgroupError, Child, Scan};
use crate::cells::{Cell, CellId, CellKey};
use crate::config::{CellConfig, Config};
use crate::tenants::{Found, Tenant};

/// The range of the kernel's `cpu.weight`.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;

/// What a cgroup has that nobody weighed.
const USUAL_WEIGHT: u32 = 100;

/// Each cgroup a member of its own.
pub fn each_child(scan: &Scan) -> Found {
    let tenant = |child: &Child| Tenant {
        key: CellKey::Cgroup { path: child.path.clone(), inode: child.inode },
        name: child.path.clone(),
        cgroups: vec![child.inode],
        paths: vec![child.path.clone()],
        template: Cell {
            weight: child.weight.clamp(*WEIGHTS.start(), *WEIGHTS.end()),
            cpuset: child.cpuset.clone(),
            ..Cell::new(CellId::ROOT)
        },
    };
    Found { tenants: scan.children.iter().map(tenant).collect(), warnings: lines(&scan.warnings) }
}

/// The cgroups of a whole tree, grouped by the configuration. A configured cell without cgroups is a cell still, so that its
/// least number of CPUs waits for it.
pub fn by_config(config: &Config, scan: &Scan) -> Found {
    let mut members: Vec<Vec<&Child>> = vec![Vec::new(); config.cells.len()];
    for child in &scan.children {
        let above = child.path.rsplit_once('/').and_then(|(parent, _)| config.cell_of(parent));
        // What lies below a member belongs to it without being named.
        if let Some(cell) = config.cell_of(&child.path).filter(|cell| above != Some(*cell)) {
            members[cell].push(child);
        }
    }
    Found {
        tenants: config.cells.iter().zip(members).map(|(cell, members)| named(cell, &members)).collect(),
        warnings: lines(&scan.warnings),
    }
}

fn named(cell: &CellConfig, members: &[&Child]) -> Tenant {
    let sum = members.iter().map(|member| member.weight).reduce(u32::saturating_add);
    // One member that may run anywhere lets the cell be anywhere; without any nothing restricts it.
    let union =
        members.iter().try_fold(CpuSet::new(), |all, member| Some(all.union(member.cpuset.as_ref()?)));
    let cpuset = union.filter(|_| !members.is_empty());
    Tenant {
        key: CellKey::Named(cell.name.clone()),
        name: cell.name.clone(),
        cgroups: members.iter().map(|member| member.inode).collect(),
        paths: members.iter().map(|member| member.path.clone()).collect(),
        template: Cell {
            weight: cell.weight.or(sum).unwrap_or(USUAL_WEIGHT).clamp(*WEIGHTS.start(), *WEIGHTS.end()),
            min_cpus: cell.min_cpus,
            max_cpus: cell.max_cpus,
            cpuset,
            lend: cell.lend,
            borrow: cell.borrow,
            llc: cell.llc,
            ..Cell::new(CellId::ROOT)
        },
    }
}

fn lines(warnings: &[CgroupError]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}
