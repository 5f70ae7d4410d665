//! What people and misfortune do, one step after the other.

use trueup::domain::{Random as _, SeededRandom};

use crate::faults::below;

/// One thing that is done. Tenants, applications and backups have numbers; an application or backup is in its tenant's namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A tenant comes.
    CreateTenant(u8),
    /// Its plan, of which there are two.
    ChangePlan(u8, bool),
    SuspendTenant(u8, bool),
    /// With all that is in its namespace.
    DeleteTenant(u8),
    /// Somebody takes its finalizer off, so that it is gone at once, and makes it again.
    RebirthTenant(u8),
    /// Somebody deletes its namespace by hand, with all that is in it.
    LoseNamespace(u8),
    /// Somebody takes a label off its namespace.
    Relabel(u8),
    CreateApp(u8, u8),
    Scale(u8, u8, u8),
    /// A version whose image there is, or not.
    Release(u8, u8, u8, bool),
    SuspendApp(u8, u8, bool),
    /// Its pods fail, or recover.
    Sicken(u8, u8, bool),
    DeleteApp(u8, u8),
    RebirthApp(u8, u8),
    /// Somebody scales its Deployment by hand.
    ScaleByHand(u8, u8, u8),
    /// A backup whose dump ends well, or not.
    CreateBackup(u8, u8, bool),
    DeleteBackup(u8, u8),
    RebirthBackup(u8, u8),
    /// So many seconds pass.
    Wait(u8),
    /// A replica's process is killed.
    Kill(u8),
    /// A replica's process is asked to end.
    Stop(u8),
    /// A replica's process stands still for so many seconds.
    Pause(u8, u8),
    /// A replica's clock is set to so many seconds beside the right time.
    SetClock(u8, i16),
    /// Billing does not answer for so many seconds.
    BillingDown(u8),
    /// The ledger's database does not answer for so many seconds.
    LedgerDown(u8),
    /// The API server does not answer the replicas for so many seconds.
    ServerDown(u8),
    /// The API server forgets what it could tell watches.
    Compact,
}

impl Step {
    /// Whether it is misfortune, which must change nothing in the end.
    pub const fn is_trouble(self) -> bool {
        matches!(
            self,
            Self::Kill(_)
                | Self::Stop(_)
                | Self::Pause(..)
                | Self::SetClock(..)
                | Self::BillingDown(_)
                | Self::LedgerDown(_)
                | Self::ServerDown(_)
                | Self::Compact
        )
    }
}

/// What people know of what they have made.
#[derive(Clone, Default)]
struct Tenant {
    apps: Vec<App>,
    backups: Vec<u8>,
}

#[derive(Clone, Copy)]
struct App {
    number: u8,
    sick: bool,
    missing: bool,
}

const TENANTS: u8 = 2;
const APPS: u8 = 2;
const BACKUPS: u8 = 2;

/// The steps that a seed names. Each is possible where it stands, and in the end nothing is broken any more.
pub fn generate(seed: u64) -> Vec<Step> {
    let random = SeededRandom::new(seed.wrapping_mul(3).wrapping_add(1));
    let mut tenants: Vec<Option<Tenant>> = vec![None; usize::from(TENANTS)];
    let mut steps = vec![];
    for _ in 0..8 + below(&random, 20) {
        let tenant = small(&random, TENANTS);
        let known = &mut tenants[usize::from(tenant)];
        let done = match known {
            None => {
                *known = Some(Tenant::default());
                Step::CreateTenant(tenant)
            }
            Some(_) if random.bits().is_multiple_of(12) => of_tenant(&random, tenant, known),
            Some(known) if random.bits().is_multiple_of(4) => of_backup(&random, tenant, known),
            Some(known) => of_app(&random, tenant, known),
        };
        steps.push(done);
        match random.bits() % 3 {
            0 => steps.push(Step::Wait(small(&random, 20))),
            1 => steps.extend((random.bits().is_multiple_of(2)).then(|| trouble(&random))),
            _ => {}
        }
    }
    for (tenant, known) in (0..).zip(&tenants) {
        for app in known.iter().flat_map(|known| &known.apps) {
            steps.extend(app.sick.then_some(Step::Sicken(tenant, app.number, false)));
            steps.extend(app.missing.then_some(Step::Release(tenant, app.number, 9, true)));
        }
    }
    // What was done last goes wrong too.
    steps.push(Step::Wait(20));
    steps
}

fn small(random: &SeededRandom, end: u8) -> u8 {
    u8::try_from(below(random, usize::from(end))).expect("it is below a byte")
}

fn of_tenant(random: &SeededRandom, tenant: u8, known: &mut Option<Tenant>) -> Step {
    match random.bits() % 7 {
        0 => {
            *known = None;
            Step::DeleteTenant(tenant)
        }
        1 => Step::RebirthTenant(tenant),
        2 => {
            *known = Some(Tenant::default());
            Step::LoseNamespace(tenant)
        }
        3 => Step::Relabel(tenant),
        4 => Step::ChangePlan(tenant, random.bits().is_multiple_of(2)),
        _ => Step::SuspendTenant(tenant, random.bits().is_multiple_of(2)),
    }
}

fn of_app(random: &SeededRandom, tenant: u8, known: &mut Tenant) -> Step {
    let number = small(random, APPS);
    let Some(at) = known.apps.iter().position(|app| app.number == number) else {
        known.apps.push(App { number, sick: false, missing: false });
        return Step::CreateApp(tenant, number);
    };
    let app = &mut known.apps[at];
    match random.bits() % 9 {
        0 | 1 => Step::Scale(tenant, number, small(random, 4)),
        2 => {
            app.missing = random.bits().is_multiple_of(3);
            Step::Release(tenant, number, 1 + small(random, 8), !app.missing)
        }
        3 => Step::SuspendApp(tenant, number, random.bits().is_multiple_of(2)),
        4 | 5 => {
            app.sick = !app.sick;
            Step::Sicken(tenant, number, app.sick)
        }
        6 => {
            known.apps.remove(at);
            Step::DeleteApp(tenant, number)
        }
        7 => Step::RebirthApp(tenant, number),
        _ => Step::ScaleByHand(tenant, number, small(random, 4)),
    }
}

fn of_backup(random: &SeededRandom, tenant: u8, known: &mut Tenant) -> Step {
    let number = small(random, BACKUPS);
    if !known.backups.contains(&number) {
        known.backups.push(number);
        return Step::CreateBackup(tenant, number, !random.bits().is_multiple_of(4));
    }
    if random.bits().is_multiple_of(3) {
        return Step::RebirthBackup(tenant, number);
    }
    known.backups.retain(|known| *known != number);
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
