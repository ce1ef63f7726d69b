// SPDX-License-Identifier: GPL-2.0-only
//! `cargo xtask vmtest`: runs scenarios in virtual machines, one at a time, and says what each proved.

#[cfg(test)]
mod tests;

use super::{build, setup};
use crate::kernels::{Kernel, Matrix, Role};
use crate::packages::FOR_ALL;
use crate::progress::{self, Step};
use crate::report::{self, Outcome};
use crate::vm::accel::Accel;
use crate::vm::session::{Event, Limits};
use crate::vm::topology::Spec;
use crate::vm::verdict::{Tally, judge};
use crate::vm::{Boot, Host};
use crate::{paths, status};
use anyhow::Result;
use guest::protocol::{Mode, Plan, Record};
use guest::scenarios::{self as table, KernelNeed, ScenarioInfo};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Results that are seen at once: with more, what did not pass is printed again at the end.
const SEEN_AT_ONCE: usize = 8;

/// Options of `vmtest`.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Scenarios to run [default: all]
    pub scenarios: Vec<String>,
    /// Scheduler to test; may be repeated [default: all]
    #[arg(long = "scheduler", value_name = "NAME")]
    pub schedulers: Vec<String>,
    /// Kernel: debian:SERIES, host or the path of an image; may be repeated [default: those of ci/kernels.toml]
    #[arg(long = "kernel", value_name = "KERNEL")]
    pub kernels: Vec<String>,
    /// Name the scenarios and what must hold, and run nothing
    #[arg(long)]
    pub list: bool,
    /// Count instructions instead of time: the same seed gives the same results
    #[arg(long, value_name = "SEED")]
    pub deterministic: Option<u64>,
    /// Machine for every scenario, such as 2n2l2c1t [default: what each scenario asks for]
    #[arg(long, value_name = "SPEC")]
    pub topology: Option<String>,
    /// Seed of every random choice in the guest [default: another one each time, and printed]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Machines at a time [default: one for each core where each takes one host thread, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: Option<u32>,
    /// Keep the logs of boots in which nothing failed, too
    #[arg(long)]
    pub keep: bool,
    /// Options for the scheduler, after a `--`
    #[arg(last = true)]
    pub scheduler_args: Vec<String>,
}

/// One machine with one kernel and one scheduler, and the scenarios that share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The kernel, as `--kernel` names it.
    pub kernel: String,
    /// The machine.
    pub topology: Spec,
    /// The scheduler.
    pub scheduler: String,
    /// The scenarios, in the table's order.
    pub scenarios: Vec<&'static ScenarioInfo>,
}

/// Runs the command.
///
/// # Errors
/// When an argument is wrong (status 2), or the VM itself cannot be had (status 69).
pub fn main(args: &Args) -> Result<u8> {
    if args.list {
        return Ok(list());
    }
    let (tally, vm_failure) = run(args)?;
    println!("{}", tally.line());
    Ok(match (tally.failed, vm_failure, tally.inconclusive) {
        (1.., _, _) => status::FAILED,
        (0, true, _) => status::UNAVAILABLE,
        (0, false, 1..) => status::INCONCLUSIVE,
        (0, false, 0) => 0,
    })
}

/// Runs the scenarios and counts. The second value says whether a machine could not be booted at all.
///
/// # Errors
/// When an argument is wrong (status 2), or a kernel or QEMU cannot be had (status 69).
pub fn run(args: &Args) -> Result<(Tally, bool)> {
    let matrix = Matrix::read()?;
    let topology = args.topology.as_deref().map(Spec::parse).transpose()?;
    let schedulers = schedulers(&args.schedulers)?;
    let scenarios = select(&args.scenarios)?;
    let groups = plan_groups(&matrix, &scenarios, &schedulers, &args.kernels, topology)?;
    setup::ensure(FOR_ALL)?;
    let mut kernels = BTreeMap::new();
    for group in &groups {
        if !kernels.contains_key(&group.kernel) {
            kernels.insert(group.kernel.clone(), matrix.image(&matrix.source(&group.kernel)?)?);
        }
    }
    let host = Host::new(&build::guest()?, &programs(&groups)?)?;
    let runner = Runner { args, host, dir: report::new_run_dir()?, seed: seed(args) };
    let jobs = runner.jobs().min(groups.len());
    eprintln!("machine: {}, {jobs} at a time; seed {}", runner.accel_name(), runner.seed);
    let mut vm_failure = false;
    let mut outcomes = Vec::new();
    for result in
        side_by_side(jobs, &longest_first(&groups), |group| runner.group(group, &kernels[&group.kernel]))
    {
        match result {
            Ok(more) => outcomes.extend(more),
            Err(error) => {
                // A machine that does not come up must not hide what the others show.
                vm_failure = true;
                eprintln!("error: {}", status::one_line(&error));
            }
        }
    }
    report::save(&runner.dir, &outcomes)?;
    runner.recall(&outcomes);
    let mut tally = Tally::default();
    for outcome in &outcomes {
        tally.add(outcome.result.verdict);
    }
    Ok((tally, vm_failure))
}

/// The groups by how long they usually take: the long ones first leave the shortest wait for the last.
fn longest_first(groups: &[Group]) -> Vec<&Group> {
    let usual = |group: &&Group| group.scenarios.iter().map(|info| info.usual_seconds).sum::<u64>();
    let mut sorted: Vec<&Group> = groups.iter().collect();
    sorted.sort_by_key(|group| std::cmp::Reverse(usual(group)));
    sorted
}

/// Does `work` on every item, `jobs` of them at a time, begun in their order; the results are in that order too.
fn side_by_side<T: Sync, R: Send>(jobs: usize, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some((index, item)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    items.get(index).map(|item| (index, item))
                } {
                    let result = work(item);
                    // A worker that panicked holds no half-made state here.
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn list() -> u8 {
    for info in table::all() {
        println!("{:<9} {}", info.name, info.title);
        println!("{:<9}   holds: {}", "", info.bound);
        println!("{:<9}   machines: {}; about {} s", "", info.topologies.join(" "), info.usual_seconds);
        println!("{:<9}   schedulers: {}", "", info.schedulers.join(" "));
    }
    0
}

/// The scenarios of these names; a name also takes its variants (`5` takes `5-no-ext`). All of them for no names.
fn select(names: &[String]) -> Result<Vec<&'static ScenarioInfo>> {
    let all = table::all();
    let fits = |info: &ScenarioInfo, name: &str| {
        let (known, name) = (info.name.to_ascii_lowercase(), name.to_ascii_lowercase());
        known == name || known.strip_prefix(&name).is_some_and(|rest| rest.starts_with('-'))
    };
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|info| fits(info, name))) {
        let known: Vec<&str> = all.iter().map(|info| info.name).collect();
        return Err(status::usage(format!("scenario '{unknown}' is not known; known: {}", known.join(", "))));
    }
    Ok(all.iter().filter(|info| names.is_empty() || names.iter().any(|name| fits(info, name))).collect())
}

/// The schedulers of these names, each once, in the order of [`build::schedulers`]; all that exist for no names.
fn schedulers(names: &[String]) -> Result<Vec<String>> {
    names.iter().try_for_each(|name| build::known(name))?;
    let mut chosen = build::schedulers()?;
    chosen.retain(|known| names.is_empty() || names.contains(known));
    Ok(chosen)
}

/// Builds the schedulers that these groups need.
fn programs(groups: &[Group]) -> Result<Vec<PathBuf>> {
    let needed: BTreeSet<&str> = groups.iter().map(|group| group.scheduler.as_str()).collect();
    needed.into_iter().map(|name| build::program(name, false)).collect()
}

/// Puts scenarios that want the same machine, kernel and scheduler into one boot.
///
/// # Errors
/// When a kernel is not known or none of the scenarios concerns any of the schedulers (status 2).
fn plan_groups(
    matrix: &Matrix,
    scenarios: &[&'static ScenarioInfo],
    schedulers: &[String],
    kernels: &[String],
    topology: Option<Spec>,
) -> Result<Vec<Group>> {
    let chosen: Vec<&str> = match kernels {
        [] => matrix.supported(),
        kernels => kernels.iter().map(String::as_str).collect(),
    };
    for kernel in &chosen {
        matrix.source(kernel)?;
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut add = |kernel: &str, scheduler: &str, info: &'static ScenarioInfo| -> Result<()> {
        let specs: Result<Vec<Spec>> = match topology {
            Some(spec) => Ok(vec![spec]),
            None => info.topologies.iter().map(|text| Spec::parse(text)).collect(),
        };
        for topology in specs? {
            let same = |group: &&mut Group| {
                group.kernel == kernel && group.topology == topology && group.scheduler == scheduler
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.scenarios.push(info),
                None => groups.push(Group {
                    kernel: kernel.to_owned(),
                    topology,
                    scheduler: scheduler.to_owned(),
                    scenarios: vec![info],
                }),
            }
        }
        Ok(())
    };
    let places = chosen.into_iter().map(|kernel| (kernel, KernelNeed::Any));
    let without = (matrix.with_role(Role::WithoutSchedExt), KernelNeed::WithoutSchedExt);
    for (kernel, need) in places.chain([without]) {
        for scheduler in schedulers {
            for info in scenarios.iter().filter(|info| info.kernel == need && info.concerns(scheduler)) {
                add(kernel, scheduler, info)?;
            }
        }
    }
    if groups.is_empty() {
        let names: Vec<&str> = scenarios.iter().map(|info| info.name).collect();
        let (names, schedulers) = (names.join(", "), schedulers.join(", "));
        return Err(status::usage(format!(
            "nothing to run: scenario {names} does not concern {schedulers}; see cargo xtask vmtest --list"
        )));
    }
    Ok(groups)
}

fn seed(args: &Args) -> u64 {
    let clock =
        || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |now| now.subsec_micros());
    args.seed.or(args.deterministic).unwrap_or_else(|| u64::from(clock()))
}

struct Runner<'a> {
    args: &'a Args,
    host: Host,
    dir: PathBuf,
    seed: u64,
}

impl Runner<'_> {
    fn accel(&self) -> Accel {
        if self.args.deterministic.is_some() { Accel::TcgSingle } else { self.host.accel }
    }

    /// How many machines run side by side. One that takes a single host thread leaves the other cores idle; any other
    /// would disturb its neighbour's clock.
    fn jobs(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let fitting = if self.accel() == Accel::TcgSingle { cores } else { 1 };
        self.args.jobs.map_or(fitting, |jobs| jobs as usize)
    }

    fn accel_name(&self) -> &'static str {
        match self.args.deterministic {
            Some(_) => "emulation, deterministic",
            None => self.host.accel.name(),
        }
    }

    /// Boots one group; scenarios that a lost machine left behind get another boot.
    fn group(&self, group: &Group, kernel: &Kernel) -> Result<Vec<Outcome>> {
        let mut all = Vec::new();
        let mut left = group.scenarios.clone();
        for round in 1.. {
            let place = format!("{}-{}-{}-{round}", group.scheduler, group.kernel, group.topology);
            let dir = self.dir.join(place.replace(['/', ':'], "-"));
            let (outcomes, rest) = self.boot(group, kernel, &left, &dir)?;
            let kept = self.args.keep || outcomes.iter().any(|outcome| outcome.bad());
            progress::pause(|| outcomes.iter().for_each(|outcome| self.print(outcome)));
            all.extend(outcomes);
            if !kept {
                // Nothing in there is of interest any more.
                let _ = std::fs::remove_dir_all(&dir);
            }
            if rest.is_empty() {
                break;
            }
            left = rest;
        }
        Ok(all)
    }

    /// One boot: the outcomes of what ran, and the scenarios that did not.
    fn boot(
        &self,
        group: &Group,
        kernel: &Kernel,
        scenarios: &[&'static ScenarioInfo],
        dir: &Path,
    ) -> Result<(Vec<Outcome>, Vec<&'static ScenarioInfo>)> {
        let plan = Plan {
            scenarios: scenarios.iter().map(|info| info.name.to_owned()).collect(),
            scheduler: group.scheduler.clone(),
            scheduler_args: self.args.scheduler_args.clone(),
            seconds: 0.0,
            seed: self.seed,
            mode: Mode::Test,
        };
        let limits = limits(scenarios, self.accel());
        let deterministic = self.args.deterministic;
        let boot = Boot { kernel, topology: group.topology, deterministic, plan: &plan, limits, dir };
        let usual: u64 = scenarios.iter().map(|info| info.usual_seconds).sum();
        let step =
            Step::new(format!("{} with {} on {}", group.scheduler, kernel.name, group.topology), usual);
        let mut finished = 0;
        let session = self.host.boot(&boot, &mut |event| match event {
            Event::Console(line) => step.at(0, line),
            Event::Record(Record::Step { scenario, text }) => {
                step.at(finished, &format!("{scenario}: {text}"))
            }
            Event::Record(Record::Result { scenario, .. }) => {
                finished += table::find(scenario).map_or(0, |info| info.usual_seconds);
                step.at(finished, "");
            }
            Event::Record(_) => {}
            Event::Note(text) => step.line(text),
        });
        step.clear();
        let (mut outcomes, mut rest) = (Vec::new(), Vec::new());
        for (judged, info) in judge(&plan.scenarios, &session?).into_iter().zip(scenarios) {
            if judged.not_run {
                rest.push(*info);
            } else {
                outcomes.push(Outcome {
                    scheduler: group.scheduler.clone(),
                    kernel: group.kernel.clone(),
                    topology: group.topology.to_string(),
                    result: judged.result,
                    logs: dir.to_owned(),
                });
            }
        }
        Ok((outcomes, rest))
    }

    fn print(&self, outcome: &Outcome) {
        println!("{}", outcome.line());
        if !outcome.bad() {
            return;
        }
        for reason in outcome.reasons() {
            println!("    {reason}");
        }
        println!("    logs: {}", paths::shown(&outcome.logs));
        println!("    again: {}", self.again(outcome));
    }

    /// Prints what needs a look once more at the end of a long run, where it is found.
    fn recall(&self, outcomes: &[Outcome]) {
        let bad: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.bad()).collect();
        if bad.is_empty() || outcomes.len() <= SEEN_AT_ONCE {
            return;
        }
        println!("\nOf {} scenarios {} did not pass:", outcomes.len(), bad.len());
        bad.into_iter().for_each(|outcome| self.print(outcome));
    }

    /// The command that runs one scenario again as it ran here.
    fn again(&self, outcome: &Outcome) -> String {
        let Outcome { scheduler, kernel, topology, result, .. } = outcome;
        let mut command = format!(
            "cargo xtask vmtest {} --scheduler {scheduler} --kernel {kernel} --topology {topology}",
            result.scenario
        );
        if let Some(seed) = self.args.deterministic {
            command.push_str(&format!(" --deterministic={seed}"));
        }
        command.push_str(&format!(" --seed {}", self.seed));
        if !self.args.scheduler_args.is_empty() {
            command.push_str(&format!(" -- {}", self.args.scheduler_args.join(" ")));
        }
        command
    }
}

/// Emulation gets more wall time than the guest's own limits, which count the guest's time.
fn limits(scenarios: &[&'static ScenarioInfo], accel: Accel) -> Limits {
    let slowness = accel.slowness();
    let scenario = |info: &&ScenarioInfo| Duration::from_secs(info.timeout_seconds + 60) * slowness.min(3);
    Limits { ready: Duration::from_secs(90) * slowness, scenarios: scenarios.iter().map(scenario).collect() }
}
