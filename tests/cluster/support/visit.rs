//! One test's view of a place: the cluster, the ledger and the receiver, through connections of its own.

use std::{
    ops::Deref,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use kube::{ResourceExt as _, core::DynamicObject};
use serde::de::DeserializeOwned;
use serde_json::Value;
use trueup::{
    domain::{Head, Uid},
    ledger::{RowQuery, Store},
    lifecycle::TABLES,
};

use super::{
    Access, ControllerOptions, Database, PATIENCE, Place, Process, Reading, Story, eventually, process::tail, reading,
};

/// Connections belong to the runtime that made them, and each test has its own.
pub struct Visit {
    /// What it looks at.
    pub place: Arc<Place>,
    /// The ledger, for reading.
    pub ledger: Arc<dyn Store>,
    access: Access,
    http: reqwest::Client,
    log: PathBuf,
}

struct Shared {
    place: Arc<Place>,
    _controller: Process,
}

impl Visit {
    /// The place and the controller that all tests share which only need a tenant of their own.
    pub async fn shared() -> Self {
        // Never dropped: when the test binary ends, its children end by themselves.
        static SHARED: OnceLock<Shared> = OnceLock::new();
        let start = || {
            let place = Arc::new(block_on(Place::new("shared", Database::Sqlite)));
            let controller = place.controller("controller", &ControllerOptions::default());
            Shared { place, _controller: controller }
        };
        let shared = SHARED.get_or_init(|| std::thread::scope(|scope| scope.spawn(start).join()).expect("a place"));
        let visit = Self::to(&shared.place).await;
        visit.leads("controller").await;
        visit
    }

    /// A look at `place`.
    pub async fn to(place: &Arc<Place>) -> Self {
        Self::patiently(place, Duration::ZERO).await
    }

    /// A look at a place whose API server dies now and then: what is asked of it is asked again for as long as this.
    pub async fn patiently(place: &Arc<Place>, patience: Duration) -> Self {
        Self {
            place: place.clone(),
            ledger: trueup::ledger::open(&place.ledger, TABLES).expect("the ledger's address"),
            access: Access::by(&place.cluster.admin()).await.patiently(patience),
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
            log: place.log("controller"),
        }
    }

    /// Waits until the controller whose log is called `name` leads.
    pub async fn leads(&self, name: &str) {
        eventually(PATIENCE, &format!("controller {name} leads"), || async {
            let log = self.place.log(name);
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.contains(" leading").then_some(()).ok_or_else(|| format!("its log ends with\n{}", tail(&log)))
        })
        .await;
    }

    /// Waits until Trueup has seen an object and tools that know nothing of Trueup hold it to be as was asked.
    ///
    /// One that nobody has touched yet reads as current, too: that is kstatus' rule for kinds without conditions.
    pub async fn current(&self, kind: &str, namespace: Option<&str>, name: &str) -> DynamicObject {
        self.until(kind, namespace, name, "is as was asked", |object| {
            !object.data["status"].is_null() && reading(object) == Reading::Current
        })
        .await
    }

    /// Waits until an object shows `state`, for its present spec.
    pub async fn state(&self, kind: &str, namespace: Option<&str>, name: &str, state: &str) -> DynamicObject {
        let shows = |object: &DynamicObject| {
            let status = &object.data["status"];
            status["state"] == state && status["observedGeneration"].as_i64() == object.metadata.generation
        };
        self.until(kind, namespace, name, &format!("shows state {state}"), shows).await
    }

    /// Waits until an object is Stalled with `reason`, for its present spec.
    pub async fn stalled(&self, kind: &str, namespace: Option<&str>, name: &str, reason: &str) -> DynamicObject {
        let shows = |object: &DynamicObject| {
            let stalled = condition(object, "Stalled");
            let generation = object.metadata.generation;
            stalled["status"] == "True"
                && stalled["reason"] == reason
                && stalled["observedGeneration"].as_i64() == generation
                && condition(object, "Ready")["status"] == "False"
                && reading(object) == Reading::Failed
        };
        self.until(kind, namespace, name, &format!("is Stalled, reason {reason}"), shows).await
    }

    /// Waits until an object is there and is so.
    pub async fn until(
        &self,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
        what: &str,
        is_so: impl Fn(&DynamicObject) -> bool,
    ) -> DynamicObject {
        let place = namespace.unwrap_or_default();
        eventually(PATIENCE, &format!("{kind} {place}/{name} {what}"), || async {
            match self.find(kind, namespace, name).await {
                Some(object) if is_so(&object) => Ok(object),
                Some(object) => Err(format!(
                    "it is at generation {:?}{} with {}",
                    object.metadata.generation,
                    if object.metadata.deletion_timestamp.is_some() { ", being deleted," } else { "" },
                    if object.data["status"].is_null() { &object.data["spec"] } else { &object.data["status"] },
                )),
                None => Err("it is not there".to_owned()),
            }
        })
        .await
    }

    /// Waits until an object is gone.
    pub async fn gone(&self, kind: &str, namespace: Option<&str>, name: &str) {
        self.gone_in(kind, namespace, name, PATIENCE).await;
    }

    /// Waits until an object is gone, for longer or shorter than others do.
    pub async fn gone_in(&self, kind: &str, namespace: Option<&str>, name: &str, deadline: Duration) {
        let place = namespace.unwrap_or_default();
        eventually(deadline, &format!("{kind} {place}/{name} is gone"), || async {
            match self.find(kind, namespace, name).await {
                None => Ok(()),
                Some(object) => {
                    Err(format!("it is there with {} {}", json_of(&object.metadata), object.data["status"]))
                }
            }
        })
        .await;
    }

    /// What the ledger has of an object that is there.
    pub async fn story_of(&self, kind: &str, namespace: Option<&str>, name: &str) -> Story {
        self.story(&uid(&self.get(kind, namespace, name).await)).await
    }

    /// What the ledger has of a stream.
    pub async fn story(&self, uid: &Uid) -> Story {
        let query = RowQuery { uid: Some(uid.clone()), limit: 10_000, ..RowQuery::default() };
        Story::new(self.ledger.rows(&query).await.expect("reading the ledger"))
    }

    /// Waits until a stream's last state is `state`.
    pub async fn recorded(&self, uid: &Uid, state: &str) -> Story {
        eventually(PATIENCE, &format!("the stream of {uid} ends in {state}"), || async {
            let story = self.story(uid).await;
            let ends = story.states().last().is_some_and(|last| *last == state);
            if ends { Ok(story) } else { Err(format!("it is {:?}", story.states())) }
        })
        .await
    }

    /// Every head of the ledger.
    pub async fn heads(&self) -> Vec<Head> {
        let mut all: Vec<Head> = vec![];
        loop {
            let after = all.last().map(|head| head.subject.uid.clone());
            let page = self.ledger.heads(after.as_ref(), false, 500).await.expect("reading the ledger");
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    /// What the receiver answers, if it does.
    pub async fn ask_receiver<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let url = format!("{}{path}", self.place.receiver_url());
        let answer =
            self.http.get(&url).send().await.map_err(|error| format!("the receiver does not answer: {error}"))?;
        answer.json().await.map_err(|error| format!("the receiver's answer cannot be read: {error}"))
    }
}

impl Deref for Visit {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the controller's log ends with\n{}\n---", tail(&self.log));
        }
    }
}

/// The UID of an object.
pub fn uid(object: &DynamicObject) -> Uid {
    Uid::new(object.uid().expect("an object's UID"))
}

/// One condition of an object; null if it is not there.
pub fn condition(object: &DynamicObject, kind: &str) -> Value {
    let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|found| found["type"] == kind).unwrap_or_default()
}

fn json_of(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
