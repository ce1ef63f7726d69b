// SPDX-License-Identifier: GPL-2.0-only
//! Locks and read-side sections: nothing to wait for on a machine that runs one thing at a time, but misuse is found.

use crate::error::Fault;
use crate::memory::{Addr, Memory};
use crate::registry::{Ctx, Registry};

pub(super) fn register<S>(registry: &mut Registry<S>) {
    registry.helpers(&[(93, "bpf_spin_lock", lock), (94, "bpf_spin_unlock", unlock)]);
    registry.functions(&[
        ("bpf_rcu_read_lock", rcu_lock),
        ("bpf_rcu_read_unlock", rcu_unlock),
        ("bpf_preempt_disable", nothing),
        ("bpf_preempt_enable", nothing),
    ]);
}

fn nothing<S>(_: &mut Ctx<'_, S>, _: [u64; 5]) -> Result<u64, Fault> {
    Ok(0)
}

fn lock<S>(ctx: &mut Ctx<'_, S>, [lock, ..]: [u64; 5]) -> Result<u64, Fault> {
    ctx.mem.lock(lock)?;
    Ok(0)
}

fn unlock<S>(ctx: &mut Ctx<'_, S>, [lock, ..]: [u64; 5]) -> Result<u64, Fault> {
    ctx.mem.unlock(lock)?;
    Ok(0)
}

fn rcu_lock<S>(ctx: &mut Ctx<'_, S>, _: [u64; 5]) -> Result<u64, Fault> {
    ctx.mem.rcu_depth += 1;
    Ok(0)
}

fn rcu_unlock<S>(ctx: &mut Ctx<'_, S>, _: [u64; 5]) -> Result<u64, Fault> {
    let depth = ctx.mem.rcu_depth.checked_sub(1);
    ctx.mem.rcu_depth = depth.ok_or_else(|| Fault::violation("bpf_rcu_read_unlock without a lock"))?;
    Ok(0)
}

impl Memory {
    /// `bpf_spin_lock`; nothing has changed after a fault.
    pub(crate) fn lock(&mut self, lock: u64) -> Result<(), Fault> {
        let place = self.writable(Addr(lock), 4)?;
        if place != [0; 4] {
            return Err(Fault::violation(format!("lock already held: {}", self.describe(Addr(lock)))));
        }
        place.copy_from_slice(&1u32.to_le_bytes());
        self.locks.push(lock);
        Ok(())
    }

    /// `bpf_spin_unlock`; nothing has changed after a fault.
    pub(crate) fn unlock(&mut self, lock: u64) -> Result<(), Fault> {
        let Some(held) = self.locks.iter().rposition(|&held| held == lock) else {
            let what = self.describe(Addr(lock));
            return Err(Fault::violation(format!("unlock of a lock not held: {what}")));
        };
        self.writable(Addr(lock), 4)?.fill(0);
        self.locks.remove(held);
        Ok(())
    }

    /// What a call left behind that it must not, in words; cleans it up.
    pub(crate) fn end_of_call(&mut self) -> Option<String> {
        if self.locks.is_empty() && self.rcu_depth == 0 {
            return None;
        }
        let held = std::mem::take(&mut self.locks);
        let sections = std::mem::take(&mut self.rcu_depth);
        for &lock in &held {
            // A region that is gone holds no lock either.
            let _cleared = self.write_u32(Addr(lock), 0);
        }
        Some(match held.first() {
            Some(&lock) => format!("with a lock held: {}", self.describe(Addr(lock))),
            None => format!("inside {sections} RCU read-side sections"),
        })
    }
}
