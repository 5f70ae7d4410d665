//! The watches: they fill the caches and say which object to look at.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    core::DynamicObject,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use tokio::{sync::mpsc, task::JoinSet};
use tracing::{debug, warn};

use super::{
    index::{Index, Indexed, OwnerKey},
    resources::{CustomKind, child_resource},
};
use crate::{
    api::{MANAGER, annotation, label},
    lifecycle::ChildKind,
};

/// Watches end on their own before a load balancer's idle limit cuts them silently.
const WATCH_SECONDS: u32 = 200;

/// An object to look at.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Request(pub OwnerKey);

/// Everything that is watched.
pub struct Caches {
    /// What Trueup made, by whom it was made for.
    pub index: Index,
    stores: BTreeMap<CustomKind, Store<DynamicObject>>,
    ready: BTreeMap<String, Arc<AtomicBool>>,
    listeners: RwLock<Option<mpsc::UnboundedSender<Request>>>,
}

impl Caches {
    /// Starts every watch. They run until the tasks are dropped, on leaders and standbys alike, so that a standby that
    /// takes over knows the cluster already.
    pub fn start(client: &Client, tasks: &mut JoinSet<()>) -> Arc<Self> {
        let mut stores = BTreeMap::new();
        let mut writers = vec![];
        let mut ready = BTreeMap::new();
        for kind in CustomKind::ALL {
            let writer = Writer::new(kind.resource());
            stores.insert(kind, writer.as_reader());
            writers.push((kind, writer));
            ready.insert(kind.resource().plural, Arc::new(AtomicBool::new(false)));
        }
        for (indexed, _) in indexed() {
            ready.insert(name_of(indexed), Arc::new(AtomicBool::new(false)));
        }
        let caches = Arc::new(Self { index: Index::default(), stores, ready, listeners: RwLock::new(None) });
        for (kind, writer) in writers {
            tasks.spawn(watch_custom(client.clone(), kind, writer, caches.clone()));
        }
        for (kind, config) in indexed() {
            tasks.spawn(watch_indexed(client.clone(), kind, config, caches.clone()));
        }
        caches
    }

    /// The store of one of Trueup's own kinds.
    ///
    /// # Panics
    /// Never: there is one for each kind from the start.
    pub fn store(&self, kind: CustomKind) -> Store<DynamicObject> {
        let store = self.stores.get(&kind).cloned();
        assert!(store.is_some(), "every custom kind is watched from the start");
        store.unwrap_or_else(|| Writer::new(kind.resource()).as_reader())
    }

    /// One object of Trueup's own kinds, as last seen.
    pub fn get(&self, key: &OwnerKey) -> Option<Arc<DynamicObject>> {
        let mut reference = ObjectRef::new_with(&key.name, key.kind.resource());
        reference.namespace.clone_from(&key.namespace);
        self.store(key.kind).get(&reference)
    }

    /// Watches that have not shown everything yet, for `/readyz`.
    pub fn waiting_for(&self) -> Vec<&str> {
        self.ready.iter().filter(|(_, ready)| !ready.load(Ordering::Acquire)).map(|(name, _)| name.as_str()).collect()
    }

    /// From now on, everything that changes is told here; and first, everything there is.
    pub fn listen(&self) -> mpsc::UnboundedReceiver<Request> {
        let (sender, receiver) = mpsc::unbounded_channel();
        for (kind, store) in &self.stores {
            for object in store.state() {
                let _ = sender.send(request(*kind, &object));
            }
        }
        *self.listeners.write().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// Asks for a look at an object in which nothing changed.
    pub fn ask(&self, key: OwnerKey) {
        self.tell(Request(key));
    }

    fn tell(&self, request: Request) {
        if let Some(listener) = &*self.listeners.read().unwrap_or_else(PoisonError::into_inner) {
            // Nobody listens any more once leadership is lost.
            let _ = listener.send(request);
        }
    }

    fn is_ready(&self, name: &str) {
        if let Some(ready) = self.ready.get(name) {
            ready.store(true, Ordering::Release);
        }
    }

    /// What a change of a tenant, a namespace or a repository concerns besides itself.
    fn tell_dependents(&self, key: &OwnerKey) {
        if self.listeners.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            return;
        }
        for kind in [CustomKind::AppDeployment, CustomKind::Backup, CustomKind::BackupRepository] {
            for object in self.store(kind).state() {
                let Some(namespace) = object.metadata.namespace.as_deref() else { continue };
                let concerned = match key.kind {
                    CustomKind::Tenant => {
                        let found = self.index.namespace(namespace);
                        found.and_then(|found| found.labels().get(label::TENANT).cloned()).as_ref() == Some(&key.name)
                    }
                    CustomKind::BackupRepository => {
                        kind == CustomKind::Backup
                            && key.namespace.as_deref() == Some(namespace)
                            && object.data["spec"]["repositoryRef"]["name"] == key.name.as_str()
                    }
                    _ => false,
                };
                if concerned {
                    self.tell(request(kind, &object));
                }
            }
        }
    }
}

fn request(kind: CustomKind, object: &DynamicObject) -> Request {
    Request(OwnerKey { kind, namespace: object.metadata.namespace.clone(), name: object.name_any() })
}

/// What is watched besides Trueup's own kinds, and which of it.
fn indexed() -> Vec<(Indexed, watcher::Config)> {
    let managed = format!("{}={MANAGER}", label::MANAGED_BY);
    let config = |labels: &str| watcher::Config::default().labels(labels).timeout(WATCH_SECONDS);
    let mut all: Vec<_> = ChildKind::ALL
        .into_iter()
        .map(|kind| {
            // Namespaces by the tenant's label alone, so that one that somebody took from Trueup is still seen.
            let labels = if kind == ChildKind::Namespace { label::TENANT } else { managed.as_str() };
            (Indexed::Child(kind), config(labels))
        })
        .collect();
    all.push((Indexed::Pod, config(&managed)));
    all
}

fn name_of(kind: Indexed) -> String {
    match kind {
        Indexed::Child(kind) => kind.plural().to_owned(),
        Indexed::Pod => "pods".to_owned(),
    }
}

async fn watch_custom(client: Client, kind: CustomKind, mut writer: Writer<DynamicObject>, caches: Arc<Caches>) {
    let api: Api<DynamicObject> = Api::all_with(client, &kind.resource());
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let name = kind.resource().plural;
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => slim_event(event),
            Err(error) => {
                warn!(watch = %name, %error, "a watch was interrupted; it starts over by itself");
                continue;
            }
        };
        let before = match &event {
            Event::Apply(object) => caches.get(&request(kind, object).0),
            _ => None,
        };
        writer.apply_watcher_event(&event);
        match &event {
            Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => {
                let request = request(kind, object);
                caches.tell(request.clone());
                if kind == CustomKind::BackupRepository || !same_for_others(before.as_deref(), object) {
                    caches.tell_dependents(&request.0);
                }
            }
            Event::Init => {}
            Event::InitDone => {
                caches.is_ready(&name);
                for object in caches.store(kind).state() {
                    caches.tell(self::request(kind, &object));
                }
            }
        }
    }
    debug!(watch = %name, "a watch has ended");
}

async fn watch_indexed(client: Client, kind: Indexed, config: watcher::Config, caches: Arc<Caches>) {
    let resource = match kind {
        Indexed::Child(kind) => child_resource(kind),
        Indexed::Pod => {
            kube::core::ApiResource::from_gvk_with_plural(&kube::core::GroupVersionKind::gvk("", "v1", "Pod"), "pods")
        }
    };
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let name = name_of(kind);
    while let Some(event) = events.next().await {
        let touched = match event.map(slim_event) {
            Ok(Event::Apply(object) | Event::InitApply(object)) => caches.index.put(kind, object),
            Ok(Event::Delete(object)) => caches.index.remove(kind, &object),
            Ok(Event::Init) => {
                caches.index.begin_list(kind);
                vec![]
            }
            Ok(Event::InitDone) => {
                caches.is_ready(&name);
                caches.index.end_list(kind)
            }
            Err(error) => {
                warn!(watch = %name, %error, "a watch was interrupted; it starts over by itself");
                vec![]
            }
        };
        for owner in touched {
            if kind == Indexed::Child(ChildKind::Namespace) {
                caches.tell_dependents(&owner);
            }
            caches.tell(Request(owner));
        }
    }
    debug!(watch = %name, "a watch has ended");
}

/// Whether only such things of an object changed as concern nobody else: its status and most of its metadata.
fn same_for_others(before: Option<&DynamicObject>, now: &DynamicObject) -> bool {
    let said = |object: &DynamicObject| object.annotations().get(annotation::RECONCILE).cloned();
    before.is_some_and(|before| {
        before.metadata.generation == now.metadata.generation
            && before.metadata.uid == now.metadata.uid
            && said(before) == said(now)
    })
}

/// Drops what nobody reads and what makes up half of an object.
fn slim_event(event: Event<DynamicObject>) -> Event<DynamicObject> {
    let slim = |mut object: DynamicObject| {
        object.metadata.managed_fields = None;
        if let Some(annotations) = &mut object.metadata.annotations {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
        object
    };
    match event {
        Event::Apply(object) => Event::Apply(slim(object)),
        Event::InitApply(object) => Event::InitApply(slim(object)),
        Event::Delete(object) => Event::Delete(slim(object)),
        other => other,
    }
}
