//! Signatures of the Standard Webhooks specification, made by the sink and checked by the receiver.
//!
//! Specification: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use std::{fmt, ops::RangeInclusive, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString, zeroize::Zeroizing};
use sha2::Sha256;

use crate::domain::Timestamp;

/// Header with the event's id.
pub const ID: &str = "webhook-id";
/// Header with the moment of this attempt, in whole seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// Header with one signature for each key.
pub const SIGNATURE: &str = "webhook-signature";

/// How far the clocks of sender and receiver may be apart.
pub const TOLERANCE: Duration = Duration::from_mins(5);

const KEY_PREFIX: &str = "whsec_";
const KEY_LENGTH: RangeInclusive<usize> = 24..=64;
const VERSION: &str = "v1";

/// Keys that cannot be used. Says what is wrong, never what the key is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyFault {
    /// There is none.
    #[error("there is no signing key; give one or more, each `whsec_` and 24 to 64 random bytes in base64")]
    Missing,
    /// It does not begin as keys do.
    #[error("signing key {place} does not begin with `whsec_`; make one with `echo whsec_$(openssl rand -base64 32)`")]
    Prefix {
        /// Which one, from 1.
        place: usize,
    },
    /// What follows is not base64.
    #[error("signing key {place} is not base64 behind its `whsec_`")]
    Encoding {
        /// Which one, from 1.
        place: usize,
    },
    /// It has too few or too many bytes.
    #[error("signing key {place} has {bytes} bytes; 24 to 64 are allowed")]
    Length {
        /// Which one, from 1.
        place: usize,
        /// How many it has.
        bytes: usize,
    },
}

/// Why a message is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignatureFault {
    /// The timestamp is not a whole number of seconds.
    #[error("{TIMESTAMP} is not a number of seconds since 1970")]
    Timestamp,
    /// It was signed too long ago, or in the future: a replay, or a clock that is wrong.
    #[error("{TIMESTAMP} is {apart_seconds} s away from this machine's clock; at most {} s are allowed", TOLERANCE.as_secs())]
    Clock {
        /// How far the two are apart.
        apart_seconds: u64,
    },
    /// None of the signatures fits one of the keys.
    #[error("no signature in {SIGNATURE} was made with a key that is known here")]
    Unknown,
}

/// Keys to sign with, the newest first.
///
/// Several are in use while a key is being replaced: everything is signed with each, and a receiver that knows
/// any of them is content.
pub struct SigningKeys(Vec<SecretSlice<u8>>);

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({} keys)", self.0.len())
    }
}

impl SigningKeys {
    /// Reads keys that stand apart by white space, each `whsec_<base64>`.
    pub fn parse(text: &SecretString) -> Result<Self, KeyFault> {
        let keys = text
            .expose_secret()
            .split_whitespace()
            .zip(1..)
            .map(|(key, place)| {
                let encoded = key.strip_prefix(KEY_PREFIX).ok_or(KeyFault::Prefix { place })?;
                let bytes = STANDARD.decode(encoded).map_err(|_| KeyFault::Encoding { place })?;
                if !KEY_LENGTH.contains(&bytes.len()) {
                    return Err(KeyFault::Length { place, bytes: bytes.len() });
                }
                Ok(SecretSlice::from(bytes))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(KeyFault::Missing) } else { Ok(Self(keys)) }
    }

    /// The value of [`SIGNATURE`] for a message sent at `timestamp` (seconds since 1970).
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut value = String::with_capacity(self.0.len() * 48);
        for key in &self.0 {
            if !value.is_empty() {
                value.push(' ');
            }
            value.push_str(VERSION);
            value.push(',');
            STANDARD.encode_string(mac(key, id, timestamp, body).finalize().into_bytes(), &mut value);
        }
        value
    }

    /// Whether the sender of a message holds one of these keys, and sent it within [`TOLERANCE`] of `now`.
    pub fn verify(
        &self,
        id: &str,
        timestamp: &str,
        signatures: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), SignatureFault> {
        let seconds: i64 = timestamp.parse().map_err(|_| SignatureFault::Timestamp)?;
        let apart_seconds = (now.as_micros() / 1_000_000).abs_diff(seconds);
        if apart_seconds > TOLERANCE.as_secs() {
            return Err(SignatureFault::Clock { apart_seconds });
        }
        let known = signatures
            .split(' ')
            .filter_map(|signature| signature.strip_prefix(VERSION)?.strip_prefix(','))
            .filter_map(|encoded| STANDARD.decode(encoded).ok())
            // `verify_slice` takes the same time wherever the two differ.
            .any(|said| self.0.iter().any(|key| mac(key, id, seconds, body).verify_slice(&said).is_ok()));
        if known { Ok(()) } else { Err(SignatureFault::Unknown) }
    }
}

fn mac(key: &SecretSlice<u8>, id: &str, timestamp: i64, body: &[u8]) -> Hmac<Sha256> {
    // HMAC fills a key up with zeros to a block of 64 bytes, and none is longer. Done here, it cannot fail.
    let mut block = Zeroizing::new([0; *KEY_LENGTH.end()]);
    let key = key.expose_secret();
    block[..key.len()].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    mac.update(id.as_bytes());
    mac.update(b".");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example that the specification's reference libraries are tested with.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const MESSAGE: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SECONDS: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const EXPECTED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    const OTHER_KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn keys(text: &str) -> SigningKeys {
        SigningKeys::parse(&SecretString::from(text)).unwrap()
    }

    fn verify(keys: &SigningKeys, signatures: &str, body: &[u8], at: i64) -> Result<(), SignatureFault> {
        keys.verify(MESSAGE, &SECONDS.to_string(), signatures, body, Timestamp::from_micros(at * 1_000_000))
    }

    #[test]
    fn the_published_example_comes_out_and_verifies() {
        assert_eq!(keys(KEY).sign(MESSAGE, SECONDS, BODY), EXPECTED);
        assert_eq!(verify(&keys(KEY), EXPECTED, BODY, SECONDS), Ok(()));
    }

    #[test]
    fn while_keys_rotate_either_side_may_be_ahead() {
        let both = format!("{OTHER_KEY}\n{KEY}\n");
        let signed = keys(&both).sign(MESSAGE, SECONDS, BODY);
        assert!(signed.ends_with(EXPECTED) && signed.split(' ').count() == 2, "{signed}");
        for receiver in [KEY, OTHER_KEY, &both] {
            assert_eq!(verify(&keys(receiver), &signed, BODY, SECONDS), Ok(()));
        }
        assert_eq!(verify(&keys(&both), EXPECTED, BODY, SECONDS), Ok(()));
    }

    #[test]
    fn what_was_changed_or_made_up_is_not_believed() {
        let unknown = Err(SignatureFault::Unknown);
        assert_eq!(verify(&keys(KEY), EXPECTED, b"{}", SECONDS), unknown);
        assert_eq!(verify(&keys(OTHER_KEY), EXPECTED, BODY, SECONDS), unknown);
        for signatures in ["", "v1,", "v1,%%%", "v1,AAAA", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="] {
            assert_eq!(verify(&keys(KEY), signatures, BODY, SECONDS), unknown, "{signatures}");
        }
        let other_version = EXPECTED.replace("v1,", "v2,");
        assert_eq!(verify(&keys(KEY), &other_version, BODY, SECONDS), unknown);
    }

    #[test]
    fn an_old_message_is_a_replay_and_one_from_the_future_a_wrong_clock() {
        for (apart, expected) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
            assert_eq!(verify(&keys(KEY), EXPECTED, BODY, SECONDS + apart).is_ok(), expected, "{apart} s");
        }
        let now = Timestamp::from_micros(SECONDS * 1_000_000);
        assert_eq!(keys(KEY).verify(MESSAGE, "soon", EXPECTED, BODY, now), Err(SignatureFault::Timestamp));
        let far = keys(KEY).verify(MESSAGE, &i64::MIN.to_string(), EXPECTED, BODY, now);
        assert!(matches!(far, Err(SignatureFault::Clock { .. })), "{far:?}");
    }

    #[test]
    fn a_key_that_cannot_be_used_is_named_by_its_place_and_never_shown() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        let cases = [
            ("  \n".to_owned(), KeyFault::Missing),
            (format!("{KEY} c2VjcmV0"), KeyFault::Prefix { place: 2 }),
            ("whsec_se-cret".to_owned(), KeyFault::Encoding { place: 1 }),
            (short, KeyFault::Length { place: 1, bytes: 23 }),
            (long, KeyFault::Length { place: 1, bytes: 65 }),
        ];
        for (text, expected) in cases {
            let fault = SigningKeys::parse(&SecretString::from(text.clone())).unwrap_err();
            assert_eq!(fault, expected);
            for part in text.split_whitespace() {
                assert!(!fault.to_string().contains(part.trim_start_matches(KEY_PREFIX)), "{fault}");
            }
        }
        assert_eq!(format!("{:?}", keys(KEY)), "SigningKeys(1 keys)");
    }
}
