//! The sink `webhook`: each event is one POST of a structured CloudEvent, signed after Standard Webhooks.
//!
//! Settings: `url` (or the secret `url`, if its path is a credential), `caBundle` (PEM; then the only CA that is
//! trusted), `timeout` (default `10s`, for the whole exchange) and `connectTimeout` (default `3s`). Secret
//! `signingKeys`: one or more keys apart by white space, the newest first.
//!
//! A 2xx acknowledges. 409 with `{"expectedSequence": k}` asks for the resource's events from `k` on, 410 for no
//! more events at all. What other statuses mean stands in [`super::http`].

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::{
    Batch, ConfigFault, Delivery, Ending, Sink, SinkConfig, SinkType,
    http::{Answer, Endpoint, Meaning, meaning},
    signature::{self, SigningKeys},
};
use crate::{
    domain::{Clock, Sequence},
    ledger::OutboxRow,
};

/// The media type of one CloudEvent in structured JSON.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";

/// Its registration.
pub(super) const TYPE: SinkType = SinkType { name: NAME, build };

const NAME: &str = "webhook";
const URL: &str = "url";
/// A lane's lease, four times as long, must stay within what a ledger grants.
const LONGEST_TIMEOUT: Duration = Duration::from_mins(3);
const SIGNING_KEYS: &str = "signingKeys";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    url: Option<String>,
    ca_bundle: Option<String>,
    #[serde(default = "default_timeout")]
    timeout: jiff::SignedDuration,
    #[serde(default = "default_connect_timeout")]
    connect_timeout: jiff::SignedDuration,
}

const fn default_timeout() -> jiff::SignedDuration {
    jiff::SignedDuration::from_secs(10)
}

const fn default_connect_timeout() -> jiff::SignedDuration {
    jiff::SignedDuration::from_secs(3)
}

/// The body of a 409 that asks for other events.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expectation {
    expected_sequence: i64,
}

struct Webhook {
    endpoint: Endpoint,
    keys: SigningKeys,
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
    let positive = |name: &str, span: jiff::SignedDuration| {
        Duration::try_from(span)
            .ok()
            .filter(|span| !span.is_zero() && *span <= LONGEST_TIMEOUT)
            .ok_or_else(|| wrong(format!("{name} must be more than nothing and at most 3m")))
    };
    let timeout = positive("timeout", settings.timeout)?;
    let connect_timeout = positive("connectTimeout", settings.connect_timeout)?;

    let url = match (&settings.url, config.secrets.get(URL)) {
        (Some(url), None) => url,
        (None, Some(url)) => url.expose_secret().trim(),
        (None, None) => return Err(wrong("url is missing, both here and in the secret".to_owned())),
        (Some(_), Some(_)) => return Err(wrong("url is given twice, here and in the secret; keep one".to_owned())),
    };
    let endpoint = Endpoint::new(url, settings.ca_bundle.as_deref(), connect_timeout, timeout).map_err(wrong)?;

    let secret = |why: String| ConfigFault::Secret { sink_type: NAME, name: SIGNING_KEYS, why };
    let keys = config.secrets.get(SIGNING_KEYS).ok_or_else(|| secret("it is missing".to_owned()))?;
    let keys = SigningKeys::parse(keys).map_err(|fault| secret(fault.to_string()))?;
    Ok(Arc::new(Webhook { endpoint, keys, clock }))
}

#[async_trait]
impl Sink for Webhook {
    async fn deliver(&self, batch: Batch) -> Delivery {
        let mut through = None;
        for row in batch.rows {
            if through.is_some() && batch.budget.is_spent() {
                break;
            }
            let sequence = row.sequence;
            if let Err(ending) = self.send(row).await {
                return Delivery { through, ending };
            }
            through = Some(sequence);
        }
        Delivery { through, ending: Ending::Accepted }
    }

    fn longest_attempt(&self) -> Duration {
        self.endpoint.timeout()
    }

    /// None: the receiver remembers each resource's last sequence, which never ages.
    fn dedupe_horizon(&self) -> Option<Duration> {
        None
    }
}

impl Webhook {
    async fn send(&self, row: OutboxRow) -> Result<(), Ending> {
        let doing = format!("sending event {} to {}", row.event_id, self.endpoint.origin());
        let now = self.clock.now();
        // Of this attempt, not of the event: receivers refuse old ones as replays.
        let timestamp = now.as_micros().div_euclid(1_000_000);
        let headers = self
            .headers(&row, timestamp)
            .map_err(|name| Ending::Refused { error: format!("{doing}: the header {name} cannot be written") })?;
        match self.endpoint.post(headers, row.body, now).await {
            Ok(answer) => judge(&doing, &answer),
            Err(why) => Err(Ending::Retry { after: None, error: format!("{doing}: {why}") }),
        }
    }

    fn headers(&self, row: &OutboxRow, timestamp: i64) -> Result<HeaderMap, &'static str> {
        let id = row.event_id.as_str();
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        for (name, value) in [
            (signature::ID, id.to_owned()),
            (signature::TIMESTAMP, timestamp.to_string()),
            (signature::SIGNATURE, self.keys.sign(id, timestamp, &row.body)),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value).map_err(|_| name)?);
        }
        Ok(headers)
    }
}

/// What an answer means for the event that was sent. Pure.
fn judge(doing: &str, answer: &Answer) -> Result<(), Ending> {
    let error = |advice: &str| format!("{doing}: {}{advice}", answer.describe());
    if answer.status == StatusCode::CONFLICT {
        return Err(match serde_json::from_slice::<Expectation>(&answer.body) {
            Ok(Expectation { expected_sequence }) if expected_sequence >= 1 => {
                Ending::Rewind { expected: Sequence::new(expected_sequence), error: error("") }
            }
            _ if answer.whole => Ending::Refused { error: error("; it names no expectedSequence") },
            // What it expects was lost on the way.
            _ => Ending::Retry { after: answer.retry_after, error: error("; the answer broke off") },
        });
    }
    match meaning(answer.status) {
        Meaning::Accepted => Ok(()),
        Meaning::Gone => Err(Ending::Disabled { error: error("") }),
        Meaning::Refused => Err(Ending::Refused { error: error("") }),
        Meaning::TryLater => {
            let advice = match answer.status.as_u16() {
                300..=399 => "; redirects are not followed, set the sink's url to where the receiver really is",
                401 | 403 => "; check that the receiver has the key that the sink signs with",
                404 | 405 => "; check the path in the sink's url",
                _ => "",
            };
            Err(Ending::Retry { after: answer.retry_after, error: error(advice) })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use secrecy::SecretString;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::SystemClock;

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn configured(settings: Value, secrets: &[(&str, &str)]) -> Result<Arc<dyn Sink>, ConfigFault> {
        let secrets: BTreeMap<_, _> =
            secrets.iter().map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))).collect();
        let config = SinkConfig { sink_type: NAME.into(), settings, secrets };
        super::super::build(&config, Arc::new(SystemClock::default()))
    }

    #[test]
    fn a_configuration_that_cannot_work_says_what_is_wrong_and_nothing_secret() {
        let keys = (SIGNING_KEYS, KEY);
        let url = json!({"url": "https://billing.example/"});
        let cases = [
            (json!({}), vec![keys], "url is missing"),
            (url.clone(), vec![keys, ("url", "https://hush.example/")], "url is given twice"),
            (url.clone(), vec![], "'signingKeys' of the webhook sink cannot be used: it is missing"),
            (url.clone(), vec![(SIGNING_KEYS, "hush")], "does not begin with `whsec_`"),
            (json!({"uri": "https://billing.example/"}), vec![keys], "unknown field `uri`"),
            (json!({"url": "https://billing.example/", "timeout": "0s"}), vec![keys], "timeout must be"),
            (json!({"url": "https://billing.example/", "timeout": "4m"}), vec![keys], "timeout must be"),
            (json!({"url": "https://billing.example/", "caBundle": "x"}), vec![keys], "holds no certificate"),
        ];
        for (settings, secrets, expected) in cases {
            let fault = configured(settings, &secrets).unwrap_err().to_string();
            assert!(fault.contains(expected) && !fault.contains("hush"), "{fault}");
        }
    }

    #[test]
    fn an_address_from_the_secret_and_times_in_words_are_taken_and_shown_without_secrets() {
        let settings = json!({"timeout": "250ms", "connectTimeout": "1s"});
        let sink = configured(settings, &[(SIGNING_KEYS, KEY), ("url", "https://billing.example/hush\n")]).unwrap();
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
        let after = Some(Duration::from_secs(7));
        let judged = |status, body, whole| judge("sending", &answer(status, body, whole));
        assert_eq!(judged(204, "", true), Ok(()));
        assert!(matches!(judged(409, r#"{"expectedSequence":3}"#, true),
            Err(Ending::Rewind { expected, .. }) if expected == Sequence::new(3)));
        for body in [r#"{"expectedSequence":0}"#, r#"{"expectedSequence":-1}"#, "{}", "exists", ""] {
            assert!(matches!(judged(409, body, true), Err(Ending::Refused { .. })), "{body}");
        }
        assert!(matches!(judged(409, r#"{"expectedSe"#, false), Err(Ending::Retry { .. })));
        assert!(matches!(judged(410, "", true), Err(Ending::Disabled { .. })));
        assert!(matches!(judged(422, "", true), Err(Ending::Refused { .. })));
        let Err(Ending::Retry { after: asked, error }) = judged(302, "", true) else { panic!("a redirect is retried") };
        assert_eq!(asked, after);
        assert!(error.contains("redirects are not followed"), "{error}");
    }
}
