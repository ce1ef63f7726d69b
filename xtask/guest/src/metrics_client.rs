// SPDX-License-Identifier: GPL-2.0-only
//! A client of a scheduler's metrics: one HTTP request a connection, and as much of the OpenMetrics text format as a check of
//! it needs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Wide: the daemon that answers competes with the load.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What a metric family is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Never falls.
    Counter,
    /// Any number.
    Gauge,
    /// Texts as labels.
    Info,
}

/// One scrape: values by name with labels, as the text has them, and what their families are.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    values: BTreeMap<String, (Kind, f64)>,
}

/// Sends `request` and gives everything that comes back.
pub fn send(address: SocketAddr, request: &[u8]) -> Result<String> {
    let mut stream = connect(address)?;
    stream.write_all(request).context("the request cannot be sent")?;
    let mut reply = Vec::new();
    // A server that refuses early may reset the connection behind its reply.
    let _reset = stream.read_to_end(&mut reply);
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

/// A connection on which nothing was said yet.
pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("nobody answers at {address}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Scrapes once.
pub fn scrape(address: SocketAddr) -> Result<Metrics> {
    let reply = send(address, b"GET /metrics HTTP/1.1\r\nHost: guest\r\n\r\n")?;
    let (head, body) = reply.split_once("\r\n\r\n").with_context(|| format!("no HTTP reply: {reply:?}"))?;
    ensure!(
        head.starts_with("HTTP/1.1 200 "),
        "the scrape was refused: {}",
        head.lines().next().unwrap_or("")
    );
    ensure!(head.contains("application/openmetrics-text"), "not announced as OpenMetrics: {head:?}");
    parse(body)
}

/// Reads a text in the OpenMetrics format.
///
/// # Errors
/// It is not one: no end mark, a sample without TYPE and HELP before it, a counter without `_total`, a value that is no
/// number.
pub fn parse(text: &str) -> Result<Metrics> {
    ensure!(text.ends_with("# EOF\n"), "the text has no end mark");
    let (mut kinds, mut helped) = (BTreeMap::new(), Vec::new());
    let mut metrics = Metrics::default();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helped.push(rest.split(' ').next().unwrap_or_default());
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let kind = match kind {
                "counter" => Kind::Counter,
                "gauge" => Kind::Gauge,
                "info" => Kind::Info,
                other => anyhow::bail!("{name} is of the unknown type {other}"),
            };
            ensure!(kinds.insert(name, kind).is_none(), "{name} has two types");
        } else if let Some((name, unit)) = line.strip_prefix("# UNIT ").and_then(|rest| rest.split_once(' '))
        {
            ensure!(name.ends_with(&format!("_{unit}")), "{name} does not end in its unit {unit}");
        } else if !line.starts_with('#') {
            let (sample, value) = line.rsplit_once(' ').with_context(|| format!("no sample: {line:?}"))?;
            let name = sample.split('{').next().unwrap_or_default();
            let found = ["_total", "_info", ""].iter().find_map(|suffix| {
                let family = name.strip_suffix(suffix)?;
                Some((family, *kinds.get(family)?, *suffix))
            });
            let (family, kind, suffix) = found.with_context(|| format!("{name} has no type"))?;
            let expected = match kind {
                Kind::Counter => "_total",
                Kind::Gauge => "",
                Kind::Info => "_info",
            };
            ensure!(suffix == expected, "{name} is a {kind:?} and ends in {suffix:?}");
            ensure!(helped.contains(&family), "{family} has no help");
            let value = value.parse().with_context(|| format!("{value:?} is no number"))?;
            metrics.values.insert(sample.to_owned(), (kind, value));
        }
    }
    Ok(metrics)
}

impl Metrics {
    /// The value of a sample, by its name with labels.
    pub fn value(&self, sample: &str) -> Result<f64> {
        self.values
            .get(sample)
            .map(|(_, value)| *value)
            .with_context(|| format!("there is no sample {sample}"))
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Counters that are lower in `later`, with both values.
    pub fn fallen(&self, later: &Self) -> Vec<String> {
        let fell = |(sample, (kind, before)): (&String, &(Kind, f64))| {
            let after = later.values.get(sample)?.1;
            (*kind == Kind::Counter && after < *before).then(|| format!("{sample} from {before} to {after}"))
        };
        self.values.iter().filter_map(fell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP s_moves Moves\n# TYPE s_moves counter\ns_moves_total{domain=\"0\"} 3\n\
                        # HELP s_used_seconds Used\n# TYPE s_used_seconds gauge\n# UNIT s_used_seconds seconds\n\
                        s_used_seconds 1.5\n# EOF\n";

    #[test]
    fn samples_have_types_and_values() {
        let metrics = parse(TEXT).unwrap();
        assert_eq!((metrics.len(), metrics.value("s_moves_total{domain=\"0\"}").unwrap()), (2, 3.0));
        let later = parse(&TEXT.replace("} 3", "} 2").replace("1.5", "1.0")).unwrap();
        assert_eq!(metrics.fallen(&later), ["s_moves_total{domain=\"0\"} from 3 to 2"]);
        assert!(later.fallen(&metrics).is_empty());
    }

    #[test]
    fn what_the_format_forbids_is_an_error() {
        for wrong in [
            TEXT.replace("# EOF\n", ""),
            TEXT.replace("# TYPE s_moves counter\n", ""),
            TEXT.replace("# HELP s_moves Moves\n", ""),
            TEXT.replace("s_moves_total", "s_moves"),
            TEXT.replace("1.5", "much"),
            TEXT.replace("s_used_seconds seconds", "s_used_seconds minutes"),
        ] {
            assert!(parse(&wrong).is_err(), "{wrong}");
        }
    }
}
