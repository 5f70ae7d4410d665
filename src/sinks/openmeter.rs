//! The sink `openmeter`: arrays of CloudEvents to an ingest endpoint that speaks OpenMeter's API.
//!
//! Settings: `url` (the server; `/api/v1/events` is appended unless it is there), `caBundle`, `timeout` and
//! `connectTimeout` as of the webhook. Secret `token` (optional: a server of one's own may ask for none).
//!
//! OpenMeter takes or refuses an array as a whole and keeps no order, so it cannot ask for what it lacks: a 2xx is all
//! there is. It recognises an event by `source` and `id`, for 32 days unless its operator says otherwise.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{
    Batch, ConfigFault, Delivery, Ending, Room, Sink, SinkConfig, SinkType,
    http::Endpoint,
    settings::{self, Times},
    together::{self, Blame, Messenger, described},
    webhook::BATCH_MEDIA_TYPE,
};
use crate::{domain::Clock, ledger::OutboxRow};

/// Its registration.
pub(super) const TYPE: SinkType = SinkType { name: NAME, build };

const NAME: &str = "openmeter";
const TOKEN: &str = "token";
const PATH: &str = "/api/v1/events";
const ROOM: Room = Room { lanes: 100, events: 100, bytes: 512 * 1024 };
/// How long OpenMeter remembers ids unless it is configured otherwise.
const REMEMBERS: Duration = Duration::from_hours(32 * 24);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    url: String,
    ca_bundle: Option<String>,
    #[serde(default = "settings::default_timeout")]
    timeout: jiff::SignedDuration,
    #[serde(default = "settings::default_connect_timeout")]
    connect_timeout: jiff::SignedDuration,
    #[serde(default)]
    shadow: bool,
}

struct OpenMeter {
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for OpenMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenMeter").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

fn build(config: &SinkConfig, clock: Arc<dyn Clock>) -> Result<Arc<dyn Sink>, ConfigFault> {
    let wrong = |why: String| ConfigFault::Settings { sink_type: NAME, why };
    let settings = Settings::deserialize(&config.settings).map_err(|error| wrong(error.to_string()))?;
    let times = Times::check(settings.timeout, settings.connect_timeout).map_err(wrong)?;
    if settings.shadow {
        return Err(wrong("OpenMeter would charge for what it gets, so it cannot rehearse; use mode Live".to_owned()));
    }
    let server = settings.url.trim_end_matches('/');
    let url = if server.ends_with(PATH) { server.to_owned() } else { format!("{server}{PATH}") };
    let endpoint = Endpoint::new(&url, settings.ca_bundle.as_deref(), times.connect, times.whole).map_err(wrong)?;
    let authorization = config.secrets.get(TOKEN).map(bearer).transpose().map_err(|why| ConfigFault::Secret {
        sink_type: NAME,
        name: TOKEN,
        why,
    })?;
    Ok(Arc::new(OpenMeter { endpoint, authorization, clock }))
}

fn bearer(token: &SecretString) -> Result<HeaderValue, String> {
    let token = token.expose_secret().trim();
    if token.is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| "it holds characters that a header cannot carry".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

#[async_trait]
impl Sink for OpenMeter {
    async fn deliver(&self, batch: Batch) -> Delivery {
        let mut deliveries = together::deliver(self, &[batch]).await;
        deliveries.pop().unwrap_or(Delivery { through: None, ending: Ending::NotTried })
    }

    async fn deliver_together(&self, batches: Vec<Batch>) -> Vec<Delivery> {
        together::deliver(self, &batches).await
    }

    fn room(&self) -> Option<Room> {
        Some(ROOM)
    }

    fn longest_attempt(&self) -> Duration {
        self.endpoint.timeout()
    }

    /// As long as OpenMeter remembers ids.
    async fn dedupe_horizon(&self) -> Result<Option<Duration>, Ending> {
        Ok(Some(REMEMBERS))
    }
}

#[async_trait]
impl Messenger for OpenMeter {
    async fn send(&self, rows: &[&OutboxRow]) -> Result<(), Blame> {
        let doing = format!("sending {} to {}", described(rows), self.endpoint.origin());
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(BATCH_MEDIA_TYPE));
        headers.insert(ACCEPT, HeaderValue::from_static("application/problem+json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        match self.endpoint.post(headers, together::array(rows), self.clock.now()).await {
            Err(failure) => Err(Blame::Everything(failure.ending(&doing))),
            Ok(answer) => answer.judge(&doing).map_err(|ending| match ending {
                Ending::Refused { .. } => Blame::Someone(ending),
                _ => Blame::Everything(ending),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sinks::fixtures::{assert_refused, configured};

    #[test]
    fn a_configuration_that_cannot_work_says_what_is_wrong_and_nothing_secret() {
        let url = json!({"url": "https://meter.example"});
        let cases: [(_, &[_], _); 5] = [
            (json!({}), &[(TOKEN, "hush")], "missing field `url`"),
            (url.clone(), &[(TOKEN, " ")], "'token' of the openmeter sink cannot be used: it is empty"),
            (url.clone(), &[(TOKEN, "hush\u{7}")], "a header cannot carry"),
            (json!({"url": "https://meter.example", "timeout": "0s"}), &[], "timeout must be"),
            (json!({"url": "https://meter.example", "shadow": true}), &[], "it cannot rehearse"),
        ];
        assert_refused(NAME, &cases);
    }

    #[tokio::test]
    async fn it_takes_several_resources_and_says_how_long_ids_are_remembered() {
        let sink = configured(NAME, json!({"url": "https://meter.example/"}), &[(TOKEN, "hush")]).unwrap();
        assert_eq!(sink.dedupe_horizon().await, Ok(Some(REMEMBERS)));
        assert_eq!(sink.room(), Some(ROOM));
        assert!(!format!("{sink:?}").contains("hush"));
    }
}
