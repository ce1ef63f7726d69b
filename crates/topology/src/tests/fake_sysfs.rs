// SPDX-License-Identifier: GPL-2.0-only
//! Writes sysfs trees as the kernel would show them, offline CPUs and all.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{CpuSet, Topology};

/// A tree in a temporary directory.
pub struct FakeSysfs {
    dir: tempfile::TempDir,
    /// Directories that are there already: asking the file system for each of some thousand files is slow.
    made: RefCell<HashSet<PathBuf>>,
}

impl FakeSysfs {
    pub fn new() -> Self {
        // Thousands of small files: in memory where that exists, they can take minutes on a busy disk.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self { dir, made: RefCell::default() }
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file below `devices/system`, with a line end as sysfs has.
    pub fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.root().join("devices/system").join(path);
        let parent = path.parent().unwrap();
        if self.made.borrow_mut().insert(parent.to_owned()) {
            fs::create_dir_all(parent).unwrap();
        }
        fs::write(path, format!("{text}\n")).unwrap();
        self
    }

    pub fn dir(&self, path: &str) -> &Self {
        fs::create_dir_all(self.root().join("devices/system").join(path)).unwrap();
        self
    }

    pub fn remove(&self, path: &str) -> &Self {
        let path = self.root().join("devices/system").join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        self
    }

    /// The lists of CPUs.
    pub fn lists(&self, possible: &str, present: &str, online: &str) -> &Self {
        self.file("cpu/possible", possible).file("cpu/present", present).file("cpu/online", online)
    }

    /// A CPU's package, core and siblings.
    pub fn core(&self, cpu: usize, package: usize, core: usize, siblings: &str) -> &Self {
        let dir = format!("cpu/cpu{cpu}/topology");
        self.file(&format!("{dir}/physical_package_id"), &package.to_string())
            .file(&format!("{dir}/core_id"), &core.to_string())
            .file(&format!("{dir}/core_cpus_list"), siblings)
    }

    /// One of a CPU's caches; the instruction cache is index 1.
    pub fn cache(&self, cpu: usize, index: usize, level: usize, id: Option<usize>, shared: &str) -> &Self {
        let dir = format!("cpu/cpu{cpu}/cache/index{index}");
        let kind = match (level, index) {
            (1, 1) => "Instruction",
            (1, _) => "Data",
            _ => "Unified",
        };
        self.file(&format!("{dir}/level"), &level.to_string())
            .file(&format!("{dir}/type"), kind)
            .file(&format!("{dir}/shared_cpu_list"), shared);
        if let Some(id) = id {
            self.file(&format!("{dir}/id"), &id.to_string());
        }
        self
    }

    pub fn node(&self, id: usize, cpus: &str, distances: &str) -> &Self {
        self.file(&format!("node/node{id}/cpulist"), cpus).file(&format!("node/node{id}/distance"), distances)
    }

    pub fn read(&self) -> Topology {
        let topology = Topology::from_sysfs(self.root()).unwrap();
        super::check::machine(&topology);
        topology
    }

    /// The whole tree of a machine as the kernel shows it: every list leaves out offline CPUs, and offline CPUs have
    /// neither topology nor caches, only the link to their node.
    pub fn of(machine: &Topology) -> Self {
        let tree = Self::new();
        let online = machine.online();
        let seen = |cpus: &CpuSet| cpus.intersection(&online).to_string();
        let all = machine.all_cpus().to_string();
        tree.lists(&format!("0-{}", machine.nr_cpu_ids() - 1), &all, &online.to_string());
        // The neighbours that a real tree has in these directories.
        tree.dir("cpu/cpufreq").dir("cpu/cpuidle").dir("node/power").file("cpu/kernel_max", "8191");
        for cpu in &machine.cpus {
            tree.dir(&format!("cpu/cpu{}/node{}", cpu.id, machine.nodes[cpu.node].id));
            tree.file(&format!("cpu/cpu{}/cpu_capacity", cpu.id), &cpu.capacity.to_string());
            if !cpu.online {
                continue;
            }
            let (core, l2, llc) = (&machine.cores[cpu.core], &machine.l2s[cpu.l2], &machine.llcs[cpu.llc]);
            tree.core(cpu.id, cpu.node, core.id, &seen(&core.cpus));
            tree.cache(cpu.id, 0, 1, Some(core.id), &seen(&core.cpus));
            tree.cache(cpu.id, 1, 1, Some(core.id), &seen(&core.cpus));
            tree.cache(cpu.id, 2, 2, Some(l2.id), &seen(&l2.cpus));
            tree.cache(cpu.id, 3, 3, Some(llc.id), &seen(&llc.cpus));
        }
        let ids: CpuSet = machine.nodes.iter().map(|n| n.id).collect();
        let with_memory: CpuSet = machine.nodes.iter().filter(|n| n.has_memory).map(|n| n.id).collect();
        tree.file("node/online", &ids.to_string()).file("node/has_memory", &with_memory.to_string());
        for node in &machine.nodes {
            let distances: Vec<String> = node.distances.iter().map(|d| d.1.to_string()).collect();
            tree.node(node.id, &seen(&node.cpus), &distances.join(" "));
        }
        tree
    }
}
