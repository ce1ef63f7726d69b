// SPDX-License-Identifier: GPL-2.0-only
//! Defaults by size of the level, and the options that change them.

use topology::Topology;

use super::*;

fn levels(spec: &str) -> Vec<SchedLevel> {
    Topology::from_spec(spec).expect("valid spec").sched_domains()
}

#[test]
fn intervals_follow_the_size_of_the_span() {
    let params: Vec<LevelParams> = levels("2n4l8c2t").iter().map(LevelParams::defaults).collect();
    let intervals: Vec<_> =
        params.iter().map(|level| (level.min_interval_ms, level.max_interval_ms)).collect();
    assert_eq!(intervals, [(2, 4), (16, 32), (64, 128), (128, 256)]);
    assert_eq!(params[0].imbalance_pct, 110);
    assert_eq!(params[1].imbalance_pct, 117);
    assert!(params.iter().all(|level| level.push_failures == level.cache_nice_tries + 2));
}

#[test]
fn an_option_changes_its_level_only() {
    let all = levels("2n2l2c2t");
    let option: LevelOption = "llc:busy-factor=3,push-failures=0".parse().expect("valid");
    for level in &all {
        let (before, mut after) = (LevelParams::defaults(level), LevelParams::defaults(level));
        option.apply(level.kind, &mut after);
        let expected = if level.kind == SchedLevelKind::Llc {
            LevelParams { busy_factor: 3, push_failures: 0, ..before }
        } else {
            before
        };
        assert_eq!(after, expected, "{}", level.kind);
    }
}

#[test]
fn all_means_every_level_and_every_key_has_its_field() {
    let text = "min-interval-ms=7,max-interval-ms=9,newidle-cost-max-us=8,newidle-decay-ms=10,\
                busy-factor=5,imbalance-pct=130,cache-nice-tries=4,push-failures=6";
    let option: LevelOption = format!("all:{text}").parse().expect("valid");
    for level in levels("1n2l2c2t") {
        let mut params = LevelParams::defaults(&level);
        option.apply(level.kind, &mut params);
        assert_eq!(params.to_string(), text);
    }
}

#[test]
fn bad_options_name_what_is_wrong() {
    for (text, words) in [
        ("llc", "names no parameter"),
        ("socket:busy-factor=1", "no level 'socket'"),
        ("llc:busy-factor", "has no value"),
        ("llc:tax=1", "no parameter 'tax'"),
        ("llc:imbalance-pct=99", "out of range"),
        ("llc:busy-factor=0", "out of range"),
        ("llc:push-failures=x", "out of range"),
    ] {
        let error = text.parse::<LevelOption>().expect_err(text);
        assert!(error.contains(words) && !error.contains('\n'), "{error}");
    }
}
