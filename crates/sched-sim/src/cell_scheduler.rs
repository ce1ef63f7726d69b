// SPDX-License-Identifier: GPL-2.0-only
//! cell-scheduler on the simulator: its object, and its own loop in virtual time over the model's cgroups.

use ::cell_scheduler::cells::{Cell, CellId, CellKey};
use ::cell_scheduler::cgroups::{Child, Exclude, Scan, by_config};
use ::cell_scheduler::config::Config;
use ::cell_scheduler::kernel;
use ::cell_scheduler::machine::Machine;
use ::cell_scheduler::options::Options;
use ::cell_scheduler::run::{self, Host, Running};
use ::cell_scheduler::stats::Metrics;
use ::cell_scheduler::tenants::{Found, Tenant};
use ::cell_scheduler::weigher::TreeNode;
use anyhow::Result;
use runtime::daemon::Ending;
use runtime::exit::UsageError;
use sim::bpf::{Session, SimObject};
use sim::cgroup::CgroupView;
use sim::report::{Chart, Series};
use topology::{CpuSet, Topology};

use crate::drive::{self, Attachment, Scheduler, SimHost};

/// What a run of the scheduler left behind.
pub type Outcome = drive::Outcome<Metrics>;

/// What members are made of.
enum Source {
    /// Nothing: everything is everything else.
    Nothing,
    /// The children of the cgroup at a path, but for those excluded.
    Children { parent: String, exclude: Exclude },
    /// What a file says.
    File(Config),
}

impl Source {
    fn new(options: &Options) -> Result<Self, UsageError> {
        let usage = |error: &dyn std::fmt::Display| UsageError(error.to_string());
        if let Some(path) = &options.config {
            return Config::load(path).map(Self::File).map_err(|error| usage(&error));
        }
        let Some(path) = &options.cell_parent_cgroup else { return Ok(Self::Nothing) };
        let parent = format!("/{}", path.display()).replace("//", "/");
        let exclude = Exclude::new(&options.cell_exclude).map_err(|error| usage(&error))?;
        Ok(Self::Children { parent, exclude })
    }
}

/// The scheduler with what it has learnt.
pub struct CellScheduler {
    options: Options,
    source: Source,
    machine: Option<Machine>,
    running: Running,
    outcome: Outcome,
}

impl CellScheduler {
    /// Not attached yet.
    ///
    /// # Errors
    /// A pattern or a file that cannot be used.
    pub fn new(options: Options) -> Result<Self, UsageError> {
        let source = Source::new(&options)?;
        Ok(Self { options, source, machine: None, running: Running::default(), outcome: Outcome::default() })
    }
}

impl Scheduler for CellScheduler {
    fn name(&self) -> &'static str {
        ::cell_scheduler::NAME
    }

    fn prepare(&mut self, now: &Topology) -> Result<Attachment> {
        let machine = Machine::new(now.clone(), self.options.max_cpus_per_queue)?;
        let setup = kernel::setup(&machine, &self.options)?;
        self.machine = Some(machine);
        Ok(Attachment { object: kernel::object_bytes(), setup })
    }

    fn run(&mut self, object: &mut SimObject, session: &Session) -> Result<Ending> {
        let machine = self.machine.as_ref().expect("prepare came first");
        let finder = Finder { source: &self.source, last: None };
        let mut host = SimHost::new(session, &mut self.outcome, finder);
        Ok(run::run(object, machine, &self.options, &mut host, &mut self.running)?)
    }

    fn restarts(&mut self) {
        self.running.restarts += 1;
    }

    fn statistics(&self) -> Result<serde_json::Value> {
        Ok(serde_json::to_value(&self.outcome.metrics)?)
    }

    fn charts(&self) -> Vec<Chart> {
        let mut names: Vec<&String> =
            self.outcome.history.iter().flat_map(|(_, metrics)| metrics.members.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let points = |name: &String| {
            let point = |(at, metrics): &(u64, Metrics)| {
                metrics.members.get(name).map(|member| (*at, member.utilisation))
            };
            self.outcome.history.iter().filter_map(point).collect()
        };
        let series = |name: &String| Series { name: name.clone(), points: points(name) };
        let series = names.into_iter().map(series).collect();
        let title = "CPUs used by each member".to_owned();
        vec![Chart {
            title,
            about: "CPU time of its tasks in the last round, in CPUs of full speed.".to_owned(),
            series,
        }]
    }
}

/// What members are made of, and what was found last.
struct Finder<'a> {
    source: &'a Source,
    last: Option<Found>,
}

impl SimHost<'_, Metrics, Finder<'_>> {
    /// The members as they are now.
    fn find(&self) -> Result<Found, String> {
        let (parent, exclude) = match self.more.source {
            Source::Nothing => return Ok(Found::default()),
            Source::File(config) => return Ok(by_config(config, &scan(self.cgroups()))),
            Source::Children { parent, exclude } => (parent, exclude),
        };
        let views = self.cgroups();
        let Some(above) = views.iter().find(|view| view.path == *parent) else {
            return Err(format!("cgroup {parent} has vanished"));
        };
        let child = |view: &&CgroupView| view.parent_id == above.id && view.id != above.id;
        let wanted = |tenant: &Tenant| !exclude.matches(&tenant.name);
        let tenants = views.iter().filter(child).map(tenant).filter(wanted).collect();
        Ok(Found { tenants, ..Found::default() })
    }
}

/// All cgroups but the root, as a walk through the filesystem finds them.
fn scan(views: Vec<CgroupView>) -> Scan {
    let child = |view: CgroupView| Child {
        path: view.path[1..].to_owned(),
        inode: view.id,
        weight: view.weight,
        cpuset: cpuset(&view),
        weight_unread: false,
        cpuset_unread: false,
    };
    let mut children: Vec<Child> = views.into_iter().filter(|view| view.level > 0).map(child).collect();
    children.sort_by(|a, b| a.path.cmp(&b.path));
    Scan { children, ..Scan::default() }
}

/// The cpuset of a cgroup, if one is set there or above.
fn cpuset(view: &CgroupView) -> Option<CpuSet> {
    view.restricted.then(|| CpuSet::parse_list(&view.cpuset).ok()).flatten()
}

fn tenant(view: &CgroupView) -> Tenant {
    let name = view.path.rsplit('/').next().unwrap_or_default().to_owned();
    Tenant {
        key: CellKey::Cgroup { path: name.clone(), inode: view.id },
        name,
        cgroups: vec![view.id],
        paths: vec![view.path.clone()],
        template: Cell { weight: view.weight, cpuset: cpuset(view), ..Cell::new(CellId::ROOT) },
    }
}

impl Host for SimHost<'_, Metrics, Finder<'_>> {
    fn look(&mut self, _due: bool) -> Result<Option<Found>, String> {
        let found = self.find()?;
        if self.more.last.as_ref() == Some(&found) {
            return Ok(None);
        }
        self.more.last = Some(found.clone());
        Ok(Some(found))
    }

    fn tree(&mut self) -> Vec<TreeNode> {
        let node = |view: &CgroupView| TreeNode { id: view.id, parent: view.parent(), weight: view.weight };
        self.cgroups().iter().map(node).collect()
    }
}

/// Options from the words of a command line (without the program's name).
///
/// # Errors
/// As [`drive::parse`] and [`drive::refuse_without_effect`], and what the scheduler itself would say about them.
pub fn options(words: &[String]) -> Result<Options> {
    let options: Options = drive::parse(::cell_scheduler::NAME, words)?;
    let more = [("--dry-run", options.dry_run), ("--version", options.version)];
    drive::refuse_without_effect(&options.common, &more)?;
    options.check()?;
    Ok(options)
}

/// Attaches the scheduler to the session's model and lets its loop run to the end, attaching again as often as the loop of
/// the real program would.
///
/// # Errors
/// As [`CellScheduler::new`] and [`drive::drive`].
pub fn run(session: &Session, topology: &Topology, options: &Options) -> Result<Outcome> {
    let mut scheduler = CellScheduler::new(options.clone())?;
    let exits = drive::drive(session, topology, &mut scheduler)?;
    Ok(Outcome { exits, ..scheduler.outcome })
}
