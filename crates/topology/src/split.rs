// SPDX-License-Identifier: GPL-2.0-only
//! Cuts a row of indivisible items (cores) into even parts.

use std::ops::Range;

/// Cuts `sizes` (CPUs per core, each at least 1) into even contiguous runs, as few as hold at most `max` CPUs each; a
/// single item above `max` is a run of its own. `max` 0 means no limit.
///
/// With equal items the runs differ by at most one item; with unequal ones every border is at the item border nearest
/// to the ideal one, so runs differ by at most two of the largest items.
pub(crate) fn split_even(sizes: &[usize], max: usize) -> Vec<Range<usize>> {
    let max = if max == 0 { usize::MAX } else { max };
    let mut ends: Vec<usize> = Vec::with_capacity(sizes.len() + 1);
    ends.push(0);
    for size in sizes {
        ends.push(ends[ends.len() - 1] + size);
    }
    let fits = |run: &Range<usize>| run.len() == 1 || ends[run.end] - ends[run.start] <= max;
    // Even runs may need a few more parts than full ones do. One part per item always fits, so the search ends.
    (fewest(sizes, max)..=sizes.len())
        .map(|parts| cut(&ends, parts))
        .find(|runs| runs.iter().all(fits))
        .unwrap_or_default()
}

/// How many runs there are when each is filled before the next begins: no cut into contiguous runs has fewer.
fn fewest(sizes: &[usize], max: usize) -> usize {
    let mut runs = 0;
    let mut room = 0;
    for &size in sizes {
        if size > room {
            runs += 1;
            room = max;
        }
        room = room.saturating_sub(size);
    }
    runs
}

/// Cuts at the item borders nearest to the ideal ones, at least one item a part. `ends[i]` is the sum of the first `i`
/// items; `parts` is at most the number of items.
fn cut(ends: &[usize], parts: usize) -> Vec<Range<usize>> {
    let items = ends.len() - 1;
    let total = ends[items];
    let mut start = 0;
    (1..=parts)
        .map(|part| {
            let last = items - (parts - part);
            // In units of 1/parts CPUs, so that nothing is rounded.
            let ideal = part * total;
            let mut end = ends.partition_point(|&e| e * parts < ideal).clamp(start + 1, last);
            let before = end - 1;
            if before > start && (ends[end] * parts).abs_diff(ideal) > ideal.abs_diff(ends[before] * parts) {
                end = before;
            }
            let run = start..end;
            start = end;
            run
        })
        .collect()
}
