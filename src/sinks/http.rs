//! What every sink that speaks HTTP shares: one bounded exchange.

use std::{error::Error as _, fmt::Write as _, time::Duration};

use reqwest::{
    Client, Url,
    header::{CONTENT_LENGTH, HeaderMap, RETRY_AFTER},
};
use tokio::time::{Instant, timeout_at};

use super::{Ending, answer::Answer, tls};
use crate::domain::Timestamp;

/// No more of an answer is ever read.
const ANSWER_LIMIT: usize = 64 * 1024;
/// How long the rest of a good answer is waited for, so that its connection can be used again.
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// The longest wait that a receiver may ask for.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// An address to send to, and the limits of doing so.
pub(super) struct Endpoint {
    client: Client,
    url: Url,
    timeout: Duration,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({})", self.origin())
    }
}

/// Why nothing came back.
#[derive(Debug)]
pub(super) struct Failure {
    why: String,
    /// Whether no connection came about, so that nothing was sent.
    unreachable: bool,
}

impl Failure {
    /// What that means for whatever was to be sent.
    pub(super) fn ending(self, doing: &str) -> Ending {
        let error = format!("{doing}: {}", self.why);
        if self.unreachable { Ending::Unavailable { after: None, error } } else { Ending::Retry { after: None, error } }
    }
}

impl Endpoint {
    /// Checks `url` and prepares connections to it. With `ca` (PEM), only certificates that it vouches for are good.
    pub(super) fn new(url: &str, ca: Option<&str>, connect: Duration, timeout: Duration) -> Result<Self, String> {
        // The text itself stays out of the error: a path or query can be a credential.
        let url = Url::parse(url).map_err(|error| format!("the url is not one: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("the url must begin with https:// or http://, not {}:", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "the url holds a user name or password; events are signed instead, so leave them out".to_owned()
            );
        }
        let client = Client::builder()
            .tls_backend_preconfigured(tls::client_config(ca)?)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(connect)
            .user_agent(concat!("trueup/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("an HTTP client cannot be made: {}", chain(&error.without_url())))?;
        Ok(Self { client, url, timeout })
    }

    /// Scheme, host and port: what may be shown of the address.
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The longest that an exchange lasts.
    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends `body` and reads the answer, both within the time-out and the answer within its limit.
    pub(super) async fn post(&self, headers: HeaderMap, body: Vec<u8>, now: Timestamp) -> Result<Answer, Failure> {
        let deadline = Instant::now() + self.timeout;
        let sending = self.client.post(self.url.clone()).headers(headers).body(body).send();
        let mut response = match timeout_at(deadline, sending).await {
            Err(_) => return Err(Failure { why: format!("no answer within {:?}", self.timeout), unreachable: false }),
            Ok(Err(error)) => {
                let unreachable = error.is_connect();
                return Err(Failure { why: chain(&error.without_url()), unreachable });
            }
            Ok(Ok(response)) => response,
        };
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| wait(value.to_str().ok()?, now));
        let announced = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());

        let mut body = Vec::new();
        let mut whole = announced == Some(0);
        // The status alone acknowledges. What follows a good one is read only to keep the connection.
        let patience = if status.is_success() { deadline.min(Instant::now() + DRAIN_TIME) } else { deadline };
        let worth_reading = announced.map_or(!status.is_success(), |length: usize| length <= ANSWER_LIMIT);
        while worth_reading && !whole && body.len() < ANSWER_LIMIT {
            match timeout_at(patience, response.chunk()).await {
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_LIMIT - body.len())]),
                Ok(Ok(None)) => whole = true,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        Ok(Answer { status, retry_after, body, whole })
    }
}

/// Reads `Retry-After`: seconds, or a date.
fn wait(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let asked = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => Timestamp::from(jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?).since(now),
    };
    Some(asked.min(LONGEST_WAIT))
}

/// An error and everything that led to it. Its address must have been taken out before.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_as_seconds_or_as_a_date_and_is_bounded() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        let cases = [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999", Some(3_600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ];
        for (value, seconds) in cases {
            assert_eq!(wait(value, now), seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[tokio::test]
    async fn no_more_of_an_answer_is_read_than_its_limit() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        for (head, expected) in [
            // Its end is never announced, or announced to be too far away.
            ("HTTP/1.1 500 No\r\nconnection: close\r\n\r\n", ANSWER_LIMIT),
            ("HTTP/1.1 500 No\r\ncontent-length: 10485760\r\n\r\n", 0),
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            let answering = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert!(stream.read(&mut [0; 1_024]).await.unwrap() > 0);
                stream.write_all(head.as_bytes()).await.unwrap();
                // Until the other side has had enough.
                while stream.write_all(&[b'x'; 1 << 14]).await.is_ok() {}
            });
            let endpoint = Endpoint::new(&url, None, Duration::from_secs(5), Duration::from_secs(20)).unwrap();
            let now = Timestamp::from_micros(0);
            let answer = endpoint.post(HeaderMap::new(), b"event".to_vec(), now).await.unwrap();
            assert_eq!((answer.body.len(), answer.whole), (expected, false));
            answering.await.unwrap();
        }
    }

    #[test]
    fn an_address_that_cannot_be_used_is_explained_without_showing_it() {
        let cases = [
            ("billing.example/hush", "the url is not one"),
            ("ftp://billing.example/hush", "must begin with https://"),
            ("https://me:hush@billing.example/", "user name or password"),
        ];
        for (url, expected) in cases {
            let why = Endpoint::new(url, None, Duration::from_secs(1), Duration::from_secs(1)).unwrap_err();
            assert!(why.contains(expected) && !why.contains("hush"), "{why}");
        }
        let endpoint = Endpoint::new(
            "https://billing.example/hush?key=hush",
            None,
            Duration::from_secs(1),
            Duration::from_secs(1),
        );
        assert_eq!(format!("{:?}", endpoint.unwrap()), "Endpoint(https://billing.example)");
    }
}
