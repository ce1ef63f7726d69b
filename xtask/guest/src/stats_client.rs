// SPDX-License-Identifier: GPL-2.0-only
//! A client of the scx_stats protocol: one line of JSON each way over a Unix socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cpulist::{self, Cpus};

/// Wide: the daemon that answers competes with the load.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What a scheduler answers that has published nothing yet.
const NOT_YET: i64 = libc::EAGAIN as i64;

/// One answer of a scheduler.
#[derive(Clone, Debug)]
pub struct Stats(pub Value);

/// One domain of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct DomainStats {
    /// The scheduler's number for it.
    pub id: usize,
    /// Its CPUs.
    pub cpus: Cpus,
    /// Its node.
    pub node: u64,
    /// Its load (1.0 = one task of nice 0 that always wants to run).
    pub load: f64,
}

/// Asks the scheduler behind `socket` once; None when it has no figures yet.
pub fn ask(socket: &str) -> Result<Option<Stats>> {
    let stream = UnixStream::connect(socket).with_context(|| format!("nobody answers at {socket}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    (&stream).write_all(b"{\"req\":\"stats\",\"args\":{\"target\":\"top\"}}\n")?;
    let mut line = String::new();
    BufReader::new(&stream)
        .read_line(&mut line)
        .with_context(|| format!("no answer in {TIMEOUT:?} from {socket}"))?;
    parse(&line)
}

/// Reads one answer; None when the scheduler has no figures yet.
pub fn parse(line: &str) -> Result<Option<Stats>> {
    let reply: Value = serde_json::from_str(line).context("the statistics are not JSON")?;
    match reply["errno"].as_i64() {
        Some(0) => {}
        Some(NOT_YET) => return Ok(None),
        _ => bail!("the scheduler refused the statistics: {}", line.trim()),
    }
    match &reply["args"]["resp"] {
        resp @ Value::Object(_) => Ok(Some(Stats(resp.clone()))),
        _ => bail!("the statistics hold no resp object: {}", line.trim()),
    }
}

impl Stats {
    /// Whether the figures are from `asked_ns` (`CLOCK_MONOTONIC`) or later. A scheduler that is busy serves
    /// its last ones, which may be from before. Figures without a date are taken for fresh.
    pub fn is_since(&self, asked_ns: u64) -> bool {
        self.0["at_ns"].as_u64().is_none_or(|at_ns| at_ns >= asked_ns)
    }

    /// A counter of the top level.
    pub fn counter(&self, name: &str) -> Result<u64> {
        self.0[name].as_u64().with_context(|| format!("the statistics hold no counter {name}"))
    }

    /// All CPUs that the entries of the top level's object `place` name in their `cpus` lists.
    pub fn cpus_in(&self, place: &str) -> Result<Cpus> {
        let map = self.0[place].as_object().with_context(|| format!("the statistics hold no {place}"))?;
        let mut all = Cpus::new();
        for value in map.values() {
            let text = value["cpus"].as_str().with_context(|| format!("one of the {place} has no cpus"))?;
            all.extend(cpulist::parse(text).with_context(|| format!("{text:?} is not a CPU list"))?);
        }
        Ok(all)
    }

    /// Every domain, by number.
    pub fn domains(&self) -> Result<Vec<DomainStats>> {
        let map = self.0["domains"].as_object().context("the statistics hold no domains")?;
        let mut domains = Vec::new();
        for (key, value) in map {
            domains.push(DomainStats {
                id: key.parse().with_context(|| format!("domain {key:?} is not a number"))?,
                cpus: value["cpus"].as_str().and_then(cpulist::parse).context("a domain without CPUs")?,
                node: value["node"].as_u64().context("a domain without a node")?,
                load: value["load"].as_f64().context("a domain without a load")?,
            });
        }
        domains.sort_by_key(|domain| domain.id);
        Ok(domains)
    }
}

#[cfg(test)]
mod tests;
