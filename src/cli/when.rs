//! Times as people give them on a command line.

use std::{cmp::Ordering, str::FromStr};

use jiff::{Span, civil, tz::TimeZone};

use super::{Failure, describe};
use crate::domain::Timestamp;

/// A moment, or how long ago it was.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// A moment.
    At(Timestamp),
    /// So long before now.
    Ago(Span),
}

/// A text that is no time.
#[derive(Debug, thiserror::Error)]
#[error(
    "write a moment (2026-11-17T09:00:00Z), a day or a time of day in UTC (2026-11-17, 2026-11-17T09:00), or a span \
     back from now (2h, 3d)"
)]
pub struct NotATime;

impl FromStr for When {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        if let Ok(at) = text.parse::<Timestamp>() {
            return Ok(Self::At(at));
        }
        if let Ok(at) = text.parse::<civil::DateTime>() {
            let zoned = at.to_zoned(TimeZone::UTC).map_err(|_| NotATime)?;
            return Ok(Self::At(zoned.timestamp().into()));
        }
        match text.parse::<Span>() {
            Ok(span) if span.is_positive() => Ok(Self::Ago(span)),
            _ => Err(NotATime),
        }
    }
}

impl When {
    /// The moment that is meant, if it is `now`. Days have 24 hours: all times are in UTC.
    pub fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => {
                let zoned = now.to_jiff().to_zoned(TimeZone::UTC);
                zoned.checked_sub(span).map_or(Timestamp::from_micros(i64::MIN), |at| at.timestamp().into())
            }
        }
    }
}

/// From a moment until before another; open where there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Window {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Window {
    /// The window between the two, if it is `now`.
    pub fn of(since: Option<When>, until: Option<When>, now: Timestamp) -> Self {
        Self { since: since.map(|when| when.before(now)), until: until.map(|when| when.before(now)) }
    }

    /// The same, unless it ends before it begins; the two options are called so.
    pub fn ordered(self, since_option: &str, until_option: &str) -> Result<Self, Failure> {
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => {
                let (since, until) = (describe::moment(since), describe::moment(until));
                let what = format!("{since_option} {since} is not before {until_option} {until}; exchange them");
                Err(Failure::usage(&what))
            }
            _ => Ok(self),
        }
    }

    /// Where `at` is: before the window, in it, or behind it.
    pub fn place(self, at: Timestamp) -> Ordering {
        if self.since.is_some_and(|since| at < since) {
            Ordering::Less
        } else if self.until.is_none_or(|until| at < until) {
            Ordering::Equal
        } else {
            Ordering::Greater
        }
    }

    /// `between 2026-11-17 09:00:00 and 2026-11-18 09:00:00`; `None` if it holds everything.
    pub fn in_words(self) -> Option<String> {
        match (self.since, self.until) {
            (None, None) => None,
            (Some(since), None) => Some(format!("since {}", describe::moment(since))),
            (None, Some(until)) => Some(format!("before {}", describe::moment(until))),
            (Some(since), Some(until)) => {
                Some(format!("between {} and {}", describe::moment(since), describe::moment(until)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_a_day_in_utc_or_a_span_back() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-11-17T09:00:00Z", "2026-11-17T09:00:00.000000Z"),
            ("2026-11-17T09:00:00+02:00", "2026-11-17T07:00:00.000000Z"),
            ("2026-11-17", "2026-11-17T00:00:00.000000Z"),
            ("2026-11-17T09:30", "2026-11-17T09:30:00.000000Z"),
            ("2h", "2026-11-21T10:00:00.000000Z"),
            ("90m", "2026-11-21T10:30:00.000000Z"),
            ("3d", "2026-11-18T12:00:00.000000Z"),
            ("1w 2h", "2026-11-14T10:00:00.000000Z"),
        ] {
            assert_eq!(text.parse::<When>().unwrap().before(now).to_string(), expected, "{text}");
        }
        for text in ["", "yesterday", "-2h", "2026-13-01", "0s"] {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
    }
}
