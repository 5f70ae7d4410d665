//! Scripted customers, who go on making, changing and deleting while a test hurts what Trueup runs on.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};

use super::{Place, Visit, app, backup, eventually, moment, repository, tenant, vault};

/// What is to come of an application in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Available,
    Failed,
    Suspended,
}

/// What was asked for so far, as it must be in the end.
#[derive(Default)]
struct Wishes {
    /// Tenants, and whether they are suspended.
    tenants: BTreeMap<String, bool>,
    /// Applications by namespace and name: image, replicas, suspended.
    apps: BTreeMap<(String, String), (&'static str, i32, bool)>,
}

impl Wishes {
    fn fate(&self, namespace: &str, app: &(&'static str, i32, bool)) -> Fate {
        let tenant = namespace.trim_end_matches("-prod");
        if app.2 || self.tenants[tenant] {
            Fate::Suspended
        } else if app.0 == BAD {
            Fate::Failed
        } else {
            Fate::Available
        }
    }
}

const GOOD: [&str; 2] = ["registry.example/shop:1", "registry.example/shop:2"];
const BAD: &str = "registry.example/crash:1";
/// The customers' names.
pub const TENANTS: [&str; 3] = ["ant", "bee", "cat"];
const APPS: [&str; 4] = ["shop", "mail", "blog", "wiki"];

/// A scripted customer: makes, changes and deletes, one step after the other.
pub struct Customer {
    tenant: &'static str,
    visit: Visit,
    random: StdRng,
    wishes: Wishes,
    steps: Arc<AtomicUsize>,
    /// How long what is deleted may take to be gone.
    patience: Duration,
}

/// All of them, beside whatever happens to the place meanwhile, until it is `enough`. Each then knows what it asked for.
pub async fn play(mut customers: Vec<Customer>, enough: &AtomicBool) -> Vec<Customer> {
    join_all(customers.iter_mut().map(async |customer| {
        customer.make_tenant(customer.tenant).await;
        while !enough.load(Ordering::Relaxed) {
            customer.step().await;
        }
    }))
    .await;
    customers
}

impl Customer {
    /// One for each tenant. `steps` counts what all of them do.
    pub async fn all(place: &Arc<Place>, seed: u64, steps: &Arc<AtomicUsize>, patience: Duration) -> Vec<Self> {
        let mut all = vec![];
        for (tenant, number) in TENANTS.into_iter().zip(0..) {
            let random = StdRng::seed_from_u64(seed + number);
            let visit = Visit::patiently(place, patience).await;
            all.push(Self { tenant, visit, random, wishes: Wishes::default(), steps: steps.clone(), patience });
        }
        all
    }

    async fn make_tenant(&mut self, name: &str) {
        self.visit.create(&tenant(name, &json!({}))).await;
        self.wishes.tenants.insert(name.to_owned(), false);
        for manifest in vault(&format!("{name}-prod")) {
            self.patiently_create(&manifest).await;
        }
        self.patiently_create(&repository(&format!("{name}-prod"), "vault", &json!({}))).await;
    }

    /// The namespace may not be there yet: its controller may just have been killed.
    async fn patiently_create(&self, manifest: &Value) {
        eventually(self.patience, &format!("{manifest} can be made"), || async {
            match self.visit.try_create(manifest, false).await {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// One step. What it does depends on the seed and on what was done before.
    async fn step(&mut self) {
        let name = self.tenant;
        let namespace = format!("{name}-prod");
        let app_name = *APPS.choose(&mut self.random).unwrap();
        let key = (namespace.clone(), app_name.to_owned());
        let inside = Some(namespace.as_str());
        let action = self.random.random_range(0..100);
        match (self.wishes.apps.get(&key).copied(), action) {
            (_, 0..3) => {
                // The whole customer leaves and comes back.
                self.visit.delete("Tenant", None, name).await;
                self.visit.gone_in("Tenant", None, name, self.patience).await;
                self.wishes.apps.retain(|(of, _), _| *of != namespace);
                self.make_tenant(name).await;
            }
            (_, 3..6) => {
                let suspend = !self.wishes.tenants[name];
                self.visit.respec("Tenant", None, name, &json!({ "suspend": suspend })).await;
                self.wishes.tenants.insert(name.to_owned(), suspend);
            }
            (_, 6..9) => {
                let account = format!("acct-{}", self.random.random_range(0..9));
                self.visit.respec("Tenant", None, name, &json!({ "billing": { "account": account } })).await;
            }
            (_, 9..14) => {
                let image = if action < 11 { "registry.example/crash:1" } else { "registry.example/hold:1" };
                let spec = json!({ "source": { "command": { "image": image } } });
                let step = self.steps.load(Ordering::Relaxed);
                self.patiently_create(&backup(&namespace, &format!("copy-{step}"), &spec)).await;
            }
            (_, 14..17) => {
                let backups = self.visit.list("Backup", inside).await;
                if let Some(one) = backups.choose(&mut self.random) {
                    let name = one.metadata.name.clone().unwrap_or_default();
                    self.visit.delete("Backup", inside, &name).await;
                }
            }
            (None, _) => {
                let replicas = self.random.random_range(0..4);
                let spec = json!({ "image": GOOD[0], "replicas": replicas, "progressDeadlineSeconds": 3 });
                self.patiently_create(&app(&namespace, app_name, &spec)).await;
                self.wishes.apps.insert(key, (GOOD[0], replicas, false));
            }
            (Some(_), 17..27) => {
                self.visit.delete("AppDeployment", inside, app_name).await;
                self.visit.gone_in("AppDeployment", inside, app_name, self.patience).await;
                self.wishes.apps.remove(&key);
            }
            (Some((image, _, suspended)), 27..55) => {
                let replicas = self.random.random_range(0..5);
                self.visit.respec("AppDeployment", inside, app_name, &json!({ "replicas": replicas })).await;
                self.wishes.apps.insert(key, (image, replicas, suspended));
            }
            (Some((image, replicas, suspended)), 55..75) => {
                let others: Vec<&str> = [GOOD[0], GOOD[1], BAD].into_iter().filter(|it| *it != image).collect();
                let image = *others.choose(&mut self.random).unwrap();
                self.visit.respec("AppDeployment", inside, app_name, &json!({ "image": image })).await;
                let image = [GOOD[0], GOOD[1], BAD].into_iter().find(|it| *it == image).unwrap();
                self.wishes.apps.insert(key, (image, replicas, suspended));
            }
            (Some((image, replicas, suspended)), 75..88) => {
                self.visit.respec("AppDeployment", inside, app_name, &json!({ "suspend": !suspended })).await;
                self.wishes.apps.insert(key, (image, replicas, !suspended));
            }
            (Some(_), _) => {
                // Somebody meddles.
                let found = self.visit.list("Deployment", inside).await;
                if found.iter().any(|it| it.metadata.name.as_deref() == Some(app_name)) {
                    self.visit.delete("Deployment", inside, app_name).await;
                }
            }
        }
        self.steps.fetch_add(1, Ordering::Relaxed);
        moment(Duration::from_millis(self.random.random_range(0..250))).await;
    }

    /// Everything comes to what was last asked for.
    pub async fn is_fulfilled(&self) {
        for (name, suspended) in &self.wishes.tenants {
            self.visit.state("Tenant", None, name, if *suspended { "Suspended" } else { "Active" }).await;
        }
        for ((namespace, name), app) in &self.wishes.apps {
            // With no pod wanted, no image can crash.
            let fate = self.wishes.fate(namespace, app);
            let fate = if fate == Fate::Failed && app.1 == 0 { Fate::Available } else { fate };
            self.visit.state("AppDeployment", Some(namespace), name, &format!("{fate:?}")).await;
        }
    }
}
