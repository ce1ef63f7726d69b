// SPDX-License-Identifier: GPL-2.0-only
//! Arithmetic on measurements.

/// (max − min) / mean: 0 when all values are equal; None for no values or a mean of 0.
pub fn spread(values: &[f64]) -> Option<f64> {
    let (min, max) = bounds(values)?;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean > 0.0).then(|| (max - min) / mean)
}

/// max / min; None for no values, infinite when the smallest is 0.
pub fn max_over_min(values: &[f64]) -> Option<f64> {
    let (min, max) = bounds(values)?;
    Some(if min > 0.0 { max / min } else { f64::INFINITY })
}

/// Smallest and largest.
pub fn bounds(values: &[f64]) -> Option<(f64, f64)> {
    let first = *values.first()?;
    Some(values.iter().fold((first, first), |(min, max), &value| (min.min(value), max.max(value))))
}

/// Arithmetic mean; 0 for no values.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Three decimals: what a figure shows.
pub fn rounded(value: f64) -> f64 {
    if value.is_finite() { (value * 1000.0).round() / 1000.0 } else { value }
}

/// Mean over the samples of each column; empty for no samples.
pub fn column_means(samples: &[Vec<f64>]) -> Vec<f64> {
    let Some(width) = samples.first().map(Vec::len) else { return Vec::new() };
    (0..width)
        .map(|column| mean(&samples.iter().filter_map(|row| row.get(column).copied()).collect::<Vec<f64>>()))
        .collect()
}

/// A small seeded generator (SplitMix64, Steele et al. 2014): random choices that a seed repeats.
pub struct Random(u64);

impl Random {
    /// The same seed gives the same sequence.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit` (0 for limit 0).
    pub fn below(&mut self, limit: usize) -> usize {
        if limit == 0 { 0 } else { (self.next() % limit as u64) as usize }
    }
}

#[cfg(test)]
mod tests;
