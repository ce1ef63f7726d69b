// SPDX-License-Identifier: GPL-2.0-only
//! The virtual machine: its command line, one boot of it, and what that boot proves.

pub mod accel;
pub mod args;
pub mod console;
mod monitor;
pub mod session;
#[cfg(test)]
mod tests;
pub mod topology;
pub mod verdict;

use crate::kernels::Kernel;
use crate::{initramfs, paths, status};
use accel::Accel;
use anyhow::{Context, Result};
use args::Machine;
use guest::protocol::Plan;
use session::{Event, Limits, Session};
use std::fs;
use std::path::{Path, PathBuf};
use topology::Spec;

/// A boot that dies before the guest says that it is ready is tried this often in all.
const ATTEMPTS: u32 = 3;

/// What boots on this host: QEMU, how it runs instructions, and the packed programs.
pub struct Host {
    qemu: PathBuf,
    /// How QEMU runs the guest's instructions.
    pub accel: Accel,
    initramfs: Vec<u8>,
}

/// One boot: which kernel on which machine with which plan.
pub struct Boot<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The shape of the machine.
    pub topology: Spec,
    /// Seed of the deterministic mode.
    pub deterministic: Option<u64>,
    /// What the guest shall do.
    pub plan: &'a Plan,
    /// How long it may take.
    pub limits: Limits,
    /// Where logs go.
    pub dir: &'a Path,
}

impl Host {
    /// Finds QEMU and packs the programs.
    ///
    /// # Errors
    /// When QEMU is missing (status 69) or a program cannot be packed.
    pub fn new(init: &Path, programs: &[PathBuf]) -> Result<Self> {
        let qemu = crate::process::find(QEMU)
            .ok_or_else(|| status::unavailable(format!("{QEMU} is missing: run cargo xtask setup")))?;
        let accel = accel::choose(accel::qemu_major(&qemu)?);
        Ok(Self { qemu, accel, initramfs: initramfs::base(init, programs)? })
    }

    /// Boots, and boots again only when the machine died before the guest was ready.
    ///
    /// # Errors
    /// When QEMU cannot be started or no boot became ready (status 69).
    pub fn boot(&self, boot: &Boot, watch: &mut dyn FnMut(Event)) -> Result<Session> {
        paths::create_dir(boot.dir)?;
        let initramfs = boot.dir.join("initramfs.cpio");
        let mut bytes = self.initramfs.clone();
        bytes.extend(initramfs::plan(&serde_json::to_string_pretty(boot.plan)?)?);
        fs::write(&initramfs, bytes).context("cannot write the initramfs")?;
        let mut reason = String::new();
        for attempt in 1..=ATTEMPTS {
            let console = boot.dir.join(format!("console-{attempt}.log"));
            let machine = Machine {
                kernel: boot.kernel.image.clone(),
                initramfs: initramfs.clone(),
                console: console.clone(),
                topology: boot.topology,
                accel: self.accel,
                cmpxchg16b: args::needs_cmpxchg16b(&boot.kernel.name),
                deterministic: boot.deterministic,
            };
            let session = session::run(&self.qemu, &machine, boot, watch)?;
            if session.ready.is_some() {
                // Large, and made anew for every boot.
                let _ = fs::remove_file(&initramfs);
                return Ok(session);
            }
            reason = format!("{} before the guest was ready; see {}", session.end, paths::shown(&console));
            watch(Event::Note(&format!("boot {attempt} of {ATTEMPTS}: {reason}")));
        }
        Err(status::unavailable(format!("the VM did not come up with kernel {}: {reason}", boot.kernel.name)))
    }
}

/// The emulator's program name.
pub const QEMU: &str = "qemu-system-x86_64";
