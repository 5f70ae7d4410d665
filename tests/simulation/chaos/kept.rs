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
