//! `trueup audit` between a ledger, a cluster and a receiver: the latter two are stand-ins that say what a test wants.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, http::Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use trueup::{
    domain::{DestinationId, Effective, Event, Kind, Sequence, Shard, Void},
    ledger::{Head, Row, RowQuery, SqliteStore, Store as _},
    lifecycle::TABLES,
};

use super::rig::{Answer, Rig, WEB, at, draft, minute, run, settle_everything, subject};

/// Answers GET requests by their path.
type Answers = Arc<Mutex<Vec<(String, Value)>>>;

async fn answer(State(answers): State<Answers>, uri: Uri) -> Json<Value> {
    let answers = answers.lock().unwrap();
    let found = answers.iter().find(|(path, _)| *path == uri.path());
    Json(found.map_or_else(|| panic!("nobody asks for {uri}"), |(_, answer)| answer.clone()))
}

/// A ledger all of which was delivered, and a world around it in which all is well.
struct World {
    rig: Rig,
    heads: Vec<Head>,
    answers: Answers,
}

impl World {
    fn new() -> Self {
        Self::around(Rig::new())
    }

    fn around(rig: Rig) -> Self {
        let heads = run(async {
            let store = SqliteStore::new(&rig.ledger(), TABLES).unwrap();
            settle_everything(&store).await;
            store.heads(None, false, 100).await.unwrap()
        });
        let objects = |kind: &str| {
            let items: Vec<Value> = heads
                .iter()
                .filter(|head| head.subject.kind.as_str() == kind && head.closed_at.is_none())
                .map(object)
                .collect();
            json!({"apiVersion": "trueup.dev/v1alpha1", "kind": "List", "metadata": {}, "items": items})
        };
        let told: Vec<Value> = heads.iter().map(told).collect();
        let answers = vec![
            (
                "/version",
                json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0", "gitCommit": "", "gitTreeState": "",
                "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}),
            ),
            (
                "/api/v1/namespaces/kube-system",
                json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": "kube-system", "uid": "cluster"}}),
            ),
            ("/apis/trueup.dev/v1alpha1/tenants", objects("Tenant")),
            ("/apis/trueup.dev/v1alpha1/appdeployments", objects("AppDeployment")),
            ("/apis/trueup.dev/v1alpha1/backups", objects("Backup")),
            ("/resources", json!({"resources": told, "next": null})),
        ];
        let answers = answers.into_iter().map(|(path, answer)| (path.to_owned(), answer)).collect();
        Self { rig, heads, answers: Arc::new(Mutex::new(answers)) }
    }

    /// The receiver shows each event that it applied, too.
    fn with_events(self) -> Self {
        let events = run(async {
            let store = SqliteStore::new(&self.rig.ledger(), TABLES).unwrap();
            let mut events = vec![];
            for head in &self.heads {
                let uid = &head.subject.uid;
                let rows = store.rows(&RowQuery { uid: Some(uid.clone()), ..RowQuery::default() }).await.unwrap();
                let shown: Vec<Value> = rows.iter().map(event).collect();
                events.push((format!("/resources/{uid}/events"), json!({ "events": shown })));
            }
            events
        });
        self.answers.lock().unwrap().extend(events);
        self
    }

    /// Changes what is answered at `path`.
    fn change(self, path: &str, change: impl FnOnce(&mut Value)) -> Self {
        let mut answers = self.answers.lock().unwrap();
        change(&mut answers.iter_mut().find(|(found, _)| *found == path).unwrap().1);
        drop(answers);
        self
    }

    fn apps(self, change: impl FnOnce(&mut Value)) -> Self {
        self.change("/apis/trueup.dev/v1alpha1/appdeployments", |answer| change(&mut answer["items"]))
    }

    fn receiver(self, change: impl FnOnce(&mut Value)) -> Self {
        self.change("/resources", |answer| change(&mut answer["resources"]))
    }

    /// The head of the application that lives.
    fn web(&self) -> &Head {
        self.heads.iter().find(|head| head.subject.uid.as_str() == WEB).unwrap()
    }

    fn audit(&self, wait: &str) -> Answer {
        self.audit_with(wait, &[])
    }

    fn audit_with(&self, wait: &str, more: &[&'static str]) -> Answer {
        self.command(&[&["audit", "--wait", wait], more].concat())
    }

    /// A command that asks the cluster and the receiver.
    fn command(&self, args: &[&str]) -> Answer {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let router = Router::new().fallback(answer).with_state(self.answers.clone());
            tokio::spawn(async move { axum::serve(listener, router).await });
            let kubeconfig = self.rig.kubeconfig(&url);
            let (ledger, folder) = (self.rig.url(), self.rig.folder.path().to_owned());
            let more = ["--kubeconfig", &kubeconfig, "--receiver", &url];
            let args: Vec<String> = args.iter().chain(&more).map(ToString::to_string).collect();
            let command = move || {
                std::process::Command::new(env!("CARGO_BIN_EXE_trueup"))
                    .args(args)
                    .env_clear()
                    .env("DATABASE_URL", ledger)
                    .current_dir(folder)
                    .output()
            };
            Answer::of(&tokio::task::spawn_blocking(command).await.unwrap().unwrap())
        })
    }

    /// The audit finds exactly this, each with all of its words.
    #[track_caller]
    fn violates(&self, expected: &[&[&str]]) {
        let answer = self.audit("0");
        assert_eq!(answer.code, 1, "{answer:?}");
        let count = format!("audit: {} violations (3 resources, 10 transitions, 10 deliveries)", expected.len());
        assert_eq!(answer.last_line(), count, "{}", answer.out);
        for words in expected {
            assert!(words.iter().all(|word| answer.out.contains(word)), "no {words:?} in {}", answer.out);
        }
    }
}

fn event(row: &Row) -> Value {
    json!({
        "sequence": row.sequence, "era": 0, "eventId": row.event_id, "hash": row.hash,
        "appliedAt": row.recorded_at, "shadow": false, "body": String::from_utf8(row.body.clone()).unwrap(),
    })
}

fn object(head: &Head) -> Value {
    let subject = &head.subject;
    json!({
        "apiVersion": "trueup.dev/v1alpha1",
        "kind": subject.kind,
        "metadata": {"name": subject.name, "namespace": subject.namespace, "uid": subject.uid,
            "finalizers": ["trueup.dev/finalizer"]},
        "status": {
            "state": head.state,
            "ledger": {"uid": subject.uid, "era": 0, "sequence": head.sequence, "hash": head.hash, "epoch": head.epoch},
        },
    })
}

fn told(head: &Head) -> Value {
    let subject = &head.subject;
    json!({
        "uid": subject.uid, "kind": subject.kind, "namespace": subject.namespace, "name": subject.name,
        "tenant": subject.tenant, "account": subject.account, "plan": subject.plan, "era": 0,
        "sequence": head.sequence, "state": head.state, "hash": head.hash, "billable": head.billable,
        "effectiveAt": head.effective_at, "appliedAt": head.recorded_at, "applied": head.sequence,
        "stated": head.sequence, "skipped": 0, "shadow": false,
    })
}

/// The one of `list` with this UID.
fn of<'a>(list: &'a mut Value, uid: &str) -> &'a mut Value {
    let is = |item: &Value| item["uid"] == uid || item["metadata"]["uid"] == uid;
    list.as_array_mut().unwrap().iter_mut().find(|item| is(item)).unwrap()
}

#[test]
fn a_world_in_step_passes_at_once() {
    let answer = World::new().audit("60");
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(answer.out, "audit: all invariants hold (3 resources, 10 transitions, 10 deliveries)\n");
}

#[test]
fn a_status_ahead_of_the_ledger_is_found() {
    let world = World::new().apps(|apps| of(apps, WEB)["status"]["ledger"]["sequence"] = json!(6));
    world.violates(&[&[
        "status-never-leads  AppDeployment acme-prod/web  sequence 6",
        "found     status at sequence 6",
        "expected  at most 5, the ledger's newest",
    ]]);
}

#[test]
fn a_status_that_says_another_hash_or_state_is_found() {
    let world = World::new().apps(|apps| of(apps, WEB)["status"]["ledger"]["hash"] = json!("00"));
    world.violates(&[&["status at sequence 5 with hash 00", "as in the ledger"]]);
    let world = World::new().apps(|apps| of(apps, WEB)["status"]["state"] = json!("Available"));
    world.violates(&[&["status at sequence 5 with state Available", "expected  state Failed"]]);
    let world = World::new().apps(|apps| of(apps, WEB)["status"]["ledger"] = Value::Null);
    world.violates(&[&["without a place in the ledger"], &["a status that says nothing of the ledger"]]);
}

#[test]
fn a_status_that_stays_behind_is_found_and_one_that_arrives_is_not() {
    let first = |world: &World| {
        run(async {
            let store = SqliteStore::new(&world.rig.ledger(), TABLES).unwrap();
            store.row(&world.web().subject.uid, Sequence::new(3)).await.unwrap().unwrap()
        })
    };
    let row = first(&World::new());
    let behind = |app: &mut Value| {
        app["status"]["state"] = json!(row.to);
        app["status"]["ledger"]["sequence"] = json!(row.sequence);
        app["status"]["ledger"]["hash"] = json!(row.hash);
    };
    let world = World::new();
    let now = object(world.web());
    let world = world.apps(|apps| behind(of(apps, WEB)));
    world.violates(&[&["status still at sequence 3", "expected  sequence 5, state Failed"]]);

    let answers = world.answers.clone();
    let arrives = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(500));
        let mut answers = answers.lock().unwrap();
        *of(&mut answers[3].1["items"], WEB) = now;
    });
    let answer = world.audit("60");
    arrives.join().unwrap();
    assert_eq!(answer.code, 0, "{answer:?}");
}

#[test]
fn a_stream_without_an_object_and_an_object_without_a_stream_are_found() {
    World::new().apps(|apps| *apps = json!([])).violates(&[&[
        "closed  AppDeployment acme-prod/web",
        "an open stream in state Failed, whose object is gone",
        "a closing row",
    ]]);
    let new = |finalizers: Value| {
        World::new().apps(move |apps| {
            let metadata = json!({"name": "new", "namespace": "acme-prod", "uid": "uid-new", "finalizers": finalizers});
            apps.as_array_mut().unwrap().push(json!({"metadata": metadata}));
        })
    };
    new(json!(["trueup.dev/finalizer"])).violates(&[&["closed  AppDeployment acme-prod/new", "no stream"]]);
    assert_eq!(new(json!(["somebody.else/finalizer"])).audit("0").code, 0, "Trueup has not taken it in");
}

#[test]
fn a_receiver_that_missed_doubled_or_invented_something_is_found() {
    let missed = World::new().receiver(|told| told.as_array_mut().unwrap().retain(|item| item["uid"] != WEB));
    missed.violates(&[&[
        "delivered  AppDeployment acme-prod/web",
        "nothing at the receiver",
        "sequence 5, state Failed",
    ]]);
    let doubled = World::new().receiver(|told| of(told, WEB)["applied"] = json!(6));
    doubled.violates(&[&["6 events applied at the receiver", "expected  5, each once"]]);
    let invented = World::new().receiver(|told| {
        let mut other = told[0].clone();
        other["uid"] = json!("uid-zzz");
        other["name"] = json!("nobody");
        told.as_array_mut().unwrap().push(other);
    });
    invented.violates(&[&["nobody", "expected  nothing: the ledger has no such stream"]]);
    let forged = World::new().receiver(|told| of(told, WEB)["hash"] = json!("0".repeat(64)));
    forged.violates(&[&["sequence 5 at the receiver with hash 0000", "as in the ledger"]]);
    let astray = World::new().receiver(|told| of(told, WEB)["state"] = json!("Available"));
    astray.violates(&[&["sequence 5 at the receiver with state Available", "state Failed"]]);
}

#[test]
fn a_life_of_the_ledger_that_it_has_not_come_to_is_found() {
    let world = World::new().apps(|apps| of(apps, WEB)["status"]["ledger"]["era"] = json!(3));
    world.violates(&[&["never-backwards", "era 3, of which the status speaks", "at most era 0", "ledger recover"]]);
    let world = World::new().receiver(|told| of(told, WEB)["era"] = json!(1));
    world.violates(&[&["never-backwards", "era 1, of which the receiver speaks"]]);
}

#[test]
fn a_spec_that_nobody_has_looked_at_is_found() {
    let world = World::new().apps(|apps| {
        of(apps, WEB)["metadata"]["generation"] = json!(2);
        of(apps, WEB)["status"]["observedGeneration"] = json!(1);
    });
    world.violates(&[&[
        "complete  AppDeployment acme-prod/web",
        "a status of generation 1",
        "generation 2, which is asked for now",
    ]]);
}

#[test]
fn what_waits_past_its_deadline_without_a_word_is_found() {
    let slow = || {
        let rig = Rig::new();
        run(async {
            let store = SqliteStore::new(&rig.ledger(), TABLES).unwrap();
            let epoch = store.take_over(Shard::default(), "test").await.unwrap();
            let long_ago = at("2020-01-01T00:00:00Z");
            let subject = subject("uid-slow", Kind::AppDeployment, Some("acme-prod"), "slow");
            let draft = draft(&subject, 0, "Pending", "Created", Effective::reported(long_ago, long_ago));
            store.append(Shard::default(), epoch, long_ago, &[draft]).await.unwrap();
        });
        World::around(rig)
    };
    let silent = slow().audit("0");
    assert_eq!(silent.code, 1, "{silent:?}");
    assert!(silent.last_line().starts_with("audit: 1 violations (4 resources"), "{silent:?}");
    for word in ["nothing-waits-for-ever  AppDeployment acme-prod/slow", "state Pending since 2020-", "Stalled since"] {
        assert!(silent.out.contains(word), "no '{word}' in {silent:?}");
    }
    let says = |kind: &str, status: &str, reason: &str| {
        let condition = json!({"type": kind, "status": status, "reason": reason, "message": "Quota is used up.",
            "lastTransitionTime": "2020-01-01T00:00:00Z", "observedGeneration": 1});
        slow().apps(|apps| of(apps, "uid-slow")["status"]["conditions"] = json!([condition])).audit("0").code
    };
    assert_eq!(says("Stalled", "True", "Pending"), 0);
    assert_eq!(says("Ready", "False", "Paused"), 0, "whoever paused it knows");
    assert_eq!(says("Stalled", "False", "Pending"), 1);
}

#[test]
fn every_event_that_a_receiver_applied_is_compared_byte_for_byte() {
    const DEEP: &[&str] = &["--every-event"];
    let good = World::new().with_events().audit_with("60", DEEP);
    assert_eq!((good.code, good.out.lines().count()), (0, 1), "{good:?}");

    let events = format!("/resources/{WEB}/events");
    let finds = |change: fn(&mut Vec<Value>), words: &[&str]| {
        let world = World::new().with_events();
        let world = world.change(&events, |answer| change(answer["events"].as_array_mut().unwrap()));
        let answer = world.audit_with("0", DEEP);
        assert_eq!(answer.code, 1, "{answer:?}");
        for word in words {
            assert!(answer.out.contains(word), "no '{word}' in {answer:?}");
        }
        assert_eq!(world.audit("0").code, 0, "its last event says nothing of it");
    };
    let altered: fn(&mut Vec<Value>) = |events| {
        let body = events[1]["body"].as_str().unwrap().replace("acct-1", "acct-2");
        events[1]["body"] = json!(body);
    };
    finds(
        altered,
        &["delivered  AppDeployment acme-prod/web  sequence 2", "another event at the receiver", "audit: 1 "],
    );
    let missed: fn(&mut Vec<Value>) = |events| drop(events.remove(1));
    finds(missed, &["sequence 3 applied at the receiver", "expected  2, whose turn it was", "audit: 1 "]);
    let nobody = World::new().rig.trueup(&["audit", "--ledger-only", "--every-event"]);
    assert_eq!(nobody.code, 2, "{nobody:?}");
}

#[test]
fn a_ledger_of_another_cluster_is_refused() {
    let world = World::new().change("/api/v1/namespaces/kube-system", |answer| answer["metadata"]["uid"] = json!("x"));
    world.audit("0").fails(2, &["belongs to the cluster", "DATABASE_URL"]);
}

#[test]
fn what_was_voided_for_another_receiver_is_no_trouble_of_this_one() {
    let world = World::new();
    let (ledger, other) = (world.rig.ledger(), DestinationId::new("other"));
    run(async {
        let store = SqliteStore::new(&ledger, TABLES).unwrap();
        store.open_destination(&other, minute(0)).await.unwrap();
    });
    let typed = "outbox void tua acme-prod/web --destination other --reason merged --as ann@desk --yes";
    let typed: Vec<&str> = typed.split(' ').collect();
    let which = ["2 objects called AppDeployment acme-prod/web wait", "--uid: uid-old (sequence 1), uid-web"];
    world.rig.trueup(&typed).fails(2, &which);
    let voided = world.rig.trueup(&[&typed[..], &["--uid", WEB]].concat());
    assert_eq!(voided.code, 0, "{voided:?}");
    run(async { SqliteStore::new(&ledger, TABLES).unwrap().close_destination(&other).await.unwrap() });
    let answer = world.audit("0");
    assert_eq!(answer.code, 0, "{answer:?}");
}

#[test]
fn a_void_that_a_restored_ledger_lost_is_found_and_taken_back() {
    let world = World::new().with_events();
    let row = run(async {
        let store = SqliteStore::new(&world.rig.ledger(), TABLES).unwrap();
        store.row(&world.web().subject.uid, Sequence::new(3)).await.unwrap().unwrap()
    });
    let void = Void::of(Event::verify(&row.body).unwrap(), minute(90)).unwrap();
    let body = String::from_utf8(void.body().unwrap()).unwrap();
    let world = world.change(&format!("/resources/{WEB}/events"), |answer| {
        let shown = answer["events"].as_array_mut().unwrap().iter_mut().find(|event| event["sequence"] == 3).unwrap();
        shown["body"] = json!(body);
    });
    let answer = world.audit_with("0", &["--every-event"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    let words = ["a void at the receiver that the ledger lost", "trueup ledger recover --voids DESTINATION"];
    assert!(words.iter().all(|word| answer.out.contains(word)), "{}", answer.out);

    world
        .command(&["ledger", "recover", "--voids", "nobody", "--as", "ann@desk"])
        .fails(2, &["there is no destination nobody"]);
    for back in ["1 void taken back for billing", "0 voids taken back for billing"] {
        let answer = world.command(&["ledger", "recover", "--voids", "billing", "--as", "ann@desk"]);
        assert_eq!(answer.code, 0, "{answer:?}");
        assert!(answer.out.contains(back), "{answer:?}");
    }
    let answer = world.audit_with("0", &["--every-event"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let told = world.rig.trueup(&["outbox", "interventions"]);
    assert!(told.out.contains("taken back from the receiver"), "{told:?}");
}
