//! A case: what people do and what goes wrong meanwhile. It is told to its end, and then judged.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use trueup::{
    domain::{Era, InstallationId, Uid},
    ledger::Installation,
};

use crate::{
    apiserver::ApiServer,
    clock::SimulatedClock,
    faults::{Fault, Faults, Passed, Plan, Point, Surface},
    ledger::{self, Ledger, at_once},
    nodes,
    oracles::{self, End, Seen},
    people::People,
    process::{Replica, World},
    receiver::Billing,
    replay::{Chronicle, Days},
    step::Step,
};

/// What is told.
#[derive(Clone, Debug)]
pub struct Case {
    /// Decides what processes draw by chance.
    pub seed: u64,
    pub steps: Vec<Step>,
    pub plan: Plan,
    /// On which ledger.
    pub ledger: ledger::Kind,
}

/// What came of it.
pub struct Told {
    pub end: End,
    /// What does not hold.
    pub violations: Vec<String>,
    /// What was passed, and what went wrong there.
    pub passed: Passed,
    pub struck: Vec<(Point, Fault)>,
    /// What the ledger says that happened, in order.
    pub rows: Vec<String>,
    /// How much simulated time passed.
    pub lasted: Duration,
}

impl Case {
    /// Tells it, in a runtime of its own.
    pub fn tell(&self) -> Told {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(self.run())
    }

    /// What happens while it is told.
    fn days(&self) -> Days {
        if self.steps.iter().any(|step| matches!(step, Step::SetClock(..))) {
            Days::OutOfTime
        } else if matches!(self.plan, Plan::Nothing) && !self.steps.iter().any(|step| step.is_trouble()) {
            Days::Calm
        } else {
            Days::Troubled
        }
    }

    async fn run(&self) -> Told {
        let began = Instant::now();
        let mut stage = Stage::set(self);
        let mut violations = vec![];
        if let Err(why) = stage.people.prepare().await {
            violations.push(why);
        }
        for step in &self.steps {
            stage.strike(*step);
            if let Err(why) = stage.people.carry_out(*step).await {
                violations.push(why);
                break;
            }
        }
        stage.calm().await;
        let (end, found) = oracles::judge(&stage.world, self.days()).await;
        violations.extend(found);
        let faults = &stage.world.faults;
        let rows = oracles::rows(stage.world.ledger.as_ref());
        Told { rows, end, violations, passed: faults.passed(), struck: faults.struck(), lasted: began.elapsed() }
    }
}

/// Everything that takes part.
struct Stage {
    world: World,
    people: People,
    replicas: Vec<Arc<Replica>>,
    tasks: JoinSet<()>,
    _ledger: Ledger,
}

impl Stage {
    fn set(case: &Case) -> Self {
        let clock = SimulatedClock::start();
        let server = ApiServer::start(Arc::new(clock.another()));
        let ledger = Ledger::new(case.ledger);
        let installation = Installation {
            id: InstallationId::new("simulated"),
            cluster_uid: Uid::new(server.cluster_uid()),
            era: Era::new(0),
        };
        at_once(ledger.store.installation(&installation)).expect("nothing happens to it");
        let world = World {
            server: server.clone(),
            ledger: ledger.store.clone(),
            billing: Billing::default(),
            faults: Faults::new(case.plan.clone()),
            seen: Seen::default(),
            chronicle: Chronicle::default(),
        };
        oracles::attend(&world);
        let people = People::of(&server);
        let mut tasks = JoinSet::new();
        tasks.spawn(nodes::run(server, people.ailments.clone()));
        let replicas = ["first", "second"].map(|name| Replica::new(name, world.clone(), clock.another()));
        for (replica, seed) in replicas.iter().zip(case.seed..) {
            tasks.spawn(replica.clone().run(seed));
        }
        Self { world, people, replicas: replicas.to_vec(), tasks, _ledger: ledger }
    }

    fn replica(&self, number: u8) -> Arc<Replica> {
        self.replicas[usize::from(number) % self.replicas.len()].clone()
    }

    /// Begins what a step of trouble says. What lasts, lasts beside the steps that follow.
    fn strike(&mut self, step: Step) {
        match step {
            Step::Kill(number) => self.replica(number).kill(),
            Step::Stop(number) => self.replica(number).stop(),
            Step::Pause(number, seconds) => {
                let replica = self.replica(number);
                self.tasks.spawn(async move {
                    replica.pause(true);
                    sleep(Duration::from_secs(seconds.into())).await;
                    replica.pause(false);
                });
            }
            Step::SetClock(number, seconds) => self.replica(number).clock.set(seconds.into()),
            Step::BillingDown(seconds) => {
                let billing = self.world.billing.clone();
                self.tasks.spawn(async move {
                    billing.is_down(true);
                    sleep(Duration::from_secs(seconds.into())).await;
                    billing.is_down(false);
                });
            }
            Step::LedgerDown(seconds) => self.cut_off(&[Surface::Store], seconds),
            Step::ServerDown(seconds) => self.cut_off(&[Surface::Read, Surface::Write, Surface::News], seconds),
            Step::Compact => self.world.server.compact(),
            _ => {}
        }
    }

    fn cut_off(&mut self, surfaces: &'static [Surface], seconds: u8) {
        let faults = self.world.faults.clone();
        self.tasks.spawn(async move {
            faults.cut_off(surfaces, true);
            sleep(Duration::from_secs(seconds.into())).await;
            faults.cut_off(surfaces, false);
        });
    }

    /// From now on nothing goes wrong, and what went wrong is over.
    async fn calm(&mut self) {
        self.world.faults.end();
        for replica in &self.replicas {
            replica.clock.set(0);
        }
        // The longest pause, and the longest that billing is down.
        sleep(Duration::from_mins(1)).await;
    }
}
