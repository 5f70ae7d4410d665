//! What holds for every kind, whatever is observed: plans are legal, the same inputs give the same plan, repeated
//! decisions settle, and a settled one plans nothing.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::{
    Child, ChildKind, Membership, Object, ObjectKey, Plan, appdeployment, backup,
    children::{Owner, manifest},
    fixtures::{NOW, carry_out, child, head, object},
    tenant, witnesses,
};
use crate::{
    api::{AppDeploymentSpec, BackupSpec, TenantSpec, label},
    domain::{Billable, Ended, Failure, FailureReason, Head, Kind, Table, TenantName, Timestamp},
};

/// Decides and carries out until nothing is left to do. No kind needs more than a handful of looks.
fn settle<S: PartialEq + std::fmt::Debug>(
    table: &Table,
    generation: i64,
    head: Option<Head>,
    children: Vec<Child>,
    has_finalizer: bool,
    decide: impl Fn(&[Child], Option<&Head>, bool) -> Plan<S>,
) {
    let (mut head, mut children, mut has_finalizer) = (head, children, has_finalizer);
    let mut told = vec![];
    for _ in 0..8 {
        let plan = decide(&children, head.as_ref(), has_finalizer);
        assert_eq!(plan, decide(&children, head.as_ref(), has_finalizer), "the same inputs give the same plan");
        if plan.is_settled() {
            return;
        }
        if let Some(transition) = &plan.transition {
            let told = witnesses::of(table.kind, transition.reason).flat_map(|line| line.witness.sources());
            assert!(
                told.into_iter().any(|source| *source == transition.effective.source),
                "no witness: {transition:?}"
            );
        }
        carry_out(&plan, table, &mut head, &mut children, &mut has_finalizer, generation);
        told.push(plan);
    }
    panic!("did not settle: {told:#?}");
}

fn some_head(kind: Kind, table: &'static Table) -> impl Strategy<Value = Option<Head>> {
    let states: Vec<&str> = table.states.iter().map(|row| row.name).collect();
    proptest::option::weighted(0.9, (proptest::sample::select(states), 1..=2_i64, 0..7200_i64, 0..3_u32)).prop_map(
        move |found| {
            found.map(|(state, generation, age, replicas)| {
                let at = Timestamp::from_micros(NOW.as_micros() - age * 1_000_000);
                Head {
                    generation,
                    effective_at: at,
                    entered_at: at,
                    billable: Billable { replicas, ..Billable::ZERO },
                    ..head(kind, state)
                }
            })
        },
    )
}

#[derive(Clone, Debug)]
struct Situation {
    deleting: bool,
    finalizer: bool,
    paused: bool,
    watched: bool,
    member: Option<bool>,
    ending: bool,
}

impl Situation {
    fn any() -> impl Strategy<Value = Self> {
        (
            any::<bool>(),
            any::<bool>(),
            proptest::bool::weighted(0.1),
            any::<bool>(),
            proptest::option::weighted(0.9, any::<bool>()),
            proptest::bool::weighted(0.1),
        )
            .prop_map(|(deleting, finalizer, paused, watched, member, ending)| Self {
                deleting,
                finalizer,
                paused,
                watched,
                member,
                ending,
            })
    }

    fn object<'a, S>(&self, spec: &'a S, name: &str, namespace: Option<&str>, has_finalizer: bool) -> Object<'a, S> {
        Object {
            deleting_since: self.deleting.then(|| Timestamp::from_micros(NOW.as_micros() - 5_000_000)),
            has_finalizer,
            paused: self.paused,
            watched: self.watched,
            ..object(spec, name, namespace)
        }
    }

    fn member(&self) -> Option<Membership> {
        self.member.map(|suspended| Membership {
            tenant: TenantName::new("acme"),
            account: "acct".into(),
            plan: "small".into(),
            suspended,
            restricted: false,
        })
    }
}

prop_compose! {
    fn deployment_status()(
        replicas in 0..5_i32, updated in 0..5_i32, available in 0..5_i32, seen in 0..2_i64,
        reason in proptest::sample::select(vec!["NewReplicaSetAvailable", "ReplicaSetUpdated", "ProgressDeadlineExceeded"]),
        age in 0..100_i64,
    ) -> serde_json::Value {
        let at = Timestamp::from_micros(NOW.as_micros() - age * 1_000_000).to_jiff();
        json!({
            "observedGeneration": seen, "replicas": replicas, "updatedReplicas": updated, "availableReplicas": available,
            "conditions": [
                { "type": "Progressing", "status": "True", "reason": reason, "lastUpdateTime": at, "lastTransitionTime": at },
                { "type": "Available", "status": "False", "lastTransitionTime": at },
            ],
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn an_application_settles_legally(
        situation in Situation::any(),
        head in some_head(Kind::AppDeployment, &appdeployment::TABLE),
        replicas in 0..4_i32, suspend: bool, port: bool,
        existing in proptest::option::of((deployment_status(), proptest::bool::weighted(0.8))),
    ) {
        let ports = if port { json!([{ "name": "http", "port": 80 }]) } else { json!([]) };
        let spec: AppDeploymentSpec =
            serde_json::from_value(json!({ "image": "web:1", "replicas": replicas, "suspend": suspend, "ports": ports })).unwrap();
        let uid = object(&spec, "web", None).uid;
        let others = BTreeSet::new();
        let owner = Owner { label: label::APP, name: "web", uid: &uid, others: &others };
        let key = ObjectKey::in_namespace(ChildKind::Deployment, "acme-prod", "web");
        let children: Vec<Child> = existing.into_iter().map(|(status, ours)| {
            let mut found = child(&manifest(owner, key.clone(), &[], json!({ "spec": {} })), status);
            if !ours {
                found.body["metadata"]["labels"] = json!({});
                found.body["metadata"]["annotations"] = json!({});
            }
            found
        }).collect();
        settle(&appdeployment::TABLE, 2, head, children, situation.finalizer, |children, head, has_finalizer| {
            let seen = appdeployment::Observed {
                member: situation.member(), ending: situation.ending, children: children.to_vec(), ..appdeployment::Observed::default()
            };
            appdeployment::decide(&situation.object(&spec, "web", Some("acme-prod"), has_finalizer), &seen, head, NOW)
        });
    }

    #[test]
    fn a_tenant_settles_legally(
        situation in Situation::any(),
        head in some_head(Kind::Tenant, &tenant::TABLE),
        suspend: bool, protect: bool,
        existing in proptest::collection::vec((proptest::sample::select(vec!["acme-prod", "acme-dev", "acme-old"]), any::<bool>(), any::<bool>()), 0..3),
    ) {
        let spec: TenantSpec = serde_json::from_value(json!({
            "plan": "small", "billing": { "account": "acct" }, "suspend": suspend, "deletion": { "protect": protect },
            "namespaces": [{ "name": "prod", "quota": { "cpu": "1" } }, { "name": "dev" }],
            "owners": [{ "kind": "User", "name": "ann", "role": "Edit" }],
        })).unwrap();
        let uid = object(&spec, "acme", None).uid;
        let others = BTreeSet::new();
        let owner = Owner { label: label::TENANT, name: "acme", uid: &uid, others: &others };
        let mut children: Vec<Child> = vec![];
        for (name, ours, terminating) in existing {
            let mut found = child(&manifest(owner, ObjectKey::namespace(name), &[], json!({})), json!({}));
            if !ours {
                found.body["metadata"]["labels"] = json!({});
                found.body["metadata"]["annotations"] = json!({});
            }
            if terminating {
                found.body["metadata"]["deletionTimestamp"] = json!("2027-01-01T00:00:00Z");
            }
            children.retain(|child| child.key != found.key);
            children.push(found);
        }
        settle(&tenant::TABLE, 2, head, children, situation.finalizer, |children, head, has_finalizer| {
            let seen = tenant::Observed { children: children.to_vec(), ..tenant::Observed::default() };
            tenant::decide(&situation.object(&spec, "acme", None, has_finalizer), &seen, head, NOW)
        });
    }

    #[test]
    fn a_backup_settles_legally(
        situation in Situation::any(),
        head in some_head(Kind::Backup, &backup::TABLE),
        repository in proptest::option::weighted(0.8, proptest::option::weighted(0.2, Just("no key".to_owned()))),
        delete: bool,
        ended in proptest::option::of(proptest::sample::select(vec!["Complete", "Failed"])),
        said in proptest::option::of(proptest::sample::select(vec!["stored", "removed", "failed", "nonsense"])),
    ) {
        let spec: BackupSpec = serde_json::from_value(json!({
            "source": { "command": { "image": "tool:1", "command": ["dump"] } },
            "repositoryRef": { "name": "main" },
            "deletionPolicy": if delete { "Delete" } else { "Retain" },
        })).unwrap();
        settle(&backup::TABLE, 2, head, vec![], situation.finalizer, |children, head, has_finalizer| {
            let mut jobs = children.to_vec();
            let mut ends = vec![];
            for job in &mut jobs {
                if let Some(kind) = ended {
                    job.body["status"] = json!({ "conditions": [{ "type": kind, "status": "True", "lastTransitionTime": "2027-01-15T07:59:58Z" }] });
                }
                if let Some(said) = said {
                    let message = match said {
                        "stored" => Ended::Sealed(backup::tests::sealed()).to_message(),
                        "removed" => Ended::Forgotten(1).to_message(),
                        "failed" => Ended::Failed(Failure { reason: FailureReason::DumpFailed, message: "no".into() }).to_message(),
                        other => other.to_owned(),
                    };
                    ends.push(backup::ContainerEnd {
                        job: job.key.name.clone(), container: "mover".into(), exit_code: 0,
                        reason: "Completed".into(), message, finished_at: None,
                    });
                }
            }
            let seen = backup::Observed {
                member: situation.member(),
                ending: situation.ending,
                repository: repository.clone().map(|trouble| backup::RepositoryView {
                    spec: serde_json::from_value(json!({ "filesystem": { "claimName": "c" }, "keySecretRef": { "name": "k", "key": "k" } })).unwrap(),
                    trouble,
                }),
                mover_image: "mover:1".into(),
                jobs, ends, never_ran: false, sealed: None, ended_for: None, failure: None,
            };
            backup::decide(&situation.object(&spec, "nightly", Some("acme-prod"), has_finalizer), &seen, head, NOW)
        });
    }
}

#[test]
fn every_state_table_is_closed_and_reaches_its_end() {
    for table in super::TABLES.0 {
        for row in table.states {
            for next in row.next {
                assert!(table.states.iter().any(|other| other.name == *next), "{} -> {next}", row.name);
            }
            let gone = row.next.contains(&"Terminating") || matches!(row.name, "Terminating" | "Deleted" | "Detached");
            assert!(gone, "{} of {} cannot be deleted", row.name, table.kind);
        }
    }
    for kind in Kind::ALL {
        assert_eq!(super::TABLES.of(kind).kind, kind);
    }
}
