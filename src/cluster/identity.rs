//! One installation is one cluster and its one ledger: a copy of either must not charge anyone.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, ResourceExt, api::PostParams};

use super::write::said;
use crate::{
    api::{MANAGER, label},
    domain::Uid,
    ledger::Installation,
};

const CONFIG_MAP: &str = "trueup-installation";

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
         is the database, or the cluster, a copy? Nothing was sent. Point DATABASE_URL at this cluster's own ledger"
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
         is the database new, or a copy? Nothing was sent. Point DATABASE_URL at the ledger of installation {cluster}"
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
    let failed = |doing: &str| {
        let doing = format!("{doing} ConfigMap {namespace}/{CONFIG_MAP}");
        move |source| IdentityError::Api { doing, source: Box::new(source) }
    };
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(CONFIG_MAP.into()),
            labels: Some(BTreeMap::from([(label::MANAGED_BY.to_owned(), MANAGER.to_owned())])),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([
            ("installation".to_owned(), installation.id.to_string()),
            ("clusterUid".to_owned(), cluster.to_string()),
        ])),
        ..ConfigMap::default()
    };
    match api.create(&PostParams::default(), &map).await {
        Ok(_) => return Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(source) => return Err(failed("creating")(source)),
    }
    let found = api.get(CONFIG_MAP).await.map_err(failed("reading"))?;
    let data = found.data.unwrap_or_default();
    let named = data.get("installation").cloned().unwrap_or_default();
    if named != installation.id.as_str() {
        let ledger = installation.id.to_string();
        return Err(IdentityError::OtherLedger { namespace: namespace.to_owned(), cluster: named, ledger });
    }
    if data.get("clusterUid").map(String::as_str) != Some(cluster.as_str()) {
        let copied = data.get("clusterUid").cloned().unwrap_or_default();
        return Err(IdentityError::OtherCluster { ledger: Uid::new(copied), cluster: cluster.clone() });
    }
    Ok(())
}
