//! Everything in a cluster that is neither the API server nor Trueup: the controllers of Deployments and Jobs, the garbage
//! collector, and the nodes on which pods start, fail and end. As simple as what Trueup sees of them allows.

mod deployments;
mod garbage;
mod jobs;
mod pods;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use crate::apiserver::{ApiServer, State, Target};

/// How long news take to reach those who act on them.
const LAG: Duration = Duration::from_millis(40);

/// What they act on.
const KINDS: [&str; 3] = ["deployments", "jobs", "pods"];

/// What ails the applications. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Ailments {
    sick: Arc<Mutex<BTreeSet<(String, String)>>>,
    changed: Arc<Notify>,
}

impl Ailments {
    /// The pods of an application fail from now on, or recover.
    pub fn is_sick(&self, namespace: &str, app: &str, sick: bool) {
        let key = (namespace.to_owned(), app.to_owned());
        if sick {
            self.sick().insert(key);
        } else {
            self.sick().remove(&key);
        }
        self.changed.notify_one();
    }

    fn ails(&self, namespace: &str, app: &str) -> bool {
        self.sick().contains(&(namespace.to_owned(), app.to_owned()))
    }

    fn sick(&self) -> MutexGuard<'_, BTreeSet<(String, String)>> {
        self.sick.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the nodes and controllers remember.
struct Nodes {
    ailments: Ailments,
    /// When something is to happen to a pod, by its UID.
    due: BTreeMap<String, Instant>,
    /// The template that each Deployment was last seen with, by its UID.
    templates: BTreeMap<String, String>,
    /// When they have to look again though nothing changed.
    again: Option<Instant>,
}

impl Nodes {
    /// Whether so much time has passed since this was first asked about `uid`.
    fn has_passed(&mut self, uid: &str, span: Duration) -> bool {
        let now = Instant::now();
        let due = *self.due.entry(uid.to_owned()).or_insert(now + span);
        if due <= now {
            self.due.remove(uid);
            return true;
        }
        self.look_again(due);
        false
    }

    fn look_again(&mut self, at: Instant) {
        self.again = Some(self.again.map_or(at, |known| known.min(at)));
    }
}

/// Works until it is dropped.
pub async fn run(server: ApiServer, ailments: Ailments) {
    let fell_sick = ailments.changed.clone();
    let mut nodes = Nodes { ailments, due: BTreeMap::new(), templates: BTreeMap::new(), again: None };
    let news = server.listen(&KINDS);
    loop {
        nodes.again = None;
        server.within(|state, now| {
            garbage::collect(state, &now);
            deployments::control(&mut nodes, state, &now);
            jobs::control(&mut nodes, state, &now);
        });
        let again = nodes.again;
        let due = async {
            match again {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        let told = async {
            news.come().await;
            sleep(LAG).await;
        };
        tokio::select! {
            () = told => {}
            () = fell_sick.notified() => {}
            () = due => {}
        }
    }
}

/// Where objects of these kinds are.
fn target(group: &str, plural: &str, object: &Value) -> Target {
    Target {
        group: group.to_owned(),
        plural: plural.to_owned(),
        namespace: object["metadata"]["namespace"].as_str().map(str::to_owned),
        name: text(&object["metadata"]["name"]).to_owned(),
        subresource: None,
    }
}

/// All objects of a kind.
fn all(state: &State, group: &str, plural: &str) -> Vec<Arc<Value>> {
    let of_kind = Target { group: group.to_owned(), plural: plural.to_owned(), ..Target::default() };
    state.all(&of_kind).cloned().collect()
}

/// Writes the status of an object, if it is another.
fn show(state: &mut State, target: &Target, status: Value) {
    let at = Target { subresource: Some("status".to_owned()), ..target.clone() };
    let Ok(kept) = state.kept(target).cloned() else { return };
    if kept.object["status"] == status {
        return;
    }
    let mut object = Value::clone(&kept.object);
    object["status"] = status;
    state.update(&at, kept, object);
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
