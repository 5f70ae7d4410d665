//! Lives that are told without anything going wrong: what is simulated is what people know.

use crate::{
    case::{Case, Told},
    faults::Plan,
    ledger,
    step::Step::{self, *},
};

fn tell(steps: &[Step]) -> Told {
    let told = Case { seed: 1, steps: steps.to_vec(), plan: Plan::Nothing, ledger: ledger::Kind::Memory }.tell();
    assert_eq!(told.violations, Vec::<String>::new());
    told
}

#[test]
fn a_tenant_comes_stands_still_for_a_while_is_suspended_and_goes() {
    let told =
        tell(&[CreateTenant(0), Wait(250), Wait(250), SuspendTenant(0, true), Wait(5), Compact, DeleteTenant(0)]);
    let states = ["Provisioning", "Active", "Suspended", "Terminating", "Deleted"];
    assert_eq!(told.rows, states.map(|state| format!("Tenant tenant-0: {state}")));
}

#[test]
fn an_application_is_rolled_out_falls_sick_recovers_and_rests() {
    let steps = [
        CreateTenant(0),
        CreateApp(0, 0),
        Wait(20),
        Sicken(0, 0, true),
        Wait(20),
        Sicken(0, 0, false),
        Wait(20),
        SuspendApp(0, 0, true),
        Wait(20),
        DeleteApp(0, 0),
    ];
    let told = tell(&steps);
    let of_app: Vec<_> = told.rows.iter().filter_map(|row| row.strip_prefix("AppDeployment app-0: ")).collect();
    // Between two states, what is billed changes by itself.
    let mut states = of_app.clone();
    states.dedup();
    let expected =
        ["Pending", "Progressing", "Available", "Degraded", "Available", "Suspended", "Terminating", "Deleted"];
    assert_eq!(states, expected, "{of_app:?}");
}

#[test]
fn a_backup_is_sealed_and_one_whose_dump_fails_is_not() {
    let told = tell(&[CreateTenant(0), CreateBackup(0, 0, true), CreateBackup(0, 1, false), Wait(30)]);
    let of = |name: &str| -> Vec<String> {
        told.rows.iter().filter_map(|row| row.strip_prefix(name)).map(str::to_owned).collect()
    };
    assert_eq!(of("Backup backup-0: "), ["Pending", "Running", "Completed"]);
    assert_eq!(of("Backup backup-1: "), ["Pending", "Running", "Failed"]);
}

#[test]
fn what_is_made_again_under_the_same_name_is_another() {
    let told = tell(&[CreateTenant(0), CreateApp(0, 0), Wait(20), RebirthApp(0, 0), Wait(20), RebirthTenant(0)]);
    let opened = |name: &str| told.rows.iter().filter(|row| *row == name).count();
    assert_eq!((opened("AppDeployment app-0: Pending"), opened("Tenant tenant-0: Provisioning")), (2, 2));
    assert_eq!((opened("AppDeployment app-0: Deleted"), opened("Tenant tenant-0: Deleted")), (1, 1));
}
