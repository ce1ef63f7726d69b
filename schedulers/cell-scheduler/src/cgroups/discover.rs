// SPDX-License-Identifier: GPL-2.0-only
//! From cgroups to the members of cells: each child is one, or the configuration groups them.

use std::path::PathBuf;

use topology::CpuSet;

use super::{CgroupError, Child, Exclude, Parent, Scan, Watch};
use crate::cells::{Cell, CellId, CellKey};
use crate::config::{CellConfig, Config, ConfigError};
use crate::tenants::{Found, Tenant};

/// The range of the kernel's `cpu.weight`.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;

/// Each cgroup a member of its own.
pub fn each_child(scan: &Scan) -> Found {
    let tenant = |child: &Child| Tenant {
        key: CellKey::Cgroup { path: child.path.clone(), inode: child.inode },
        name: child.path.clone(),
        cgroups: vec![child.inode],
        template: Cell {
            weight: child.weight.clamp(*WEIGHTS.start(), *WEIGHTS.end()),
            cpuset: child.cpuset.clone(),
            ..Cell::new(CellId::ROOT)
        },
    };
    Found { tenants: scan.children.iter().map(tenant).collect(), root: None, warnings: lines(&scan.warnings) }
}

/// The cgroups of a whole tree, grouped by the configuration. A configured cell without cgroups is none yet.
pub fn by_config(config: &Config, scan: &Scan) -> Found {
    let mut members: Vec<Vec<&Child>> = vec![Vec::new(); config.cells.len()];
    for child in &scan.children {
        let above = child.path.rsplit_once('/').and_then(|(parent, _)| config.cell_of(parent));
        // What lies below a member belongs to it without being named.
        if let Some(cell) = config.cell_of(&child.path).filter(|cell| above != Some(*cell)) {
            members[cell].push(child);
        }
    }
    let peopled = config.cells.iter().zip(members).filter(|(_, members)| !members.is_empty());
    Found {
        tenants: peopled.map(|(cell, members)| named(cell, &members)).collect(),
        root: None,
        warnings: lines(&scan.warnings),
    }
}

fn named(cell: &CellConfig, members: &[&Child]) -> Tenant {
    let sum = members.iter().fold(0u32, |sum, member| sum.saturating_add(member.weight));
    // One member that may run anywhere lets the cell be anywhere.
    let cpuset =
        members.iter().try_fold(CpuSet::new(), |all, member| Some(all.union(member.cpuset.as_ref()?)));
    Tenant {
        key: CellKey::Named(cell.name.clone()),
        name: cell.name.clone(),
        cgroups: members.iter().map(|member| member.inode).collect(),
        template: Cell {
            weight: cell.weight.unwrap_or(sum).clamp(*WEIGHTS.start(), *WEIGHTS.end()),
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

/// Where the members come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Every child but those excluded.
    Children(Exclude),
    /// A configuration, with the file it came from.
    Configured(PathBuf, Config),
}

/// Looks for members again and again, and says when they differ.
pub struct Discovery {
    parent: Parent,
    source: Source,
    watch: Box<dyn Watch>,
    last: Option<Found>,
}

impl Discovery {
    /// Members below `parent`. The watch says when a look between the periodic ones is worth its while.
    pub fn new(parent: Parent, source: Source, watch: Box<dyn Watch>) -> Self {
        Self { parent, source, watch, last: None }
    }

    /// The members, if they differ from those of the last look. Looks only if the watch says so or it is `due`.
    ///
    /// # Errors
    /// The parent has vanished or cannot be read: one line. The next look tries again.
    pub fn look(&mut self, due: bool) -> Result<Option<Found>, CgroupError> {
        // Asked in any case: what it has seen is seen by a look that is due as well.
        let changed = self.watch.changed();
        if !changed && !due {
            return Ok(None);
        }
        let found = match &self.source {
            Source::Children(exclude) => each_child(&self.parent.scan(exclude)?),
            Source::Configured(_, config) => by_config(config, &self.parent.walk(&Exclude::default())?),
        };
        if self.last.as_ref() == Some(&found) {
            return Ok(None);
        }
        self.last = Some(found.clone());
        Ok(Some(found))
    }

    /// Reads the configuration file again, if there is one; true if it differs. The next look that is due follows it.
    ///
    /// # Errors
    /// The file cannot be used; the running configuration stays.
    pub fn reload(&mut self) -> Result<bool, ConfigError> {
        match &mut self.source {
            Source::Children(_) => Ok(false),
            Source::Configured(path, config) => config.reload(path),
        }
    }

    /// Forgets what was found, so that the next look tells everything again: for a new attachment.
    pub fn forget(&mut self) {
        self.last = None;
    }
}
