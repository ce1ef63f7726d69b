// SPDX-License-Identifier: GPL-2.0-only
//! Machine files, and how a command-line argument picks its reader.

use std::fs;

use super::check::{machine, set};
use crate::{Topology, TopologyError};

fn read(name: &str, text: &str) -> Result<Topology, TopologyError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    Topology::from_file(&path)
}

/// The example in the documentation of `Topology::from_file`, taken from there.
#[test]
fn the_documented_example() {
    let source = include_str!("../model.rs");
    let example: String = source
        .lines()
        .skip_while(|l| l.trim() != "/// ```toml")
        .skip(1)
        .take_while(|l| l.trim() != "/// ```")
        .map(|l| l.trim().trim_start_matches("///").to_owned() + "\n")
        .collect();
    let t = read("m.toml", &example).unwrap();
    machine(&t);
    assert_eq!((t.nodes.len(), t.llcs.len(), t.cores.len(), t.cpus.len()), (2, 2, 6, 8));
    assert_eq!((t.online(), t.siblings(3)), (set("0-6"), Some(&set("2-3"))));
    assert_eq!((t.cpu(4).unwrap().capacity, t.cpu(5).unwrap().capacity), (512, 1024));
    assert_eq!(t.l2s.last().unwrap().cpus, set("4-7"));
    assert_eq!((t.node_distance(0, 1), t.nodes[1].cpus.is_empty(), t.nr_cpu_ids()), (21, true, 16));
    assert_eq!(
        t.to_string(),
        "machine: 8 CPUs, 6 cores, 2 LLCs, 2 nodes, offline 7\n\
         ├─ node 0: distances 10 21\n\
         │  ├─ LLC 0: CPUs 0-3, 2 cores × 2 threads\n\
         │  └─ LLC 1: CPUs 4-7, 4 cores, capacity 512 to 1024\n\
         └─ node 1: no CPUs, distances 21 10"
    );
}

#[test]
fn json_and_written_toml_are_the_same_machine() {
    let json = r#"{"offline":"9","nodes":[{"id":4,"memory":false,"llcs":[{"id":7,"cpus":"0,8-10","threads":2,"capacity":300}]},
        {"id":1,"llcs":[{"cores":[{"id":3,"cpus":"1,5"},{"cpus":"2","capacity":9}],"l2s":[{"id":6,"cpus":"1-2,5"}]}]}]}"#;
    let t = read("m.JSON", json).unwrap();
    machine(&t);
    assert_eq!(t.nodes.iter().map(|n| (n.id, n.has_memory)).collect::<Vec<_>>(), [(1, true), (4, false)]);
    assert_eq!((t.l2s[0].id, t.llcs[1].id, t.siblings(8)), (6, 7, Some(&set("0,8"))));
    let again = read("m.toml", &t.to_toml()).unwrap();
    assert_eq!(again, t, "{}", t.to_toml());
}

#[test]
fn cores_without_a_shared_l2_have_their_own() {
    let text = "[[nodes]]\nllcs = [{ cpus = \"0-3\", l2s = [{ cpus = \"2-3\" }] }, { cpus = \"4-5\" }]";
    let t = read("m.toml", text).unwrap();
    machine(&t);
    let l2s: Vec<String> = t.l2s.iter().map(|l2| l2.cpus.to_string()).collect();
    assert_eq!(l2s, ["0", "1", "2-3", "4", "5"]);
}

#[test]
fn errors_name_the_place() {
    for (text, part) in [
        ("", "missing field `nodes`"),
        ("nodes = []", "the machine has no CPU"),
        ("[[nodes]]", "the machine has no CPU"),
        ("[[nodes]]\nllcs = [{ cpus = \"0-\" }]", "line 2, column 18: "),
        ("[[nodes]]\nllcs = [{ cpus = \"0-\" }]", "CPU list \"0-\": character 3"),
        ("[[nodes]]\nllcs = [{ cpu = \"0\" }]", "unknown field `cpu`"),
        ("[[nodes]\n", "line 1"),
        ("[[nodes]]\nllcs = [{ cpus = \"0\" }, {}]", "nodes[0].llcs[1]: has no CPU"),
        ("[[nodes]]\nllcs = [{ cpus = \"0\", cores = [{ cpus = \"1\" }] }]", "both cpus and cores"),
        ("[[nodes]]\nllcs = [{ threads = 2, cores = [{ cpus = \"1\" }] }]", "threads goes with cpus"),
        ("[[nodes]]\nllcs = [{ cpus = \"0-2\", threads = 2 }]", "3 CPUs do not make cores of 2"),
        ("[[nodes]]\nllcs = [{ cpus = \"0-2\", threads = 0 }]", "3 CPUs do not make cores of 0"),
        ("[[nodes]]\nllcs = [{ cpus = \"0-2\" }, { cpus = \"2\" }]", "CPU 2 appears twice"),
        ("[[nodes]]\nllcs = [{ cpus = \"0\", capacity = 0 }]", "CPU 0 has capacity 0"),
        ("[[nodes]]\nllcs = [{ cpus = \"0\", capacity = 1025 }]", "use a value from 1 to 1024"),
        ("[[nodes]]\nllcs = [{ cpus = \"0-4096\" }]", "4097 CPUs, the most supported is 4096"),
        ("offline = \"0\"\n[[nodes]]\nllcs = [{ cpus = \"0\" }]", "no CPU of the machine is online"),
        ("offline = \"3\"\n[[nodes]]\nllcs = [{ cpus = \"0\" }]", "offline names CPU 3"),
        ("[[nodes]]\ndistances = [10, 20]\nllcs = [{ cpus = \"0\" }]", "nodes[0]: 2 distances for 1 nodes"),
        ("[[nodes]]\nid = 1\nllcs = [{ cpus = \"0\" }]\n[[nodes]]", "node 1 appears twice"),
        ("[[nodes]]\nllcs = [{ cpus = \"0-1\", l2s = [{ cpus = \"0,7\" }] }]", "l2s[0] names CPU 7"),
        (
            "[[nodes]]\nllcs = [{ cpus = \"0-1\", threads = 2, l2s = [{ cpus = \"0\" }] }]",
            "cuts the core of CPUs 0-1",
        ),
        (
            "[[nodes]]\nllcs = [{ cpus = \"0\", l2s = [{ cpus = \"0\" }, { cpus = \"0\" }] }]",
            "CPU 0 is in two l2s",
        ),
        ("nr_cpu_ids = 70000\n[[nodes]]\nllcs = [{ cpus = \"0\" }]", "the most supported is 65536"),
    ] {
        let error = read("m.toml", text).unwrap_err();
        assert!(matches!(error, TopologyError::File { .. }), "{text:?}: {error}");
        let line = error.to_string();
        assert!(line.contains(part) && line.contains("m.toml") && !line.contains('\n'), "{text:?}: {line}");
    }
    let line = read("m.json", "{\"nodes\": 3}").unwrap_err().to_string();
    assert!(line.contains("line 1 column 11") && !line.contains('\n'), "{line}");
}

#[test]
fn an_argument_is_a_file_or_a_spec() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("two-cpus");
    fs::write(&path, "[[nodes]]\nllcs = [{ cpus = \"0-1\" }]").unwrap();
    assert_eq!(Topology::source(path.to_str().unwrap()).unwrap().cpus.len(), 2);
    assert_eq!(Topology::source("1n2l2c").unwrap().cpus.len(), 4);
    for missing in ["none.toml", "none.json", "./none"] {
        let error = Topology::source(missing).unwrap_err();
        assert!(matches!(error, TopologyError::Io { .. }) && error.to_string().contains(missing), "{error}");
    }
    assert!(matches!(Topology::source("2x"), Err(TopologyError::Spec(_))));
}
