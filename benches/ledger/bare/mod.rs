//! The limit: the same writes by hand, with nothing of Trueup in the loop.
//!
//! A program of a few lines that knows every number beforehand: it takes the shard's row, inserts the transitions,
//! moves the heads, wakes one sink's lanes. It checks nothing, hashes nothing and builds no event: each body is the same
//! ready bytes, as long as real ones. It uses the same driver and settings, prepared statements and one transaction for a
//! batch, and writes the same columns.

mod postgres;
mod sqlite;

use sqlx::{Connection, PgConnection, SqliteConnection};

use trueup::domain::{Sequence, Uid};

use crate::{
    fleet::{Stream, grow},
    place::{Ledger, Place, SHARD},
};

/// What a hand-written program writes.
pub struct Bare {
    connection: Driver,
    streams: Vec<Stream>,
    next: usize,
    position: i64,
    body: Vec<u8>,
}

enum Driver {
    Postgres(PgConnection, postgres::Place),
    Sqlite(SqliteConnection),
}

/// One row, with its numbers given.
struct Line<'a> {
    position: i64,
    uid: &'a str,
    sequence: i64,
    event_id: String,
    from: &'static str,
    to: &'static str,
    at: i64,
    /// What any row might say differently, though none here does.
    said: Said,
}

#[derive(Clone, Copy)]
struct Said {
    reason: &'static str,
    message: &'static str,
    tenant: &'static str,
    time_source: &'static str,
    generation: i64,
    replicas: i64,
    cpu_millicores: i64,
    memory_bytes: i64,
    storage_bytes: i64,
}

const SAID: Said = Said {
    reason: "ReplicasChanged",
    message: "The number of available replicas changed.",
    tenant: "acme-corporation",
    time_source: "observed",
    generation: 7,
    replicas: 3,
    cpu_millicores: 1_500,
    memory_bytes: 3 << 30,
    storage_bytes: 10 << 30,
};

const HASH: &[u8] = &[7; 32];

impl Bare {
    /// On `ledger`, whose `streams` are opened first, one row each.
    pub async fn on(ledger: &Ledger, mut streams: Vec<Stream>) -> Self {
        grow(ledger, &mut streams, 2).await;
        let connection = match &ledger.place {
            Place::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let place = postgres::place(&mut connection).await.unwrap();
                Driver::Postgres(connection, place)
            }
            Place::Sqlite(path) => Driver::Sqlite(sqlite::connect(path).await),
        };
        let shard = ledger.store.shard(SHARD).await.unwrap();
        let (uid, last) = (Uid::new(streams[0].uid.as_str()), Sequence::new(streams[0].sequence));
        let body = ledger.store.row(&uid, last).await.unwrap().unwrap().body;
        Self { connection, streams, next: 0, position: shard.head.get(), body }
    }

    /// Goes through the streams in the order in which so many `writers` do, each of whom has a share of neighbours: rows that
    /// lie side by side cost less.
    pub fn take_turns(&mut self, writers: usize) {
        self.streams.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let share = self.streams.len() / writers;
        self.streams = (0..share * writers).map(|n| self.streams[n % writers * share + n / writers].clone()).collect();
        self.next = 0;
    }

    /// Writes the next `rows` transitions, of as many streams, in one transaction.
    pub async fn batch(&mut self, rows: usize) {
        if self.next + rows > self.streams.len() {
            self.next = 0;
        }
        let streams = &mut self.streams[self.next..self.next + rows];
        let mut lines: Vec<Line<'_>> = Vec::with_capacity(rows);
        for stream in streams {
            let (from, to) =
                if stream.sequence % 2 == 0 { ("Degraded", "Available") } else { ("Available", "Degraded") };
            stream.sequence += 1;
            self.position += 1;
            lines.push(Line {
                position: self.position,
                uid: &stream.uid,
                sequence: stream.sequence,
                event_id: format!("{}-0-{}", stream.uid, stream.sequence),
                from,
                to,
                at: 1_767_225_600_000_000 + self.position,
                said: SAID,
            });
        }
        match &mut self.connection {
            Driver::Postgres(connection, place) if rows == 1 => {
                postgres::alone(connection, *place, &lines[0], &self.body).await
            }
            Driver::Postgres(connection, _) => postgres::batch(connection, &mut lines, &self.body).await,
            Driver::Sqlite(connection) => sqlite::batch(connection, &lines, &self.body).await,
        }
        .expect("bare SQL");
        self.next += rows;
    }
}
