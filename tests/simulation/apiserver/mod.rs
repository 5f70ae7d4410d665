//! An API server in memory: what Trueup needs of Kubernetes' own, answered as that one answers it.
//!
//! It keeps resource versions, generations, finalizers, the status apart from the rest, and who applied which field; it refuses
//! as the real one does, and its watches bookmark, end and forget. It knows no schemas: what is sent is taken.

mod answer;
mod apply;
mod request;
mod state;
mod watch;
mod write;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{sync::watch as signal, time::sleep};
use trueup::domain::Clock;

use self::{
    answer::{Answered, Refusal, Stream, refuse, reply},
    request::{Asked, Target, Verb},
    state::State,
};

/// How long the contents of a namespace take to go.
const CLEARING: Duration = Duration::from_secs(1);

/// The server. Clones are the same one.
#[derive(Clone)]
pub struct ApiServer {
    state: Arc<Mutex<State>>,
    /// Changes with each write.
    changed: Arc<signal::Sender<u64>>,
    clock: Arc<dyn Clock>,
}

impl ApiServer {
    /// With the namespaces that every cluster has.
    pub fn start(clock: Arc<dyn Clock>) -> Self {
        let server = Self { state: Arc::default(), changed: Arc::new(signal::channel(0).0), clock };
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

    /// Everything that was written, in order.
    pub fn history(&self) -> Vec<String> {
        self.state().history()
    }

    /// Forgets the past: a watch that comes from there is told that it is too old.
    pub fn compact(&self) {
        self.state().compact();
    }

    async fn answer(&self, request: Request<Body>) -> Response<Stream> {
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
            Verb::List | Verb::Watch => Ok((200, self.state().list(&target, query.get("labelSelector")))),
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
        let seconds = self.clock.now().as_micros().div_euclid(1_000_000);
        let now =
            json!(trueup::domain::Timestamp::from_micros(seconds * 1_000_000).to_string().replace(".000000Z", "Z"));
        let mut state = self.state();
        let done = write(&mut state, now);
        self.changed.send_replace(state.version());
        done
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding it")
    }
}
