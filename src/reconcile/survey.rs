//! How the objects of all tenants stand, counted from the caches when somebody asks for the figures.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kube::{ResourceExt as _, core::DynamicObject};

use super::Context;
use crate::{
    api::annotation,
    cluster::CustomKind,
    domain::{Kind, TenantName, Timestamp},
    telemetry::{BackupSurvey, Survey},
};

/// What those tenants are called in labels that have no name of their own there.
const OTHER: &str = "other";
/// The state of an object of which nothing was recorded.
const NO_STATE: &str = "-";

/// Which tenants labels name.
pub(super) struct Named {
    limit: usize,
    named: BTreeSet<TenantName>,
}

impl Named {
    /// The oldest `limit` of `tenants`, which come with when they were made; every replica chooses the same.
    pub(super) fn new(limit: usize, mut tenants: Vec<(Timestamp, TenantName)>) -> Self {
        tenants.sort();
        Self { limit, named: tenants.into_iter().take(limit).map(|(_, name)| name).collect() }
    }

    /// What a label says for `tenant`.
    pub(super) fn label(&self, tenant: Option<&TenantName>) -> &str {
        match tenant.and_then(|tenant| self.named.get(tenant)) {
            Some(tenant) => tenant.as_str(),
            // Switched off, or nobody's.
            None if self.limit == 0 || tenant.is_none() => "",
            None => OTHER,
        }
    }

    /// Everything that `label` answers for tenants.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(TenantName::as_str)
    }
}

/// The tenants that are there now.
pub(super) fn named(context: &Context) -> Named {
    let tenants = context.caches.store(CustomKind::Tenant).state();
    let tenants = tenants.iter().map(|tenant| (created(tenant), TenantName::new(tenant.name_any()))).collect();
    Named::new(context.tenants_named, tenants)
}

/// Looks at everything.
pub(super) fn survey(context: &Context) -> Survey {
    let named = named(context);
    let mut counted = Counted::default();
    let mut owners: HashMap<String, Option<TenantName>> = HashMap::new();
    for kind in Kind::ALL {
        for object in context.caches.store(CustomKind::of(kind)).state() {
            let tenant = match object.namespace() {
                None => Some(TenantName::new(object.name_any())),
                Some(namespace) => owners
                    .entry(namespace)
                    .or_insert_with_key(|namespace| context.member(Some(namespace)).map(|member| member.tenant))
                    .clone(),
            };
            counted.count(kind, &object, tenant.as_ref(), &named);
        }
    }
    counted.survey()
}

/// What was counted so far.
#[derive(Default)]
struct Counted {
    resources: BTreeMap<(Kind, String, String), u64>,
    /// By tenant's label, namespace and source.
    sources: BTreeMap<(String, String, String), Source>,
}

/// What is known of one source's backups.
#[derive(Clone, Copy)]
struct Source {
    newest: Timestamp,
    verified: bool,
}

impl Counted {
    fn count(&mut self, kind: Kind, object: &DynamicObject, tenant: Option<&TenantName>, named: &Named) {
        let label = named.label(tenant).to_owned();
        let state = object.data["status"]["state"].as_str().unwrap_or(NO_STATE).to_owned();
        *self.resources.entry((kind, state, label.clone())).or_default() += 1;
        if kind == Kind::Backup
            && let Some(completed) = completed(object)
        {
            let key = (label, object.namespace().unwrap_or_default(), source(object));
            let verified = object.annotations().contains_key(annotation::RESTORE_VERIFIED);
            let known = self.sources.entry(key).or_insert(Source { newest: completed, verified });
            known.newest = known.newest.max(completed);
            known.verified |= verified;
        }
    }

    fn survey(self) -> Survey {
        let mut backups: BTreeMap<String, BackupSurvey> = BTreeMap::new();
        for ((tenant, ..), source) in self.sources {
            let known = backups.entry(tenant).or_insert(BackupSurvey { newest: source.newest, unverified: 0 });
            known.newest = known.newest.min(source.newest);
            known.unverified += u64::from(!source.verified);
        }
        Survey { resources: self.resources, backups }
    }
}

/// When the artifact was complete, if there is one.
fn completed(object: &DynamicObject) -> Option<Timestamp> {
    let status = &object.data["status"];
    let at = status["artifact"]["completedAt"].as_str().filter(|_| status["state"] == "Completed")?;
    at.parse::<jiff::Timestamp>().ok().map(Timestamp::from)
}

/// Names what is backed up: whatever else may differ from one backup to the next.
fn source(object: &DynamicObject) -> String {
    let source = &object.data["spec"]["source"];
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    if source["postgres"].is_object() {
        format!("{}/{}", text(&source["postgres"]["host"]), text(&source["postgres"]["database"]))
    } else {
        format!("{} {}", source["command"]["command"], text(&source["command"]["fileName"]))
    }
}

fn created(object: &DynamicObject) -> Timestamp {
    object.metadata.creation_timestamp.as_ref().map_or(Timestamp::from_micros(0), |time| time.0.into())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tenants(count: i64) -> Vec<(Timestamp, TenantName)> {
        let tenant = |number: i64| (Timestamp::from_micros(number), TenantName::new(format!("tenant-{number:04}")));
        // The newest first, as a cache may have them.
        (0..count).rev().map(tenant).collect()
    }

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn backup(name: &str, database: &str, completed: Option<&str>, annotations: Value) -> DynamicObject {
        object(json!({
            "metadata": { "name": name, "namespace": "acme-prod", "annotations": annotations },
            "spec": { "source": { "postgres": { "host": "db", "database": database } } },
            "status": {
                "state": if completed.is_some() { "Completed" } else { "Failed" },
                "artifact": completed.map(|at| json!({ "completedAt": at })),
            },
        }))
    }

    #[test]
    fn the_oldest_thousand_tenants_have_labels_of_their_own_and_the_rest_share_one() {
        let named = Named::new(1_000, tenants(1_003));
        let label = |name: &str| named.label(Some(&TenantName::new(name))).to_owned();
        assert_eq!(named.labels().count(), 1_000);
        assert_eq!((label("tenant-0000").as_str(), label("tenant-0999").as_str()), ("tenant-0000", "tenant-0999"));
        assert_eq!((label("tenant-1000").as_str(), label("gone").as_str()), ("other", "other"));
        assert_eq!(named.label(None), "");
    }

    #[test]
    fn without_the_label_every_tenant_is_counted_together() {
        let named = Named::new(0, tenants(3));
        assert_eq!(named.label(Some(&TenantName::new("tenant-0000"))), "");
        let mut counted = Counted::default();
        for (_, tenant) in tenants(3) {
            let made = object(json!({ "metadata": { "name": tenant.as_str() }, "status": { "state": "Active" } }));
            counted.count(Kind::Tenant, &made, Some(&tenant), &named);
        }
        let wanted = BTreeMap::from([((Kind::Tenant, "Active".to_owned(), String::new()), 3)]);
        assert_eq!(counted.survey().resources, wanted);
    }

    #[test]
    fn a_tenants_backup_is_as_old_as_that_of_its_worst_source_and_one_proof_is_enough_for_a_source() {
        let acme = TenantName::new("acme");
        let named = Named::new(1, vec![(Timestamp::from_micros(0), acme.clone())]);
        let mut counted = Counted::default();
        let verified = json!({ "trueup.dev/restore-verified": "2026-01-01" });
        for made in [
            backup("shop-1", "shop", Some("2026-01-01T00:00:00Z"), verified),
            backup("shop-2", "shop", Some("2026-01-03T00:00:00Z"), Value::Null),
            backup("shop-3", "shop", None, Value::Null),
            backup("crm-1", "crm", Some("2026-01-02T00:00:00Z"), Value::Null),
        ] {
            counted.count(Kind::Backup, &made, Some(&acme), &named);
        }
        let survey = counted.survey();
        let newest: Timestamp = "2026-01-02T00:00:00Z".parse::<jiff::Timestamp>().unwrap().into();
        assert_eq!(survey.backups, BTreeMap::from([("acme".to_owned(), BackupSurvey { newest, unverified: 1 })]));
        assert_eq!(survey.resources[&(Kind::Backup, "Completed".into(), "acme".into())], 3);
        assert_eq!(survey.resources[&(Kind::Backup, "Failed".into(), "acme".into())], 1);
    }

    #[test]
    fn an_object_of_which_nothing_was_recorded_is_counted_without_a_state() {
        let mut counted = Counted::default();
        let made = object(json!({ "metadata": { "name": "stray", "namespace": "default" } }));
        counted.count(Kind::AppDeployment, &made, None, &Named::new(1, vec![]));
        assert_eq!(counted.survey().resources[&(Kind::AppDeployment, "-".into(), String::new())], 1);
    }
}
