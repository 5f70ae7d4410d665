//! One installation is one cluster and its one ledger: a copy of either must not charge anyone.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace, ObjectReference},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource as _, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};

use super::{mandate::saying, write::said};
use crate::{
    api::{MANAGER, label},
    domain::{InstallationId, Uid},
    ledger::Installation,
    lifecycle::mandate::Said,
};

const CONFIG_MAP: &str = "trueup-installation";
const INSTALLATION: &str = "installation";
const CLUSTER: &str = "clusterUid";

/// Why the process must not go on.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The cluster could not be asked.
    #[error("{doing}: {}", said(.source))]
    Api {
        /// What was being done.
        doing: String,
        /// What the client said.
        source: Box<kube::Error>,
    },
    /// The ledger belongs to another cluster.
    #[error(
        "the ledger belongs to the cluster whose kube-system has UID {ledger}, and this cluster's has {cluster}: \
         is the database, or the cluster, a copy? Nothing was sent. Point DATABASE_URL at this cluster's own \
         ledger, or move it here with `trueup ledger adopt`"
    )]
    OtherCluster {
        /// The UID in the ledger.
        ledger: Uid,
        /// The UID in the cluster.
        cluster: Uid,
    },
    /// The cluster belongs to another ledger.
    #[error(
        "ConfigMap {namespace}/{CONFIG_MAP} names installation {cluster}, and the ledger is of installation {ledger}: \
         is the database new, or a copy? Nothing was sent. Point DATABASE_URL at the ledger of \
         installation {cluster}, or, if that is lost, give its name to this one with `trueup ledger adopt`"
    )]
    OtherLedger {
        /// Where the ConfigMap is.
        namespace: String,
        /// The installation in the ConfigMap.
        cluster: String,
        /// The installation in the ledger.
        ledger: String,
    },
}

/// What was said of the whole installation: how far Trueup may go for anything in this cluster.
pub async fn said_of_installation(client: &Client, namespace: &str) -> Result<Said, IdentityError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(CONFIG_MAP).await.map_err(failed("reading", namespace))?;
    Ok(found.map(|found| Said::by_annotations(found.annotations())).unwrap_or_default())
}

/// Says it.
pub async fn say_of_installation(client: &Client, namespace: &str, said: &Said) -> Result<(), IdentityError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let patch = Patch::Merge(saying(said));
    api.patch(CONFIG_MAP, &PatchParams::default(), &patch).await.map(drop).map_err(failed("annotating", namespace))
}

/// What stands for the installation in the cluster, for Events that are about no resource.
pub async fn installation_reference(client: &Client, namespace: &str) -> Result<ObjectReference, IdentityError> {
    let doing = format!("reading ConfigMap {namespace}/{CONFIG_MAP}");
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = api.get(CONFIG_MAP).await.map_err(|source| IdentityError::Api { doing, source: Box::new(source) })?;
    Ok(found.object_ref(&()))
}

/// The identity of the cluster: the UID of `kube-system`.
pub async fn cluster_uid(client: &Client) -> Result<Uid, IdentityError> {
    let doing = "reading namespace kube-system to know the cluster by its UID".to_owned();
    let api: Api<Namespace> = Api::all(client.clone());
    let found =
        api.get("kube-system").await.map_err(|source| IdentityError::Api { doing, source: Box::new(source) })?;
    Ok(Uid::new(found.uid().unwrap_or_default()))
}

/// Makes sure that this cluster and this ledger belong together, and writes it into the cluster the first time.
pub async fn confirm_installation(
    client: &Client,
    namespace: &str,
    installation: &Installation,
    cluster: &Uid,
) -> Result<(), IdentityError> {
    if installation.cluster_uid != *cluster {
        return Err(IdentityError::OtherCluster { ledger: installation.cluster_uid.clone(), cluster: cluster.clone() });
    }
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    match api.create(&PostParams::default(), &naming(installation)).await {
        Ok(_) => return Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(source) => return Err(failed("creating", namespace)(source)),
    }
    let found = named_installation(client, namespace).await?;
    let (named, copied) =
        found.map_or_else(Default::default, |found| (found.id.to_string(), found.cluster_uid.to_string()));
    if named != installation.id.as_str() {
        let ledger = installation.id.to_string();
        return Err(IdentityError::OtherLedger { namespace: namespace.to_owned(), cluster: named, ledger });
    }
    if copied != cluster.as_str() {
        return Err(IdentityError::OtherCluster { ledger: Uid::new(copied), cluster: cluster.clone() });
    }
    Ok(())
}

/// What the cluster says of its installation; `None` if it says nothing.
pub struct Named {
    /// The installation's id.
    pub id: InstallationId,
    /// The cluster it was written in.
    pub cluster_uid: Uid,
}

/// Reads what the cluster says of its installation.
pub async fn named_installation(client: &Client, namespace: &str) -> Result<Option<Named>, IdentityError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(CONFIG_MAP).await.map_err(failed("reading", namespace))?;
    Ok(found.map(|found| {
        let data = found.data.unwrap_or_default();
        let of = |key: &str| data.get(key).cloned().unwrap_or_default();
        Named { id: InstallationId::new(of(INSTALLATION)), cluster_uid: Uid::new(of(CLUSTER)) }
    }))
}

/// Writes into the cluster which installation it is from now on.
pub async fn name_installation(
    client: &Client,
    namespace: &str,
    installation: &Installation,
) -> Result<(), IdentityError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams::apply(MANAGER).force();
    let map = naming(installation);
    api.patch(CONFIG_MAP, &params, &Patch::Apply(&map)).await.map(drop).map_err(failed("writing", namespace))
}

fn naming(installation: &Installation) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(CONFIG_MAP.into()),
            labels: Some(BTreeMap::from([(label::MANAGED_BY.to_owned(), MANAGER.to_owned())])),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([
            (INSTALLATION.to_owned(), installation.id.to_string()),
            (CLUSTER.to_owned(), installation.cluster_uid.to_string()),
        ])),
        ..ConfigMap::default()
    }
}

fn failed(doing: &str, namespace: &str) -> impl Fn(kube::Error) -> IdentityError {
    let doing = format!("{doing} ConfigMap {namespace}/{CONFIG_MAP}");
    move |source| IdentityError::Api { doing: doing.clone(), source: Box::new(source) }
}
