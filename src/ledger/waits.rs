//! What the ledger is waited for, and since when: what logs, metrics and `/readyz` say while its database is away.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tracing::{info, warn};

use super::store::StoreError;
use crate::domain::{Clock, Timestamp};

/// How often the log says that it is still being waited.
const SAY_AGAIN: Duration = Duration::from_mins(1);
/// Who has not tried for so long waits no longer: whoever does tries again sooner.
const FORGET: Duration = Duration::from_mins(3);

/// What somebody wants of the ledger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Want {
    /// To begin a term.
    Lead,
    /// To record transitions.
    Append,
    /// To read how things stand.
    Read,
    /// To claim lanes, and to settle what came of them.
    Deliver,
}

impl Want {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Lead, Self::Append, Self::Read, Self::Deliver];

    /// One word, for metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Lead => "lead",
            Self::Append => "append",
            Self::Read => "read",
            Self::Deliver => "deliver",
        }
    }

    const fn purpose(self) -> &'static str {
        match self {
            Self::Lead => "to begin a term",
            Self::Append => "to record transitions",
            Self::Read => "to read how things stand",
            Self::Deliver => "to go on with deliveries",
        }
    }
}

/// Something that waits for the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wait {
    /// What it wants.
    pub want: Want,
    /// Since when.
    pub since: Timestamp,
    /// How long that is.
    pub waited: Duration,
    /// What went wrong last.
    pub cause: String,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the ledger, {}, since {} ({})", self.want.purpose(), self.since, self.cause)
    }
}

/// Everything that waits for the ledger.
#[derive(Debug, Default)]
pub struct Waits(Mutex<BTreeMap<Want, Known>>);

/// What is known of one want. Spans are on the monotonic clock.
#[derive(Debug, Default)]
struct Known {
    standing: Option<Standing>,
    /// When the log last said that something is waited for.
    said: Option<Duration>,
}

#[derive(Debug)]
struct Standing {
    since: Timestamp,
    begun: Duration,
    failed: Duration,
    cause: String,
    /// Whether the log knows of it, and is to hear of its end.
    said: bool,
}

impl Waits {
    /// It failed to give what is wanted. Says so in the log, but no more than once a minute.
    ///
    /// Answers whether it is waited for: it will pass, or is mended in the database alone, as a password is. If not, it is for the
    /// caller to say what is wrong.
    pub fn failed(&self, want: Want, cause: &StoreError, clock: &dyn Clock) -> bool {
        if !cause.is_transient() && !cause.shuts_out() {
            return false;
        }
        let now = clock.monotonic();
        let mut known = self.known();
        let Known { standing, said } = known.entry(want).or_default();
        if standing.as_ref().is_some_and(|standing| standing.is_over(now)) {
            *standing = None;
        }
        let standing = standing.get_or_insert_with(|| Standing {
            since: clock.now(),
            begun: now,
            failed: now,
            cause: String::new(),
            said: false,
        });
        standing.failed = now;
        standing.cause = cause.to_string();
        if said.is_none_or(|said| now.saturating_sub(said) >= SAY_AGAIN) {
            *said = Some(now);
            standing.said = true;
            let waited = now.saturating_sub(standing.begun);
            warn!(want = want.code(), since = %standing.since, ?waited, %cause, "waiting for the ledger");
        }
        true
    }

    /// It gave what was wanted.
    pub fn worked(&self, want: Want, clock: &dyn Clock) {
        let ended = self.known().get_mut(&want).and_then(|known| known.standing.take());
        if let Some(standing) = ended.filter(|standing| standing.said) {
            let waited = clock.monotonic().saturating_sub(standing.begun);
            info!(want = want.code(), ?waited, "the ledger answers again");
        }
    }

    /// What is being waited for at `now`, on the monotonic clock.
    pub fn all(&self, now: Duration) -> Vec<Wait> {
        let known = self.known();
        let standings = known.iter().filter_map(|(want, known)| Some((want, known.standing.as_ref()?)));
        let wait = |(want, standing): (&Want, &Standing)| Wait {
            want: *want,
            since: standing.since,
            waited: now.saturating_sub(standing.begun),
            cause: standing.cause.clone(),
        };
        standings.filter(|(_, standing)| !standing.is_over(now)).map(wait).collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Want, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.failed) > FORGET
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::domain::ManualClock;

    const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

    fn away() -> StoreError {
        let source = sqlx::Error::Io(io::ErrorKind::ConnectionRefused.into());
        StoreError::Unavailable { doing: "appending to the ledger", source }
    }

    /// The lines that are logged meanwhile.
    fn logged(during: impl FnOnce()) -> Vec<String> {
        #[derive(Clone, Default)]
        struct Lines(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, during);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn an_hour_without_a_database_is_a_line_a_minute_and_its_end_is_another() {
        let (clock, waits) = (ManualClock::at(START), Waits::default());
        let lines = logged(|| {
            for _ in 0..3_600 {
                waits.failed(Want::Append, &away(), &clock);
                clock.advance(Duration::from_secs(1));
            }
            waits.worked(Want::Append, &clock);
            waits.worked(Want::Append, &clock);
        });
        assert_eq!(lines.len(), 60 + 1, "{lines:#?}");
        assert!(lines[0].contains("waiting for the ledger") && lines[0].contains("append"), "{}", lines[0]);
        assert!(lines[60].contains("answers again") && lines[60].contains("3600s"), "{}", lines[60]);
    }

    #[test]
    fn a_database_that_comes_and_goes_does_not_fill_the_log() {
        let (clock, waits) = (ManualClock::at(START), Waits::default());
        let lines = logged(|| {
            for _ in 0..600 {
                waits.failed(Want::Deliver, &away(), &clock);
                waits.worked(Want::Deliver, &clock);
                clock.advance(Duration::from_millis(500));
            }
        });
        assert_eq!(lines.len(), 2 * 5, "its beginning and its end, once a minute: {lines:#?}");
    }

    #[test]
    fn what_will_not_pass_is_not_waited_for() {
        let (clock, waits) = (ManualClock::at(START), Waits::default());
        assert!(!waits.failed(Want::Append, &StoreError::NoInstallation { doing: "appending" }, &clock));
        assert_eq!(waits.all(clock.monotonic()), []);
        assert!(waits.failed(Want::Append, &away(), &clock));
    }

    #[test]
    fn it_is_said_what_is_wanted_since_when_and_why_it_is_not_had() {
        let (clock, waits) = (ManualClock::at(START), Waits::default());
        waits.failed(Want::Append, &away(), &clock);
        clock.advance(Duration::from_secs(9));
        waits.failed(Want::Append, &away(), &clock);
        waits.failed(Want::Deliver, &away(), &clock);
        waits.worked(Want::Deliver, &clock);
        let all = waits.all(clock.monotonic());
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].want, all[0].since, all[0].waited), (Want::Append, START, Duration::from_secs(9)));
        let said = all[0].to_string();
        assert!(said.starts_with("the ledger, to record transitions, since 2026-01-01T00:00:00"), "{said}");
        assert!(said.contains("does not answer"), "{said}");
    }

    #[test]
    fn who_tries_no_more_waits_no_more() {
        let (clock, waits) = (ManualClock::at(START), Waits::default());
        waits.failed(Want::Append, &away(), &clock);
        clock.advance(FORGET);
        assert_eq!(waits.all(clock.monotonic()).len(), 1);
        clock.advance(Duration::from_secs(1));
        assert_eq!(waits.all(clock.monotonic()), []);
        waits.failed(Want::Append, &away(), &clock);
        assert_eq!(waits.all(clock.monotonic())[0].waited, Duration::ZERO, "a new wait has begun");
    }
}
