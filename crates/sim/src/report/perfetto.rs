// SPDX-License-Identifier: GPL-2.0-only
//! The timeline in the JSON trace-event format that Perfetto and Chromium open: one track a CPU.
//!
//! It is written event by event: a tree of JSON values takes many times the memory of the stretches.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

use crate::kernel::Kernel;

#[derive(Serialize)]
struct Slice<'a> {
    ph: &'static str,
    pid: u32,
    tid: usize,
    cat: &'a str,
    name: String,
    ts: f64,
    dur: f64,
    args: Arguments,
}

#[derive(Serialize)]
struct Arguments {
    pid: i32,
}

/// Writes the kept timeline; what did not fit is said in `otherData`.
///
/// # Errors
/// Those of the writer.
pub fn perfetto(kernel: &Kernel, mut out: impl Write) -> io::Result<()> {
    out.write_all(b"{\"traceEvents\":[")?;
    let mut comma = "";
    for cpu in (0..kernel.cpus.len()).filter(|&cpu| kernel.machine.places[cpu].present) {
        let name = format!("CPU {cpu}");
        let event = json!({"ph": "M", "pid": 0, "tid": cpu, "name": "thread_name", "args": {"name": name}});
        write!(out, "{comma}{event}")?;
        comma = ",\n";
    }
    for stretch in &kernel.trace.timeline {
        let group = kernel.metrics.groups.get(stretch.group).map_or("real-time", |group| group.name.as_str());
        let slice = Slice {
            ph: "X",
            pid: 0,
            tid: stretch.cpu,
            cat: group,
            name: format!("{group} {}", stretch.pid),
            ts: stretch.from as f64 / 1e3,
            dur: (stretch.to - stretch.from) as f64 / 1e3,
            args: Arguments { pid: stretch.pid },
        };
        out.write_all(comma.as_bytes())?;
        serde_json::to_writer(&mut out, &slice)?;
        comma = ",\n";
    }
    let dropped = kernel.trace.timeline_dropped;
    write!(out, "],\"displayTimeUnit\":\"ns\",\"otherData\":{{\"dropped\":{dropped}}}}}")?;
    out.flush()
}
