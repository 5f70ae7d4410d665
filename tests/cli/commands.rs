//! What each command answers, and how it fails.

use std::{net::TcpListener, process::Command, time::Duration};

use serde_json::Value;
use trueup::{
    domain::{Effective, Kind, Shard, Uid},
    ledger::{Outcome, SqliteStore, Store as _},
    lifecycle::TABLES,
};

use super::rig::{Answer, Rig, WEB, draft, run, subject, tamper};

#[test]
fn a_history_shows_both_lives_of_a_name_with_their_evidence() {
    let answer = Rig::new().trueup(&["history", "tua", "acme-prod/web"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    insta::assert_snapshot!(answer.out);
    assert!(answer.out.lines().all(|line| line.chars().count() <= 120), "{}", answer.out);
}

#[test]
fn a_history_is_bounded_by_since_and_until() {
    let rig = Rig::new();
    let web = ["history", "appdeployment", "web", "-n", "acme-prod", "--uid", WEB];
    let between = |since: &str, until: &str| {
        let answer = rig.trueup(&[&web[..], &["--since", since, "--until", until, "-o", "json"]].concat());
        assert_eq!(answer.code, 0, "{answer:?}");
        let events: Vec<Value> = serde_json::from_str(&answer.out).unwrap();
        events.iter().map(|event| event["data"]["sequence"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(between("2026-11-17", "2026-11-18"), [1, 2]);
    assert_eq!(between("2026-11-18", "2026-11-19T09:00:00Z"), [3, 4], "the end is not part of it");
    assert_eq!(between("2026-11-18T09:00:00Z", "2026-11-20"), [3, 4, 5], "the beginning is");
    assert_eq!(between("2026-11-20", "2026-11-21"), [0; 0]);

    let quiet = rig.trueup(&[&web[..], &["--since", "2026-11-18T10:00", "--until", "2026-11-19"]].concat());
    assert_eq!(quiet.code, 0, "{quiet:?}");
    assert!(quiet.last_line().contains("it was Progressing since 2026-11-18 09:01:00 (sequence 4)"), "{quiet:?}");

    rig.trueup(&[&web[..], &["--since", "2026-11-19", "--until", "2026-11-18"]].concat()).fails(2, &["not before"]);
}

#[test]
fn a_history_in_json_is_what_was_sent_and_what_was_not() {
    let answer = Rig::new().trueup(&["history", "AppDeployment", "acme-prod/web", "--uid", WEB, "-o", "json"]);
    let events: Vec<Value> = serde_json::from_str(&answer.out).unwrap();
    let last = events.last().unwrap();
    assert_eq!(last["id"], format!("{WEB}-0-5"));
    assert_eq!(last["data"]["to"], "Failed");
    assert_eq!(last["recordedAt"], "2026-11-19T09:00:00.000000Z");
    assert!(last["evidence"].as_str().unwrap().starts_with("panic"));
    assert_eq!(events[0]["evidence"], Value::Null);
}

#[test]
fn what_the_ledger_does_not_know_is_said_in_one_line() {
    let rig = Rig::new();
    rig.trueup(&["history", "tua", "acme-prod/wbe"]).fails(1, &["knows no AppDeployment acme-prod/wbe"]);
    rig.trueup(&["history", "tua", "acme-prod/web", "--uid", "nobody"]).fails(1, &["uid nobody"]);
    rig.trueup(&["history", "tua", "web"]).fails(2, &["-n NAMESPACE"]);
    rig.trueup(&["history", "tenant", "acme", "-n", "x"]).fails(2, &["in no namespace"]);
}

#[test]
fn wrong_use_is_answered_with_what_is_right() {
    let rig = Rig::new();
    let usage = |args: &[&str], words: &[&str]| {
        let answer = rig.trueup(args);
        assert_eq!((answer.code, answer.out.as_str()), (2, ""), "{answer:?}");
        for word in words {
            assert!(answer.err.contains(word), "no '{word}' in {answer:?}");
        }
    };
    usage(&["history", "pod", "x"], &["'pod'", "tenant, appdeployment, backup"]);
    usage(&["history", "tenant", "acme", "--since", "tuesday"], &["tuesday", "2026-11-17", "3d"]);
    usage(&["audit", "--frobnicate"], &["--frobnicate"]);
    usage(&["outbox", "status", "-o", "yaml"], &["table", "json"]);
    usage(&["watch", "--once", "--plain"], &["--plain"]);
    usage(&["watch", "--interval", "1ms"], &["at least 50ms"]);
}

#[test]
fn a_ledger_that_is_not_there_is_not_made() {
    let rig = Rig::empty();
    for args in [&["audit", "--ledger-only"][..], &["history", "tenant", "acme"], &["outbox", "status"]] {
        rig.trueup(args).fails(2, &["no ledger at", "ledger.db", "trueup controller"]);
    }
    assert_eq!(rig.files(), [""; 0]);
}

#[test]
fn a_file_that_is_no_ledger_is_left_as_it_is() {
    let rig = Rig::empty();
    std::fs::write(rig.ledger(), "not a database, and far too short to be taken for one").unwrap();
    rig.trueup(&["audit", "--ledger-only"]).fails(2, &["holds no ledger"]);
    std::fs::write(rig.ledger(), "").unwrap();
    rig.trueup(&["audit", "--ledger-only"]).fails(2, &["holds no ledger", "no such table"]);
    assert_eq!(rig.files(), ["ledger.db"]);
    assert_eq!(std::fs::read(rig.ledger()).unwrap(), b"");
}

#[test]
fn the_ledgers_address_is_never_printed() {
    let rig = Rig::empty();
    let wrong = rig.trueup_at("mysql://root:hunter2@db/x", &["outbox", "status"]);
    wrong.fails(2, &["no ledger is kept in 'mysql:'", "sqlite:PATH"]);
    let silent = rig.trueup_at("postgres://root:hunter2@127.0.0.1:9/x", &["outbox", "status"]);
    silent.fails(3, &["does not answer", "is it running"]);
    let help = rig.trueup_at("postgres://root:hunter2@127.0.0.1:9/x", &["audit", "--help"]);
    for answer in [wrong, silent, help] {
        assert!(!format!("{answer:?}").contains("hunter2"), "{answer:?}");
    }
}

#[test]
fn an_api_server_that_does_not_answer_is_exit_code_3_and_no_kubeconfig_is_2() {
    let rig = Rig::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let kubeconfig = &rig.kubeconfig(&format!("http://127.0.0.1:{port}"));
    rig.trueup(&["audit", "--kubeconfig", kubeconfig]).fails(3, &["API server", "is it running"]);
    rig.trueup(&["watch", "--once", "--kubeconfig", kubeconfig]).fails(3, &["API server", "is it running"]);
    rig.trueup(&["audit", "--kubeconfig", "missing"]).fails(2, &["missing", "--ledger-only"]);
    rig.trueup(&["audit"]).fails(2, &["KUBECONFIG", "--ledger-only"]);
}

#[test]
fn a_sound_ledger_passes_its_audit_and_the_last_line_says_so() {
    let rig = Rig::new();
    let answer = rig.trueup(&["audit", "--ledger-only"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(answer.out, "audit: all invariants hold (3 resources, 10 transitions, 8 deliveries)\n");

    let json = rig.trueup(&["audit", "--ledger-only", "-o", "json"]);
    let report: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&report["holds"], &report["transitions"]), (&Value::Bool(true), &Value::from(10)));
    assert_eq!(json.err.trim_end(), answer.last_line());
}

#[test]
fn a_body_that_was_changed_is_found_and_named() {
    let rig = Rig::new();
    tamper(
        &rig.ledger(),
        "UPDATE transition SET body = CAST(replace(CAST(body AS TEXT), '\"small\"', '\"large\"') AS BLOB) \
         WHERE uid = 'uid-web' AND sequence = 2",
    );
    let answer = rig.trueup(&["audit", "--ledger-only"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert_eq!(answer.err, "", "the answer has said it");
    assert_eq!(answer.last_line(), "audit: 1 violations (3 resources, 10 transitions, 8 deliveries)");
    assert!(answer.out.contains("tamper-evident  AppDeployment acme-prod/web  sequence 2"), "{answer:?}");

    let json = rig.trueup(&["audit", "--ledger-only", "-o", "json"]);
    assert_eq!(json.code, 1, "{json:?}");
    let report: Value = serde_json::from_str(&json.out).unwrap();
    let violation = &report["violations"][0];
    assert_eq!(violation["invariant"], "tamper-evident");
    assert_eq!(violation["resource"], "AppDeployment acme-prod/web");
    assert_eq!(violation["sequence"], 2);
    assert!(violation["found"].as_str().unwrap().contains("says its hash is"), "{violation}");

    let history = rig.trueup(&["history", "tua", "acme-prod/web"]);
    assert!(history.out.contains("damaged"), "{history:?}");
}

#[test]
fn a_row_that_cannot_even_be_read_is_a_violation_too() {
    let rig = Rig::new();
    tamper(&rig.ledger(), "UPDATE transition SET time_source = 'guessed' WHERE uid = 'uid-web' AND sequence = 2");
    let answer = rig.trueup(&["audit", "--ledger-only"]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.last_line().starts_with("audit: 1 violations ("), "{answer:?}");
}

#[test]
fn the_outbox_says_what_is_parked_and_why() {
    let rig = Rig::new();
    let answer = rig.trueup(&["outbox", "status"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    insta::assert_snapshot!(answer.out);

    let json = rig.trueup(&["outbox", "status", "-o", "json"]);
    let status: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(status["destinations"][0]["parked"], 1);
    assert_eq!(status["parked"][0]["sequence"], 4);
    assert_eq!(status["parked"][0]["reason"], "permanent-refusal");
}

#[test]
fn a_reader_does_not_hold_up_the_writer() {
    let rig = Rig::new();
    run(async {
        let store = SqliteStore::new(&rig.ledger(), TABLES).unwrap();
        let epoch = store.take_over(Shard::default(), "writer").await.unwrap();
        let web = subject(WEB, Kind::AppDeployment, Some("acme-prod"), "web");
        for round in 0..5 {
            let asked = std::thread::spawn({
                let (url, folder) = (rig.url(), rig.folder.path().to_owned());
                move || {
                    let audit = Command::new(env!("CARGO_BIN_EXE_trueup"))
                        .args(["audit", "--ledger-only"])
                        .env_clear()
                        .env("DATABASE_URL", url)
                        .current_dir(folder)
                        .output();
                    Answer::of(&audit.unwrap())
                }
            });
            while !asked.is_finished() {
                let head = store.head(&Uid::new(WEB)).await.unwrap().unwrap();
                let now = head.recorded_at.plus(Duration::from_secs(1));
                let to = if head.state.as_str() == "Available" { "Progressing" } else { "Available" };
                let draft = draft(&web, head.sequence.get(), to, "SpecChanged", Effective::reported(now, now));
                let outcome = store.append(Shard::default(), epoch, now, &[draft]).await.unwrap();
                assert!(matches!(outcome[..], [Outcome::Appended(_)]), "{outcome:?}");
            }
            let answer = asked.join().unwrap();
            assert_eq!(answer.code, 0, "round {round}: {answer:?}");
        }
    });
}
