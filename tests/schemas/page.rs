//! The code in `docs/receiving.md`, run against the test vectors.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, de::DeserializeOwned};
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

/// How much of the receiving side a block of the page is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    TenLines,
    Full,
}

/// In the page, ten lines of a language stand before the whole of it.
fn block(language: &str, extent: Extent) -> String {
    let mut found = blocks().into_iter().filter(|(found, _)| found == language).map(|(_, code)| code);
    match extent {
        Extent::TenLines => found.next(),
        Extent::Full => found.next_back(),
    }
    .unwrap()
}

#[test]
fn every_block_of_code_in_the_page_is_run() {
    let languages: Vec<String> = blocks().into_iter().map(|(language, _)| language).collect();
    assert_eq!(languages, ["python", "ts", "python", "ts", "sql"], "and one more would not be run");
}

#[test]
fn ten_lines_are_ten_lines() {
    for (language, indent) in [("python", "    "), ("ts", "  ")] {
        let code = block(language, Extent::TenLines);
        let lines: Vec<&str> = code.lines().filter_map(|line| line.strip_prefix(indent)).collect();
        let count = lines.iter().filter(|line| !line.starts_with("\"\"\"")).count();
        assert_eq!(count, 10, "{language}:\n{code}");
        assert!(code.lines().all(|line| line.chars().count() <= 140), "and lines, not paragraphs:\n{code}");
    }
}

/// What a receiver in another language made of one vector.
#[derive(Deserialize)]
struct Made<Book> {
    /// Status and JSON of each answer.
    answers: Vec<(u16, Value)>,
    /// What was applied, by resource.
    books: BTreeMap<Uid, Book>,
}

/// Era, sequence and hash of every event, which the whole receivers remember.
type Places = Vec<(i64, i64, Hash)>;

fn check_answers<Book>(name: &str, vector: &Vector, made: &Made<Book>) {
    assert_eq!(made.answers.len(), vector.messages.len(), "{name}: each message was answered");
    for (sent, (status, answer)) in vector.messages.iter().zip(&made.answers) {
        let said = (*status, acted_upon(answer));
        assert_eq!(said, (sent.expect.status, sent.expect.answer.clone()), "{name}: {}", sent.about);
    }
}

fn check(name: &str, vector: &Vector, made: &Made<Places>) {
    check_answers(name, vector, made);
    let place = |one: &Applied| (one.era, one.sequence, one.hash);
    let wanted: BTreeMap<Uid, Places> =
        vector.applied.iter().map(|(uid, events)| (uid.clone(), events.iter().map(place).collect())).collect();
    let mut books = made.books.clone();
    // A resource of which nothing was applied may have an empty book.
    books.retain(|_, events| !events.is_empty());
    assert_eq!(books, wanted, "{name}");
}

/// The TypeScript compiler of `hack/typescript`, and the types of Node.js beside it.
fn compiler() -> PathBuf {
    let built = Command::new(root().join("hack/typescript/build")).output().expect("running hack/typescript/build");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    PathBuf::from(String::from_utf8(built.stdout).unwrap().trim()).join("node_modules")
}

/// Checks `receiving.mts` in `directory` as strictly as TypeScript can, and makes `receiving.mjs` of it.
fn compile(directory: &Path) {
    let modules = compiler();
    let ran = Command::new("node")
        .arg(modules.join("typescript/bin/tsc"))
        .args(["--strict", "--noEmitOnError", "--target", "es2022", "--module", "nodenext", "--types", "node"])
        .arg("--typeRoots")
        .arg(modules.join("@types"))
        .arg("receiving.mts")
        .current_dir(directory)
        .output()
        .expect("this needs node (`make test` installs it)");
    assert!(ran.status.success(), "tsc refuses the page's code:\n{}", String::from_utf8_lossy(&ran.stdout));
}

/// Runs the page's block in `language` under the driver that stands beside this file.
fn run<Book: DeserializeOwned>(language: &str, extent: Extent) -> BTreeMap<String, Made<Book>> {
    let (program, file, driver) = match language {
        "python" => ("python3", "receiving.py", "drive.py"),
        _ => ("node", "receiving.mts", "drive.mjs"),
    };
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(file), block(language, extent)).unwrap();
    if language == "ts" {
        compile(directory.path());
    }
    let driver_here = directory.path().join(driver);
    fs::copy(root().join("tests/schemas").join(driver), &driver_here).unwrap();
    let ran = Command::new(program)
        .arg(&driver_here)
        .arg(root().join("tests/vectors"))
        // Python would write what it compiled.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|error| panic!("this needs {program} (`make test` installs it): {error}"));
    let complaints = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{program} ended with {}:\n{complaints}", ran.status);
    let made: BTreeMap<String, Made<Book>> = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(made.len(), committed().len(), "every file was read");
    made
}

fn assert_answers_every_vector_rightly(language: &str) {
    let made = run(language, Extent::Full);
    for (name, vector) in &committed() {
        check(name, vector, &made[name]);
    }
}

#[test]
fn the_python_of_the_page_answers_every_vector_rightly() {
    assert_answers_every_vector_rightly("python");
}

#[test]
fn the_typescript_of_the_page_is_strictly_typed_and_answers_every_vector_rightly() {
    assert_answers_every_vector_rightly("ts");
}

/// What ten lines answer as rightly as a whole receiver.
const ENOUGH_FOR: [&str; 6] =
    ["amendments.json", "events.json", "gaps.json", "shadow.json", "signatures.json", "voids.json"];

/// What they make of the rest, as the page says: an array is no message for them (500), a later era is held back (422), a
/// signature is believed, and what has a place that was passed is taken for a repeat.
const OTHERWISE: [(&str, &[u16]); 5] = [
    ("altered.json", &[200; 5]),
    ("batches.json", &[500; 7]),
    ("contradictions.json", &[200; 6]),
    ("eras.json", &[500, 422, 422, 409, 409, 422, 422, 422, 500, 422, 422]),
    ("snapshots.json", &[200; 9]),
];

fn assert_answers_in_ten_lines(language: &str) {
    let made = run::<i64>(language, Extent::TenLines);
    let vectors = committed();
    for name in ENOUGH_FOR {
        let vector = &vectors[name];
        check_answers(name, vector, &made[name]);
        let last = |events: &Vec<Applied>| events.last().unwrap().sequence;
        let wanted: BTreeMap<Uid, i64> =
            vector.applied.iter().map(|(uid, events)| (uid.clone(), last(events))).collect();
        assert_eq!(made[name].books, wanted, "{name}");
    }
    for (name, statuses) in OTHERWISE {
        let said: Vec<u16> = made[name].answers.iter().map(|(status, _)| *status).collect();
        assert_eq!(said, statuses, "{name}");
    }
    assert_eq!(ENOUGH_FOR.len() + OTHERWISE.len(), vectors.len(), "each file is one of both");
}

#[test]
fn ten_lines_of_python_are_enough_for_a_sink_without_batches() {
    assert_answers_in_ten_lines("python");
}

#[test]
fn ten_lines_of_typescript_are_enough_for_a_sink_without_batches() {
    assert_answers_in_ten_lines("ts");
}

/// A new database that has the page's tables and functions.
async fn database() -> (String, PgConnection) {
    let url = Postgres::shared().database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(block("sql", Extent::Full))).execute(&mut connection).await.unwrap();
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
        let mut made = Made::<Places> { answers: vec![], books: BTreeMap::new() };
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
    let targets: Vec<&str> = page.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let headings: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| heading.to_lowercase().replace(' ', "-").replace(':', ""))
        .collect();
    let (here, files): (Vec<&str>, Vec<&str>) =
        targets.into_iter().filter(|target| !target.starts_with("http")).partition(|target| target.starts_with('#'));
    assert!(here.iter().all(|anchor| headings.contains(&anchor[1..].to_owned())), "{here:?} of {headings:?}");
    assert!(files.len() > 3, "{files:?}");
    for file in files {
        assert!(Path::new(&root().join("docs")).join(file).exists(), "docs/receiving.md points to {file}");
    }
}
