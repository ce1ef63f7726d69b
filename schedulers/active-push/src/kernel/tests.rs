// SPDX-License-Identifier: GPL-2.0-only
//! What the BPF side is told, checked on an opened (not loaded) skeleton: that needs no rights.

use std::mem::{MaybeUninit, size_of};

use clap::Parser;
use libbpf_rs::skel::SkelBuilder;
use topology::Topology;

use super::*;

fn configured(spec: &str, arguments: &[&str]) -> (abi::ap_config, Setup) {
    let options = Options::try_parse_from([&["active-push"], arguments].concat()).expect("valid arguments");
    let machine =
        Machine::new(Topology::from_spec(spec).expect("valid spec"), &options).expect("valid levels");
    let setup = setup(&machine, &options).expect("every machine of these tests fits");
    let conf = &setup.read_only.iter().find(|(name, _)| *name == "conf").expect("a configuration").1;
    (bytemuck::pod_read_unaligned(conf), setup.clone())
}

#[test]
fn the_object_takes_the_setup() {
    for spec in ["1c", "4c2t", "2n2l2c1t"] {
        let (_, setup) = configured(spec, &[]);
        let mut place = MaybeUninit::uninit();
        let mut skel = skel::BpfSkelBuilder::default().open(&mut place).expect("opening needs no rights");
        apply(&mut skel, &setup).expect("object and setup are of one build");
    }
}

/// Every option of the BPF side changes exactly its own field.
#[test]
fn each_option_changes_its_field() {
    let fields = |arguments: &[&str]| {
        let conf = configured("1n2l2c2t", arguments).0;
        [
            conf.slice_ns,
            conf.migration_cost_ns,
            conf.request_expiry_ns,
            conf.wakeup_granularity_ns,
            conf.spread_after_ns,
            conf.util_half_life_ns,
            conf.watch_ns,
            conf.max_moves.into(),
            conf.prompt.into(),
            conf.no_push.into(),
            conf.levels[1].push_failures.into(),
            conf.levels[1].newidle_cost_max_ns,
            conf.levels[1].newidle_decay_ns,
        ]
    };
    let defaults = fields(&[]);
    let cases: [(&[&str], usize, u64); 13] = [
        (&["--slice-us", "3000"], 0, 3_000_000),
        (&["--migration-cost-us", "7"], 1, 7_000),
        (&["--request-expiry-us", "9"], 2, 9_000),
        (&["--wakeup-granularity-us", "11"], 3, 11_000),
        (&["--spread-after-us", "0"], 4, 0),
        (&["--util-half-life-us", "1000"], 5, 1_000_000),
        (&["--watch-us", "1000"], 6, 1_000_000),
        (&["--max-moves", "5"], 7, 5),
        (&["--prompt"], 8, 1),
        (&["--no-push"], 9, 1),
        (&["--level", "llc:push-failures=77"], 10, 77),
        (&["--level", "llc:newidle-cost-max-us=3"], 11, 3_000),
        (&["--level", "llc:newidle-decay-ms=4"], 12, 4_000_000),
    ];
    for (arguments, field, value) in cases {
        let mut expected = defaults;
        assert_ne!(expected[field], value, "{arguments:?} must differ from the default");
        expected[field] = value;
        assert_eq!(fields(arguments), expected, "{arguments:?}");
    }
}

#[test]
fn the_largest_machine_fits() {
    let (conf, setup) = configured("8n16l16c2t", &[]);
    assert_eq!((conf.nr_cpu_ids, conf.nr_levels, conf.smt), (4096, 4, 1));
    assert_eq!(setup.map_entries[0], ("cpus", 4096));
}

#[test]
fn many_capacities_are_thinned_to_the_ends_and_some_between() {
    let all: Vec<u32> = (1..=100).collect();
    let few = thinned(&all, 8);
    assert_eq!((few.len(), few[0], few[7]), (8, 1, 100));
    assert_eq!(thinned(&[512, 1024], 8), [512, 1024]);
}

/// The soundness of `Pod` for these structs: no byte belongs to no field.
#[test]
fn abi_structs_have_no_padding() {
    let levels = abi::ap_limits_AP_MAX_LEVELS as usize;
    assert_eq!(size_of::<abi::ap_level>(), 4 * 8 + 4 * 4);
    let classes = abi::ap_limits_AP_MAX_CLASSES as usize;
    assert_eq!(
        size_of::<abi::ap_config>(),
        7 * 8 + 8 * 4 + levels * size_of::<abi::ap_level>() + classes * 4
    );
    assert_eq!(size_of::<abi::ap_place>(), 5 * 4 + levels * 4);
    assert_eq!(size_of::<abi::ap_span>(), 4 * 4);
    assert_eq!(size_of::<abi::ap_cpu>(), 12 * 8 + 12 * 4);
}
