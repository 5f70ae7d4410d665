//! Upgrades that can be taken back: tables only grow from one release to the next, and the program of the release before runs
//! on them. What a later release no longer needs goes one release after that. See docs/upgrades.md.

use std::{fs, path::Path};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
use trueup::{
    domain::{DestinationId, Sequence, Uid},
    ledger::{
        Settlement,
        interventions::{Action, Request},
        pruner,
    },
};

use crate::lab::{Lab, nth};

/// What the first line of a migration begins with that takes away what an older one made superfluous.
const CONTRACTS: &str = "-- Contracts what ";

/// What in a migration the program of the release before might not bear.
fn unbearable(migration: &str) -> Vec<String> {
    let code: Vec<&str> = migration.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let code = code.join("\n").to_uppercase();
    let statements = code.split(';').map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "));
    let takes_away = |statement: &String| {
        let has = |words: &str| statement.contains(words);
        let demands = has(" ADD ") && has(" NOT NULL") && !has(" DEFAULT ");
        let alters = statement.starts_with("ALTER ");
        let changes = [" RENAME ", " DROP ", " TYPE ", " SET NOT NULL", " ADD CONSTRAINT ", " ADD CHECK"];
        // A view, a trigger or an index is no part of what the other program writes.
        let drops = statement.starts_with("DROP TABLE") || statement.starts_with("TRUNCATE");
        let narrows = statement.starts_with("CREATE UNIQUE INDEX");
        drops || narrows || alters && (demands || changes.iter().any(|words| has(words)))
    };
    statements.filter(takes_away).collect()
}

#[test]
fn what_the_release_before_might_not_bear_is_known() {
    for harmless in [
        "CREATE TABLE new (id BIGINT PRIMARY KEY)",
        "ALTER TABLE lane ADD COLUMN later TEXT",
        "ALTER TABLE lane ADD COLUMN later BIGINT NOT NULL DEFAULT 0",
        "CREATE INDEX lane_later ON lane (later)",
        "-- ALTER TABLE lane DROP COLUMN acked",
    ] {
        assert_eq!(unbearable(harmless), Vec::<String>::new(), "{harmless}");
    }
    for harmful in [
        "DROP TABLE lane",
        "ALTER TABLE lane DROP COLUMN acked",
        "ALTER TABLE lane RENAME COLUMN acked TO acknowledged",
        "ALTER TABLE lane\n    ADD COLUMN later BIGINT NOT NULL",
        "alter table lane alter column acked type text",
        "ALTER TABLE lane ALTER COLUMN token SET NOT NULL",
        "CREATE UNIQUE INDEX one ON lane (token)",
    ] {
        assert_eq!(unbearable(harmful).len(), 1, "{harmful}");
    }
}

#[test]
fn migrations_expand_first_and_contract_a_release_later() {
    for kind in ["postgres", "sqlite"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(kind);
        let mut names: Vec<String> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names[0], "0001_ledger.sql");
        for (index, name) in names.iter().enumerate() {
            let text = fs::read_to_string(folder.join(name)).unwrap();
            let contracts = text.lines().next().and_then(|line| line.strip_prefix(CONTRACTS));
            match contracts.and_then(|rest| rest.split_whitespace().next()) {
                None => assert_eq!(unbearable(&text), Vec::<String>::new(), "{kind}/{name}: see docs/upgrades.md"),
                Some(number) => {
                    let named = names[..index].iter().any(|older| older.starts_with(&format!("{number}_")));
                    assert!(named, "{kind}/{name} contracts what {number} expanded, which is no older migration");
                }
            }
        }
    }
}

/// What a next release might do to every table.
fn expansion(tables: &[String]) -> String {
    let grown = tables.iter().map(|table| {
        format!("ALTER TABLE \"{table}\" ADD COLUMN later BIGINT NOT NULL DEFAULT 7;\nALTER TABLE \"{table}\" ADD COLUMN latest TEXT;\n")
    });
    let grown: String = grown.collect();
    assert_eq!(unbearable(&grown), Vec::<String>::new(), "it is one that the policy allows");
    let noted = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'next', TRUE, 'x', 0);";
    format!("{grown}CREATE TABLE of_the_next_release (id BIGINT PRIMARY KEY);\n{noted}")
}

async fn expand(lab: &Lab) {
    let tables = |sql: &'static str| sql;
    if lab.is_postgres() {
        let mut connection = PgConnection::connect(&lab.url()).await.unwrap();
        let sql = tables(
            "SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace \
             AND relkind IN ('r', 'p') AND NOT relispartition AND relname NOT LIKE '\\_sqlx%'",
        );
        let names: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
        let sql = expansion(&names).replace("'x'", "'\\x00'");
        connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = SqliteConnection::connect(&lab.url()).await.unwrap();
        let sql = tables(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\'",
        );
        let names: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
        let sql = expansion(&names).replace("BIGINT", "INTEGER").replace("'x'", "x'00'");
        connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// This program is the release before: everything that it does works on the tables of the next, with data in place.
async fn runs_on_the_tables_of_the_next_release(lab: Lab) {
    let billing = DestinationId::new("billing");
    lab.store.open_destination(&billing, lab.now()).await.unwrap();
    let epoch = lab.lead().await;
    for n in 0..4 {
        lab.append(epoch, &[nth("before", n, lab.now())]).await;
    }
    expand(&lab).await;

    // Taken back: it starts again, and goes on.
    let back = Lab::opened(lab.url()).await;
    let epoch = back.lead().await;
    for n in 4..8 {
        back.append(epoch, &[nth("before", n, back.now()), nth("after", n - 4, back.now())]).await;
    }
    let late = DestinationId::new("late");
    back.store.open_destination(&late, back.now()).await.unwrap();
    let claims = back.store.claim(&back.request(&billing), back.now()).await.unwrap();
    assert_eq!(claims.len(), 2);
    for claim in claims {
        let end = match claim.uid.as_str() {
            "before" => Settlement::Park { through: Sequence::new(2), reason: "refused".into(), error: "422".into() },
            _ => Settlement::Acked { through: claim.head },
        };
        let held = back.store.settle(&[(claim.destination, claim.uid, claim.token, end)], back.now()).await.unwrap();
        assert_eq!(held, [true]);
    }
    let request = Request {
        action: Action::Amend,
        destination: billing,
        uid: Uid::new("before"),
        sequence: Sequence::new(3),
        who: "ann@desk".into(),
        reason: "merged".into(),
    };
    back.store.intervene(&request, back.now()).await.unwrap().unwrap();
    let due = back.store.amendments_due(10).await.unwrap();
    back.store.conclude_amendment(due[0].id, "restated", back.now()).await.unwrap();
    assert_eq!(back.store.voids(None, 10).await.unwrap().len(), 1);
    assert!(back.store.close_destination(&late).await.unwrap() > 0);
    pruner::prune(&*back.store, back.now()).await.unwrap();
    back.assert_clean().await;
}

#[tokio::test]
async fn this_program_runs_on_the_tables_of_the_next_release_on_postgres() {
    runs_on_the_tables_of_the_next_release(Lab::postgres().await).await;
}

#[tokio::test]
async fn this_program_runs_on_the_tables_of_the_next_release_on_sqlite() {
    runs_on_the_tables_of_the_next_release(Lab::sqlite().await).await;
}
