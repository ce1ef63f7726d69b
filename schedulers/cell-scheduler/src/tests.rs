// SPDX-License-Identifier: GPL-2.0-only
//! The loop over a made-up BPF side: members come, work, go, and the tables follow.

use std::time::Duration;

use clap::Parser;
use runtime::daemon::Ending;
use runtime::exit::ExitRecord;
use topology::Topology;

use crate::cells::{Cell, CellId, CellKey};
use crate::doors;
use crate::machine::Machine;
use crate::options::Options;
use crate::run::{Running, run};
use crate::tenants::{Found, Tenant};
use crate::weigher::{Changes, TreeNode};

mod fake;

use fake::{FakeObject, ManualHost, Use};

const SECOND: u64 = 1_000_000_000;

fn tenant(inode: u64) -> Tenant {
    let path = format!("tenant-{inode}");
    Tenant {
        key: CellKey::Cgroup { path: path.clone(), inode },
        paths: vec![path.clone()],
        name: path,
        cgroups: vec![inode],
        template: Cell::new(CellId::ROOT),
    }
}

fn found(inodes: &[u64]) -> Found {
    Found { tenants: inodes.iter().map(|inode| tenant(*inode)).collect(), ..Found::default() }
}

struct Ran {
    ending: Ending,
    running: Running,
}

fn run_on(spec: &str, arguments: &[&str], object: &mut FakeObject, host: &mut ManualHost) -> Ran {
    let options =
        Options::try_parse_from([&["cell-scheduler"], arguments].concat()).expect("valid arguments");
    let topology = Topology::from_spec(spec).expect("valid spec");
    let machine = Machine::new(topology, options.max_cpus_per_queue).expect("CPUs");
    let mut running = Running::default();
    let ending = run(object, &machine, &options, host, &mut running).expect("halves that fit");
    Ran { ending, running }
}

/// Every CPU is in exactly one cell in every table that ever counted; the fake checks the same when it is applied.
fn assert_partitions(object: &FakeObject, cpus: usize) {
    for (at, table) in object.applied.iter().enumerate() {
        assert_eq!(table.sequence, at as u64 + 1);
        assert!(table.cpu_cell[..cpus].iter().all(|cell| u32::from(*cell) < table.nr_cells), "table {at}");
        assert!(
            table.slot_cell[..table.nr_slots as usize].iter().all(|cell| u32::from(*cell) < table.nr_cells)
        );
    }
}

#[test]
fn without_members_everything_is_cell_0() {
    let mut object = FakeObject::new(8);
    let mut host = ManualHost::new(Duration::from_secs(3), Vec::new());
    let ran = run_on("2n2l2c1t", &[], &mut object, &mut host);
    assert!(matches!(ran.ending, Ending::Shutdown));
    assert_eq!(object.cpus_of(0), 8);
    let last = host.published.last().expect("statistics");
    assert_eq!((last.nr_cells, last.nr_members, last.nr_tasks), (1, 1, 3));
    assert_eq!(last.cells[&0].cpus, "0-7");
    assert_eq!((last.members["/"].nr_tasks, last.cells[&0].lent_ns), (3, 10));
    // The very first figures come before any table of the loop's own.
    let first = &host.published[0];
    assert_eq!(
        (first.sequence, first.cells[&0].cpus.as_str(), first.members["/"].cpus.as_str()),
        (0, "0-7", "0-7")
    );
    assert!(object.searches > 20, "queues are looked after all the time: {}", object.searches);
}

#[test]
fn a_member_that_works_gets_cpus_and_the_statistics_agree_with_the_table() {
    let mut object = FakeObject::new(8);
    object.uses.insert(10, Use { cpus: 5.0, waiting: 2.0 });
    object.uses.insert(11, Use { cpus: 1.0, waiting: 0.0 });
    let mut host = ManualHost::new(Duration::from_secs(20), vec![(0, Ok(found(&[10, 11])))]);
    let ran = run_on("2n2l2c1t", &[], &mut object, &mut host);
    assert_partitions(&object, 8);
    assert!(object.cpus_of(10) >= 4 && object.cpus_of(10) > object.cpus_of(11), "{}", object.cpus_of(10));
    assert!(object.cpus_of(11) >= 1);
    assert_eq!((ran.running.rounds_failed, ran.running.discovery_errors), (0, 0));
    let last = host.published.last().expect("statistics");
    let member = &last.members["tenant-10"];
    assert_eq!(member.cell, u64::from(object.cell_of(10)));
    assert_eq!(last.cells[&(member.cell as u32)].nr_cpus, object.cpus_of(10) as u64);
    assert!((4.5..5.5).contains(&member.utilisation) && member.demand > 5.0, "{member:?}");
    assert_eq!(last.sequence, object.sequence);
    assert_eq!(last.reconfigurations, object.applied.len() as u64);
}

#[test]
fn steady_work_leaves_the_tables_alone() {
    let mut object = FakeObject::new(8);
    object.uses.insert(10, Use { cpus: 3.0, waiting: 1.0 });
    object.uses.insert(11, Use { cpus: 3.0, waiting: 1.0 });
    let mut host = ManualHost::new(Duration::from_secs(60), vec![(0, Ok(found(&[10, 11])))]);
    run_on("2n2l2c1t", &[], &mut object, &mut host);
    let settled = host.published[host.published.len() / 2].sequence;
    assert_eq!(host.published.last().expect("statistics").sequence, settled);
}

/// Times of the rounds that applied a table, ns.
fn changes(host: &ManualHost) -> Vec<u64> {
    let pairs = host.published.windows(2);
    pairs.filter(|pair| pair[0].sequence != pair[1].sequence).map(|pair| pair[1].at_ns).collect()
}

#[test]
fn intervals_threshold_and_cool_down_are_those_asked_for() {
    let run = |arguments: &[&str]| {
        let mut object = FakeObject::new(8);
        object.uses.insert(10, Use { cpus: 6.0, waiting: 2.0 });
        object.uses.insert(11, Use { cpus: 1.0, waiting: 0.0 });
        object.swing_ns = 3 * SECOND;
        let mut host = ManualHost::new(Duration::from_secs(20), vec![(0, Ok(found(&[10, 11])))]);
        let ran = run_on("2n2l2c1t", arguments, &mut object, &mut host);
        (ran.running.rounds, host)
    };
    let (usual_rounds, usual) = run(&[]);
    assert!((40..=42).contains(&usual_rounds), "{usual_rounds} rounds of half a second");
    assert!((4..=5).contains(&usual.due_ns.len()), "looks every 5 s: {:?}", usual.due_ns);
    let (rounds, host) = run(&["--rebalance-interval", "2", "--reconfiguration-interval", "1"]);
    assert!((10..=12).contains(&rounds), "{rounds} rounds of two seconds");
    assert!((20..=21).contains(&host.due_ns.len()), "looks every second: {:?}", host.due_ns);
    let gaps =
        |host: &ManualHost| -> Vec<u64> { changes(host).windows(2).map(|pair| pair[1] - pair[0]).collect() };
    assert!(
        changes(&usual).len() >= 5 && gaps(&usual).iter().skip(1).all(|gap| *gap >= 2 * SECOND),
        "{:?}",
        changes(&usual)
    );
    let (_, slow) = run(&["--cool-down", "7"]);
    assert!(gaps(&slow).iter().skip(1).all(|gap| *gap >= 7 * SECOND), "{:?}", changes(&slow));
    assert!((2..changes(&usual).len()).contains(&changes(&slow).len()), "{:?}", changes(&slow));
    let (_, deaf) = run(&["--rebalance-threshold", "100"]);
    assert_eq!(changes(&deaf).len(), 1, "only the cells' beginning: {:?}", changes(&deaf));
}

#[test]
fn a_cgroup_made_anew_under_its_path_counts_from_zero() {
    let again = Tenant {
        key: CellKey::Cgroup { path: "tenant-10".to_owned(), inode: 99 },
        cgroups: vec![99],
        ..tenant(10)
    };
    let mut object = FakeObject::new(8);
    object.uses.insert(10, Use { cpus: 4.0, waiting: 0.0 });
    let changes =
        vec![(0, Ok(found(&[10]))), (10 * SECOND, Ok(Found { tenants: vec![again], ..Found::default() }))];
    let mut host = ManualHost::new(Duration::from_secs(14), changes);
    run_on("2n2l2c1t", &[], &mut object, &mut host);
    assert_eq!(object.members.keys().copied().collect::<Vec<_>>(), [99]);
    let before = host.published.iter().rfind(|metrics| metrics.at_ns < 10 * SECOND).expect("statistics");
    assert!(before.members["tenant-10"].used_ns > 30 * SECOND);
    // The old cgroup's time, counted under the same slot, is not the new one's.
    assert_eq!(host.published.last().expect("statistics").members["tenant-10"].used_ns, 0);
}

#[test]
fn members_that_are_gone_give_their_cpus_back() {
    let mut object = FakeObject::new(8);
    object.uses.insert(10, Use { cpus: 4.0, waiting: 4.0 });
    let changes = vec![(0, Ok(found(&[10]))), (8 * SECOND, Ok(found(&[])))];
    let mut host = ManualHost::new(Duration::from_secs(12), changes);
    run_on("2n2l2c1t", &[], &mut object, &mut host);
    assert!(object.members.is_empty());
    assert_eq!(object.cpus_of(0), 8);
    assert_eq!(host.published.last().expect("statistics").nr_members, 1);
}

#[test]
fn more_members_than_cpus_share_cells() {
    let inodes: Vec<u64> = (100..120).collect();
    let mut object = FakeObject::new(4);
    for inode in &inodes {
        object.uses.insert(*inode, Use { cpus: 0.2, waiting: 0.1 });
    }
    let mut host = ManualHost::new(Duration::from_secs(10), vec![(0, Ok(found(&inodes)))]);
    let ran = run_on("1n2l2c1t", &[], &mut object, &mut host);
    assert_partitions(&object, 4);
    assert!(inodes.iter().all(|inode| object.cpus_of(*inode) >= 1));
    assert!(ran.running.merges > 0);
    let last = host.published.last().expect("statistics");
    let member = &last.members["tenant-100"];
    assert_eq!((member.merged, member.merges, member.splits), (1, 1, 0));
    // A cell's figures are its members'.
    for cell in last.cells.values() {
        let names: Vec<&str> = cell.members.split(',').collect();
        let members = || last.members.iter().filter(|(name, _)| names.contains(&name.as_str()));
        assert_eq!(cell.nr_tasks, members().map(|(_, member)| member.nr_tasks).sum::<u64>());
        let demand: f64 = members().map(|(_, member)| member.demand).sum();
        assert!((cell.demand - demand).abs() < 1e-9, "{cell:?}");
    }
}

/// Six members that come at once to four CPUs, a second after a start long after the clock's zero; one of them works from
/// then on without ever changing.
fn crowd_with_a_worker(seconds: u64) -> (FakeObject, ManualHost, Ran) {
    let start_ns = 1000 * SECOND;
    let mut object = FakeObject::new(4);
    object.uses.insert(10, Use { cpus: 3.0, waiting: 0.0 });
    object.begins_ns = start_ns + SECOND;
    let arrival = (object.begins_ns, Ok(found(&[10, 11, 12, 13, 14, 15])));
    let mut host = ManualHost::starting_at(start_ns, Duration::from_secs(seconds), vec![arrival]);
    let ran = run_on("1n2l2c1t", &[], &mut object, &mut host);
    (object, host, ran)
}

#[test]
fn who_works_in_a_crowd_is_alone_after_a_while_though_demand_is_steady() {
    let (object, host, ran) = crowd_with_a_worker(6);
    assert_partitions(&object, 4);
    let alone = (11..=15).all(|inode| object.cell_of(inode) != object.cell_of(10));
    let last = host.published.last().expect("statistics");
    let worker = &last.members["tenant-10"];
    assert!(alone && worker.merged == 0, "{worker:?}");
    assert!(ran.running.merges > 0 && ran.running.splits > 0, "{:?}", ran.running);
    // Those that do nothing crowd together, so that it has what they and everything else leave.
    let (object, ..) = crowd_with_a_worker(20);
    assert_eq!(object.cpus_of(10), 2);
}

#[test]
fn nothing_is_decided_anew_once_all_is_settled() {
    let decisions = |seconds| crowd_with_a_worker(seconds).2.running.decisions;
    let settling = decisions(20);
    assert!((3..=10).contains(&settling), "{settling} decisions");
    assert_eq!(decisions(80), settling, "of steady demand comes no decision");
}

#[test]
fn members_beyond_the_limit_belong_to_everything_else() {
    let mut object = FakeObject::new(8);
    let five = || Ok(found(&[10, 11, 12, 13, 14]));
    let six = Ok(found(&[10, 11, 12, 13, 14, 15]));
    let changes = vec![(0, five()), (SECOND, six), (2 * SECOND, five())];
    let mut host = ManualHost::new(Duration::from_secs(4), changes);
    let ran = run_on("2n2l2c1t", &["--max-members", "3"], &mut object, &mut host);
    assert_eq!(object.members.len(), 3);
    assert_eq!(host.published.last().expect("statistics").members_refused, 2);
    let [complaint] = &host.warned[..] else { panic!("{:?}", host.warned) };
    assert!(complaint.contains("2 more cells") && complaint.contains("--max-members 3"), "{complaint}");
    assert_eq!(ran.running.discovery_errors, 0, "it is no error");
}

#[test]
fn trouble_that_lasts_is_told_once_and_trouble_that_comes_back_again() {
    let troubled = |warnings: &[&str]| {
        let warnings = warnings.iter().map(|warning| (*warning).to_owned()).collect();
        Ok(Found { warnings, ..found(&[10]) })
    };
    let lost = || Err("the parent has vanished".to_owned());
    let changes = [troubled(&["a", "b"]), troubled(&["b", "a"]), lost(), lost(), troubled(&["a"]), lost()];
    let changes = (0u64..).map(|second| second * SECOND).zip(changes).collect();
    let mut host = ManualHost::new(Duration::from_secs(8), changes);
    let ran = run_on("2n2l2c1t", &[], &mut FakeObject::new(8), &mut host);
    assert_eq!(host.warned, ["a", "b", "the parent has vanished", "a", "the parent has vanished"]);
    assert_eq!(ran.running.discovery_errors, 2 + 2 + 1 + 1 + 1 + 1);
}

#[test]
fn each_failed_reload_is_told() {
    let mut host = ManualHost::new(Duration::from_secs(4), vec![(0, Ok(found(&[10])))]);
    host.reloads = vec![(SECOND, "line 1: no".to_owned()), (2 * SECOND, "line 1: no".to_owned())];
    let mut object = FakeObject::new(8);
    let ran = run_on("2n2l2c1t", &[], &mut object, &mut host);
    assert_eq!(host.warned, ["line 1: no", "line 1: no"]);
    assert_eq!((ran.running.discovery_errors, object.members.len()), (2, 1));
}

#[test]
fn what_an_assignment_cannot_do_is_told_and_counted() {
    let greedy = Tenant { template: Cell { min_cpus: 64, ..Cell::new(CellId::ROOT) }, ..tenant(10) };
    let with = || Ok(Found { tenants: vec![greedy.clone(), tenant(11)], ..Found::default() });
    let without = Ok(found(&[11]));
    let changes = vec![(0, with()), (5 * SECOND, without), (10 * SECOND, with())];
    let mut object = FakeObject::new(8);
    // Demand that comes and goes makes for many assignments.
    object.uses.insert(11, Use { cpus: 3.0, waiting: 1.0 });
    object.swing_ns = 2 * SECOND;
    let mut host = ManualHost::new(Duration::from_secs(20), changes);
    run_on("2n2l2c1t", &["--cool-down", "0.5"], &mut object, &mut host);
    let told: Vec<&String> = host.warned.iter().filter(|line| line.contains("of its minimum")).collect();
    assert_eq!(told.len(), 2, "{:?}", host.warned);
    assert!(told.iter().all(|line| line.contains("cell tenant-10: ")), "{told:?}");
    let unmet = |from: u64, to: u64| {
        let within = |at_ns: u64| (from * SECOND..to * SECOND).contains(&at_ns);
        let published = host.published.iter().filter(|metrics| within(metrics.at_ns));
        published.map(|metrics| metrics.unmet).collect::<Vec<_>>()
    };
    assert!(unmet(1, 5).iter().all(|count| *count == 1), "{:?}", unmet(1, 5));
    assert!(unmet(6, 10).iter().all(|count| *count == 0), "{:?}", unmet(6, 10));
    assert!(unmet(11, 20).iter().all(|count| *count == 1), "{:?}", unmet(11, 20));
}

#[test]
fn totals_do_not_fall_when_members_go() {
    let mut object = FakeObject::new(8);
    object.uses.insert(10, Use { cpus: 2.0, waiting: 0.0 });
    object.uses.insert(11, Use { cpus: 1.0, waiting: 0.0 });
    // The last one gets the slot of the first.
    let changes = [found(&[10, 11]), found(&[11]), found(&[11, 12]), found(&[])];
    let changes = (0u64..).map(|turn| turn * 3 * SECOND).zip(changes.map(Ok)).collect();
    let mut host = ManualHost::new(Duration::from_secs(12), changes);
    run_on("2n2l2c1t", &[], &mut object, &mut host);
    for pair in host.published.windows(2) {
        let sums = |at: usize| (pair[at].placed_local, pair[at].borrowed_ns);
        let (before, after) = (sums(0), sums(1));
        assert!(before.0 <= after.0 && before.1 <= after.1, "{before:?} {after:?} at {}", pair[1].at_ns);
    }
    // All but what was counted between a member's last figures and the next one's first.
    let last = host.published.last().expect("statistics");
    assert!(last.placed_local > 30_000 && last.borrowed_ns > 15 * SECOND, "{last:?}");
}

#[test]
fn what_the_bpf_side_refuses_is_told_later_and_holds_nothing_up() {
    let mut object = FakeObject::new(8);
    object.refused.insert(("members", 10), 0..3 * SECOND);
    object.refused.insert(("members", 11), 6 * SECOND..8 * SECOND);
    let changes = vec![(0, Ok(found(&[10, 11]))), (7 * SECOND, Ok(found(&[10, 12])))];
    let mut host = ManualHost::new(Duration::from_secs(12), changes);
    let ran = run_on("2n2l2c1t", &[], &mut object, &mut host);
    assert_eq!(object.members.keys().copied().collect::<Vec<_>>(), [10, 12]);
    let told: Vec<&String> = host.warned.iter().filter(|line| line.contains("cannot be told")).collect();
    assert!(told.len() == 2 && told.iter().all(|line| line.starts_with("1 cgroups")), "{:?}", host.warned);
    assert_eq!((ran.running.discovery_errors, ran.running.rounds_failed), (2, 0));
    // A table at once for what is found, and another for what is told late.
    assert_eq!(object.applied.len(), 4);
}

#[test]
fn factors_that_are_refused_are_tried_again_and_hold_nothing_up() {
    let tree: Vec<TreeNode> = [(1, None, 100), (10, Some(1), 300), (11, Some(1), 100)]
        .map(|(id, parent, weight)| TreeNode { id, parent, weight })
        .into();
    let mut object = FakeObject::new(2);
    object.uses.insert(10, Use { cpus: 1.0, waiting: 3.0 });
    object.uses.insert(11, Use { cpus: 1.0, waiting: 3.0 });
    object.refused.insert(("cgroup_factors", 10), 0..3 * SECOND);
    let mut host = ManualHost::new(Duration::from_secs(5), vec![(SECOND, Ok(found(&[20])))]);
    host.tree = tree;
    let ran = run_on("1c2t", &[], &mut object, &mut host);
    assert!(object.factors.contains_key(&10) && object.factors.contains_key(&11), "{:?}", object.factors);
    assert!((5..=6).contains(&ran.running.weight_errors), "{}", ran.running.weight_errors);
    assert_eq!(host.published.last().expect("statistics").weight_errors, ran.running.weight_errors);
    assert_eq!(ran.running.rounds_failed, 0);
    assert_eq!(host.warned.iter().filter(|line| line.contains("cpu.weight")).count(), 1, "{:?}", host.warned);
    // The member that came meanwhile has its table.
    let at_3 = host.published.iter().rfind(|metrics| metrics.at_ns < 3 * SECOND).expect("statistics");
    assert!(at_3.nr_members == 2 && at_3.sequence >= 2, "{at_3:?}");
}

#[test]
fn a_factor_that_is_refused_does_not_keep_the_others_from_counting() {
    let mut object = FakeObject::new(2);
    // Time begins.
    ManualHost::new(Duration::from_secs(1), Vec::new());
    object.factors.extend([(1, 7), (2, 7)]);
    object.refused.insert(("cgroup_factors", 1), 0..SECOND);
    object.refused.insert(("cgroup_factors", 3), 0..SECOND);
    let changes = Changes { removed: vec![1, 2], set: vec![(3, 30), (4, 40)] };
    let (done, outcome) = doors::set_factors(&mut object, &changes);
    assert!(outcome.is_err());
    assert_eq!(done, Changes { removed: vec![2], set: vec![(4, 40)] });
    assert_eq!(object.factors.into_iter().collect::<Vec<_>>(), [(1, 7), (4, 40)]);
    assert_eq!(object.renewals, 1);
}

#[test]
fn a_look_that_fails_leaves_the_cells_as_they_were() {
    let mut object = FakeObject::new(8);
    object.uses.insert(10, Use { cpus: 4.0, waiting: 0.0 });
    let lost = |at| (at * SECOND, Err("cgroup gone has vanished".to_owned()));
    let changes = vec![(0, Ok(found(&[10]))), lost(5), lost(6), lost(7)];
    let mut host = ManualHost::new(Duration::from_secs(10), changes);
    let ran = run_on("2n2l2c1t", &[], &mut object, &mut host);
    assert!(matches!(ran.ending, Ending::Shutdown));
    assert_eq!(ran.running.discovery_errors, 3);
    assert_eq!(object.members.len(), 1);
    assert!(object.cpus_of(10) >= 3);
}

#[test]
fn a_table_that_is_refused_is_tried_again() {
    let mut object = FakeObject::new(8);
    object.refuse_tables = 0..u64::MAX;
    let mut host = ManualHost::new(Duration::from_secs(3), vec![(0, Ok(found(&[10])))]);
    let ran = run_on("2n2l2c1t", &[], &mut object, &mut host);
    assert!(ran.running.rounds_failed >= 5, "{}", ran.running.rounds_failed);
    assert_eq!((object.sequence, host.published.last().expect("statistics").sequence), (0, 0));
    object.refuse_tables = 0..0;
    let mut host = ManualHost::new(Duration::from_secs(3), vec![(0, Ok(found(&[10])))]);
    run_on("2n2l2c1t", &[], &mut object, &mut host);
    assert_eq!(object.sequence, 1);
}

#[test]
fn a_table_for_a_demand_is_tried_again_after_the_cool_down() {
    let mut object = FakeObject::new(8);
    object.uses.insert(10, Use { cpus: 5.0, waiting: 0.0 });
    // Not the first one: that of the first demand.
    object.refuse_tables = 1..SECOND;
    let mut host = ManualHost::new(Duration::from_secs(4), vec![(0, Ok(found(&[10])))]);
    let ran = run_on("2n2l2c1t", &[], &mut object, &mut host);
    assert_eq!((ran.running.rounds_failed, object.cpus_of(10)), (1, 7));
}

/// One task that finds no other queue neither hides the others nor keeps the loop busy.
#[test]
fn queues_without_cpus_are_emptied() {
    let mut object = FakeObject::new(8);
    object.orphans.extend([(3, 5), (9, 2), (10, 1)]);
    let mut host = ManualHost::new(Duration::from_secs(1), Vec::new());
    run_on("2n2l2c1t", &[], &mut object, &mut host);
    assert_eq!(object.drained, 5);
}

#[test]
fn a_round_that_fails_is_skipped() {
    let mut object = FakeObject::new(8);
    object.fail_totals = true;
    let mut host = ManualHost::new(Duration::from_secs(3), Vec::new());
    let ran = run_on("2n2l2c1t", &[], &mut object, &mut host);
    assert!(matches!(ran.ending, Ending::Shutdown));
    assert_eq!(ran.running.rounds_failed, ran.running.rounds);
    assert!(ran.running.rounds >= 5 && host.published.is_empty());
}

#[test]
fn policies_reach_the_table() {
    let selfish = Tenant { template: Cell { lend: false, ..Cell::new(CellId::ROOT) }, ..tenant(10) };
    for (arguments, flags) in [(&[][..], abi_flags(false, true)), (&["--no-borrowing"][..], 0)] {
        let mut object = FakeObject::new(8);
        object.uses.insert(10, Use { cpus: 4.0, waiting: 2.0 });
        let changes = vec![(0, Ok(Found { tenants: vec![selfish.clone()], ..Found::default() }))];
        let mut host = ManualHost::new(Duration::from_secs(5), changes);
        run_on("2n2l2c1t", arguments, &mut object, &mut host);
        let cell = usize::from(object.cell_of(10));
        assert!(cell > 0);
        assert_eq!(object.table().cell_flags[cell], flags, "{arguments:?}");
    }
}

fn abi_flags(lend: bool, borrow: bool) -> u8 {
    use crate::kernel::abi::{cs_cell_flags_CS_CELL_BORROW, cs_cell_flags_CS_CELL_LEND};
    let lend = if lend { cs_cell_flags_CS_CELL_LEND } else { 0 };
    let borrow = if borrow { cs_cell_flags_CS_CELL_BORROW } else { 0 };
    (lend | borrow) as u8
}

#[test]
fn weights_become_factors_unless_switched_off() {
    let tree: Vec<TreeNode> = [(1, None, 100), (10, Some(1), 300), (11, Some(1), 100)]
        .map(|(id, parent, weight)| TreeNode { id, parent, weight })
        .into();
    for (arguments, told) in [(&[][..], true), (&["--no-cgroup-weights"][..], false)] {
        let mut object = FakeObject::new(2);
        object.uses.insert(10, Use { cpus: 1.0, waiting: 3.0 });
        object.uses.insert(11, Use { cpus: 1.0, waiting: 3.0 });
        let mut host = ManualHost::new(Duration::from_secs(5), Vec::new());
        host.tree = tree.clone();
        run_on("1c2t", arguments, &mut object, &mut host);
        assert_eq!(object.renewals > 0, told);
        let ratio = f64::from(object.factors.get(&10).copied().unwrap_or(1024))
            / f64::from(object.factors.get(&11).copied().unwrap_or(1024));
        assert_eq!((2.7..3.3).contains(&ratio), told, "{ratio}");
    }
}

#[test]
fn the_kernel_ends_it() {
    let mut object = FakeObject::new(8);
    object.exit = Some(ExitRecord { kind: 1024, reason: "made up".to_owned(), ..ExitRecord::default() });
    object.exit_after_ns = Some(SECOND);
    let mut host = ManualHost::new(Duration::from_secs(30), Vec::new());
    let ran = run_on("2n2l2c1t", &[], &mut object, &mut host);
    assert!(matches!(ran.ending, Ending::Kernel(record) if record.kind == 1024));
    assert!(fake::now_ns() < 2 * SECOND);
}
