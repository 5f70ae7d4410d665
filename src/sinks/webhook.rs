//! The sink `webhook`: each event is one POST of a structured CloudEvent, signed after Standard Webhooks.
//!
//! Settings: `url` (or the secret `url`, if its path is a credential), `caBundle` (PEM; then the only CA that is
//! trusted), `timeout` (default `10s`, for the whole exchange), `connectTimeout` (default `3s`), `batch` (send JSON
//! arrays of events) and `shadow` (each message says in the header [`MODE`] that nobody is to be charged for it).
//! Secret `signingKeys`: one or more keys apart by white space, the newest first.
//!
//! A 2xx acknowledges. 409 with `{"expectedSequence": k}` asks for the resource's events from `k` on, 410 for no
//! more events at all. What other statuses mean stands in `answer.rs`. An array is answered as a whole; where it is
//! refused, `"eventId"` in the answer's body may say which event is meant.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{
    Batch, ConfigFault, Delivery, Ending, Room, Sink, SinkConfig, SinkType,
    answer::Answer,
    http::Endpoint,
    settings::{self, Times},
    signature::{self, SigningKeys},
    together::{self, Blame, Messenger, described},
};
use crate::{
    domain::{Clock, EventId, Sequence},
    ledger::OutboxRow,
};

/// The media type of one CloudEvent in structured JSON.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";

/// The header of what is only a rehearsal: the event is true, but nobody is to be charged for it.
pub const MODE: &str = "trueup-mode";
/// The value of [`MODE`] that says so.
pub const SHADOW: &str = "shadow";
/// The media type of several CloudEvents.
pub const BATCH_MEDIA_TYPE: &str = "application/cloudevents-batch+json";
/// No more events go in one message.
pub const BATCH_EVENTS: usize = 128;
/// No more bytes of events go in one message, unless a single event is larger.
pub const BATCH_BYTES: usize = 512 * 1024;

/// Its registration.
pub(super) const TYPE: SinkType = SinkType { name: NAME, build };

const NAME: &str = "webhook";
const URL: &str = "url";
const SIGNING_KEYS: &str = "signingKeys";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    url: Option<String>,
    ca_bundle: Option<String>,
    #[serde(default = "settings::default_timeout")]
    timeout: jiff::SignedDuration,
    #[serde(default = "settings::default_connect_timeout")]
    connect_timeout: jiff::SignedDuration,
    #[serde(default)]
    shadow: bool,
    #[serde(default)]
    batch: bool,
}

/// What the body of a refusal may say.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Word {
    /// The event that should come instead.
    expected_sequence: Option<i64>,
    /// Of several events, the one that is meant.
    event_id: Option<String>,
}

struct Webhook {
    endpoint: Endpoint,
    room: Option<Room>,
    keys: SigningKeys,
    shadow: bool,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("endpoint", &self.endpoint).field("keys", &self.keys).finish_non_exhaustive()
    }
}

fn build(config: &SinkConfig, clock: Arc<dyn Clock>) -> Result<Arc<dyn Sink>, ConfigFault> {
    let wrong = |why: String| ConfigFault::Settings { sink_type: NAME, why };
    let settings = Settings::deserialize(&config.settings).map_err(|error| wrong(error.to_string()))?;
    let times = Times::check(settings.timeout, settings.connect_timeout).map_err(wrong)?;

    let url = match (&settings.url, config.secrets.get(URL)) {
        (Some(url), None) => url,
        (None, Some(url)) => url.expose_secret().trim(),
        (None, None) => return Err(wrong("url is missing, both here and in the secret".to_owned())),
        (Some(_), Some(_)) => return Err(wrong("url is given twice, here and in the secret; keep one".to_owned())),
    };
    let endpoint = Endpoint::new(url, settings.ca_bundle.as_deref(), times.connect, times.whole).map_err(wrong)?;

    let secret = |why: String| ConfigFault::Secret { sink_type: NAME, name: SIGNING_KEYS, why };
    let keys = config.secrets.get(SIGNING_KEYS).ok_or_else(|| secret("it is missing".to_owned()))?;
    let keys = SigningKeys::parse(keys).map_err(|fault| secret(fault.to_string()))?;
    let room = settings.batch.then_some(Room { lanes: BATCH_EVENTS, events: BATCH_EVENTS, bytes: BATCH_BYTES });
    Ok(Arc::new(Webhook { endpoint, room, keys, shadow: settings.shadow, clock }))
}

#[async_trait]
impl Sink for Webhook {
    async fn deliver(&self, batch: Batch) -> Delivery {
        if self.room.is_some() {
            let mut deliveries = together::deliver(self, &[batch]).await;
            return deliveries.pop().unwrap_or(Delivery { through: None, ending: Ending::NotTried });
        }
        let mut through = None;
        for row in batch.rows {
            if through.is_some() && batch.budget.is_spent() {
                break;
            }
            let sequence = row.sequence;
            if let Err(ending) = self.send_one(row).await {
                return Delivery { through, ending };
            }
            through = Some(sequence);
        }
        Delivery { through, ending: Ending::Accepted }
    }

    async fn deliver_together(&self, batches: Vec<Batch>) -> Vec<Delivery> {
        together::deliver(self, &batches).await
    }

    fn room(&self) -> Option<Room> {
        self.room
    }

    fn longest_attempt(&self) -> Duration {
        self.endpoint.timeout()
    }

    /// None: the receiver remembers each resource's last sequence, which never ages.
    async fn dedupe_horizon(&self) -> Result<Option<Duration>, Ending> {
        Ok(None)
    }
}

#[async_trait]
impl Messenger for Webhook {
    async fn send(&self, rows: &[&OutboxRow]) -> Result<(), Blame> {
        let body = together::array(rows);
        let id = batch_id(&body);
        let doing = format!("sending {} to {}", described(rows), self.endpoint.origin());
        self.post(&doing, BATCH_MEDIA_TYPE, &id, body, rows.len()).await
    }
}

impl Webhook {
    async fn send_one(&self, row: OutboxRow) -> Result<(), Ending> {
        let doing = format!("sending event {} to {}", row.event_id, self.endpoint.origin());
        let sent = self.post(&doing, MEDIA_TYPE, row.event_id.as_str(), row.body, 1).await;
        sent.map_err(|blame| match blame {
            Blame::Everything(ending) | Blame::Event(_, ending) | Blame::Someone(ending) => ending,
        })
    }

    async fn post(
        &self,
        doing: &str,
        media_type: &'static str,
        id: &str,
        body: Vec<u8>,
        events: usize,
    ) -> Result<(), Blame> {
        let now = self.clock.now();
        // Of this attempt, not of the event: receivers refuse old ones as replays.
        let timestamp = now.as_micros().div_euclid(1_000_000);
        let headers = self.headers(media_type, id, timestamp, &body).map_err(|name| {
            Blame::Someone(Ending::Refused { error: format!("{doing}: the header {name} cannot be written") })
        })?;
        match self.endpoint.post(headers, body, now).await {
            Ok(answer) => judge(doing, &answer, events),
            Err(failure) => Err(Blame::Everything(failure.ending(doing))),
        }
    }

    fn headers(
        &self,
        media_type: &'static str,
        id: &str,
        timestamp: i64,
        body: &[u8],
    ) -> Result<HeaderMap, &'static str> {
        let mut headers = HeaderMap::with_capacity(5);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        if self.shadow {
            headers.insert(HeaderName::from_static(MODE), HeaderValue::from_static(SHADOW));
        }
        for (name, value) in [
            (signature::ID, id.to_owned()),
            (signature::TIMESTAMP, timestamp.to_string()),
            (signature::SIGNATURE, self.keys.sign(id, timestamp, body)),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value).map_err(|_| name)?);
        }
        Ok(headers)
    }
}

/// The id of several events in one message.
///
/// The same events make the same message, so a receiver that keeps ids of messages knows it again.
pub fn batch_id(body: &[u8]) -> String {
    format!("batch-{}", hex::encode(&Sha256::digest(body)[..16]))
}

/// What an answer means for a message that holds `events` events. Pure.
fn judge(doing: &str, answer: &Answer, events: usize) -> Result<(), Blame> {
    let word: Word = serde_json::from_slice(&answer.body).unwrap_or_default();
    let blame = |ending| match word.event_id.clone() {
        Some(id) if events > 1 => Blame::Event(EventId::new(id), ending),
        _ => Blame::Someone(ending),
    };
    if answer.status != StatusCode::CONFLICT {
        return answer.judge(doing).map_err(|ending| match ending {
            Ending::Refused { .. } => blame(ending),
            _ => Blame::Everything(ending),
        });
    }
    let error = |advice: &str| format!("{doing}: {}{advice}", answer.describe());
    Err(match word.expected_sequence {
        Some(expected) if expected >= 1 => {
            blame(Ending::Rewind { expected: Sequence::new(expected), error: error("") })
        }
        _ if answer.whole => blame(Ending::Refused { error: error("; it names no expectedSequence") }),
        // What it expects was lost on the way.
        _ => Blame::Everything(Ending::Retry { after: answer.retry_after, error: error("; the answer broke off") }),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sinks::fixtures::{assert_refused, configured};

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_configuration_that_cannot_work_says_what_is_wrong_and_nothing_secret() {
        let keys = (SIGNING_KEYS, KEY);
        let url = json!({"url": "https://billing.example/"});
        let cases: [(_, &[_], _); 8] = [
            (json!({}), &[keys], "url is missing"),
            (url.clone(), &[keys, ("url", "https://hush.example/")], "url is given twice"),
            (url.clone(), &[], "'signingKeys' of the webhook sink cannot be used: it is missing"),
            (url.clone(), &[(SIGNING_KEYS, "hush")], "does not begin with `whsec_`"),
            (json!({"uri": "https://billing.example/"}), &[keys], "unknown field `uri`"),
            (json!({"url": "https://billing.example/", "timeout": "0s"}), &[keys], "timeout must be"),
            (json!({"url": "https://billing.example/", "timeout": "4m"}), &[keys], "timeout must be"),
            (json!({"url": "https://billing.example/", "caBundle": "x"}), &[keys], "holds no certificate"),
        ];
        assert_refused(NAME, &cases);
    }

    #[test]
    fn an_address_from_the_secret_and_times_in_words_are_taken_and_shown_without_secrets() {
        let settings = json!({"timeout": "250ms", "connectTimeout": "1s"});
        let sink =
            configured(NAME, settings, &[(SIGNING_KEYS, KEY), ("url", "https://billing.example/hush\n")]).unwrap();
        assert_eq!(sink.longest_attempt(), Duration::from_millis(250));
        let shown = format!("{sink:?}");
        assert!(!shown.contains("hush") && !shown.contains(&KEY[6..]), "{shown}");
    }

    fn answer(status: u16, body: &str, whole: bool) -> Answer {
        let retry_after = Some(Duration::from_secs(7));
        Answer { status: StatusCode::from_u16(status).unwrap(), retry_after, body: body.into(), whole }
    }

    #[test]
    fn an_answer_is_judged_by_its_status_and_a_conflict_by_what_it_expects() {
        let judged = |status, body, whole| match judge("sending", &answer(status, body, whole), 1) {
            Ok(()) => Ending::Accepted,
            Err(Blame::Someone(ending) | Blame::Everything(ending)) => ending,
            Err(blame) => panic!("{blame:?}"),
        };
        assert_eq!(judged(204, "", true), Ending::Accepted);
        assert!(matches!(judged(409, r#"{"expectedSequence":3,"eventId":"u-0-5"}"#, true),
            Ending::Rewind { expected, .. } if expected == Sequence::new(3)));
        for body in [r#"{"expectedSequence":0}"#, r#"{"expectedSequence":-1}"#, "{}", "exists", ""] {
            assert!(matches!(judged(409, body, true), Ending::Refused { .. }), "{body}");
        }
        assert!(matches!(judged(409, r#"{"expectedSe"#, false), Ending::Retry { .. }));
        assert!(matches!(judged(410, "", true), Ending::Disabled { .. }));
        assert!(matches!(judged(422, "", true), Ending::Refused { .. }));
        assert!(matches!(judged(500, "", true), Ending::Retry { .. }));
    }

    #[test]
    fn of_several_events_a_refusal_may_name_the_one_that_is_meant() {
        let judged = |status, body| judge("sending", &answer(status, body, true), 2).unwrap_err();
        let named = judged(409, r#"{"expectedSequence":3,"eventId":"u-0-5"}"#);
        assert!(matches!(named, Blame::Event(id, Ending::Rewind { .. }) if id.as_str() == "u-0-5"));
        let named = judged(422, r#"{"eventId":"u-0-5"}"#);
        assert!(matches!(named, Blame::Event(id, Ending::Refused { .. }) if id.as_str() == "u-0-5"));
        assert!(matches!(judged(400, "no"), Blame::Someone(Ending::Refused { .. })));
        assert!(matches!(judged(401, r#"{"eventId":"u-0-5"}"#), Blame::Everything(Ending::Unavailable { .. })));
    }
}
