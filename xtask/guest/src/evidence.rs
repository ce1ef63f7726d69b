// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel itself says: tasks, CPUs, caches, sched_ext.

use std::fs;

use anyhow::{Context, Result};
use nix::unistd::Pid;

use crate::cpulist::{self, Cpus};

const SCHED_EXT: &str = "/sys/kernel/sched_ext";

/// A group of CPUs that share their last-level cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Llc {
    /// Its CPUs.
    pub cpus: Cpus,
    /// The node they are on.
    pub node: u32,
}

fn read(path: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.trim().to_owned())
}

fn read_list(path: &str) -> Result<Cpus> {
    cpulist::parse(&read(path)?).with_context(|| format!("{path} is not a CPU list"))
}

/// Online CPUs.
pub fn online() -> Result<Cpus> {
    read_list("/sys/devices/system/cpu/online")
}

/// Last-level caches of the online CPUs, ordered by their first CPU: per CPU the cache of the highest level.
pub fn llcs() -> Result<Vec<Llc>> {
    let nodes = nodes()?;
    let mut llcs: Vec<Llc> = Vec::new();
    for cpu in online()? {
        if llcs.iter().any(|llc| llc.cpus.contains(&cpu)) {
            continue;
        }
        let node = nodes.iter().find(|(_, cpus)| cpus.contains(&cpu)).map_or(0, |(id, _)| *id);
        llcs.push(Llc { cpus: last_level_cache(cpu)?, node });
    }
    Ok(llcs)
}

fn last_level_cache(cpu: usize) -> Result<Cpus> {
    let base = format!("/sys/devices/system/cpu/cpu{cpu}/cache");
    let mut best: Option<(u32, Cpus)> = None;
    for index in 0..16 {
        let Ok(level) = read(&format!("{base}/index{index}/level")) else { break };
        let level: u32 =
            level.parse().with_context(|| format!("{base}/index{index}/level is not a number"))?;
        if best.as_ref().is_none_or(|(highest, _)| level > *highest) {
            best = Some((level, read_list(&format!("{base}/index{index}/shared_cpu_list"))?));
        }
    }
    best.map(|(_, cpus)| cpus).with_context(|| format!("{base} has no caches"))
}

/// Nodes that have CPUs: id and CPUs.
pub fn nodes() -> Result<Vec<(u32, Cpus)>> {
    let mut nodes = Vec::new();
    for entry in fs::read_dir("/sys/devices/system/node").context("cannot list the nodes")?.flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix("node")?.parse().ok()) else {
            continue;
        };
        let cpus = read_list(&format!("/sys/devices/system/node/node{id}/cpulist"))?;
        if !cpus.is_empty() {
            nodes.push((id, cpus));
        }
    }
    nodes.sort();
    Ok(nodes)
}

/// Nodes that have memory and no CPUs.
pub fn nodes_without_cpus() -> Result<Vec<u32>> {
    let with_memory = read_list("/sys/devices/system/node/has_memory")?;
    let with_cpus: Vec<u32> = nodes()?.into_iter().map(|(id, _)| id).collect();
    let ids = with_memory.into_iter().filter_map(|id| u32::try_from(id).ok());
    Ok(ids.filter(|id| !with_cpus.contains(id)).collect())
}

/// Nodes and caches, for people: `node 0: llc 0-1, llc 2-3`, one node a line.
pub fn describe_topology() -> Result<String> {
    let llcs = llcs()?;
    let describe = |(id, _): &(u32, Cpus)| {
        let caches: Vec<String> = llcs
            .iter()
            .filter(|llc| llc.node == *id)
            .map(|llc| format!("llc {}", cpulist::format(&llc.cpus)))
            .collect();
        format!("node {id}: {}", caches.join(", "))
    };
    Ok(nodes()?.iter().map(describe).collect::<Vec<_>>().join("\n"))
}

/// CPU time that a task has had, in nanoseconds, up to its last tick or switch.
pub fn cpu_time_ns(pid: Pid) -> Result<u64> {
    let path = format!("/proc/{pid}/schedstat");
    read(&path)?.split(' ').next().and_then(|field| field.parse().ok()).with_context(|| format!("odd {path}"))
}

/// How long a task has waited for a CPU so far, ns, and how often it was given one.
pub fn waited(pid: Pid) -> Result<(u64, u64)> {
    let path = format!("/proc/{pid}/schedstat");
    parse_waited(&read(&path)?).with_context(|| format!("odd {path}"))
}

/// The second and the third number of a `/proc/PID/schedstat`.
pub fn parse_waited(schedstat: &str) -> Option<(u64, u64)> {
    let mut fields = schedstat.split_whitespace().skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The CPU that a task runs on or ran on last, and its state letter.
pub fn task_place(pid: Pid) -> Result<(usize, char)> {
    let path = format!("/proc/{pid}/stat");
    parse_task_place(&read(&path)?).with_context(|| format!("odd {path}"))
}

/// State (field 3) and processor (field 39) of a `/proc/PID/stat`; the name (field 2) may hold anything.
pub fn parse_task_place(stat: &str) -> Option<(usize, char)> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.nth(35)?.parse().ok()?, state))
}

/// Scheduling policy (field 41) of a `/proc/PID/stat`.
pub fn parse_policy(stat: &str) -> Option<i32> {
    stat.get(stat.rfind(')')? + 1..)?.split_whitespace().nth(38)?.parse().ok()
}

/// Whether a `/proc/PID/sched` says that the sched_ext class has the task.
pub fn parse_ext_enabled(sched: &str) -> Option<bool> {
    let line = sched.lines().find(|line| line.starts_with("ext.enabled"))?;
    Some(line.rsplit(':').next()?.trim() != "0")
}

/// Busy and idle time of one CPU since boot, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuTime {
    /// CPU.
    pub cpu: usize,
    /// Everything but idle and waiting for I/O.
    pub busy: f64,
    /// Idle and waiting for I/O.
    pub idle: f64,
}

/// Times of every online CPU.
pub fn cpu_times() -> Result<Vec<CpuTime>> {
    Ok(parse_cpu_times(&read("/proc/stat")?))
}

/// The `cpuN` lines of `/proc/stat` (in hundredths of a second).
pub fn parse_cpu_times(stat: &str) -> Vec<CpuTime> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        let cpu = fields.next()?.strip_prefix("cpu")?.parse().ok()?;
        let ticks: Vec<f64> = fields.take(8).map_while(|field| field.parse().ok()).collect();
        let idle = ticks.get(3)? + ticks.get(4)?;
        Some(CpuTime { cpu, busy: (ticks.iter().sum::<f64>() - idle) / 100.0, idle: idle / 100.0 })
    };
    stat.lines().filter_map(line).collect()
}

/// Per CPU what passed between two readings; a CPU that is not in both is left out.
pub fn cpu_times_between(before: &[CpuTime], after: &[CpuTime]) -> Vec<CpuTime> {
    let passed = |later: &CpuTime| {
        let earlier = before.iter().find(|time| time.cpu == later.cpu)?;
        Some(CpuTime { cpu: later.cpu, busy: later.busy - earlier.busy, idle: later.idle - earlier.idle })
    };
    after.iter().filter_map(passed).collect()
}

/// Tasks that exist, threads of the kernel included.
pub fn kernel_tasks() -> Result<i64> {
    parse_kernel_tasks(&read("/proc/loadavg")?).context("odd /proc/loadavg")
}

/// The number behind the `/` of `/proc/loadavg`'s fourth field.
pub fn parse_kernel_tasks(loadavg: &str) -> Option<i64> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

/// Major and minor number of the running kernel.
pub fn kernel_version() -> Result<(u32, u32)> {
    let release = read("/proc/sys/kernel/osrelease")?;
    parse_version(&release).with_context(|| format!("odd kernel release {release}"))
}

/// The first two numbers of a kernel's release.
pub fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether this kernel has sched_ext.
pub fn has_sched_ext() -> bool {
    fs::exists(SCHED_EXT).unwrap_or(false)
}

/// What /sys says about sched_ext.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedExt {
    /// `enabled`, `disabled`, `enabling`, `disabling`.
    pub state: String,
    /// Name of the attached scheduler; empty when there is none.
    pub ops: String,
    /// Schedulers attached since boot.
    pub enable_seq: u64,
    /// Tasks that a scheduler refused.
    pub rejected: u64,
}

/// Reads it.
pub fn sched_ext() -> Result<SchedExt> {
    let number = |file: &str| -> Result<u64> {
        let path = format!("{SCHED_EXT}/{file}");
        read(&path)?.parse().with_context(|| format!("{path} is not a number"))
    };
    Ok(SchedExt {
        state: read(&format!("{SCHED_EXT}/state"))?,
        ops: read(&format!("{SCHED_EXT}/root/ops")).unwrap_or_default(),
        enable_seq: number("enable_seq")?,
        rejected: number("nr_rejected")?,
    })
}

/// How many of `cpus_of_tasks` are in each of `domains`.
pub fn count_per_domain(domains: &[Cpus], cpus_of_tasks: &[usize]) -> Vec<f64> {
    domains
        .iter()
        .map(|domain| cpus_of_tasks.iter().filter(|cpu| domain.contains(cpu)).count() as f64)
        .collect()
}

/// For each CPU the index of its domain; None for CPUs in no domain.
pub fn domain_of_cpus(domains: &[Cpus]) -> Vec<Option<usize>> {
    let len = domains.iter().flatten().max().map_or(0, |max| max + 1);
    (0..len).map(|cpu| domains.iter().position(|domain| domain.contains(&cpu))).collect()
}

#[cfg(test)]
mod tests;
