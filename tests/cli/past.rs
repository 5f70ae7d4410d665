//! Any moment in the past: what was, and what was known of it.

use serde_json::Value;
use trueup::{
    domain::{Effective, Kind, Shard, Timestamp},
    ledger::{Draft, Outcome, SqliteStore, Store as _},
    lifecycle::TABLES,
};

use super::rig::{Answer, Rig, at, draft, minute, run, subject};

const DAY: u64 = 24 * 60;

/// The rig's ledger, and after its last row: an application that was lost on Tuesday at noon, when nobody watched, and
/// one that nobody had heard of.
fn rig() -> Rig {
    let rig = Rig::new();
    let shop = subject("uid-shop", Kind::AppDeployment, Some("acme-prod"), "shop");
    let mail = subject("uid-mail", Kind::AppDeployment, Some("acme-prod"), "mail");
    let reported = |minutes| Effective::reported(minute(minutes), minute(2 * DAY));
    let late = Effective::inferred(minute(200), minute(2 * DAY + 30));
    record(
        &rig,
        &[
            (2 * DAY + 10, draft(&shop, 0, "Pending", "Created", reported(10))),
            (2 * DAY + 10, draft(&shop, 1, "Progressing", "RolloutStarted", reported(10))),
            (2 * DAY + 10, draft(&shop, 2, "Available", "RolledOut", reported(12))),
            (2 * DAY + 20, draft(&shop, 3, "Degraded", "PodsUnavailable", reported(180))),
            (2 * DAY + 30, draft(&mail, 0, "Pending", "Created", reported(150))),
            (2 * DAY + 30, draft(&mail, 1, "Suspended", "Suspended", late)),
        ],
    );
    rig
}

fn record(rig: &Rig, drafts: &[(u64, Draft)]) {
    run(async {
        let store = SqliteStore::new(&rig.ledger(), TABLES).unwrap();
        let epoch = store.shard(Shard::default()).await.unwrap().epoch;
        for (minutes, draft) in drafts {
            let done =
                store.append(Shard::default(), epoch, minute(*minutes), std::slice::from_ref(draft)).await.unwrap();
            assert!(matches!(done[..], [Outcome::Appended(_)]), "{done:?}");
        }
    });
}

fn json(answer: &Answer) -> Value {
    assert_eq!(answer.code, 0, "{answer:?}");
    serde_json::from_str(&answer.out).unwrap()
}

#[test]
fn a_moment_is_shown_as_it_is_known_now_with_a_mark_at_what_was_not_known_then() {
    let answer = rig().trueup(&["state", "--at", "2026-11-19T09:15:00Z"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    insta::assert_snapshot!(answer.out);
    assert!(answer.out.lines().all(|line| line.chars().count() <= 120), "{}", answer.out);
}

#[test]
fn a_moment_is_shown_as_somebody_who_asked_then_was_told() {
    let rig = rig();
    let then = rig.trueup(&["state", "--at", "2026-11-17T12:30:00Z", "--as-of", "2026-11-17T12:30:00Z"]);
    assert_eq!(then.code, 0, "{then:?}");
    insta::assert_snapshot!(then.out);
    let between =
        rig.trueup(&["state", "--at", "2026-11-17T12:30:00Z", "--known-at", "2026-11-19T09:15:00Z", "-o", "json"]);
    let shop = json(&between)["resources"].as_array().unwrap().iter().find(|it| it["name"] == "shop").cloned().unwrap();
    assert_eq!(
        (&shop["state"], &shop["knownThen"], &shop["takenFor"]),
        (&"Available".into(), &false.into(), &Value::Null)
    );
}

#[test]
fn a_moment_in_json_says_all_that_is_known() {
    let answer = json(&rig().trueup(&["state", "--at", "2026-11-17T12:30:00Z", "--kind", "tua", "-o", "json"]));
    assert_eq!(answer["at"], "2026-11-17T12:30:00.000000Z");
    let names: Vec<&str> =
        answer["resources"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["mail", "shop", "web"]);
    let [mail, shop, web] = [0, 1, 2].map(|index| &answer["resources"][index]);
    assert_eq!(shop["state"], "Degraded");
    assert_eq!(shop["effectiveAt"].as_str().unwrap().parse::<Timestamp>().unwrap(), minute(180));
    assert_eq!((&shop["knownThen"], &shop["takenFor"]), (&false.into(), &Value::Null));
    assert_eq!(mail["perhaps"]["state"], "Suspended");
    assert_eq!((&web["knownThen"], &web["takenFor"]["state"]), (&true.into(), &"Progressing".into()));
    assert_eq!(web["billable"]["replicas"], 0);
}

#[test]
fn what_had_ended_is_shown_to_who_asks_and_other_tenants_are_not() {
    let rig = rig();
    let count = |more: &[&str]| {
        let args = [&["state", "--at", "2026-11-17T12:30:00Z", "-o", "json"], more].concat();
        json(&rig.trueup(&args))["resources"].as_array().unwrap().len()
    };
    assert_eq!([count(&[]), count(&["--ended"])], [4, 5]);
    assert_eq!([count(&["--tenant", "acme"]), count(&["--tenant", "globex"])], [4, 0]);
    let nothing = rig.trueup(&["state", "--at", "2026-01-01"]);
    assert_eq!((nothing.code, nothing.last_line()), (0, "There was nothing."));
}

#[test]
fn the_future_is_not_told() {
    let rig = rig();
    rig.trueup(&["state", "--at", "2999-01-01"]).fails(2, &["--at 2999-01-01 00:00:00", "future"]);
    rig.trueup(&["state", "--at", "1h", "--as-of", "2999-01-01"]).fails(2, &["--as-of", "future"]);
}

#[test]
fn a_history_marks_what_was_recorded_late_and_can_be_cut_on_both_axes() {
    let rig = rig();
    let answer = rig.trueup(&["history", "tua", "acme-prod/shop"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    insta::assert_snapshot!(answer.out);
    let known = |until: &str| {
        let args = ["history", "tua", "acme-prod/shop", "--recorded-until", until, "-o", "json"];
        json(&rig.trueup(&args)).as_array().unwrap().len()
    };
    assert_eq!([known("2026-11-19T09:00:00Z"), known("2026-11-19T09:15:00Z"), known("2026-11-20")], [0, 3, 4]);
    let both = ["--since", "2026-11-17T10:00", "--recorded-since", "2026-11-19T09:20:00Z", "-o", "json"];
    let events = json(&rig.trueup(&[&["history", "tua", "acme-prod/shop"][..], &both].concat()));
    assert_eq!(events[0]["data"]["to"], "Degraded");
    assert_eq!(events[0]["recordedAt"].as_str().map(at), Some(minute(2 * DAY + 20)));
    let quiet = rig.trueup(&["history", "tua", "acme-prod/shop", "--recorded-since", "2026-11-20"]);
    assert!(quiet.last_line().contains("Nothing happened that was recorded since"), "{quiet:?}");
    let wrong = ["--recorded-since", "2026-11-19", "--recorded-until", "2026-11-18"];
    rig.trueup(&[&["history", "tua", "acme-prod/shop"][..], &wrong].concat()).fails(2, &["--recorded-since"]);
}
