//! Which resource of the API a kind is.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Resource,
    core::{ApiResource, GroupVersionKind},
};

use crate::{
    api::{AppDeployment, Backup, BackupRepository, BillingSink, Tenant},
    domain::Kind,
    lifecycle::ChildKind,
};

/// Trueup's own kinds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CustomKind {
    /// A customer.
    Tenant,
    /// An application.
    AppDeployment,
    /// An artifact.
    Backup,
    /// Where artifacts go.
    BackupRepository,
    /// Who is told.
    BillingSink,
}

impl CustomKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Tenant, Self::AppDeployment, Self::Backup, Self::BackupRepository, Self::BillingSink];

    /// The one whose objects have the streams of `kind`.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Tenant => Self::Tenant,
            Kind::AppDeployment => Self::AppDeployment,
            Kind::Backup => Self::Backup,
        }
    }

    /// The name of its definition.
    pub fn crd_name(self) -> String {
        let resource = self.resource();
        format!("{}.{}", resource.plural, resource.group)
    }

    /// Its resource in the API.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::Tenant => ApiResource::erase::<Tenant>(&()),
            Self::AppDeployment => ApiResource::erase::<AppDeployment>(&()),
            Self::Backup => ApiResource::erase::<Backup>(&()),
            Self::BackupRepository => ApiResource::erase::<BackupRepository>(&()),
            Self::BillingSink => ApiResource::erase::<BillingSink>(&()),
        }
    }

    /// Whether its objects live in namespaces.
    pub const fn is_namespaced(self) -> bool {
        matches!(self, Self::AppDeployment | Self::Backup | Self::BackupRepository)
    }

    /// As in a manifest.
    pub fn name(self) -> String {
        match self {
            Self::Tenant => Tenant::kind(&()).into_owned(),
            Self::AppDeployment => AppDeployment::kind(&()).into_owned(),
            Self::Backup => Backup::kind(&()).into_owned(),
            Self::BackupRepository => BackupRepository::kind(&()).into_owned(),
            Self::BillingSink => BillingSink::kind(&()).into_owned(),
        }
    }
}

/// The resource of something that Trueup makes.
pub fn child_resource(kind: ChildKind) -> ApiResource {
    let (group, version) = kind.api_version().split_once('/').unwrap_or(("", kind.api_version()));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind.as_str()), kind.plural())
}

/// The CRDs that the cluster does not serve yet.
pub async fn missing_crds(client: &Client) -> Result<Vec<String>, kube::Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut missing = vec![];
    for name in CustomKind::ALL.map(CustomKind::crd_name) {
        let established = api.get_opt(&name).await?.and_then(|crd| crd.status).is_some_and(|status| {
            status
                .conditions
                .unwrap_or_default()
                .iter()
                .any(|found| found.type_ == "Established" && found.status == "True")
        });
        if !established {
            missing.push(name);
        }
    }
    Ok(missing)
}
