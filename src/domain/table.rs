//! State tables as data: which states a kind has, and which may follow which.
//!
//! The check in the ledger, the property tests, the docs' diagrams and the deadlines all read the
//! same table; each kind's stands at the top of its file in `lifecycle`.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Kind;

/// The name of a state, as users and billing see it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct State(Cow<'static, str>);

impl State {
    /// A state known when this was compiled.
    pub const fn of(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// A state read back from a store.
    pub fn named(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl JsonSchema for State {
    fn schema_name() -> Cow<'static, str> {
        "State".into()
    }

    fn inline_schema() -> bool {
        true
    }

    // Open: states are a kind's own, and a later version may have more.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Z][A-Za-z]*$" })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long a resource may stay in a state before it is said to be stalled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deadline {
    /// For ever: nothing is being waited for.
    Never,
    /// This long.
    After(Duration),
    /// As long as the resource's own spec says.
    FromSpec,
}

/// One state of a kind.
#[derive(Clone, Copy, Debug)]
pub struct StateRow {
    /// Its name.
    pub name: &'static str,
    /// The states that may follow it. A state may always follow itself unless it is final.
    pub next: &'static [&'static str],
    /// How long it may last.
    pub deadline: Deadline,
    /// Why a resource in it is billed, in words for people.
    pub billed: &'static str,
}

/// All states of a kind, the first of them the initial one.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// The kind they belong to.
    pub kind: Kind,
    /// The states.
    pub states: &'static [StateRow],
}

impl Table {
    /// The row of `state`, if this kind has it.
    pub fn row(&self, state: &State) -> Option<&'static StateRow> {
        self.states.iter().find(|row| row.name == state.as_str())
    }

    /// The state that a stream opens with.
    ///
    /// # Panics
    /// If the table is empty, which no kind's is.
    pub fn initial(&self) -> State {
        assert!(!self.states.is_empty(), "the table of {} has no states", self.kind);
        State::of(self.states[0].name)
    }

    /// Whether nothing but a resurrection can follow `state`.
    pub fn is_final(&self, state: &State) -> bool {
        self.row(state).is_some_and(|row| row.next.is_empty())
    }

    /// Whether a stream whose last state is `from` (`None`: no rows yet) may go on to `to`.
    ///
    /// A final state leads back to the initial one only: a UID seen alive again, as after a restore of etcd.
    pub fn allows(&self, from: Option<&State>, to: &State) -> bool {
        let Some(from) = from else { return *to == self.initial() };
        match self.row(from) {
            None => false,
            Some(row) if row.next.is_empty() => *to == self.initial(),
            Some(row) => from == to || row.next.contains(&to.as_str()),
        }
    }
}

/// The tables of all kinds, handed to whoever must check a transition.
#[derive(Clone, Copy, Debug)]
pub struct Tables(pub &'static [Table]);

impl Tables {
    /// The table of `kind`.
    ///
    /// # Panics
    /// If there is none, which the lifecycle's own test rules out.
    pub fn of(&self, kind: Kind) -> &'static Table {
        let found = self.0.iter().find(|table| table.kind == kind);
        assert!(found.is_some(), "no state table for {kind}");
        found.unwrap_or(&self.0[0])
    }
}
