// SPDX-License-Identifier: GPL-2.0-only
//! A private apt directory: own sources, lists and cache, so that any user can fetch a kernel package with apt's
//! signature checks while the host's configuration stays untouched.
//!
//! The mirror is the one that the host's own apt uses. Proxies and the like (`Acquire::…`) are taken over from the
//! host; its hooks are not, for they act on the host's directories.

use crate::progress::Step;
use crate::{paths, process, status};
use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// Lists younger than this are not fetched again.
const FRESH: Duration = Duration::from_secs(24 * 3600);
/// Names a mirror where the host's apt knows none.
pub const MIRROR_VARIABLE: &str = "XTASK_DEBIAN_MIRROR";
/// Where Debian installs the keys that its archives are signed with.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// One private apt directory, for one group of suites; held by one process at a time.
pub struct Apt {
    dir: PathBuf,
    _lock: Flock<File>,
}

impl Apt {
    /// Opens the directory for these suites, and waits while another process uses it.
    ///
    /// # Errors
    /// When this host has no apt, no Debian mirror or no keys for it (status 69).
    pub fn open(suites: &[String]) -> Result<Self> {
        for tool in ["apt-get", "apt-cache", "apt-config", "dpkg-deb"] {
            if process::find(tool).is_none() {
                return Err(status::unavailable(format!(
                    "Debian's kernels are fetched with {tool}, which is not here; give an image with --kernel PATH"
                )));
            }
        }
        let dir = paths::cache().join("apt").join(suites.join("+"));
        for folder in ["lists/partial", "cache/archives/partial"] {
            paths::create_dir(&dir.join(folder))?;
        }
        let lock_file =
            File::create(dir.join("xtask.lock")).context("cannot lock the private apt directory")?;
        let lock = Flock::lock(lock_file, FlockArg::LockExclusive)
            .map_err(|(_, error)| anyhow::anyhow!("cannot lock the private apt directory: {error}"))?;
        let sources = sources(&mirror()?, suites, keyring()?);
        let inherited = process::text(Command::new("apt-config").arg("dump")).unwrap_or_default();
        let config = config(&dir, &inherited);
        if fs::read_to_string(dir.join("sources.list")).ok().as_ref() != Some(&sources) {
            // Lists of another mirror must not count as fresh ones of this.
            let _ = fs::remove_file(dir.join("updated"));
        }
        fs::write(dir.join("sources.list"), sources).context("cannot write the private apt directory")?;
        fs::write(dir.join("apt.conf"), config).context("cannot write the private apt directory")?;
        Ok(Self { dir, _lock: lock })
    }

    /// Whether the package lists were fetched in the last day.
    pub fn fresh(&self) -> bool {
        let updated = fs::metadata(self.dir.join("updated")).and_then(|meta| meta.modified());
        updated.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < FRESH))
    }

    /// Fetches the package lists.
    ///
    /// # Errors
    /// When the mirror cannot be reached or its signature does not hold (status 69).
    pub fn update(&self) -> Result<()> {
        let step = Step::new("kernel: fetching package lists", 0);
        let mut command = self.command("apt-get");
        let output = process::output(command.args(["-q", "update", "-o", "APT::Update::Error-Mode=any"]))?;
        if !output.status.success() {
            step.clear();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let line = text.lines().find(|line| line.starts_with("E:") || line.starts_with("W:"));
            let reason = line.map_or_else(|| process::last_line(&output), |line| line[2..].trim().to_owned());
            return Err(status::unavailable(format!("no package lists from the Debian mirror: {reason}")));
        }
        step.done("");
        File::create(self.dir.join("updated")).context("cannot write the private apt directory")?;
        Ok(())
    }

    /// The names of all packages that the lists know and that begin like a kernel image.
    ///
    /// # Errors
    /// When apt cannot read its lists.
    pub fn kernel_packages(&self) -> Result<Vec<String>> {
        let names = process::text(self.command("apt-cache").args(["pkgnames", "linux-"]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Downloads a package into `folder` and gives the file.
    ///
    /// # Errors
    /// When the download fails or the package does not match its signed checksum (status 69).
    pub fn download(&self, package: &str, folder: &Path) -> Result<PathBuf> {
        let step = Step::new(format!("kernel: downloading {package}"), 100);
        let mut command = self.command("apt-get");
        command.args(["-q", "-o", "APT::Status-Fd=1", "download", package]).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            process::die_with_us(&mut command, Signal::SIGTERM).spawn().context("cannot run apt-get")?;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(percent) = download_percent(&line) {
                    step.at(percent, "");
                }
            }
        }
        let mut errors = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            stderr.read_to_string(&mut errors).context("cannot read what apt-get says")?;
        }
        let status = child.wait().context("cannot wait for apt-get")?;
        if !status.success() {
            step.clear();
            let reason =
                errors.lines().rev().find(|line| line.starts_with("E:")).unwrap_or("no reason given");
            return Err(status::unavailable(format!("cannot download {package}: {reason}")));
        }
        let mut files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
        let Some(file) = files.find(|path| path.extension().is_some_and(|ext| ext == "deb")) else {
            bail!("apt-get downloaded {package} without an error, but left no file");
        };
        let mib = file.metadata().map_or(0.0, |meta| meta.len() as f64 / 1048576.0);
        step.done(&format!("{mib:.1} MiB"));
        Ok(file)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C.UTF-8");
        command
    }
}

/// The percentage in a line of apt's status stream, `dlstatus:1:20.5:…`.
pub fn download_percent(line: &str) -> Option<u64> {
    let percent: f64 = line.strip_prefix("dlstatus:")?.split(':').nth(1)?.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent as u64)
}

/// The contents of `sources.list`: only package lists, no translations and no catalogues.
pub fn sources(mirror: &str, suites: &[String], keyring: &str) -> String {
    let line = |suite: &String| {
        format!("deb [arch=amd64 target=Packages signed-by={keyring}] {mirror} {suite} main\n")
    };
    suites.iter().map(line).collect()
}

/// The contents of `apt.conf`: everything of apt's that is a place points into `dir`.
///
/// apt reads this file first, so naming `/dev/null` for the host's parts keeps them out; what they say about fetching
/// is copied from `inherited`, the output of `apt-config dump`.
pub fn config(dir: &Path, inherited: &str) -> String {
    let dir = dir.display();
    let mut text = format!(
        "Dir::Etc::Parts \"/dev/null\";\nDir::Etc::Main \"/dev/null\";\nDir::Etc::SourceList \"{dir}/sources.list\";\n\
         Dir::Etc::SourceParts \"/dev/null\";\nDir::Etc::Preferences \"/dev/null\";\n\
         Dir::Etc::PreferencesParts \"/dev/null\";\nDir::State \"{dir}\";\nDir::State::Lists \"{dir}/lists\";\n\
         Dir::State::status \"/dev/null\";\nDir::Cache \"{dir}/cache\";\nDir::Log \"{dir}\";\n\
         APT::Architecture \"amd64\";\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n\
         Acquire::AllowInsecureRepositories \"false\";\nAPT::Get::AllowUnauthenticated \"false\";\n"
    );
    let ours =
        ["Acquire::Languages", "Acquire::AllowInsecure", "Acquire::IndexTargets", "Acquire::Changelogs"];
    let kept = inherited.lines().filter(|line| {
        line.starts_with("Acquire::")
            && !ours.iter().any(|prefix| line.starts_with(prefix))
            && !line.ends_with(" \"\";")
    });
    for line in kept {
        text.push_str(line);
        text.push('\n');
    }
    // A mirror that is not there must not hold the user up for minutes.
    text.push_str(
        "Acquire::Retries \"1\";\nAcquire::http::Timeout \"20\";\nAcquire::https::Timeout \"20\";\n",
    );
    text
}

fn keyring() -> Result<&'static str> {
    KEYRINGS.into_iter().find(|path| Path::new(path).exists()).ok_or_else(|| {
        status::unavailable(
            "the keys of Debian's archive are missing: install the package debian-archive-keyring",
        )
    })
}

fn mirror() -> Result<String> {
    if let Ok(mirror) = std::env::var(MIRROR_VARIABLE) {
        return Ok(mirror);
    }
    let targets = process::text(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(ORIGIN)|$(LABEL)|$(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    find_mirror(&targets).ok_or_else(|| {
        status::unavailable(format!(
            "the apt of this host knows no Debian mirror: set {MIRROR_VARIABLE} to the address of one, or give an image with --kernel PATH"
        ))
    })
}

/// The address of Debian's main archive in lines of `origin|label|address`, not that of its security archive.
pub fn find_mirror(targets: &str) -> Option<String> {
    let mut uris = targets.lines().filter_map(|line| {
        let mut fields = line.splitn(3, '|');
        let (origin, label, uri) = (fields.next()?, fields.next()?, fields.next()?);
        (origin == "Debian" && label == "Debian").then(|| uri.trim_end_matches('/').to_owned())
    });
    uris.next()
}
