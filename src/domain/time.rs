//! Moments, in the precision that the ledger keeps, and what is known of when something happened.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A moment in UTC, in whole microseconds: what both databases and the event format can hold exactly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment this many microseconds after 1970-01-01T00:00:00Z.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This moment and `span` more.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This moment less `span`.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The same moment for the libraries that speak jiff.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::MAX)
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(value: jiff::Timestamp) -> Self {
        Self(value.as_microsecond())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.to_jiff())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>().map(Self::from)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$";
        json_schema!({ "type": "string", "format": "date-time", "pattern": pattern })
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Where an effective time came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum TimeSource {
    /// Kubernetes or the workload itself said so.
    Reported,
    /// A look found it: after the stream's previous row, and not later than that look.
    Observed,
    /// It happened while nobody watched, or follows from a deadline; the bounds are all that is known.
    Inferred,
    /// What was reported lay before the stream's previous row, and was moved up to it.
    Clamped,
}

impl TimeSource {
    /// The word in the ledger and in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Observed => "observed",
            Self::Inferred => "inferred",
            Self::Clamped => "clamped",
        }
    }
}

/// When something happened, as far as it is known: `not_before <= at <= not_after`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effective {
    /// The moment that billing counts from.
    pub at: Timestamp,
    /// It did not happen earlier than this.
    pub not_before: Timestamp,
    /// It did not happen later than this.
    pub not_after: Timestamp,
    /// Where `at` came from.
    pub source: TimeSource,
}

/// Kubernetes drops fractions, so a time it reports means this long from then on.
const REPORTED_PRECISION: Duration = Duration::from_secs(1);

impl Effective {
    /// Kubernetes reported whole second `t`: it happened in `[t, t + 1 s)`, and not after `now`.
    pub fn reported(t: Timestamp, now: Timestamp) -> Self {
        let at = t.min(now);
        let end = Timestamp::from_micros(t.plus(REPORTED_PRECISION).as_micros() - 1);
        Self { at, not_before: at, not_after: end.min(now).max(at), source: TimeSource::Reported }
    }

    /// Seen `now`, and not yet so when last looked at `last_look`.
    pub fn observed(last_look: Timestamp, now: Timestamp) -> Self {
        Self { at: now, not_before: last_look.min(now), not_after: now, source: TimeSource::Observed }
    }

    /// Nobody saw it; it happened at some time between the two. Counted from the later one.
    pub fn inferred(after: Timestamp, before: Timestamp) -> Self {
        Self { at: before, not_before: after.min(before), not_after: before, source: TimeSource::Inferred }
    }

    /// The same, moved up so that time never runs backwards along a stream.
    #[must_use]
    pub fn not_earlier_than(self, previous: Timestamp) -> Self {
        if self.at >= previous {
            return Self { not_before: self.not_before.min(self.at), ..self };
        }
        Self {
            at: previous,
            not_before: self.not_before,
            not_after: self.not_after.max(previous),
            source: TimeSource::Clamped,
        }
    }
}
