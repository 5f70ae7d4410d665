//! The code in `docs/receiving.md`, run against the test vectors.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde::Deserialize;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use trueup::domain::{Hash, Uid};

use crate::{
    receivers::{acted_upon, committed},
    root,
    support::postgres::Postgres,
    vectors::{Applied, Vector},
};

/// The blocks of code in the page, each with its language.
fn blocks() -> Vec<(String, String)> {
    let page = fs::read_to_string(root().join("docs/receiving.md")).unwrap();
    let mut blocks: Vec<(String, String)> = vec![];
    let mut within = false;
    for line in page.lines() {
        match (within, line.strip_prefix("```")) {
            (false, Some(language)) => blocks.push((language.to_owned(), String::new())),
            (true, Some(_)) | (false, None) => {}
            (true, None) => {
                let code = &mut blocks.last_mut().unwrap().1;
                code.push_str(line);
                code.push('\n');
            }
        }
        within ^= line.starts_with("```");
    }
    blocks
}

fn block(language: &str) -> String {
    blocks().into_iter().find(|(found, _)| found == language).unwrap().1
}

#[test]
fn every_block_of_code_in_the_page_is_run() {
    let languages: Vec<String> = blocks().into_iter().map(|(language, _)| language).collect();
    assert_eq!(languages, ["python", "js", "sql"], "and one of them twice would be run once");
}

/// What a receiver in another language made of one vector.
#[derive(Deserialize)]
struct Made {
    /// Status and JSON of each answer.
    answers: Vec<(u16, Value)>,
    /// Era, sequence and hash of what was applied, by resource.
    books: BTreeMap<Uid, Vec<(i64, i64, Hash)>>,
}

fn check(name: &str, vector: &Vector, made: &Made) {
    assert_eq!(made.answers.len(), vector.messages.len(), "{name}: each message was answered");
    for (sent, (status, answer)) in vector.messages.iter().zip(&made.answers) {
        let said = (*status, acted_upon(answer));
        assert_eq!(said, (sent.expect.status, sent.expect.answer.clone()), "{name}: {}", sent.about);
    }
    let place = |one: &Applied| (one.era, one.sequence, one.hash);
    let wanted: BTreeMap<Uid, Vec<(i64, i64, Hash)>> =
        vector.applied.iter().map(|(uid, events)| (uid.clone(), events.iter().map(place).collect())).collect();
    let mut books = made.books.clone();
    // A resource of which nothing was applied may have an empty book.
    books.retain(|_, events| !events.is_empty());
    assert_eq!(books, wanted, "{name}");
}

/// Runs the page's block in `language` as the module `file`, under a driver that stands beside this file.
fn run(program: &str, language: &str, file: &str, driver: &str) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(file), block(language)).unwrap();
    let folder = root().join("tests/schemas");
    let driver_here = directory.path().join(driver);
    fs::copy(folder.join(driver), &driver_here).unwrap();
    let ran = Command::new(program)
        .arg(&driver_here)
        .arg(root().join("tests/vectors"))
        // Python would write what it compiled.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|error| panic!("this needs {program} (`make test` installs it): {error}"));
    let complaints = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{program} ended with {}:\n{complaints}", ran.status);
    let made: BTreeMap<String, Made> = serde_json::from_slice(&ran.stdout).unwrap();
    let vectors = committed();
    assert_eq!(made.len(), vectors.len(), "every file was read");
    for (name, vector) in &vectors {
        check(name, vector, &made[name]);
    }
}

#[test]
fn the_python_of_the_page_answers_every_vector_rightly() {
    run("python3", "python", "receiving.py", "drive.py");
}

#[test]
fn the_javascript_of_the_page_answers_every_vector_rightly() {
    run("node", "js", "receiving.mjs", "drive.mjs");
}

/// A new database that has the page's tables and functions.
async fn database() -> (String, PgConnection) {
    let url = Postgres::shared().database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(block("sql"))).execute(&mut connection).await.unwrap();
    (url, connection)
}

async fn receive(connection: &mut PgConnection, body: &str, shadow: bool) -> (u16, Value) {
    let row = sqlx::query("SELECT status, event_id, expected FROM receive_all($1::text::json, $2)")
        .bind(body)
        .bind(shadow)
        .fetch_one(connection)
        .await
        .unwrap();
    let (event, expected): (Option<String>, Option<i64>) = (row.get(1), row.get(2));
    let answer = serde_json::json!({"eventId": event, "expectedSequence": expected});
    (u16::try_from(row.get::<i32, _>(0)).unwrap(), answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sql_of_the_page_answers_every_vector_rightly() {
    for (name, vector) in committed() {
        let (_, mut connection) = database().await;
        let mut made = Made { answers: vec![], books: BTreeMap::new() };
        for sent in &vector.messages {
            // The signature is checked in front of the database.
            let answer = if sent.expect.status == 401 {
                (401, Value::Null)
            } else {
                let shadow = sent.headers.get("trueup-mode").is_some_and(|mode| mode == "shadow");
                receive(&mut connection, &sent.body, shadow).await
            };
            made.answers.push(answer);
        }
        let rows = sqlx::query("SELECT uid, era, sequence, hash, shadow FROM applied ORDER BY uid, era, sequence");
        for row in rows.fetch_all(&mut connection).await.unwrap() {
            let (uid, hash) = (Uid::new(row.get::<String, _>(0)), row.get::<String, _>(3).parse().unwrap());
            let events = made.books.entry(uid.clone()).or_default();
            assert_eq!(row.get::<bool, _>(4), vector.applied[&uid][events.len()].shadow, "{name}");
            events.push((row.get(1), row.get(2), hash));
        }
        check(&name, &vector, &made);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_sessions_that_take_the_same_event_at_once_the_later_one_is_told_to_try_again() {
    let body = committed()["events.json"].messages[0].body.clone();
    let (url, mut first) = database().await;
    let mut second = PgConnection::connect(&url).await.unwrap();
    let mut watcher = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut first).await.unwrap();
    assert_eq!(receive(&mut first, &body, false).await.0, 200);
    let again = body.clone();
    let waiting = tokio::spawn(async move {
        let (status, _) = receive(&mut second, &again, false).await;
        (status, receive(&mut second, &again, false).await.0)
    });
    // It has looked, seen nothing, and waits for the row that the first one has written.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    let blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    while sqlx::query_scalar::<_, i64>(blocked).fetch_one(&mut watcher).await.unwrap() == 0 {
        assert!(tokio::time::Instant::now() < deadline, "the second session waited for nothing");
    }
    sqlx::raw_sql("COMMIT").execute(&mut first).await.unwrap();
    assert_eq!(waiting.await.unwrap(), (503, 200));
}

#[test]
fn what_the_page_points_to_is_there() {
    let page = fs::read_to_string(root().join("docs/receiving.md")).unwrap();
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files: Vec<&str> = targets.filter(|target| !target.starts_with("http")).collect();
    assert!(files.len() > 3, "{files:?}");
    for file in files {
        assert!(Path::new(&root().join("docs")).join(file).exists(), "docs/receiving.md points to {file}");
    }
}
