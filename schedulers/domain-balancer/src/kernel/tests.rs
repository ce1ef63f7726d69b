// SPDX-License-Identifier: GPL-2.0-only
//! What the BPF side is told, checked on an opened (not loaded) skeleton: that needs no rights.

use std::mem::{MaybeUninit, size_of};

use clap::Parser;
use libbpf_rs::skel::SkelBuilder;
use topology::Topology;

use super::*;

/// Configuration, cpu → domain table, node table, ops flags, dump length and map sizes of an object set up.
struct Configured {
    conf: [u64; 8],
    cpu_domain: Vec<u32>,
    domain_node: Vec<u32>,
    exit_dump_len: u32,
    flags: u64,
    domains: u32,
    buckets: u32,
    snapshots: u32,
}

fn configured(spec: &str, arguments: &[&str]) -> Configured {
    let options =
        Options::try_parse_from([&["domain-balancer"], arguments].concat()).expect("valid arguments");
    let topology = Topology::from_spec(spec).expect("valid spec");
    let machine =
        Machine::new(topology, &options.domains, options.max_cpus_per_domain).expect("valid domains");
    let mut place = MaybeUninit::uninit();
    let mut skel = skel::BpfSkelBuilder::default().open(&mut place).expect("opening needs no rights");
    let setup = setup(&machine, &options).expect("every machine of these tests fits");
    apply(&mut skel, &setup).expect("object and setup are of one build");
    let ops = skel.struct_ops.domain_balancer();
    let (flags, exit_dump_len) = (ops.flags, ops.exit_dump_len);
    let rodata = skel.maps.rodata_data.as_deref().expect("the object has read-only data");
    let conf = &rodata.conf;
    Configured {
        conf: [
            conf.slice_ns,
            conf.slice_min_ns,
            conf.load_half_life_ns,
            conf.nr_domains.into(),
            conf.nr_cpu_ids.into(),
            conf.greedy_threshold.into(),
            conf.greedy_threshold_x_node.into(),
            conf.fifo.into(),
        ],
        cpu_domain: rodata.cpu_domain.to_vec(),
        domain_node: rodata.domain_node.to_vec(),
        exit_dump_len,
        flags,
        domains: skel.maps.domains.max_entries(),
        buckets: skel.maps.load_buckets.max_entries(),
        snapshots: skel.maps.domain_snapshots.max_entries(),
    }
}

#[test]
fn defaults_reach_the_bpf_side() {
    let got = configured("2n2l2c1t", &[]);
    assert_eq!(got.conf, [20_000_000, 1_000_000, 1_000_000_000, 4, 8, 1, 2, 0]);
    assert_eq!(got.cpu_domain[..9], [0, 0, 1, 1, 2, 2, 3, 3, abi::db_limits_DB_MAX_DOMAINS]);
    assert_eq!(got.domain_node[..4], [0, 0, 1, 1]);
    assert_eq!((got.domains, got.snapshots, got.buckets), (4, 4, 4 * abi::WEIGHT_BUCKETS));
    // The value comes from the running kernel; one without sched_ext knows no flags.
    assert_eq!(got.flags, *scx_utils::compat::SCX_OPS_ENQ_LAST);
}

/// Every option of the BPF side changes exactly its own field.
#[test]
fn each_option_changes_its_field() {
    let defaults = configured("2n2l2c1t", &[]).conf;
    let cases: [(&[&str], usize, u64); 6] = [
        (&["--slice-us", "5000"], 0, 5_000_000),
        (&["--slice-min-us", "500"], 1, 500_000),
        (&["--load-half-life", "0.5"], 2, 500_000_000),
        (&["--greedy-threshold", "0"], 5, 0),
        (&["--greedy-threshold-x-node", "7"], 6, 7),
        (&["--fifo"], 7, 1),
    ];
    for (arguments, field, value) in cases {
        let mut expected = defaults;
        assert_ne!(expected[field], value, "{arguments:?} must differ from the default");
        expected[field] = value;
        assert_eq!(configured("2n2l2c1t", arguments).conf, expected, "{arguments:?}");
    }
    assert_eq!(configured("1c", &["--exit-dump-len", "65536"]).exit_dump_len, 65536);
}

#[test]
fn domains_follow_their_options() {
    assert_eq!(configured("2n2l2c1t", &["--domains", "node"]).cpu_domain[..8], [0, 0, 0, 0, 1, 1, 1, 1]);
    assert_eq!(configured("2n2l2c1t", &["--domains", "0,7;1-6"]).cpu_domain[..8], [0, 1, 1, 1, 1, 1, 1, 0]);
    assert_eq!(configured("1n1l8c2t", &["--max-cpus-per-domain", "8"]).conf[3], 2);
    assert_eq!(configured("1n1l8c2t", &["--max-cpus-per-domain", "0"]).conf[3], 1);
}

#[test]
fn the_largest_machine_fits() {
    let got = configured("8n16l16c2t", &[]);
    assert_eq!(got.conf[4], 4096);
    assert_eq!(got.domains, 256);
}

/// The soundness of `Pod` for these structs: no byte belongs to no field.
#[test]
fn abi_structs_have_no_padding() {
    let ravg = 8 + 8 + 4 + 4;
    assert_eq!(size_of::<abi::ravg>(), ravg);
    assert_eq!(size_of::<abi::db_domain_snapshot>(), 3 * 8 + 2 * 4 + abi::WEIGHT_BUCKETS as usize * ravg);
    let domain_words = abi::db_limits_DB_MAX_DOMAINS as usize / 64;
    let comm = abi::db_limits_DB_COMM_LEN as usize;
    assert_eq!(size_of::<abi::db_task_snapshot>(), 3 * 8 + ravg + 8 + 6 * 4 + comm + domain_words * 8);
    assert_eq!(size_of::<abi::db_config>(), 3 * 8 + 6 * 4);
    assert_eq!(size_of::<abi::db_snapshot_domains_args>(), 2 * 8);
    assert_eq!(size_of::<abi::db_snapshot_tasks_args>(), 8 + 4 * 4);
    assert_eq!(size_of::<abi::db_plan_move_args>(), 2 * 8 + 2 * 4);
    assert_eq!(size_of::<abi::db_renew_weights_args>(), 8);
}

#[test]
fn both_sides_have_the_same_buckets() {
    assert_eq!(abi::WEIGHT_BUCKETS as usize, balancer::weights::BUCKETS);
}
