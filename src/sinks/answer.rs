//! What came back over HTTP, and what it says about trying again. Pure.

use std::{fmt::Write as _, time::Duration};

use reqwest::StatusCode;

use super::Ending;

/// How much of an answer is shown to people.
const EXCERPT: usize = 320;

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: StatusCode,
    /// How long the receiver asked to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// The beginning of the body.
    pub(super) body: Vec<u8>,
    /// Whether that is all of the body.
    pub(super) whole: bool,
}

/// What a status says about a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meaning {
    /// It has arrived.
    Accepted,
    /// Not now.
    TryLater,
    /// Not now, and nothing else either.
    NothingNow,
    /// Never.
    Refused,
    /// Nothing more, please.
    Gone,
}

/// What `status` says about a message.
///
/// A client error is a permanent word about what was sent. Not so where the status speaks of the endpoint instead: a
/// wrong path, a key that is being replaced, a login page in between, too many requests. Those hold up every resource
/// alike until somebody repairs them, after which nobody should have to release 10,000 lanes by hand.
fn meaning(status: StatusCode, asks_for_time: bool) -> Meaning {
    match status.as_u16() {
        200..=299 => Meaning::Accepted,
        410 => Meaning::Gone,
        300..=399 | 401 | 403 | 404 | 405 | 407 | 421 | 429 => Meaning::NothingNow,
        503 if asks_for_time => Meaning::NothingNow,
        408 | 425 => Meaning::TryLater,
        400..=499 => Meaning::Refused,
        _ => Meaning::TryLater,
    }
}

impl Answer {
    /// What the status means for what was sent, in a sentence that begins with `doing`.
    pub(super) fn judge(&self, doing: &str) -> Result<(), Ending> {
        let error = |advice: &str| format!("{doing}: {}{advice}", self.describe());
        let after = self.retry_after;
        Err(match meaning(self.status, after.is_some()) {
            Meaning::Accepted => return Ok(()),
            Meaning::Gone => Ending::Disabled { error: error("") },
            Meaning::Refused => Ending::Refused { error: error("") },
            Meaning::TryLater => Ending::Retry { after, error: error("") },
            Meaning::NothingNow => Ending::Unavailable { after, error: error(self.advice()) },
        })
    }

    fn advice(&self) -> &'static str {
        match self.status.as_u16() {
            300..=399 => "; redirects are not followed, set the sink's url to where the receiver really is",
            401 | 403 => "; check that the receiver knows the key or token that the sink uses",
            404 | 405 => "; check the path in the sink's url",
            _ => "",
        }
    }

    /// The status and the beginning of the body, on one line.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("answered {}", self.status);
        let body = String::from_utf8_lossy(&self.body);
        let mut words = body.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
        let mut excerpt: String = words.next().unwrap_or_default().chars().take(EXCERPT).collect();
        for word in words {
            if excerpt.chars().count() + word.chars().count() >= EXCERPT {
                excerpt.push_str(" …");
                break;
            }
            excerpt.push(' ');
            excerpt.push_str(word);
        }
        if !excerpt.is_empty() {
            let _ = write!(text, ": {excerpt}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_about_what_was_sent_is_final_and_one_about_the_endpoint_is_not() {
        let cases = [
            (Meaning::Accepted, &[200, 201, 202, 204, 299][..]),
            (Meaning::Gone, &[410]),
            (Meaning::Refused, &[400, 402, 406, 409, 411, 412, 413, 415, 422, 451]),
            (Meaning::NothingNow, &[300, 301, 302, 304, 307, 308, 401, 403, 404, 405, 407, 421, 429]),
            (Meaning::TryLater, &[100, 408, 425, 500, 502, 503, 504, 599]),
        ];
        for (expected, statuses) in cases {
            for status in statuses {
                assert_eq!(meaning(StatusCode::from_u16(*status).unwrap(), false), expected, "{status}");
            }
        }
        assert_eq!(meaning(StatusCode::SERVICE_UNAVAILABLE, true), Meaning::NothingNow);
    }

    #[test]
    fn what_holds_up_everybody_says_what_to_do() {
        let answer = |status: u16| Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: Some(Duration::from_secs(7)),
            body: Vec::new(),
            whole: true,
        };
        for (status, advice) in [(302, "redirects are not followed"), (401, "key or token"), (404, "check the path")] {
            let Err(Ending::Unavailable { after, error }) = answer(status).judge("sending") else {
                panic!("{status} is everybody's trouble")
            };
            assert_eq!(after, Some(Duration::from_secs(7)));
            assert!(error.starts_with("sending: answered ") && error.contains(advice), "{error}");
        }
    }

    #[test]
    fn a_long_answer_is_shown_as_one_short_line() {
        let answer = Answer {
            status: StatusCode::BAD_REQUEST,
            retry_after: None,
            body: format!("no\r\n\tsuch\u{0} account {}", "very ".repeat(500)).into_bytes(),
            whole: true,
        };
        let text = answer.describe();
        assert!(text.starts_with("answered 400 Bad Request: no such account very very"), "{text}");
        assert!(text.ends_with(" …") && text.chars().count() < 360 && !text.contains('\n'), "{text}");
    }
}
