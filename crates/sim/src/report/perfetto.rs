// SPDX-License-Identifier: GPL-2.0-only
//! The timeline in the JSON trace-event format that Perfetto and Chromium open: one track a CPU.

use serde_json::{Value, json};

use crate::kernel::Kernel;

/// The kept timeline; what did not fit is said in `otherData`.
pub fn perfetto(kernel: &Kernel) -> Value {
    let names = (0..kernel.cpus.len()).filter(|&cpu| kernel.machine.places[cpu].present);
    let mut events: Vec<Value> = names
        .map(|cpu| json!({"ph": "M", "pid": 0, "tid": cpu, "name": "thread_name", "args": {"name": format!("CPU {cpu}")}}))
        .collect();
    events.extend(kernel.trace.timeline.iter().map(|stretch| {
        let group = kernel.metrics.groups.get(stretch.group).map_or("real-time", |group| group.name.as_str());
        json!({
            "ph": "X", "pid": 0, "tid": stretch.cpu, "cat": group, "name": format!("{group} {}", stretch.pid),
            "ts": stretch.from as f64 / 1e3, "dur": (stretch.to - stretch.from) as f64 / 1e3,
            "args": {"pid": stretch.pid},
        })
    }));
    json!({"traceEvents": events, "displayTimeUnit": "ns", "otherData": {"dropped": kernel.trace.timeline_dropped}})
}
