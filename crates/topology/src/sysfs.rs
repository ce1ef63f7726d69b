// SPDX-License-Identifier: GPL-2.0-only
//! Reads a machine from a sysfs tree.
//!
//! Relies on `devices/system/cpu` and, where there is NUMA, `devices/system/node` as the kernel's
//! `Documentation/ABI/{stable,testing}/sysfs-devices-*` describe them. Nothing else is needed; whatever is missing has
//! a fallback, because kernels leave out what their architecture or configuration does not know, and because files of
//! a CPU vanish when it goes offline.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::builder::{Group, RawCpu, RawNode, build};
use crate::cpuset::CpuSet;
use crate::error::{ModelError, TopologyError, shorten};
use crate::model::{CAPACITY_MAX, MAX_CPUS, Topology};

/// Where an online CPU was found to be.
struct Place {
    core: Group,
    l2: Option<Group>,
    llc: Option<Group>,
    package: Option<usize>,
}

pub(crate) fn read(root: &Path) -> Result<Topology, TopologyError> {
    let tree = Tree { cpu_dir: root.join("devices/system/cpu"), node_dir: root.join("devices/system/node") };
    let (present, possible) = tree.cpus()?;
    let online = tree.online(&present)?;
    if present.len() > MAX_CPUS {
        return Err(ModelError::TooManyCpus { count: present.len() }.into());
    }
    let (nodes, node_of) = tree.nodes(&present)?;
    let mut places = HashMap::new();
    for cpu in &online {
        places.insert(cpu, tree.place(cpu)?);
    }
    let mut cpus = Vec::with_capacity(present.len());
    for id in &present {
        let node = node_of[&id];
        let capacity = tree.capacity(id)?;
        let is_online = online.contains(id);
        let (core, l2) = match places.get(&id) {
            Some(place) => (place.core, place.l2.unwrap_or(Group::same(place.core.key))),
            None => (Group::same(id), Group::same(id)),
        };
        // The LLC is settled below, when the others are known.
        cpus.push(RawCpu { id, node, llc: Group::same(id), l2, core, capacity, online: is_online });
    }
    settle_llcs(&mut cpus, &places);
    let nr_cpu_ids = possible.last().map_or(0, |c| c + 1);
    Ok(build(nodes, cpus, nr_cpu_ids)?)
}

/// Gives every CPU its LLC: the one it reported, else that of the CPUs without caches on its package (or node), else,
/// for an offline CPU, the only LLC of its node or one for all offline CPUs there. A group's key is its lowest CPU.
fn settle_llcs(cpus: &mut [RawCpu], places: &HashMap<usize, Place>) {
    let mut fallback: HashMap<(usize, Option<usize>), usize> = HashMap::new();
    let mut llcs_of_node: HashMap<usize, Vec<Group>> = HashMap::new();
    for cpu in cpus.iter_mut() {
        let Some(place) = places.get(&cpu.id) else { continue };
        cpu.llc = place
            .llc
            .unwrap_or_else(|| Group::same(*fallback.entry((cpu.node, place.package)).or_insert(cpu.id)));
        let known = llcs_of_node.entry(cpu.node).or_default();
        if !known.iter().any(|g| g.key == cpu.llc.key) {
            known.push(cpu.llc);
        }
    }
    let mut unknown: HashMap<usize, usize> = HashMap::new();
    for cpu in cpus.iter_mut().filter(|c| !places.contains_key(&c.id)) {
        cpu.llc = match llcs_of_node.get(&cpu.node).map(Vec::as_slice) {
            Some([only]) => *only,
            _ => Group::same(*unknown.entry(cpu.node).or_insert(cpu.id)),
        };
    }
}

/// The directories that are read.
struct Tree {
    cpu_dir: PathBuf,
    node_dir: PathBuf,
}

impl Tree {
    /// Present and possible CPUs.
    fn cpus(&self) -> Result<(CpuSet, CpuSet), TopologyError> {
        let found = match numbered_entries(&self.cpu_dir, "cpu")? {
            Some(found) => found,
            None => return Err(TopologyError::NoSysfs { path: self.cpu_dir.clone() }),
        };
        let possible = read_list(&self.cpu_dir.join("possible"))?;
        let present = match read_list(&self.cpu_dir.join("present"))? {
            Some(present) => present,
            None => found,
        };
        if present.is_empty() {
            return Err(TopologyError::NoSysfs { path: self.cpu_dir.clone() });
        }
        let possible = possible.unwrap_or_else(|| present.clone());
        Ok((present, possible))
    }

    /// Online CPUs, at least one.
    fn online(&self, present: &CpuSet) -> Result<CpuSet, TopologyError> {
        let online = match read_list(&self.cpu_dir.join("online"))? {
            Some(online) => online.intersection(present),
            None => {
                let mut online = present.clone();
                for cpu in present {
                    // CPUs that cannot go offline have no such file.
                    if read_number(&self.cpu(cpu).join("online"))? == Some(0) {
                        online.remove(cpu);
                    }
                }
                online
            }
        };
        if online.is_empty() { Err(ModelError::NoOnlineCpu.into()) } else { Ok(online) }
    }

    fn cpu(&self, cpu: usize) -> PathBuf {
        self.cpu_dir.join(format!("cpu{cpu}"))
    }

    /// The kernel's `cpu_capacity`, which it shows where CPUs differ (Arm and, since 6.12, hybrid x86). Frequencies are
    /// no substitute: boost limits differ between equal CPUs.
    fn capacity(&self, cpu: usize) -> Result<u32, TopologyError> {
        let capacity = read_number(&self.cpu(cpu).join("cpu_capacity"))?;
        Ok(capacity.map_or(CAPACITY_MAX, |c| c.clamp(1, i64::from(CAPACITY_MAX)) as u32))
    }

    /// The nodes and the node id of every present CPU. Without NUMA all CPUs are on node 0.
    fn nodes(&self, present: &CpuSet) -> Result<(Vec<RawNode>, HashMap<usize, usize>), TopologyError> {
        let dirs = numbered_entries(&self.node_dir, "node")?.unwrap_or_default();
        let ids = match read_list(&self.node_dir.join("online"))? {
            Some(online) if online.intersects(&dirs) => online.intersection(&dirs),
            _ => dirs,
        };
        let Some(lowest) = ids.first() else {
            let only = RawNode { id: 0, distances: Vec::new(), has_memory: true };
            return Ok((vec![only], present.iter().map(|cpu| (cpu, 0)).collect()));
        };
        let with_memory = read_list(&self.node_dir.join("has_memory"))?;
        let mut nodes = Vec::with_capacity(ids.len());
        let mut listed: HashMap<usize, usize> = HashMap::new();
        for id in &ids {
            let dir = self.node_dir.join(format!("node{id}"));
            for cpu in &read_list(&dir.join("cpulist"))?.unwrap_or_default() {
                listed.entry(cpu).or_insert(id);
            }
            let distances = distances(&dir.join("distance"), &ids)?;
            nodes.push(RawNode {
                id,
                distances,
                has_memory: with_memory.as_ref().is_none_or(|m| m.contains(id)),
            });
        }
        let mut node_of = HashMap::with_capacity(present.len());
        for cpu in present {
            // The lists of the nodes leave out offline CPUs; the link in the CPU's directory stays.
            let node = match listed.get(&cpu) {
                Some(&node) => node,
                None => {
                    let links = numbered_entries(&self.cpu(cpu), "node")?.unwrap_or_default();
                    links.intersection(&ids).first().unwrap_or(lowest)
                }
            };
            node_of.insert(cpu, node);
        }
        Ok((nodes, node_of))
    }

    /// Core, L2, LLC and package of an online CPU.
    fn place(&self, cpu: usize) -> Result<Place, TopologyError> {
        let dir = self.cpu(cpu).join("topology");
        // -1 stands for unknown.
        let known = |n: Option<i64>| n.and_then(|n| usize::try_from(n).ok());
        let package = known(read_number(&dir.join("physical_package_id"))?);
        let core_id = known(read_number(&dir.join("core_id"))?);
        let siblings = match read_list(&dir.join("core_cpus_list"))? {
            Some(siblings) => Some(siblings),
            None => read_list(&dir.join("thread_siblings_list"))?,
        };
        let key = siblings.and_then(|s| s.first()).unwrap_or(cpu);
        let core = Group { key, id: core_id.unwrap_or(key) };
        let (l2, llc) = self.caches(cpu)?;
        Ok(Place { core, l2, llc, package })
    }

    /// The L2 and the last-level cache of a CPU. A first-level cache alone is not taken for an LLC.
    fn caches(&self, cpu: usize) -> Result<(Option<Group>, Option<Group>), TopologyError> {
        let dir = self.cpu(cpu).join("cache");
        let (mut l2, mut llc) = (None, None);
        let mut last_level = 1;
        for index in &numbered_entries(&dir, "index")?.unwrap_or_default() {
            let cache = dir.join(format!("index{index}"));
            if read_text(&cache.join("type"))?.is_some_and(|t| t == "Instruction") {
                continue;
            }
            let Some(level) = read_number(&cache.join("level"))? else { continue };
            let Some(key) = read_list(&cache.join("shared_cpu_list"))?.and_then(|s| s.first()) else {
                continue;
            };
            let id = read_number(&cache.join("id"))?.and_then(|id| usize::try_from(id).ok()).unwrap_or(key);
            if level == 2 {
                l2 = Some(Group { key, id });
            }
            if level > last_level {
                last_level = level;
                llc = Some(Group { key, id });
            }
        }
        Ok((l2, llc))
    }
}

/// A node's distances, one for each online node in rising order. If their number does not fit (a node came or went in
/// between), the defaults serve.
fn distances(path: &Path, ids: &CpuSet) -> Result<Vec<(usize, u32)>, TopologyError> {
    let text = read_text(path)?.unwrap_or_default();
    let values: Result<Vec<u32>, _> = text.split_whitespace().map(str::parse).collect();
    let values = values.map_err(|_| malformed(path, &text, "expected distances, numbers between spaces"))?;
    Ok(if values.len() == ids.len() { ids.iter().zip(values).collect() } else { Vec::new() })
}

/// The numbers of the entries named `prefix` + number; `None` if there is no such directory.
fn numbered_entries(dir: &Path, prefix: &str) -> Result<Option<CpuSet>, TopologyError> {
    let io_error = |source| TopologyError::Io { path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if is_gone(&e) => return Ok(None),
        Err(e) => return Err(io_error(e)),
    };
    let mut found = CpuSet::new();
    for entry in entries {
        let name = entry.map_err(io_error)?.file_name();
        let number = name.to_str().and_then(|n| n.strip_prefix(prefix)).and_then(|n| n.parse::<usize>().ok());
        if let Some(number) = number.filter(|&n| n < CpuSet::LIMIT) {
            found.insert(number);
        }
    }
    Ok(Some(found))
}

/// A file's text without the line end; `None` if it is not there.
fn read_text(path: &Path) -> Result<Option<String>, TopologyError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
        Err(e) if is_gone(&e) => Ok(None),
        Err(source) => Err(TopologyError::Io { path: path.to_owned(), source }),
    }
}

/// Whether the error means that the file or its device is not there (any more).
fn is_gone(error: &io::Error) -> bool {
    const ENXIO: i32 = 6;
    const ENODEV: i32 = 19;
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || matches!(error.raw_os_error(), Some(ENXIO | ENODEV))
}

fn read_list(path: &Path) -> Result<Option<CpuSet>, TopologyError> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    CpuSet::parse_list(&text).map(Some).map_err(|e| malformed(path, &text, &e.to_string()))
}

fn read_number(path: &Path) -> Result<Option<i64>, TopologyError> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    text.parse().map(Some).map_err(|_| malformed(path, &text, "expected a number"))
}

fn malformed(path: &Path, text: &str, reason: &str) -> TopologyError {
    TopologyError::Malformed { path: path.to_owned(), text: shorten(text), reason: reason.to_owned() }
}
