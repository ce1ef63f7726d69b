// SPDX-License-Identifier: GPL-2.0-only
//! What every scheduler shares, with a small object: the end of a run is part of it.

mod common;

use std::time::Duration;

use anyhow::Result;
use common::{MS, tiny};
use runtime::daemon::Ending;
use runtime::seam::BpfObject;
use runtime::setup::Setup;
use runtime::signals::Wake;
use sched_sim::drive::{Attachment, Scheduler, drive};
use sim::Config;
use sim::bpf::{Session, SimObject};
use sim::kernel::Violation;
use sim::sim::Sim;
use sim::workload::Workload;
use topology::Topology;

/// The small object with a loop that only waits.
struct Tiny {
    object: &'static [u8],
}

impl Tiny {
    fn new(define: &str) -> Self {
        let file = tiny(define);
        let bytes = std::fs::read(&file).expect("clang wrote it");
        std::fs::remove_file(&file).expect("it was there");
        Self { object: bytes.leak() }
    }
}

impl Scheduler for Tiny {
    fn name(&self) -> &'static str {
        "tiny"
    }

    fn prepare(&mut self, _: &Topology) -> Result<Attachment> {
        Ok(Attachment { object: self.object, setup: Setup::default() })
    }

    fn run(&mut self, object: &mut SimObject, session: &Session) -> Result<Ending> {
        while session.wait(Duration::from_millis(10)) != Wake::Shutdown {
            assert_eq!(object.exit_record()?, None, "it keeps no record");
        }
        Ok(Ending::Shutdown)
    }

    fn statistics(&self) -> Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }
}

#[test]
fn what_breaks_on_the_way_out_breaks_the_run() {
    for (define, leaks) in [("PLAIN", false), ("LEAKS", true)] {
        let topology = Topology::from_spec("2c").expect("a valid spec");
        let mut sim = Sim::new(&topology, Config::default());
        Workload::source("hogs:4", &topology).expect("a known workload").install(&mut sim);
        let session = Session::new(sim, 50 * MS);
        let ended = drive(&session, &topology, &mut Tiny::new(define));
        assert_eq!(session.now_ns(), 50 * MS);
        match ended {
            Ok(exits) => assert!(!leaks && exits.is_empty(), "{exits:?}"),
            Err(error) => {
                let violation = error.downcast_ref::<Violation>().expect("a broken invariant");
                assert!(leaks && violation.what.contains("CPU masks of BPF code are alive"), "{violation}");
            }
        }
    }
}
