//! Lives: which steps people can do one after the other, and some of them by seed.

use std::collections::BTreeMap;

use trueup::domain::{Random as _, SeededRandom};

use crate::{faults::below, step::Step};

/// What people know of what they have made.
#[derive(Default)]
struct Known {
    tenants: BTreeMap<u8, Tenant>,
}

#[derive(Default)]
struct Tenant {
    apps: BTreeMap<u8, App>,
    backups: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
struct App {
    sick: bool,
    missing: bool,
}

impl Known {
    /// Does a step, if it is possible where it stands.
    fn live(&mut self, step: Step) -> Option<()> {
        match step {
            Step::CreateTenant(tenant) => self.tenants.insert(tenant, Tenant::default()).is_none().then_some(()),
            Step::ChangePlan(tenant, _)
            | Step::SuspendTenant(tenant, _)
            | Step::RebirthTenant(tenant)
            | Step::Relabel(tenant) => self.tenants.get(&tenant).map(drop),
            Step::DeleteTenant(tenant) => self.tenants.remove(&tenant).map(drop),
            Step::LoseNamespace(tenant) => self.tenants.get_mut(&tenant).map(|known| *known = Tenant::default()),
            Step::CreateApp(tenant, app) => {
                self.tenants.get_mut(&tenant)?.apps.insert(app, App::default()).is_none().then_some(())
            }
            Step::Scale(tenant, app, _)
            | Step::SuspendApp(tenant, app, _)
            | Step::RebirthApp(tenant, app)
            | Step::ScaleByHand(tenant, app, _) => self.app(tenant, app).map(drop),
            Step::Release(tenant, app, _, good) => self.app(tenant, app).map(|app| app.missing = !good),
            Step::Sicken(tenant, app, sick) => self.app(tenant, app).map(|app| app.sick = sick),
            Step::DeleteApp(tenant, app) => self.tenants.get_mut(&tenant)?.apps.remove(&app).map(drop),
            Step::CreateBackup(tenant, backup, _) => {
                let backups = &mut self.tenants.get_mut(&tenant)?.backups;
                (!backups.contains(&backup)).then(|| backups.push(backup))
            }
            Step::DeleteBackup(tenant, backup) => {
                let backups = &mut self.tenants.get_mut(&tenant)?.backups;
                let at = backups.iter().position(|known| *known == backup)?;
                backups.remove(at);
                Some(())
            }
            Step::RebirthBackup(tenant, backup) => self.tenants.get(&tenant)?.backups.contains(&backup).then_some(()),
            Step::Wait(_) => Some(()),
            trouble => trouble.is_trouble().then_some(()),
        }
    }

    fn app(&mut self, tenant: u8, app: u8) -> Option<&mut App> {
        self.tenants.get_mut(&tenant)?.apps.get_mut(&app)
    }

    /// What has to be done so that nothing is broken any more.
    fn mend(&self) -> Vec<Step> {
        let mut steps = vec![];
        for (tenant, known) in &self.tenants {
            for (number, app) in &known.apps {
                steps.extend(app.sick.then_some(Step::Sicken(*tenant, *number, false)));
                steps.extend(app.missing.then_some(Step::Release(*tenant, *number, 9, true)));
            }
        }
        steps
    }
}

/// Whether each step is possible where it stands, and nothing is broken in the end: how what is broken ends may depend on when
/// it broke.
pub fn can_be_lived(steps: &[Step]) -> bool {
    let mut known = Known::default();
    steps.iter().all(|step| known.live(*step).is_some()) && known.mend().is_empty()
}

const TENANTS: u8 = 2;
const APPS: u8 = 2;
const BACKUPS: u8 = 2;

/// The steps that a seed names.
pub fn generate(seed: u64) -> Vec<Step> {
    let random = SeededRandom::new(seed.wrapping_mul(3).wrapping_add(1));
    let mut known = Known::default();
    let mut steps = vec![];
    for _ in 0..8 + below(&random, 20) {
        let tenant = small(&random, TENANTS);
        let done = match known.tenants.get(&tenant) {
            None => Step::CreateTenant(tenant),
            Some(_) if random.bits().is_multiple_of(12) => of_tenant(&random, tenant),
            Some(known) if random.bits().is_multiple_of(4) => of_backup(&random, tenant, known),
            Some(known) => of_app(&random, tenant, known),
        };
        known.live(done).expect("it was chosen by what is known");
        steps.push(done);
        match random.bits() % 3 {
            0 => steps.push(Step::Wait(small(&random, 20))),
            1 => steps.extend((random.bits().is_multiple_of(2)).then(|| trouble(&random))),
            _ => {}
        }
    }
    steps.extend(known.mend());
    // What was done last goes wrong too.
    steps.push(Step::Wait(20));
    steps
}

fn small(random: &SeededRandom, end: u8) -> u8 {
    u8::try_from(below(random, usize::from(end))).expect("it is below a byte")
}

fn of_tenant(random: &SeededRandom, tenant: u8) -> Step {
    match random.bits() % 7 {
        0 => Step::DeleteTenant(tenant),
        1 => Step::RebirthTenant(tenant),
        2 => Step::LoseNamespace(tenant),
        3 => Step::Relabel(tenant),
        4 => Step::ChangePlan(tenant, random.bits().is_multiple_of(2)),
        _ => Step::SuspendTenant(tenant, random.bits().is_multiple_of(2)),
    }
}

fn of_app(random: &SeededRandom, tenant: u8, known: &Tenant) -> Step {
    let number = small(random, APPS);
    let Some(app) = known.apps.get(&number) else { return Step::CreateApp(tenant, number) };
    match random.bits() % 9 {
        0 | 1 => Step::Scale(tenant, number, small(random, 4)),
        2 => {
            let missing = random.bits().is_multiple_of(3);
            Step::Release(tenant, number, 1 + small(random, 8), !missing)
        }
        3 => Step::SuspendApp(tenant, number, random.bits().is_multiple_of(2)),
        4 | 5 => Step::Sicken(tenant, number, !app.sick),
        6 => Step::DeleteApp(tenant, number),
        7 => Step::RebirthApp(tenant, number),
        _ => Step::ScaleByHand(tenant, number, small(random, 4)),
    }
}

fn of_backup(random: &SeededRandom, tenant: u8, known: &Tenant) -> Step {
    let number = small(random, BACKUPS);
    if !known.backups.contains(&number) {
        return Step::CreateBackup(tenant, number, !random.bits().is_multiple_of(4));
    }
    if random.bits().is_multiple_of(3) {
        return Step::RebirthBackup(tenant, number);
    }
    Step::DeleteBackup(tenant, number)
}

fn trouble(random: &SeededRandom) -> Step {
    let replica = small(random, 2);
    match random.bits() % 9 {
        0 | 1 => Step::Kill(replica),
        2 => Step::Stop(replica),
        3 => Step::Pause(replica, 1 + small(random, 20)),
        4 => Step::SetClock(replica, [-90, -7, 0, 7, 90][below(random, 5)]),
        5 => Step::BillingDown(1 + small(random, 60)),
        6 => Step::LedgerDown(1 + small(random, 30)),
        7 => Step::ServerDown(1 + small(random, 30)),
        _ => Step::Compact,
    }
}

#[test]
fn every_seed_can_be_lived_and_not_everything_can() {
    for seed in 0..200 {
        assert!(can_be_lived(&generate(seed)), "{seed}");
    }
    let (tenant, app) = (Step::CreateTenant(0), Step::CreateApp(0, 0));
    assert!(!can_be_lived(&[app]), "there is no namespace for it");
    assert!(!can_be_lived(&[tenant, app, Step::DeleteApp(0, 0), Step::Scale(0, 0, 3)]), "there is none any more");
    assert!(!can_be_lived(&[tenant, app, app]), "there is one already");
    assert!(!can_be_lived(&[tenant, app, Step::Sicken(0, 0, true)]), "and it stays sick");
    assert!(can_be_lived(&[tenant, app, Step::Sicken(0, 0, true), Step::DeleteApp(0, 0)]));
}
