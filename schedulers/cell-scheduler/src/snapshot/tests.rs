// SPDX-License-Identifier: GPL-2.0-only
//! Percentiles and differences of figures.

use super::*;

fn waits(buckets: &[(usize, u64)]) -> Figures {
    let mut figures = Figures::default();
    for (bucket, count) in buckets {
        figures.waits[*bucket] = *count;
    }
    figures
}

#[test]
fn percentiles_are_upper_ends_of_buckets() {
    let figures = waits(&[(0, 50), (4, 45), (10, 4), (31, 1)]);
    assert_eq!(figures.wait_us(0.50), 2);
    assert_eq!(figures.wait_us(0.51), 32);
    assert_eq!(figures.wait_us(0.95), 32);
    assert_eq!(figures.wait_us(0.99), 2048);
    assert_eq!(figures.wait_us(1.0), 1 << 32);
    assert_eq!(figures.wait_us(0.0), 2);
}

#[test]
fn nobody_waited() {
    assert_eq!(Figures::default().wait_us(0.99), 0);
}

#[test]
fn a_difference_of_sums_is_what_came_between() {
    let early = Figures { used_ns: 5, nr_tasks: 2, ..waits(&[(3, 7)]) };
    let more = Figures {
        used_ns: 10,
        waited_ns: 4,
        counters: Counters { reclaimed: 3, moved: 1, ..Counters::default() },
        ..waits(&[(3, 1), (9, 2)])
    };
    assert_eq!((early + more) - early, more);
    // Counters that went back (a slot read while it was written) count as nothing rather than as a huge number.
    assert_eq!((early - more).used_ns, 0);
}
