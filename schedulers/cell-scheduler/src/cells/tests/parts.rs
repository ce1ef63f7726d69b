// SPDX-License-Identifier: GPL-2.0-only
//! The steps by themselves: rounding against brute force, quotas, flows.

use proptest::prelude::*;
use topology::{CpuSet, DomainSpec, Topology};

use super::super::LlcPolicy;
use super::super::apportion::{Share, apportion};
use super::super::flow::{Flow, overfull};
use super::super::ground::Ground;
use super::super::place::{Want, place};
use super::super::quota::{Claim, Limit, quotas};
use super::set;

/// The least sum of squared differences of any whole numbers within the bounds, tried one by one.
fn brute_force(shares: &[Share], total: usize) -> Option<f64> {
    let Some((first, rest)) = shares.split_first() else { return (total == 0).then_some(0.0) };
    (first.lo..=first.hi.min(total))
        .filter_map(|count| Some(error(first, count) + brute_force(rest, total - count)?))
        .min_by(f64::total_cmp)
}

fn error(share: &Share, count: usize) -> f64 {
    (share.quota - count as f64).powi(2)
}

fn shares() -> impl Strategy<Value = (Vec<Share>, usize)> {
    let share =
        (0.0f64..6.0, 0usize..3, 0usize..5).prop_map(|(quota, lo, more)| Share { quota, lo, hi: lo + more });
    (proptest::collection::vec(share, 1..6), 0usize..14)
}

proptest! {
    #[test]
    fn rounding_is_the_nearest_possible((shares, total) in shares()) {
        let counts = apportion(&shares, total);
        let within = counts.iter().zip(&shares).all(|(&count, share)| (share.lo..=share.hi).contains(&count));
        prop_assert!(within, "{:?} of {:?}", counts, shares);
        match brute_force(&shares, total) {
            Some(best) => {
                prop_assert_eq!(counts.iter().sum::<usize>(), total);
                let found: f64 = shares.iter().zip(&counts).map(|(share, &count)| error(share, count)).sum();
                prop_assert!(found <= best + 1e-6, "{:?}: {} instead of {}", counts, found, best);
            }
            None => {
                let least: usize = shares.iter().map(|share| share.lo).sum();
                let bound = |share: &Share| if total < least { share.lo } else { share.hi };
                prop_assert_eq!(counts, shares.iter().map(bound).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn without_bounds_every_count_is_a_neighbour_of_its_quota(
        parts in proptest::collection::vec(0.0f64..10.0, 1..20), total in 1usize..100,
    ) {
        let sum: f64 = parts.iter().sum::<f64>().max(1e-3);
        let quota = |part: &f64| part / sum * total as f64;
        prop_assume!(parts.iter().any(|part| *part > 0.01));
        let shares: Vec<Share> =
            parts.iter().map(|part| Share { quota: quota(part), lo: 0, hi: total }).collect();
        for (share, count) in shares.iter().zip(apportion(&shares, total)) {
            prop_assert!((share.quota - count as f64).abs() < 1.0 + 1e-6, "{:?} got {}", share, count);
        }
    }

    #[test]
    fn quotas_keep_limits_and_waste_nothing(
        claims in proptest::collection::vec((1u32..1000, 0.0f64..20.0, 0.0f64..3.0, 0.0f64..20.0), 1..10),
        cut in 0usize..10, capacity in 1.0f64..32.0, inner in 0.1f64..32.0,
    ) {
        let claims: Vec<Claim> = claims
            .into_iter()
            .map(|(weight, demand, min, more)| Claim { weight: weight.into(), demand, min, max: min + more })
            .collect();
        let cut = cut.min(claims.len());
        let limits = [
            Limit { capacity: inner.min(capacity), claims: (0..cut).collect() },
            Limit { capacity, claims: (0..claims.len()).collect() },
        ];
        let found = quotas(&claims, &limits);
        for limit in &limits {
            let sum: f64 = limit.claims.iter().map(|&i| found[i]).sum();
            prop_assert!(sum <= limit.capacity + 1e-6, "{:?} in {:?}", found, limit);
        }
        for (i, claim) in claims.iter().enumerate() {
            prop_assert!(found[i] <= claim.max + 1e-6 && found[i] >= 0.0);
            // Whoever has less than he may is held back by a limit that is used up.
            let used_up = limits.iter().any(|limit| {
                let sum: f64 = limit.claims.iter().map(|&i| found[i]).sum();
                limit.claims.contains(&i) && sum >= limit.capacity - 1e-6
            });
            prop_assert!(used_up || found[i] >= claim.max - 1e-6, "{:?}: {} of {:?}", i, found[i], claim);
            // Nobody is cut below his demand while a neighbour without a smaller minimum has more per weight.
            for (j, other) in claims.iter().enumerate().filter(|(j, _)| (*j < cut) == (i < cut)) {
                let richer = found[j] / other.weight > found[i] / claim.weight + 1e-6;
                let forced = found[j] <= other.min + 1e-6 || found[i] >= claim.demand.min(claim.max) - 1e-6;
                prop_assert!(!richer || forced, "{}: {:?} beside {}: {:?}", i, claim, j, other);
            }
        }
    }

    #[test]
    fn overfull_agrees_with_hall(sets in proptest::collection::vec(1u8..64, 1..7)) {
        let all: CpuSet = (0..6).collect();
        let sets: Vec<CpuSet> = sets.into_iter().map(|bits| CpuSet::from_words(&[bits.into()])).collect();
        let refs: Vec<&CpuSet> = sets.iter().collect();
        let union = |chosen: &[usize]| chosen.iter().fold(CpuSet::new(), |all, &i| all.union(refs[i]));
        let violated = (1u32..1 << refs.len()).any(|bits| {
            let chosen: Vec<usize> = (0..refs.len()).filter(|i| bits >> i & 1 == 1).collect();
            union(&chosen).len() < chosen.len()
        });
        match overfull(&refs, &all) {
            None => prop_assert!(!violated),
            Some(tight) => prop_assert!(union(&tight).len() < tight.len()),
        }
    }
}

#[test]
fn a_small_claim_is_served_in_full_beside_a_greedy_one() {
    let claim = |demand, weight| Claim { weight, demand, min: 0.0, max: 8.0 };
    let whole = |n| [Limit { capacity: 8.0, claims: (0..n).collect() }];
    let near = |found: &[f64], wanted: &[f64]| {
        let close = found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(close, "{found:?} instead of {wanted:?}");
    };
    near(&quotas(&[claim(2.0, 100.0), claim(32.0, 100.0)], &whole(2)), &[2.0, 6.0]);
    near(&quotas(&[claim(30.0, 300.0), claim(32.0, 100.0)], &whole(2)), &[6.0, 2.0]);
    // What is left over goes by weight.
    near(&quotas(&[claim(2.0, 100.0), claim(2.0, 300.0)], &whole(2)), &[3.0, 5.0]);
    // Minima that do not fit shrink alike.
    let heavy = Claim { min: 12.0, max: 12.0, ..claim(0.0, 100.0) };
    near(&quotas(&[heavy.clone(), Claim { min: 4.0, ..heavy }], &whole(2)), &[6.0, 2.0]);
}

#[test]
fn items_are_handed_along_a_chain() {
    let allowed = [set("0-1"), set("1-2"), set("2-3")];
    let held = vec![CpuSet::new(), set("1"), set("2")];
    let mut flow = Flow::holding(allowed.iter().collect(), held, &set("1-3"));
    assert_eq!(flow.raise(0), Ok(()));
    assert_eq!(flow.raise(0), Err(vec![0]));
    assert_eq!(flow.into_held(), [set("1"), set("2"), set("3")]);
}

#[test]
fn a_whole_cache_elsewhere_comes_before_fragments_nearby() {
    let machine = Topology::from_spec("2n2l8c1t").unwrap();
    let ground = Ground::new(&machine, &machine.domains(&DomainSpec::Llc, 16).unwrap());
    let all = set("0-31");
    let want = |count, keep| Want {
        count,
        worth: count as f64,
        allowed: &all,
        keep: set(keep),
        llc: LlcPolicy::Pack,
    };
    let placed = place(&ground, &[want(11, "24-31"), want(16, "0-7"), want(5, "8-12")]);
    assert_eq!(placed, [set("13-15,24-31"), set("0-7,16-23"), set("8-12")]);
    // What is smaller than a cache stays on the node.
    let placed = place(&ground, &[want(16, "24-31"), want(11, "0-7"), want(5, "8-12")]);
    assert_eq!(placed, [set("16-31"), set("0-7,13-15"), set("8-12")]);
}
