// SPDX-License-Identifier: GPL-2.0-only
//! The load ledger: duty cycle by domain and weight bucket.

use crate::weights::{BUCKETS, WEIGHT_NORMAL, bucket_weight, infeasible_lambda, weight_bucket};
use crate::{DomainId, LedgerError};

/// Larger duty sums than this are taken for garbage; no machine has as many tasks.
pub(crate) const DUTY_MAX: f64 = 1e9;

/// Sums of duty cycles, per domain and weight bucket. All tasks count, movable or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    duty: Vec<[f64; BUCKETS]>,
}

impl Ledger {
    /// An empty ledger over `domains` domains.
    pub fn new(domains: usize) -> Self {
        Self { duty: vec![[0.0; BUCKETS]; domains] }
    }

    /// Number of domains.
    pub fn domains(&self) -> usize {
        self.duty.len()
    }

    /// Sets the duty cycle sum of one domain's weight bucket (1.0 = one task that is always runnable).
    pub fn set(&mut self, domain: DomainId, bucket: usize, duty: f64) -> Result<(), LedgerError> {
        let domains = self.duty.len();
        let row = self.duty.get_mut(domain).ok_or(LedgerError::UnknownDomain { domain, domains })?;
        let cell = row.get_mut(bucket).ok_or(LedgerError::UnknownBucket(bucket))?;
        if !(0.0..=DUTY_MAX).contains(&duty) {
            return Err(LedgerError::Duty { domain, bucket, duty });
        }
        *cell = duty;
        Ok(())
    }

    /// Adds to the duty cycle sum of one domain's weight bucket.
    pub fn add(&mut self, domain: DomainId, bucket: usize, duty: f64) -> Result<(), LedgerError> {
        let before = self.duty.get(domain).and_then(|row| row.get(bucket)).copied().unwrap_or(0.0);
        self.set(domain, bucket, before + duty)
    }

    /// Sets every sum to 0, keeping the memory.
    pub fn clear(&mut self) {
        self.duty.fill([0.0; BUCKETS]);
    }

    /// Duty cycle of one domain, all weights together; 0 for an unknown domain.
    pub fn duty(&self, domain: DomainId) -> f64 {
        self.duty.get(domain).map_or(0.0, |row| row.iter().sum())
    }

    /// Duty cycle of one domain's weight bucket; 0 if either is unknown.
    pub fn bucket_duty(&self, domain: DomainId, bucket: usize) -> f64 {
        self.duty.get(domain).and_then(|row| row.get(bucket)).copied().unwrap_or(0.0)
    }

    fn by_bucket(&self) -> [f64; BUCKETS] {
        let mut sums = [0.0; BUCKETS];
        for row in &self.duty {
            for (sum, duty) in sums.iter_mut().zip(row) {
                *sum += duty;
            }
        }
        sums
    }
}

/// How a round turns duty cycle and weight into load.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LoadScale {
    /// Load of an always-runnable task, per bucket.
    factor: [f64; BUCKETS],
    /// The clamp in use on a saturated machine.
    pub lambda: Option<f64>,
    /// Duty cycle of the whole machine.
    pub total_duty: f64,
}

impl LoadScale {
    pub fn new(ledger: &Ledger, cpus: f64) -> Self {
        let sums = ledger.by_bucket();
        let lambda = infeasible_lambda(&sums, cpus);
        // Divided by what nice 0 has after bucketing, so that its hog is 1.0 with and without weights.
        let normal = f64::from(bucket_weight(weight_bucket(WEIGHT_NORMAL)));
        let factor = std::array::from_fn(|bucket| match lambda {
            Some(lambda) => f64::from(bucket_weight(bucket)).min(lambda) / normal,
            None => 1.0,
        });
        Self { factor, lambda, total_duty: sums.iter().sum() }
    }

    /// Load of a domain.
    pub fn domain_load(&self, ledger: &Ledger, domain: DomainId) -> f64 {
        ledger.duty[domain].iter().zip(&self.factor).map(|(duty, factor)| duty * factor).sum()
    }

    /// Load of one task.
    pub fn task_load(&self, bucket: usize, duty: f64) -> f64 {
        self.factor[bucket] * duty
    }
}
