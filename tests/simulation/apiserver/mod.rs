//! An API server in memory: what Trueup needs of Kubernetes' own, answered as that one answers it.
//!
//! It keeps resource versions, generations, finalizers, the status apart from the rest, and who applied which field; it refuses
//! as the real one does, and its watches bookmark, end and forget. It knows no schemas: what is sent is taken.

mod answer;
mod apply;
mod news;
mod request;
mod state;
mod watch;
mod write;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::time::sleep;
use trueup::domain::{Clock, Timestamp};

use self::{
    answer::{Answered, refuse, reply},
    news::Listeners,
    request::Asked,
};
pub use self::{
    answer::{Refusal, Stream},
    news::News,
    request::{Target, Verb},
    state::{Change, Key, State},
};

/// For how long it remembers what watches may ask for, as etcd does by default.
const MEMORY: Duration = Duration::from_mins(5);
/// How long the contents of a namespace take to go.
const CLEARING: Duration = Duration::from_secs(1);

/// The server. Clones are the same one.
#[derive(Clone)]
pub struct ApiServer {
    state: Arc<Mutex<State>>,
    listeners: Arc<Listeners>,
    clock: Arc<dyn Clock>,
    witness: Arc<OnceLock<Witness>>,
}

/// Sees every object as it is written.
type Witness = Box<dyn Fn(&Change) + Send + Sync>;

impl ApiServer {
    /// With the namespaces that every cluster has.
    pub fn start(clock: Arc<dyn Clock>) -> Self {
        let server = Self { state: Arc::default(), listeners: Arc::default(), clock, witness: Arc::default() };
        for name in ["default", "kube-system"] {
            let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
            server.change(|state, now| state.create(&Target::namespace(name), namespace, now)).expect("it is empty");
        }
        server
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// What a request asks for, in words that are the same in every run.
    pub fn describe(request: &Request<Body>) -> (Verb, String) {
        request::describe(request)
    }

    /// Changes with each write.
    pub fn version(&self) -> u64 {
        self.state().version()
    }

    /// Hears of every write of these kinds.
    pub fn listen(&self, plurals: &[&str]) -> News {
        self.listeners.listen(plurals)
    }

    /// Reads and writes as those do who live in the cluster: the time is given as the API server writes it.
    pub fn within<T>(&self, work: impl FnOnce(&mut State, Value) -> T) -> T {
        let done = self.change(|state, now| Ok::<_, Refusal>(work(state, now)));
        done.expect("it was not refused")
    }

    /// From now on, `witness` sees every change. The first one stays.
    pub fn watched_by(&self, witness: impl Fn(&Change) + Send + Sync + 'static) {
        let _ = self.witness.set(Box::new(witness));
    }

    /// How much was written, but for these kinds.
    pub fn writes_but_for(&self, plurals: &[&str]) -> usize {
        self.state().writes(|plural| !plurals.contains(&plural))
    }

    /// What was written last, but for these kinds.
    pub fn last_but_for(&self, plurals: &[&str]) -> Vec<String> {
        self.state().last(|plural| !plurals.contains(&plural))
    }

    /// The UID of `kube-system`.
    pub fn cluster_uid(&self) -> String {
        let found = self.state().get(&Target::namespace("kube-system")).expect("it is there from the start");
        found["metadata"]["uid"].as_str().expect("it has one").to_owned()
    }

    /// Forgets the past: a watch that comes from there is told that it is too old.
    pub fn compact(&self) {
        self.state().compact();
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request<Body>) -> Response<Stream> {
        let asked = match Asked::read(request).await {
            Ok(asked) => asked,
            Err(refusal) => return refuse(&refusal),
        };
        if asked.verb == Verb::Watch {
            return watch::open(self, asked);
        }
        match self.carry_out(asked) {
            Ok((code, body)) => reply(code, &body),
            Err(refusal) => refuse(&refusal),
        }
    }

    fn carry_out(&self, asked: Asked) -> Answered {
        let Asked { verb, target, body, query } = asked;
        match verb {
            Verb::Get => self.state().get(&target).map(|object| (200, object)),
            Verb::List | Verb::Watch => Ok((200, Arc::new(self.state().list(&target, query.get("labelSelector"))))),
            Verb::Create => self.change(|state, now| state.create(&target, body, now)),
            Verb::Replace => self.change(|state, _| state.replace(&target, body)),
            Verb::JsonPatch => self.change(|state, _| state.json_patch(&target, body)),
            Verb::MergePatch => self.change(|state, _| state.merge_patch(&target, &body)),
            Verb::Apply => {
                let manager = query.get("fieldManager").cloned().unwrap_or_default();
                let force = query.get("force").is_some_and(|force| force == "true");
                self.change(|state, now| state.apply(&target, body, &manager, force, now))
            }
            Verb::Delete => {
                let answered = self.change(|state, now| state.delete(&target, &body, now));
                if answered.is_ok() && target.is_namespace() {
                    tokio::spawn(self.clone().clear(target));
                }
                answered
            }
        }
    }

    /// Removes what is in a namespace that is being deleted, and then the namespace, as its controller does.
    async fn clear(self, target: Target) {
        loop {
            sleep(CLEARING).await;
            let is_over = self.change(|state, now| Ok::<_, Refusal>(state.clear(&target, now))).unwrap_or(true);
            if is_over {
                return;
            }
        }
    }

    fn change<T>(&self, write: impl FnOnce(&mut State, Value) -> Result<T, Refusal>) -> Result<T, Refusal> {
        // The API server's times have whole seconds.
        let time = self.clock.now();
        let seconds = Timestamp::from_micros(time.as_micros().div_euclid(1_000_000) * 1_000_000);
        let now = json!(seconds.to_string().replace(".000000Z", "Z"));
        let mut state = self.state();
        state.micros = time.as_micros();
        let before = state.version();
        let done = write(&mut state, now);
        let written = state.since(before);
        if let Some(witness) = self.witness.get() {
            written.iter().for_each(witness);
        }
        self.listeners.tell(written);
        state.forget_before(time.minus(MEMORY));
        done
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}
