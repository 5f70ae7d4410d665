//! Ways out of parking, as whoever types them meets them.

use std::sync::Arc;

use serde_json::Value;
use trueup::{
    domain::{Clock, ManualClock, Shard},
    ledger::{Appender, AppenderLimits, SqliteStore, Store, Waits},
    lifecycle::TABLES,
    reconcile::{Behind, amendments},
};

use super::rig::{Answer, Rig, minute, run};

const WHY: [&str; 4] = ["--reason", "the account was merged", "--as", "ann@desk"];

/// Types `trueup outbox` and `words`, for the destination that there is.
fn outbox(rig: &Rig, words: &str, more: &[&str]) -> Answer {
    let words: Vec<&str> = ["outbox"].into_iter().chain(words.split(' ')).collect();
    rig.trueup(&[&words[..], &["--destination", "billing"], more].concat())
}

/// The same, done without a question.
fn done(rig: &Rig, words: &str) -> String {
    let answer = outbox(rig, words, &[&WHY[..], &["--yes"]].concat());
    assert_eq!((answer.code, answer.err.as_str()), (0, ""), "{answer:?}");
    answer.out
}

fn interventions(rig: &Rig) -> Vec<Value> {
    serde_json::from_str(&rig.trueup(&["outbox", "interventions", "-o", "json"]).out).unwrap()
}

/// `text` with the moments at which people intervened, which are those of the test, replaced by others of equal length.
fn timeless(rig: &Rig, text: &str) -> String {
    let mut text = text.to_owned();
    for made in interventions(rig) {
        let at = made["at"].as_str().unwrap();
        text = text.replace(&format!("{} {}", &at[..10], &at[11..23]), "2026-11-20 08:00:00.000");
    }
    text
}

/// What the controller does about what was asked.
fn lead(rig: &Rig) {
    run(async {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::new(&rig.ledger(), TABLES).unwrap());
        let epoch = store.take_over(Shard::default(), "controller").await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(minute(3 * 24 * 60)));
        let limits = AppenderLimits::default();
        let (appender, _) = Appender::start(
            Arc::clone(&store),
            Shard::default(),
            epoch,
            Arc::clone(&clock),
            limits,
            Arc::new(Waits::default()),
        );
        for made in store.amendments_due(10).await.unwrap() {
            amendments::carry_out(&*store, &appender, &Behind::default(), &*clock, &made).await.unwrap();
        }
    });
}

#[test]
fn whoever_is_parked_is_shown_with_what_can_be_done() {
    let rig = Rig::new();
    let answer = rig.trueup(&["outbox", "parked"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    insta::assert_snapshot!(answer.out);

    let of = |more: &[&str]| {
        let answer = rig.trueup(&[&["outbox", "parked", "-o", "json"], more].concat());
        assert_eq!(answer.code, 0, "{answer:?}");
        serde_json::from_str::<Vec<Value>>(&answer.out).unwrap()
    };
    let all = of(&[]);
    assert_eq!(
        (all.len(), &all[0]["sequence"], &all[0]["since"]),
        (1, &4.into(), &"2026-11-19T09:00:00.000000Z".into())
    );
    assert_eq!(of(&["tua", "web", "-n", "acme-prod", "--destination", "billing"]), all);
    assert_eq!(of(&["tenant", "acme"]), [Value::Null; 0]);
    rig.trueup(&["outbox", "parked", "--destination", "x"]).fails(2, &["no destination x", "there are: billing"]);
}

#[test]
fn the_command_that_is_shown_is_the_one_to_type() {
    let rig = Rig::new();
    let parked: Value = serde_json::from_str(&rig.trueup(&["outbox", "parked", "-o", "json"]).out).unwrap();
    let command = parked[0]["ways"][0]["command"].as_str().unwrap();
    let words: Vec<&str> = command.split(' ').skip(1).chain(["--as", "ann@desk", "--yes"]).collect();
    let answer = rig.trueup(&words);
    assert_eq!(
        answer.out, "Retried sequence 4 of AppDeployment acme-prod/web for billing, as ann@desk.\n",
        "{answer:?}"
    );
    assert_eq!(rig.trueup(&["outbox", "parked"]).out, "Nothing is parked.\n");
    outbox(&rig, "retry tua acme-prod/web", &[&WHY[..], &["--yes"]].concat())
        .fails(2, &["not parked", "nothing to retry"]);
}

#[test]
fn what_was_done_is_kept_with_who_and_why_and_stands_in_the_history() {
    let rig = Rig::new();
    assert_eq!(rig.trueup(&["outbox", "interventions"]).out, "Nobody has intervened.\n");
    done(&rig, "retry tua acme-prod/web");
    insta::assert_snapshot!(done(&rig, "amend tua acme-prod/web --sequence 4"));
    assert!(rig.trueup(&["outbox", "interventions", "tua", "acme-prod/web"]).out.contains("not restated yet"));
    lead(&rig);
    insta::assert_snapshot!(timeless(&rig, &rig.trueup(&["outbox", "interventions"]).out));
    insta::assert_snapshot!(timeless(&rig, &rig.trueup(&["history", "tua", "acme-prod/web"]).out));
    let made = interventions(&rig);
    assert_eq!((&made[0]["action"], &made[0]["parkedFor"]), (&"retry".into(), &"permanent-refusal".into()));
    assert_eq!((&made[1]["outcome"], &made[1]["who"]), (&"restated at sequence 6".into(), &"ann@desk".into()));

    let history: Value =
        serde_json::from_str(&rig.trueup(&["history", "tua", "acme-prod/web", "-o", "json"]).out).unwrap();
    let of = |sequence: i64| {
        let events = history.as_array().unwrap().iter();
        events
            .filter(|event| event["data"]["uid"] == "uid-web")
            .find(|event| event["data"]["sequence"] == sequence)
            .unwrap()
    };
    assert_eq!(of(4)["interventions"][1]["action"], "amend");
    assert_eq!((&of(6)["data"]["amends"], &of(6)["data"]["reason"]), (&4.into(), &"Amended".into()));
    assert_eq!(rig.trueup(&["audit", "--ledger-only"]).code, 0);
}

#[test]
fn what_cannot_be_done_is_said_in_one_line_with_what_can() {
    let rig = Rig::new();
    let refused = |words: &str, code: i32, said: &[&str]| {
        outbox(&rig, words, &[&WHY[..], &["--yes"]].concat()).fails(code, said);
    };
    refused("void tua acme-prod/wbe", 1, &["knows no AppDeployment acme-prod/wbe"]);
    refused("void tua web", 2, &["-n NAMESPACE"]);
    refused("void tua acme-prod/web --sequence 5", 2, &["the next sequence is 4, not 5", "leave --sequence out"]);
    refused("void tenant acme", 2, &["everything was delivered already, up to sequence 2", "nothing to do"]);
    refused(
        "retry --all --parked-for ambiguous",
        2,
        &["nothing is parked for ambiguous at billing", "1 are for other reasons"],
    );
    refused("retry", 2, &["which resource?", "--all --parked-for WORD"]);
    let elsewhere = [&["outbox", "void", "tua", "acme-prod/web", "--destination", "x", "--yes"], &WHY[..]].concat();
    rig.trueup(&elsewhere).fails(2, &["no lane to destination x", "there are: billing"]);
    outbox(&rig, "void tua acme-prod/web", &["--reason", "x", "--yes"]).fails(2, &["who asks?", "--as"]);
    let unreasoned = outbox(&rig, "void tua acme-prod/web", &["--yes"]);
    assert!(unreasoned.code == 2 && unreasoned.err.contains("--reason <TEXT>"), "{unreasoned:?}");
    assert_eq!(interventions(&rig), [Value::Null; 0], "nothing of that was done");

    done(&rig, "void tua acme-prod/web");
    refused(
        "void tua acme-prod/web",
        2,
        &["sequence 4 was voided before", "`trueup outbox retry appdeployment acme-prod/web"],
    );
    assert_eq!(interventions(&rig).len(), 1);
}

#[test]
fn nobody_is_asked_where_there_is_no_terminal_and_nothing_is_done() {
    let rig = Rig::new();
    let answer = outbox(&rig, "void tua acme-prod/web", &WHY);
    assert_eq!((answer.code, answer.out.as_str()), (2, ""), "{answer:?}");
    assert!(answer.err.contains("nothing was changed: there is no terminal to ask at; give --yes to void sequence 4"));
    insta::assert_snapshot!(answer.err);
    assert_eq!(interventions(&rig), [Value::Null; 0]);
}

#[test]
fn all_that_is_parked_for_a_reason_is_retried_at_once() {
    let rig = Rig::new();
    let said = done(&rig, "retry --all --parked-for permanent-refusal");
    assert_eq!(said, "Retried 1 resource for billing, as ann@desk.\n");
    assert_eq!(interventions(&rig)[0]["sequence"], 4);
}
