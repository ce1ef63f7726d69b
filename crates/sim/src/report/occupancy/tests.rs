// SPDX-License-Identifier: GPL-2.0-only
//! Buckets against times worked out by hand.

use super::*;

fn stretch(cpu: usize, pid: i32, group: usize, from: u64, to: u64) -> Stretch {
    Stretch { cpu, pid, group, from, to }
}

#[test]
fn a_bucket_belongs_to_who_had_most_of_it() {
    let mut occupancy = Occupancy::default();
    occupancy.add(&stretch(0, 1, 0, 0, 60_000));
    occupancy.add(&stretch(0, 2, 1, 60_000, 100_000));
    occupancy.add(&stretch(0, -1, usize::MAX, 150_000, 160_000));
    let (bucket_ns, rows) = occupancy.rows(300_000, 1000);
    assert_eq!(bucket_ns, 100_000);
    // Full and group 0's; a tenth and real-time; idle.
    assert_eq!(rows, [[1 + 8 + 7, 1, 0]]);
}

#[test]
fn time_is_neither_lost_nor_made_when_buckets_double() {
    let mut occupancy = Occupancy::default();
    let mut total = 0;
    for index in 0..5000 {
        let from = index * 70_000;
        occupancy.add(&stretch((index % 3) as usize, 1, (index % 5) as usize, from, from + 33_000));
        total += 33_000;
    }
    assert!(occupancy.bucket_ns() > FIRST_NS, "the run was longer than the first buckets");
    let kept: u64 = occupancy.cpus.iter().flatten().sum();
    assert_eq!(kept, total);
    assert!(occupancy.bucket_ns() * BUCKETS as u64 >= 5000 * 70_000);
}

#[test]
fn fewer_cells_when_there_are_many_cpus() {
    let mut occupancy = Occupancy::default();
    (0..100).for_each(|cpu| occupancy.add(&stretch(cpu, 1, 0, 0, 100_000_000)));
    let (bucket_ns, rows) = occupancy.rows(100_000_000, 10_000);
    assert!(rows.iter().map(Vec::len).sum::<usize>() <= 10_000);
    assert!(rows.iter().all(|row| row.len() as u64 == 100_000_000_u64.div_ceil(bucket_ns)));
    assert!(rows.iter().flatten().filter(|&&cell| cell == 1 + 8 + 7).count() > 9 * rows.len());
}

#[test]
fn busy_cpus_are_the_mean_over_a_bucket() {
    let mut occupancy = Occupancy::default();
    // Both of two CPUs for 200 µs, then one of them, then none; a third one is not asked for.
    occupancy.add(&stretch(0, 1, 0, 0, 300_000));
    occupancy.add(&stretch(1, 2, 1, 0, 200_000));
    occupancy.add(&stretch(2, 3, 0, 0, 400_000));
    let both: CpuSet = [0, 1].into_iter().collect();
    let fine = [(50_000, 2.0), (150_000, 2.0), (250_000, 1.0), (350_000, 0.0)];
    assert_eq!(occupancy.busy(&both, 400_000, 100), fine);
    assert_eq!(occupancy.busy(&both, 400_000, 2), [(100_000, 2.0), (300_000, 0.5)]);
    // The last bucket is as long as the run goes.
    assert_eq!(occupancy.busy(&both, 350_000, 2), [(100_000, 2.0), (275_000, 1.0 / 1.5)]);
}
