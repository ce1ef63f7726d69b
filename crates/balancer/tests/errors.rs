// SPDX-License-Identifier: GPL-2.0-only
//! Input that makes no sense is refused with an error that names it.
mod machine;

use balancer::*;
use machine::{Machine, flat};

const BAD: [f64; 4] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0];

fn place(path: &[usize], capacity: f64) -> DomainPlace {
    DomainPlace { path: path.to_vec(), capacity }
}

#[test]
fn capacities() {
    for capacity in BAD.into_iter().chain([0.0, -0.0, 1e-300, 1e300]) {
        let tree = Tree::flat(LevelParams::named("domain"), &[1.0, capacity]);
        assert!(matches!(tree, Err(TreeError::Capacity { domain: 1, .. })), "{capacity}");
    }
}

#[test]
fn level_parameters() {
    let build = |params: LevelParams| Tree::flat(params, &[1.0]).map(|_| ());
    let domain = LevelParams::named("domain");
    assert_eq!(
        build(LevelParams {
            imbalance_threshold: 0.0,
            transfer_ratio: 1.0,
            push_limit: 1.0,
            ..domain.clone()
        }),
        Ok(())
    );
    for value in BAD {
        assert!(build(LevelParams { imbalance_threshold: value, ..domain.clone() }).is_err());
    }
    for value in BAD.into_iter().chain([0.0, 1.1]) {
        assert!(build(LevelParams { transfer_ratio: value, ..domain.clone() }).is_err(), "{value}");
        let error = build(LevelParams { push_limit: value, ..domain.clone() }).unwrap_err().to_string();
        assert!(error.starts_with("level 'domain': push_limit is "), "{error}");
    }
}

#[test]
fn shapes() {
    let levels = || vec![LevelParams::named("node"), LevelParams::named("domain")];
    let error = |domains| Tree::new(levels(), domains).unwrap_err();
    assert_eq!(Tree::new(vec![], vec![place(&[], 1.0)]).unwrap_err(), TreeError::NoLevels);
    assert_eq!(error(vec![]), TreeError::DomainCount(0));
    assert_eq!(error(vec![place(&[0, 0], 1.0); 1025]), TreeError::DomainCount(1025));
    assert_eq!(
        error(vec![place(&[0, 0], 1.0), place(&[0], 1.0)]),
        TreeError::PathLength { domain: 1, got: 1, expected: 2 }
    );
    assert_eq!(
        error(vec![place(&[0, 0], 1.0), place(&[1, 0], 1.0), place(&[0, 0], 1.0)]),
        TreeError::SamePath { first: 0, second: 2 }
    );
    let most = Tree::flat(LevelParams::named("domain"), &[1.0; 1024]).unwrap();
    assert_eq!((most.domains(), most.capacity(), most.domain_capacity(1023)), (1024, 1024.0, Some(1.0)));
    assert_eq!(most.domain_capacity(1024), None);
}

#[test]
fn ledger() {
    let mut ledger = Ledger::new(2);
    assert_eq!(ledger.set(2, 1, 0.5), Err(LedgerError::UnknownDomain { domain: 2, domains: 2 }));
    assert_eq!(ledger.set(1, 90, 0.5), Err(LedgerError::UnknownBucket(90)));
    for duty in BAD.into_iter().chain([1e10]) {
        assert!(matches!(ledger.set(1, 3, duty), Err(LedgerError::Duty { domain: 1, bucket: 3, .. })));
    }
    assert_eq!(ledger, Ledger::new(2), "a refused value leaves nothing behind");
    ledger.set(1, 3, 0.5).unwrap();
    ledger.add(1, 3, 0.25).unwrap();
    ledger.add(1, 89, 2.0).unwrap();
    assert_eq!((ledger.duty(1), ledger.bucket_duty(1, 3), ledger.duty(0)), (2.75, 0.75, 0.0));
    assert_eq!((ledger.duty(7), ledger.bucket_duty(7, 3), ledger.bucket_duty(1, 99)), (0.0, 0.0, 0.0));
    ledger.clear();
    assert_eq!(ledger, Ledger::new(2));
}

#[test]
fn tree_and_ledger_of_different_machines() {
    let tree = flat(&[1.0; 3]);
    let mut none = |_| Ok(vec![]);
    let error = plan(&tree, &Ledger::new(4), &mut none, &PlanParams::default()).unwrap_err();
    assert!(matches!(error, PlanError::DomainCount { tree: 3, ledger: 4 }), "{error}");
}

#[test]
fn tasks() {
    for duty in BAD {
        let mut machine = Machine::new(flat(&[1.0; 2]));
        machine.add(0, 2, 100, 1.0);
        let ledger = machine.ledger();
        machine.tasks[0][1].duty_cycle = duty;
        let mut source = |domain: DomainId| Ok(machine.tasks[domain].clone());
        let error = plan(&machine.tree, &ledger, &mut source, &machine.params).unwrap_err();
        assert!(matches!(error, PlanError::TaskDuty { task: TaskId { pid: 2, .. }, .. }), "{error}");
    }
    for field in 0..2 {
        let mut machine = Machine::new(flat(&[1.0; 2]));
        machine.add(0, 1, 100, 1.0);
        let task = machine.add_task(0, 100, 1.0);
        *[&mut task.allowed, &mut task.preferred][field] = [1, 2, 300].into_iter().collect();
        let error = machine.try_plan().unwrap_err();
        assert!(matches!(error, PlanError::TaskDomain { domain: 300, domains: 2, .. }), "{error}");
    }
}

#[test]
fn weights_out_of_range_count_as_the_nearest() {
    for (weight, nearest) in [(0, 1), (u32::MAX, 10_000)] {
        let plan_of = |weight| {
            let mut machine = Machine::new(flat(&[1.0; 2]));
            machine.add(0, 3, weight, 1.0).add(0, 3, 100, 1.0);
            machine.plan()
        };
        assert_eq!(plan_of(weight), plan_of(nearest));
    }
}

#[test]
fn source_and_cost_and_parameters() {
    let mut machine = Machine::new(flat(&[1.0; 2]));
    machine.add(0, 4, 100, 1.0);
    let ledger = machine.ledger();
    let mut broken = |_| Err("map is gone".into());
    let error = plan(&machine.tree, &ledger, &mut broken, &machine.params).unwrap_err();
    assert_eq!(error.to_string(), "the tasks of domain 0 cannot be listed: map is gone");

    for value in BAD {
        machine.params.min_transfer = value;
        assert!(matches!(machine.try_plan(), Err(PlanError::Parameter { parameter: "min_transfer", .. })));
    }
    machine.params = PlanParams::default();
    machine.params.cost = CostModel::free().with(Reluctance { share: f64::NAN });
    assert!(matches!(machine.try_plan(), Err(PlanError::Cost { term: "reluctance", .. })));
    let both = CostModel::free()
        .with(Reluctance { share: f64::INFINITY })
        .with(Reluctance { share: f64::NEG_INFINITY });
    machine.params.cost = both;
    assert!(machine.plan().moves.is_empty(), "infinity forbids, whatever else is said");
}

#[test]
fn machines_with_nothing_to_do() {
    let mut none = |_| Ok(vec![]);
    for domains in [1, 2, 63, 64, 65, 1024] {
        let tree = flat(&vec![1.0; domains]);
        let plan = plan(&tree, &Ledger::new(domains), &mut none, &PlanParams::default()).unwrap();
        assert!(plan.moves.is_empty() && !plan.saturated && plan.lambda.is_none());
        assert_eq!(plan.groups.len(), domains);
    }
    let mut machine = Machine::new(flat(&[1.0]));
    machine.add(0, 50, 100, 1.0);
    assert!(machine.plan().moves.is_empty());
}
