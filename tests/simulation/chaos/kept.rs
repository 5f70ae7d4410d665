//! Cases by name: what was found once, and the places where a mistake would cost most.

use super::try_out;
use crate::{
    case::Case,
    faults::{Fault, Fault::*, Plan, Point, Surface::*, at},
    ledger::Kind,
    step::Step::{self, *},
};

const BACKUP: [Step; 4] = [CreateTenant(0), CreateBackup(0, 1, true), Wait(12), DeleteBackup(0, 1)];

/// The end is the same although all that goes wrong does.
fn holds(case: &Case) {
    let trial = try_out(case);
    assert_eq!(trial.violations, Vec::<String>::new());
    if let Plan::Exactly(faults) = &case.plan {
        assert_eq!(trial.told.struck, *faults);
    }
}

/// The life of a backup in which one thing goes wrong.
fn backup(point: Point, fault: Fault) -> Case {
    Case { seed: 1, steps: BACKUP.to_vec(), plan: Plan::Exactly(vec![(point, fault)]), ledger: Kind::Memory }
}

#[test]
fn a_leader_that_dies_right_after_its_claim_of_a_backup_leaves_one_job_and_one_artifact() {
    holds(&backup(at(Store, "append Backup backup-1: Running", 0), CrashAfter));
}

#[test]
fn a_row_whose_commit_was_not_answered_is_there_once() {
    holds(&backup(at(Store, "append Backup backup-1: Completed", 0), Lost));
}

#[test]
fn an_event_whose_acknowledgement_was_lost_is_charged_once() {
    holds(&backup(at(Delivery, "deliver Backup backup-1 3", 0), Lost));
}

/// People's doings alone, which end well; answers what the ledger says that happened.
fn ends_well(steps: &[Step]) -> Vec<String> {
    let told = Case { seed: 1, steps: steps.to_vec(), plan: Plan::Nothing, ledger: Kind::Memory }.tell();
    assert_eq!(told.violations, Vec::<String>::new());
    assert_eq!(told.end.keys().filter(|name| name.contains("tenant-1")).count(), 0, "{:#?}", told.end);
    told.rows
}

/// Seed 300077: both processes are new, so that no memory of theirs shows what the watches do not.
#[test]
fn a_namespace_that_lost_its_label_goes_with_its_tenant() {
    ends_well(&[CreateTenant(1), Wait(6), Kill(0), Kill(1), Relabel(1), DeleteTenant(1), Wait(15)]);
}

/// Seed 500256: the namespace is nobody's then, and the backup in it could not be removed from anywhere.
#[test]
fn a_backup_does_not_hold_a_namespace_whose_tenant_was_made_again_meanwhile() {
    let rows = ends_well(&[CreateTenant(0), CreateBackup(0, 1, true), Wait(12), LoseNamespace(0), RebirthTenant(0)]);
    assert!(rows.contains(&"Backup backup-1: Deleted".to_owned()), "{rows:#?}");
}

/// Seed 500922: the application is gone by then, whether or not there is still somebody who knows what was sent.
#[test]
fn a_request_that_is_carried_out_late_makes_nothing_for_nobody() {
    for fault in [Late(6_000), CrashLate(8_000)] {
        let plan = Plan::Exactly(vec![(at(Write, "Apply deployments tenant-0-prod/app-0", 0), fault)]);
        let steps = vec![CreateTenant(0), CreateApp(0, 0), Wait(2), DeleteApp(0, 0), Wait(15)];
        holds(&Case { seed: 1, steps, plan, ledger: Kind::Memory });
    }
}
