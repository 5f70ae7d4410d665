//! The sink `nats`: each event is one message in a JetStream stream, on a subject of its resource.
//!
//! Settings: `url` (`nats://` or `tls://`; several apart by commas), `stream` (which must exist), `subjectPrefix`
//! (default `trueup`), `caBundle`, `timeout` (default `10s`, for one event) and `shadow` (as for the webhook). Secret `credentials` (optional): a
//! `.creds` file, an nkey seed or a token; they are told apart by their form.
//!
//! The subject is `<prefix>.<installation>.<kind>.<uid>`. NATS is told which message must be the subject's last
//! (`Nats-Expected-Last-Subject-Sequence`), so that nothing can be stored twice, out of order or behind a gap, whoever
//! else writes. When it disagrees, that last message says which event it holds: what the subject has is passed over, and
//! what it lacks is sent again. `Nats-Msg-Id`, the event's id, says the same for a stream that lets its messages go.

mod place;

use std::{fmt, sync::Arc, time::Duration};

use async_nats::{
    Client, ConnectOptions, HeaderMap,
    connection::State,
    jetstream::{
        self,
        context::PublishErrorKind,
        message::{PublishMessage, StreamMessage},
        stream::{Config, LastRawMessageErrorKind, RetentionPolicy, Stream},
    },
};
use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::{sync::OnceCell, time::timeout};

use self::place::{Last, Step, place};
use super::{
    Batch, ConfigFault, Delivery, Ending, Sink, SinkConfig, SinkType,
    settings::{self, Times},
    tls,
    webhook::{MODE, SHADOW},
};
use crate::{
    domain::{Clock, Sequence},
    ledger::OutboxRow,
};

/// Its registration.
pub(super) const TYPE: SinkType = SinkType { name: NAME, build };

const NAME: &str = "nats";
const CREDENTIALS: &str = "credentials";
/// The place of a message's event in its resource, and the ledger's life, for whoever reads a subject's last message.
const SEQUENCE: &str = "Trueup-Sequence";
const ERA: &str = "Trueup-Era";
/// So often is one event placed anew when somebody else wrote to its subject meanwhile.
const TRIES: usize = 3;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    url: String,
    stream: String,
    #[serde(default = "default_prefix")]
    subject_prefix: String,
    ca_bundle: Option<String>,
    #[serde(default = "settings::default_timeout")]
    timeout: jiff::SignedDuration,
    #[serde(default = "settings::default_connect_timeout")]
    connect_timeout: jiff::SignedDuration,
    #[serde(default)]
    shadow: bool,
}

fn default_prefix() -> String {
    "trueup".to_owned()
}

/// What an event says of where it belongs.
#[derive(Deserialize)]
struct Address {
    source: String,
}

struct Nats {
    servers: Vec<String>,
    stream: String,
    prefix: String,
    ca: Option<String>,
    times: Times,
    shadow: bool,
    credentials: Option<SecretString>,
    connected: OnceCell<Connected>,
}

struct Connected {
    client: Client,
    context: jetstream::Context,
    stream: Stream,
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("servers", &self.servers).field("stream", &self.stream).finish_non_exhaustive()
    }
}

fn build(config: &SinkConfig, _: Arc<dyn Clock>) -> Result<Arc<dyn Sink>, ConfigFault> {
    let wrong = |why: String| ConfigFault::Settings { sink_type: NAME, why };
    let settings = Settings::deserialize(&config.settings).map_err(|error| wrong(error.to_string()))?;
    let times = Times::check(settings.timeout, settings.connect_timeout).map_err(wrong)?;
    let servers: Vec<String> = settings.url.split(',').map(|server| server.trim().to_owned()).collect();
    servers.iter().try_for_each(|server| check_server(server)).map_err(wrong)?;
    if settings.stream.is_empty() || !settings.stream.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
        return Err(wrong("stream must be the name of a JetStream stream: letters, digits, '-' and '_'".to_owned()));
    }
    if !settings.subject_prefix.split('.').all(is_token) {
        return Err(wrong("subjectPrefix must be words apart by dots, without blanks, '*' and '>'".to_owned()));
    }
    tls::client_config(settings.ca_bundle.as_deref()).map_err(wrong)?;
    let sink = Nats {
        servers,
        stream: settings.stream,
        prefix: settings.subject_prefix,
        ca: settings.ca_bundle,
        times,
        shadow: settings.shadow,
        credentials: config.secrets.get(CREDENTIALS).cloned(),
        connected: OnceCell::new(),
    };
    sink.authenticated().map_err(|why| ConfigFault::Secret { sink_type: NAME, name: CREDENTIALS, why })?;
    Ok(Arc::new(sink))
}

fn check_server(server: &str) -> Result<(), String> {
    let rest = server.strip_prefix("nats://").or_else(|| server.strip_prefix("tls://"));
    match rest {
        Some(rest) if rest.contains('@') => {
            Err("the url holds a user name, password or token; put it into the secret instead".to_owned())
        }
        Some(rest) if !rest.is_empty() => Ok(()),
        _ => Err("the url must be nats://HOST:PORT or tls://HOST:PORT, several apart by commas".to_owned()),
    }
}

fn is_token(word: &str) -> bool {
    !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control() || ".*>".contains(c))
}

/// How long the stream is sure to recognise an event: for ever while a subject's last message stays, and otherwise only
/// as long as NATS remembers ids.
fn horizon(config: &Config) -> Option<Duration> {
    let keeps = config.retention == RetentionPolicy::Limits
        && config.max_age.is_zero()
        && config.max_messages <= 0
        && config.max_bytes <= 0;
    (!keeps).then_some(config.duplicate_window)
}

#[async_trait]
impl Sink for Nats {
    async fn deliver(&self, batch: Batch) -> Delivery {
        let mut through = None;
        // Of the subject, as far as it is known: one look is enough while nobody else writes.
        let mut last = None;
        for row in &batch.rows {
            if through.is_some_and(|through| row.sequence <= through) {
                continue;
            }
            if through.is_some() && batch.budget.is_spent() {
                break;
            }
            let doing = format!("publishing event {} to stream {}", row.event_id, self.stream);
            let publishing = self.publish(&doing, &batch, row, &mut last);
            let published = timeout(self.times.whole, publishing).await.unwrap_or_else(|_| {
                let error = format!("{doing}: no answer within {:?}", self.times.whole);
                Err(Ending::Retry { after: None, error })
            });
            match published {
                Ok(reached) => through = Some(reached),
                Err(ending) => return Delivery { through, ending },
            }
        }
        Delivery { through, ending: Ending::Accepted }
    }

    fn longest_attempt(&self) -> Duration {
        self.times.whole
    }

    /// None where the stream keeps what it has; else its `duplicate_window`.
    async fn dedupe_horizon(&self) -> Result<Option<Duration>, Ending> {
        let doing = format!("asking for the settings of stream {}", self.stream);
        let asking = timeout(self.times.whole, self.connected(&doing));
        let connected = asking.await.unwrap_or_else(|_| {
            let error = format!("{doing}: no answer within {:?}", self.times.whole);
            Err(Ending::Unavailable { after: None, error })
        })?;
        Ok(horizon(&connected.stream.cached_info().config))
    }
}

impl Nats {
    /// Sees to it that the subject has `row`. Answers the last event that it has then.
    async fn publish(
        &self,
        doing: &str,
        batch: &Batch,
        row: &OutboxRow,
        known: &mut Option<Last>,
    ) -> Result<Sequence, Ending> {
        let refused = |why: &str| Ending::Refused { error: format!("{doing}: {why}") };
        let subject = self.subject(&row.body).map_err(|why| refused(&why))?;
        let era = era(batch, row).ok_or_else(|| refused("its id is not UID-ERA-SEQUENCE"))?;
        let connected = self.connected(doing).await?;
        for _ in 0..TRIES {
            let last = match *known {
                Some(last) => Some(last),
                None => self.last(doing, connected, &subject).await?,
            };
            let behind = match place(era, row.sequence, last) {
                Step::Publish { behind } => behind,
                Step::Taken { through } => {
                    *known = last;
                    return Ok(through);
                }
                Step::Rewind { expected } => {
                    let error = format!("{doing}: subject {subject} ends with event {}", expected.get() - 1);
                    return Err(Ending::Rewind { expected, error });
                }
            };
            let mut message = PublishMessage::build()
                .payload(row.body.clone().into())
                .message_id(row.event_id.as_str())
                .expected_stream(&self.stream)
                .expected_last_subject_sequence(behind)
                .header("Content-Type", super::webhook::MEDIA_TYPE)
                .header(SEQUENCE, row.sequence.to_string().as_str())
                .header(ERA, era.to_string().as_str());
            if self.shadow {
                message = message.header(MODE, SHADOW);
            }
            let sent = match connected.context.send_publish(subject.clone(), message).await {
                Ok(acknowledgement) => acknowledgement.await,
                Err(error) => Err(error),
            };
            match sent {
                Ok(acknowledged) => {
                    *known = Some(Last { stored_at: acknowledged.sequence, era, sequence: row.sequence });
                    return Ok(row.sequence);
                }
                // Somebody wrote to the subject: another relay, or this one when an answer was lost.
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => *known = None,
                Err(error) => return Err(ending(doing, error.kind(), &chain(&error))),
            }
        }
        let error = format!("{doing}: somebody else keeps writing to subject {subject}");
        Err(Ending::Retry { after: None, error })
    }

    /// The last message of a subject.
    async fn last(&self, doing: &str, connected: &Connected, subject: &str) -> Result<Option<Last>, Ending> {
        match connected.stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => read(&message).map(Some).ok_or_else(|| Ending::Refused {
                error: format!(
                    "{doing}: the last message of subject {subject} is not Trueup's; see who else writes there"
                ),
            }),
            Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => Ok(None),
            Err(error) => {
                let error = format!("{doing}: reading the last message of subject {subject}: {}", chain(&error));
                Err(Ending::Unavailable { after: None, error })
            }
        }
    }

    fn subject(&self, body: &[u8]) -> Result<String, String> {
        let address: Address =
            serde_json::from_slice(body).map_err(|error| format!("its body names no source: {error}"))?;
        let words: Vec<&str> = address.source.split('/').filter(|word| !word.is_empty()).collect();
        match words[..] {
            ["trueup", installation, kind, uid] if [installation, kind, uid].into_iter().all(is_token) => {
                Ok(format!("{}.{installation}.{kind}.{uid}", self.prefix))
            }
            _ => Err(format!("its source {} does not make a subject", address.source)),
        }
    }

    async fn connected(&self, doing: &str) -> Result<&Connected, Ending> {
        let unavailable = |why: String| Ending::Unavailable { after: None, error: format!("{doing}: {why}") };
        let connected = self.connected.get_or_try_init(|| self.connect()).await.map_err(unavailable)?;
        // The client connects again by itself; until then it would only collect messages.
        match connected.client.connection_state() {
            State::Connected => Ok(connected),
            _ => Err(unavailable(format!("the connection to {} is lost", self.servers.join(", ")))),
        }
    }

    async fn connect(&self) -> Result<Connected, String> {
        let servers = self.servers.join(", ");
        let mut tls = tls::client_config(self.ca.as_deref())?;
        tls.alpn_protocols.clear();
        let options = self
            .authenticated()?
            .name("trueup")
            .connection_timeout(self.times.connect)
            .request_timeout(Some(self.times.whole))
            .tls_client_config(tls);
        let client = options
            .connect(self.servers.as_slice())
            .await
            .map_err(|error| format!("connecting to {servers}: {}", chain(&error)))?;
        let mut context = jetstream::new(client.clone());
        context.set_timeout(self.times.whole);
        let stream = context.get_stream(&self.stream).await.map_err(|error| {
            format!("asking {servers} for the stream: {}; create it with subjects {}.>", chain(&error), self.prefix)
        })?;
        Ok(Connected { client, context, stream })
    }

    /// Options that say who this is.
    fn authenticated(&self) -> Result<ConnectOptions, String> {
        let options = ConnectOptions::new();
        let Some(credentials) = &self.credentials else { return Ok(options) };
        let text = credentials.expose_secret().trim();
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        if text.starts_with("-----BEGIN") {
            // Its own error may quote what it could not read.
            return options.credentials(text).map_err(|_| "it is not a complete .creds file".to_owned());
        }
        if text.starts_with("SU") && text.len() == 58 {
            return Ok(options.nkey(text.to_owned()));
        }
        Ok(options.token(text.to_owned()))
    }
}

/// The ledger's life that an event belongs to, which its id says.
fn era(batch: &Batch, row: &OutboxRow) -> Option<i64> {
    let rest = row.event_id.as_str().strip_prefix(batch.uid.as_str())?.strip_prefix('-')?;
    rest.split('-').next()?.parse().ok()
}

fn read(message: &StreamMessage) -> Option<Last> {
    let number = |headers: &HeaderMap, name: &str| headers.get(name)?.as_str().parse::<i64>().ok();
    Some(Last {
        stored_at: message.sequence,
        era: number(&message.headers, ERA)?,
        sequence: Sequence::new(number(&message.headers, SEQUENCE)?),
    })
}

/// What a failed publication means. Pure.
fn ending(doing: &str, kind: PublishErrorKind, why: &str) -> Ending {
    let error = |advice: &str| format!("{doing}: {why}{advice}");
    match kind {
        PublishErrorKind::MaxPayloadExceeded => Ending::Refused { error: error("; raise the server's max_payload") },
        PublishErrorKind::TimedOut | PublishErrorKind::MaxAckPending => Ending::Retry { after: None, error: error("") },
        PublishErrorKind::StreamNotFound => {
            Ending::Unavailable { after: None, error: error("; let the stream cover the sink's subjects") }
        }
        // A full stream, a missing permission, a lost connection: whatever is sent meets that.
        _ => Ending::Unavailable { after: None, error: error("") },
    }
}

/// An error and everything that led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sinks::fixtures::{assert_refused, configured};

    #[test]
    fn a_configuration_that_cannot_work_says_what_is_wrong_and_nothing_secret() {
        let good = json!({"url": "nats://n.example:4222", "stream": "BILLING"});
        let with = |name: &str, value: &str| {
            let mut settings = good.clone();
            settings[name] = json!(value);
            settings
        };
        let cases: [(_, &[_], _); 8] = [
            (json!({"url": "nats://n.example"}), &[], "missing field `stream`"),
            (with("url", "http://n.example"), &[], "the url must be nats://"),
            (with("url", "nats://me:hush@n.example"), &[], "put it into the secret"),
            (with("stream", "a b"), &[], "stream must be the name"),
            (with("subjectPrefix", "a.>"), &[], "subjectPrefix must be"),
            (with("caBundle", "x"), &[], "holds no certificate"),
            (good.clone(), &[(CREDENTIALS, "-----BEGIN NATS USER JWT-----\nhush")], "not a complete .creds file"),
            (good.clone(), &[(CREDENTIALS, " ")], "it is empty"),
        ];
        assert_refused(NAME, &cases);
        let sink = configured(NAME, good, &[(CREDENTIALS, "hush")]).unwrap();
        assert!(!format!("{sink:?}").contains("hush"));
    }

    #[test]
    fn a_stream_that_lets_go_of_messages_recognises_them_only_for_its_window() {
        let window = Duration::from_mins(20);
        let keeps = Config { duplicate_window: window, max_messages: -1, max_bytes: -1, ..Config::default() };
        assert_eq!(horizon(&keeps), None);
        for config in [
            Config { max_age: Duration::from_hours(24), ..keeps.clone() },
            Config { max_bytes: 1_000, ..keeps.clone() },
            Config { max_messages: 10, ..keeps.clone() },
            Config { retention: RetentionPolicy::WorkQueue, ..keeps.clone() },
        ] {
            assert_eq!(horizon(&config), Some(window));
        }
    }
}
