//! How far this process may go for an object: what is said of it, of its Tenant and of the whole installation.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use kube::{ResourceExt, core::DynamicObject};
use tracing::{info, warn};

use super::Context;
use crate::{
    cluster::{self, CustomKind, OwnerKey},
    lifecycle::mandate::{Mandate, Said},
};

/// How often to look what is said of the installation: people who say it look for the answer.
const PERIOD: Duration = Duration::from_secs(2);

/// What holds for the whole installation.
#[derive(Default)]
pub struct Mandates {
    everything: RwLock<Said>,
}

impl Mandates {
    fn everything(&self) -> Said {
        self.everything.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers whether that is new.
    fn learn(&self, said: Said) -> bool {
        let mut known = self.everything.write().unwrap_or_else(PoisonError::into_inner);
        let new = *known != said;
        *known = said;
        new
    }
}

impl Context {
    /// What holds for `object`: the strictest of what is said of it, of its Tenant and of everything.
    pub(super) fn said_of(&self, object: &DynamicObject) -> Said {
        let observe_only = Said { mandate: if self.observe_only { Mandate::Record } else { Mandate::Act }, by: None };
        let of = |object: &DynamicObject| Said::by_annotations(object.annotations());
        let tenant = object.namespace().and_then(|namespace| self.tenant_of(&namespace));
        let tenants = tenant.map(|tenant| of(&tenant)).unwrap_or_default();
        of(object).or_stricter(tenants).or_stricter(self.mandates.everything()).or_stricter(observe_only)
    }

    /// Whether `object` is anybody's: a Tenant is its own, everything else its namespace's Tenant's.
    pub(super) fn belongs(&self, object: &DynamicObject) -> bool {
        object.namespace().is_none_or(|namespace| self.tenant_of(&namespace).is_some())
    }

    /// Whether everything is to be let be.
    pub(super) fn leaves_everything(&self) -> bool {
        self.mandates.everything().mandate == Mandate::Leave
    }
}

/// Reads until it has succeeded once: a leader that did not know that it is paused would act.
pub(super) async fn learn_first(context: &Context) {
    while !learn(context).await {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Goes on reading, and looks at everything anew when something else is said.
pub(super) async fn follow(context: Arc<Context>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        learn(&context).await;
    }
}

async fn learn(context: &Context) -> bool {
    let said = match cluster::said_of_installation(context.cluster.client(), &context.namespace).await {
        Ok(said) => said,
        Err(error) => {
            warn!(%error, "whether the installation is paused or detached could not be read; this is tried again");
            return false;
        }
    };
    let (mandate, by) = (said.mandate, said.by.clone().unwrap_or_default());
    if context.mandates.learn(said) {
        match mandate {
            Mandate::Act => info!("everything is reconciled from now on"),
            Mandate::Record => info!(by, "the installation is paused: it records, and changes nothing in the cluster"),
            Mandate::Leave => info!(by, "the installation is detached: streams end, and everything is let be"),
        }
        for kind in CustomKind::ALL {
            for object in context.caches.store(kind).state() {
                context.caches.ask(OwnerKey { kind, namespace: object.namespace(), name: object.name_any() });
            }
        }
    }
    true
}
