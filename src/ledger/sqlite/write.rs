//! What a batch writes, up to its commit.
//!
//! What is indexed and stays the same is not written: SQLite takes an entry out of an index and puts it back for each column
//! that an UPDATE names, changed or not, and each is a page more in the log. `OR ROLLBACK`: whatever fails, all is undone, so
//! SQLite need not put each page aside first, in case a statement failed half way and its transaction went on.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};

use sqlx::{SqliteConnection, query};

use super::{
    append::DOING,
    lead::json,
    multi::{Binding, Multi},
    write_one::{alone, write_one},
};
use crate::{
    domain::{State, Timestamp, Uid},
    ledger::{
        batch::Batch,
        fault::{commit_failed, not_committed},
        records::head_columns,
        store::AppendError,
        types::{Head, Row},
    },
};

/// Writes `batch` and commits it.
pub(super) async fn write(connection: &mut SqliteConnection, batch: &Batch, now: Timestamp) -> Result<(), AppendError> {
    if let Some((row, head)) = alone(batch) {
        return write_one(connection, &batch.shard, row, head, now).await.map_err(commit_failed(DOING));
    }
    let failed = not_committed(DOING);
    let firsts: HashSet<&Uid> = batch.rows.iter().filter(|row| row.from.is_none()).map(|row| &row.uid).collect();
    let (opened, moved): (Vec<&Head>, Vec<&Head>) =
        batch.heads.iter().map(Arc::as_ref).partition(|head| firsts.contains(&head.subject.uid));
    insert_rows(connection, &batch.rows).await.map_err(failed)?;
    insert_evidence(connection, &batch.rows).await.map_err(failed)?;
    open_heads(connection, &opened).await.map_err(failed)?;
    move_heads(connection, &moved).await.map_err(failed)?;
    end(connection, batch, &opened, &moved, now).await.map_err(commit_failed(DOING))
}

async fn insert_rows(connection: &mut SqliteConnection, rows: &[Row]) -> Result<(), sqlx::Error> {
    static INSERT: LazyLock<Multi> = LazyLock::new(|| {
        Multi::new(
            "INSERT OR ROLLBACK INTO transition (shard, position, uid, sequence, event_id, epoch, from_state, to_state, reason, \
             generation, tenant, effective_at, not_before, not_after, time_source, recorded_at, body, prev_hash, hash) \
             SELECT * FROM",
            19,
            "WHERE column1 IS NOT NULL",
        )
    });
    INSERT.run(connection, rows, bind_row).await
}

/// Binds what a row holds, in the order of the columns of every statement that inserts one.
pub(super) fn bind_row(query: Binding, row: &Row) -> Binding {
    query
        .bind(row.shard.get())
        .bind(row.position.get())
        .bind(row.uid.as_str())
        .bind(row.sequence.get())
        .bind(row.event_id.as_str())
        .bind(row.epoch.get())
        .bind(row.from.as_ref().map(State::as_str))
        .bind(row.to.as_str())
        .bind(row.reason.as_str())
        .bind(row.generation)
        .bind(row.tenant.as_str())
        .bind(row.effective.at.as_micros())
        .bind(row.effective.not_before.as_micros())
        .bind(row.effective.not_after.as_micros())
        .bind(row.effective.source.as_str())
        .bind(row.recorded_at.as_micros())
        .bind(row.body.as_slice())
        .bind(row.prev_hash.as_bytes().as_slice())
        .bind(row.hash.as_bytes().as_slice())
}

async fn insert_evidence(connection: &mut SqliteConnection, rows: &[Row]) -> Result<(), sqlx::Error> {
    static INSERT: LazyLock<Multi> = LazyLock::new(|| {
        Multi::new(
            "INSERT OR ROLLBACK INTO evidence (uid, sequence, text) SELECT * FROM",
            3,
            "WHERE column1 IS NOT NULL",
        )
    });
    let said: Vec<_> = rows.iter().filter_map(|row| Some((row, row.evidence.as_deref()?))).collect();
    let bind =
        |query: Binding, (row, text): &(&Row, &str)| query.bind(row.uid.as_str()).bind(row.sequence.get()).bind(*text);
    INSERT.run(connection, &said, bind).await
}

async fn open_heads(connection: &mut SqliteConnection, heads: &[&Head]) -> Result<(), sqlx::Error> {
    static INSERT: LazyLock<Multi> = LazyLock::new(|| {
        Multi::new(
            concat!("INSERT OR ROLLBACK INTO resource (", head_columns!(), ") SELECT * FROM"),
            27,
            "WHERE column1 IS NOT NULL",
        )
    });
    INSERT
        .run(connection, heads, |query, head| {
            let query = query
                .bind(head.subject.uid.as_str())
                .bind(head.shard.get())
                .bind(head.subject.kind.as_str())
                .bind(head.subject.namespace.as_deref())
                .bind(head.subject.name.as_str())
                .bind(head.subject.tenant.as_str())
                .bind(head.subject.account.as_str())
                .bind(head.subject.plan.as_str())
                .bind(head.subject.previous_uid.as_ref().map(Uid::as_str));
            bind_state(query, head)
                .bind(head.opened_at.as_micros())
                .bind(head.closed_at.map(Timestamp::as_micros))
                .bind(head.entered.get())
        })
        .await
}

/// Moves heads in everything that changes while a stream is open. Kind, namespace and name belong to the UID.
static UPDATE: LazyLock<Multi> = LazyLock::new(|| {
    Multi::new(
        "UPDATE OR ROLLBACK resource SET tenant = column2, account = column3, plan = column4, state = column5, \
             sequence = column6, hash = column7, epoch = column8, era = column9, generation = column10, \
             replicas = column11, cpu_millicores = column12, memory_bytes = column13, storage_bytes = column14, \
             reason = column15, message = column16, effective_at = column17, recorded_at = column18, \
             entered_at = column19, entered = column20 FROM",
        20,
        "WHERE uid = column1",
    )
});

async fn move_heads(connection: &mut SqliteConnection, heads: &[&Head]) -> Result<(), sqlx::Error> {
    UPDATE
        .run(connection, heads, |query, head| {
            let query = query
                .bind(head.subject.uid.as_str())
                .bind(head.subject.tenant.as_str())
                .bind(head.subject.account.as_str())
                .bind(head.subject.plan.as_str());
            bind_state(query, head).bind(head.entered.get())
        })
        .await
}

/// Binds how a stream stands, in the order of the columns from `state` to `entered_at`.
fn bind_state(query: Binding, head: &Head) -> Binding {
    query
        .bind(head.state.as_str())
        .bind(head.sequence.get())
        .bind(head.hash.as_bytes().as_slice())
        .bind(head.epoch.get())
        .bind(head.era.get())
        .bind(head.generation)
        .bind(i64::from(head.billable.replicas))
        .bind(head.billable.cpu_millicores.cast_signed())
        .bind(head.billable.memory_bytes.cast_signed())
        .bind(head.billable.storage_bytes.cast_signed())
        .bind(head.reason.as_str())
        .bind(head.message.as_str())
        .bind(head.effective_at.as_micros())
        .bind(head.recorded_at.as_micros())
        .bind(head.entered_at.as_micros())
}

/// Closes streams and opens closed ones anew, makes the lanes of new streams, wakes those that had nothing to do, moves the
/// shard, and commits.
///
/// A destination that does not hear of all streams gets no lanes but those that were chosen for it. `+phase` keeps the
/// planner from reading through all idle lanes.
const END: &str = "UPDATE resource SET closed_at = closed.value ->> 1 FROM json_each($1) closed \
      WHERE uid = closed.value ->> 0; \
    UPDATE resource SET closed_at = NULL WHERE uid IN (SELECT value FROM json_each($2)) AND closed_at IS NOT NULL; \
    INSERT INTO lane (destination, uid, acked, phase, due_at) \
      SELECT d.id, opened.value, 0, 1, $5 FROM destination d CROSS JOIN json_each($3) opened \
      WHERE d.selector IS NULL OR (d.id, opened.value) IN (SELECT value ->> 0, value ->> 1 FROM json_each($4)); \
    UPDATE OR ROLLBACK lane SET phase = 1, due_at = $5 WHERE destination IN (SELECT id FROM destination) \
      AND uid IN (SELECT value FROM json_each($6)) AND +phase = 0; \
    UPDATE shard SET head = $9, recorded_at = $10 WHERE id = $7 AND epoch = $8; \
    COMMIT";

async fn end(
    connection: &mut SqliteConnection,
    batch: &Batch,
    opened: &[&Head],
    moved: &[&Head],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let uids = |heads: &[&Head]| json(&heads.iter().map(|head| &head.subject.uid).collect::<Vec<_>>());
    let (open, closed): (Vec<&Head>, Vec<&Head>) = moved.iter().partition(|head| head.closed_at.is_none());
    let closed = closed.into_iter().filter_map(|head| Some((&head.subject.uid, head.closed_at?.as_micros())));
    let shard = &batch.shard;
    query(END)
        .bind(json(&closed.collect::<Vec<_>>()))
        .bind(uids(&open))
        .bind(uids(opened))
        .bind(json(&batch.chosen))
        .bind(now.as_micros())
        .bind(uids(moved))
        .bind(shard.id.get())
        .bind(shard.epoch.get())
        .bind(shard.head.get())
        .bind(shard.recorded_at.map(Timestamp::as_micros))
        .execute(connection)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection, query_as};

    use super::{super::write_one, *};

    /// How SQLite would run each of `statements`, in an empty ledger, which is what it always knows of it.
    async fn plans(statements: &str) -> Vec<String> {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        super::super::MIGRATIONS.run_direct(None, &mut connection, false).await.unwrap();
        let mut plans = vec![];
        for statement in
            statements.split(';').filter(|statement| !["BEGIN", "COMMIT"].iter().any(|end| statement.contains(end)))
        {
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let steps: Vec<(i64, i64, i64, String)> = query_as(explain).fetch_all(&mut connection).await.unwrap();
            plans.extend(steps.into_iter().map(|(.., step)| step));
        }
        plans
    }

    #[tokio::test]
    async fn nothing_that_grows_is_read_through_when_rows_are_written() {
        for statements in [END, write_one::WRITE, write_one::WRITE_AT_ONCE, UPDATE.text(8)] {
            let plans = plans(statements).await;
            let through = |step: &&String| {
                ["SCAN resource", "SCAN lane", "SCAN transition"].iter().any(|scan| step.starts_with(scan))
                    // A search by less than the whole key reads all that has the same beginning.
                    || (step.starts_with("SEARCH lane") && !step.contains("destination=? AND uid=?"))
            };
            assert_eq!(plans.iter().filter(through).collect::<Vec<_>>(), Vec::<&String>::new(), "{plans:#?}");
            assert!(plans.iter().any(|step| step.starts_with("SEARCH resource")), "{plans:#?}");
        }
    }
}
