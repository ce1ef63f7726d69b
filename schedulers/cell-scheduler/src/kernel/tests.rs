// SPDX-License-Identifier: GPL-2.0-only
//! What the BPF side is told, checked on an opened (not loaded) skeleton: that needs no rights.

use std::mem::{MaybeUninit, size_of};

use clap::Parser;
use libbpf_rs::skel::SkelBuilder;
use scx_utils::compat;
use topology::Topology;

use super::*;

/// Configuration, CPU → cache table, node table, ops flags, dump length and map sizes of an object set up.
struct Configured {
    conf: [u64; 11],
    cpu_llc: Vec<u32>,
    llc_node: Vec<u32>,
    exit_dump_len: u32,
    flags: u64,
    queues: u32,
    figures: u32,
}

fn configured(spec: &str, arguments: &[&str]) -> Configured {
    let options =
        Options::try_parse_from([&["cell-scheduler"], arguments].concat()).expect("valid arguments");
    let topology = Topology::from_spec(spec).expect("valid spec");
    let machine = Machine::new(topology, options.max_cpus_per_queue).expect("a machine with CPUs");
    let mut place = MaybeUninit::uninit();
    let mut skel = skel::BpfSkelBuilder::default().open(&mut place).expect("opening needs no rights");
    let setup = setup(&machine, &options).expect("every machine of these tests fits");
    apply(&mut skel, &setup).expect("object and setup are of one build");
    let ops = skel.struct_ops.cell_scheduler();
    let (flags, exit_dump_len) = (ops.flags, ops.exit_dump_len);
    let rodata = skel.maps.rodata_data.as_deref().expect("the object has read-only data");
    let conf = &rodata.conf;
    Configured {
        conf: [
            conf.slice_ns,
            conf.slice_min_ns,
            conf.borrow_slice_ns,
            conf.shrink_slice_ns,
            conf.nr_cpu_ids.into(),
            conf.nr_llcs.into(),
            conf.nr_cells.into(),
            conf.nr_slots.into(),
            conf.member_level_min.into(),
            conf.member_level_max.into(),
            conf.cgroup_weights.into(),
        ],
        cpu_llc: rodata.cpu_llc.to_vec(),
        llc_node: rodata.llc_node.to_vec(),
        exit_dump_len,
        flags,
        queues: skel.maps.queues.max_entries(),
        figures: skel.maps.figures.max_entries(),
    }
}

#[test]
fn defaults_reach_the_bpf_side() {
    let got = configured("2n2l2c1t", &[]);
    assert_eq!(got.conf, [20_000_000, 1_000_000, 4_000_000, 2_000_000, 8, 4, 8, 1025, 1, 32, 1]);
    assert_eq!(got.cpu_llc[..9], [0, 0, 1, 1, 2, 2, 3, 3, abi::cs_limits_CS_MAX_LLCS]);
    assert_eq!(got.llc_node[..4], [0, 0, 1, 1]);
    // Everything else needs a slot, too.
    assert_eq!((got.queues, got.figures), (8 * 4, 1025));
    // The value comes from the running kernel; one without sched_ext knows no flags.
    assert_eq!(got.flags, *compat::SCX_OPS_ENQ_LAST);
}

/// Field numbers of `Configured::conf` with their values.
type Fields = &'static [(usize, u64)];

/// Every option of the BPF side changes exactly its own fields.
#[test]
fn each_option_changes_its_field() {
    let defaults = configured("2n2l2c1t", &[]).conf;
    let cases: [(&[&str], Fields); 7] = [
        (&["--slice-us", "5000"], &[(0, 5_000_000)]),
        (&["--slice-min-us", "500"], &[(1, 500_000)]),
        (&["--borrow-slice-us", "700"], &[(2, 700_000)]),
        (&["--pinned-slice-us", "300"], &[(3, 300_000)]),
        (&["--max-members", "300"], &[(7, 301)]),
        (&["--cell-parent-cgroup", "/sys/fs/cgroup/a/b"], &[(8, 3), (9, 3)]),
        (&["--no-cgroup-weights"], &[(10, 0)]),
    ];
    for (arguments, changes) in cases {
        let mut expected = defaults;
        for (field, value) in changes {
            assert_ne!(expected[*field], *value, "{arguments:?} must differ from the default");
            expected[*field] = *value;
        }
        assert_eq!(configured("2n2l2c1t", arguments).conf, expected, "{arguments:?}");
    }
    assert_eq!(configured("1c", &["--exit-dump-len", "65536"]).exit_dump_len, 65536);
    let most = configured("1c", &["--max-members", "4095"]);
    let slots = abi::cs_limits_CS_MAX_SLOTS;
    assert_eq!((most.conf[7], most.figures), (u64::from(slots), slots), "as many as the table has room for");
}

#[test]
fn large_caches_are_split_into_queues() {
    assert_eq!(configured("1n1l32c1t", &[]).conf[5], 2);
    assert_eq!(configured("1n1l32c1t", &["--max-cpus-per-queue", "0"]).conf[5], 1);
}

#[test]
fn the_largest_machine_fits() {
    let got = configured("8n16l16c2t", &[]);
    assert_eq!((got.conf[4], got.conf[5], got.conf[6]), (4096, 256, 256));
    assert_eq!(got.queues, 256 * 256);
}

/// The soundness of `Pod` for these structs: no byte belongs to no field.
#[test]
fn abi_structs_have_no_padding() {
    let (cpus, slots) = (abi::cs_limits_CS_MAX_CPUS as usize, abi::cs_limits_CS_MAX_SLOTS as usize);
    let cells = abi::cs_limits_CS_MAX_CELLS as usize;
    assert_eq!(size_of::<abi::cs_config>(), 4 * 8 + 8 * 4);
    assert_eq!(size_of::<abi::cs_table>(), 8 + 2 * 4 + 2 * cpus + 2 * slots + 4 * cells + cells);
    assert_eq!(size_of::<abi::cs_member>(), 2 * 4);
    let counters = abi::cs_counter_CS_NR_COUNTERS as usize;
    let buckets = abi::cs_limits_CS_WAIT_BUCKETS as usize;
    assert_eq!(size_of::<abi::cs_figures>(), 4 * 8 + counters * 8 + buckets * 4);
    assert_eq!(size_of::<abi::cs_lending>(), 8);
    assert_eq!(size_of::<abi::cs_apply_args>(), 8 + 2 * 4);
    assert_eq!(size_of::<abi::cs_orphans_args>(), 2 * 4);
    assert_eq!(size_of::<abi::cs_drain_args>(), 2 * 4);
    assert_eq!(size_of::<abi::cs_totals_args>(), 4 * 8);
}
