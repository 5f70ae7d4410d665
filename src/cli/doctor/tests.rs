//! Every situation that the doctor knows, without a cluster.

use std::time::Duration;

use jiff::SignedDuration;

use super::{
    checks::check,
    facts::{ApiServer, Cluster, Definition, DefinitionState, Facts, Ledger, Right, Sink, Trouble},
    finding::{Health, exit_code},
    lines,
};
use crate::{
    cli::text::Text,
    cluster::Leadership,
    domain::{Era, InstallationId, Timestamp, Uid},
    ledger::{Checkup, Installation, Setting},
};

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() - seconds * 1_000_000)
}

fn setting(name: &'static str, value: &str) -> Setting {
    Setting { name, value: value.into(), safe: &["on"] }
}

fn healthy() -> Facts {
    let definition = |name: &str| Definition { name: name.into(), state: DefinitionState::Current };
    let right = |resource: &str, verb: &str| Right { resource: resource.into(), verb: verb.into(), allowed: true };
    Facts {
        now: NOW,
        api: Ok(ApiServer { version: (1, 34), ahead: Some(SignedDuration::from_millis(300)) }),
        cluster: Some(Cluster {
            uid: Ok(Uid::new("cluster-1")),
            definitions: vec![definition("tenants.trueup.dev"), definition("backups.trueup.dev")],
            subject: "whoever asks".into(),
            rights: Ok(vec![right("deployments.apps", "patch"), right("pods", "list"), right("pods", "watch")]),
            named: Ok(Some((InstallationId::new("one"), Uid::new("cluster-1")))),
            leadership: Ok(Some(Leadership {
                holder: Some("pod-a".into()),
                renewed: Some(ago(1)),
                duration: Duration::from_secs(3),
            })),
            sinks: Ok(vec![Sink {
                name: "billing".into(),
                ready: Some((true, "Delivering".into(), String::new())),
                secret: Ok(()),
                reached: Ok("billing.example:443".into()),
            }]),
            mandate: None,
        }),
        ledger: Some(Ok(Ledger {
            checkup: Checkup {
                server: "PostgreSQL 17.2".into(),
                migration: Some(1),
                known_migration: 1,
                settings: vec![setting("synchronous_commit", "on"), setting("fsync", "on")],
                clock: Some(NOW),
            },
            installation: Some(Installation {
                id: InstallationId::new("one"),
                cluster_uid: Uid::new("cluster-1"),
                era: Era::new(0),
            }),
            asked: (ago(1), NOW),
        })),
    }
}

fn cluster(change: impl FnOnce(&mut Cluster)) -> Facts {
    let mut facts = healthy();
    change(facts.cluster.as_mut().unwrap());
    facts
}

fn ledger(change: impl FnOnce(&mut Ledger)) -> Facts {
    let mut facts = healthy();
    if let Some(Ok(ledger)) = &mut facts.ledger {
        change(ledger);
    }
    facts
}

/// What is said that is not ok, as a person reads it, and how the command ends.
fn said(facts: &Facts) -> (Vec<String>, u8) {
    let findings = check(facts);
    let bad = findings.iter().filter(|finding| finding.health != Health::Ok);
    let line = |finding: &super::Finding| format!("{:?} {}: {}", finding.health, finding.check, finding.found);
    for finding in findings.iter().filter(|finding| finding.health != Health::Ok) {
        assert!(finding.advice.as_ref().is_some_and(|advice| !advice.is_empty()), "{finding:?} says what to do");
    }
    (bad.map(line).collect(), exit_code(&findings))
}

#[test]
fn a_healthy_installation_is_ok_line_by_line() {
    let findings = check(&healthy());
    assert_eq!(exit_code(&findings), 0);
    let text: Vec<String> = lines(&findings).iter().map(Text::to_ansi).collect();
    let text = anstream::adapter::strip_str(&text.join("\n")).to_string();
    insta::assert_snapshot!(text);
}

#[test]
fn whatever_is_wrong_has_a_line_of_its_own_that_says_what() {
    let cases: Vec<(Facts, &str, u8)> = vec![
        (
            Facts {
                api: Err(Trouble { said: "connection refused".into(), unreachable: true }),
                cluster: None,
                ..healthy()
            },
            "Fail API server: connection refused",
            3,
        ),
        (
            Facts { api: Ok(ApiServer { version: (1, 32), ..healthy().api.unwrap() }), ..healthy() },
            "Fail API server: Kubernetes 1.32",
            1,
        ),
        (
            Facts {
                api: Ok(ApiServer { ahead: Some(SignedDuration::from_secs(-5)), ..healthy().api.unwrap() }),
                ..healthy()
            },
            "Warn clock of the API server: 5.0 s behind this machine's",
            0,
        ),
        (
            ledger(|it| it.checkup.clock = Some(Timestamp::from_micros(NOW.as_micros() + 60_000_000))),
            "Fail clock of the database: 60.0 s ahead of this machine's",
            1,
        ),
        (
            cluster(|it| it.definitions[1].state = DefinitionState::Missing),
            "Fail definitions: the cluster lacks backups.trueup.dev",
            1,
        ),
        (
            cluster(|it| it.definitions[0].state = DefinitionState::Differs),
            "Warn definitions: tenants.trueup.dev is of another version than this program",
            0,
        ),
        (
            cluster(|it| it.definitions[0].state = DefinitionState::NotEstablished),
            "Fail definitions: tenants.trueup.dev is there and not served",
            1,
        ),
        (
            cluster(|it| it.rights.as_mut().unwrap().iter_mut().skip(1).for_each(|right| right.allowed = false)),
            "Fail rights: whoever asks may not list, watch pods",
            1,
        ),
        (cluster(|it| it.leadership = Ok(None)), "Fail leader: nobody has led yet: there is no Lease", 1),
        (
            cluster(|it| it.leadership.as_mut().unwrap().as_mut().unwrap().renewed = Some(ago(40))),
            "Fail leader: nobody leads: pod-a renewed the Lease for the last time 40 s ago",
            1,
        ),
        (
            cluster(|it| it.leadership.as_mut().unwrap().as_mut().unwrap().holder = None),
            "Fail leader: nobody leads: the Lease was given back",
            1,
        ),
        (
            cluster(|it| it.mandate = Some("the whole installation is paused, by ann@desk".into())),
            "Warn mandate: the whole installation is paused, by ann@desk",
            0,
        ),
        (
            Facts { ledger: Some(Err(Trouble { said: "no answer".into(), unreachable: true })), ..healthy() },
            "Fail database: no answer",
            3,
        ),
        (
            Facts { ledger: Some(Err(Trouble { said: "no such user".into(), unreachable: false })), ..healthy() },
            "Fail database: no such user",
            1,
        ),
        (
            ledger(|it| it.checkup.migration = Some(0)),
            "Warn database: PostgreSQL 17.2, migration 0; this program brings 1",
            0,
        ),
        (
            ledger(|it| it.checkup.migration = Some(2)),
            "Warn database: PostgreSQL 17.2, migration 2; this program knows 1",
            0,
        ),
        (
            ledger(|it| it.checkup.settings[0] = setting("synchronous_commit", "off")),
            "Fail durability: synchronous_commit off",
            1,
        ),
        (
            ledger(|it| it.installation.as_mut().unwrap().id = InstallationId::new("two")),
            "Fail installation: the cluster is one, and the ledger is of two",
            1,
        ),
        (
            cluster(|it| it.uid = Ok(Uid::new("cluster-2"))),
            "Fail installation: the ConfigMap is of cluster cluster-1, and this is cluster-2",
            1,
        ),
        (cluster(|it| it.named = Ok(None)), "Fail installation: the cluster names none", 1),
        (
            cluster(|it| it.sinks = Ok(vec![])),
            "Warn sinks: there is no BillingSink: everything is recorded, and nobody is told",
            0,
        ),
        (
            cluster(|it| {
                it.sinks.as_mut().unwrap()[0].secret = Err("Secret trueup-system/billing does not exist".into());
            }),
            "Fail sink: billing: Secret trueup-system/billing does not exist",
            1,
        ),
        (
            cluster(|it| {
                it.sinks.as_mut().unwrap()[0].reached = Err("billing.example:443 does not answer within 3 s".into());
            }),
            "Warn sink: billing: Delivering, but from here billing.example:443 does not answer within 3 s",
            0,
        ),
        (
            cluster(|it| {
                it.sinks.as_mut().unwrap()[0].ready = Some((false, "Parked".into(), "2 resources are parked".into()));
            }),
            "Fail sink: billing: Parked: 2 resources are parked",
            1,
        ),
    ];
    for (facts, expected, code) in cases {
        assert_eq!(said(&facts), (vec![expected.to_owned()], code));
    }
}

#[test]
fn a_ledger_that_is_not_to_be_asked_is_no_trouble() {
    let (bad, code) = said(&Facts { ledger: None, ..healthy() });
    assert_eq!((bad, code), (vec![], 0));
}
