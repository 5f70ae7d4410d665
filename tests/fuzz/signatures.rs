//! Who did not hold the key cannot have signed.

use proptest::{collection::vec, prelude::*};
use secrecy::SecretString;
use trueup::{
    domain::Timestamp,
    receiver::envelope::{self, Received},
    sinks::{signature::SigningKeys, webhook::MEDIA_TYPE},
};

use crate::{
    budget::{Checked, fuzz},
    inputs::{damaged, text},
};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SENT: i64 = 1_767_225_600;

fn keys() -> SigningKeys {
    SigningKeys::parse(&SecretString::from(KEY)).unwrap()
}

#[test]
fn keys_of_any_text_are_read_or_refused_without_being_shown() {
    let keys = prop_oneof![text(), "whsec_[A-Za-z0-9+/=]{0,80}", "(whsec_[A-Za-z0-9+/]{32,44} ?){1,3}"];
    fuzz("signing-keys", keys, |text| -> Checked {
        match SigningKeys::parse(&SecretString::from(text.clone())) {
            Ok(keys) => {
                let signed = keys.sign("id", SENT, b"body");
                let now = Timestamp::from_micros(SENT * 1_000_000);
                prop_assert!(keys.verify("id", &SENT.to_string(), &signed, b"body", now).is_ok(), "its own words");
            }
            Err(why) => {
                let secrets = text.split_whitespace().filter_map(|key| key.strip_prefix("whsec_"));
                let shown = secrets.filter(|secret| secret.len() > 8).any(|secret| why.to_string().contains(secret));
                prop_assert!(!shown, "shown: {}", why);
            }
        }
        Ok(())
    });
}

#[test]
fn a_message_that_was_changed_on_its_way_is_not_believed() {
    let keys = keys();
    let now = Timestamp::from_micros(SENT * 1_000_000);
    let signed = |id: &str, seconds: i64, body: &[u8]| keys.sign(id, seconds, body).into_bytes();
    let genuine = ("evt-1".to_owned(), SENT, b"{\"some\":\"body\"}".to_vec());
    let signature = signed(&genuine.0, genuine.1, &genuine.2);
    let change = prop_oneof![
        damaged(genuine.2.clone()).prop_map(|body| (None, None, None, Some(body))),
        damaged(signature.clone()).prop_map(|signature| (None, None, Some(signature), None)),
        text().prop_map(|id| (Some(id), None, None, None)),
        (-290..290_i64).prop_map(|apart| (None, Some(SENT + apart), None, None)),
        (text(), any::<i64>(), vec(any::<u8>(), 0..200), vec(any::<u8>(), 0..200))
            .prop_map(|(id, seconds, signature, body)| (Some(id), Some(seconds), Some(signature), Some(body))),
    ];
    fuzz("signed-messages", change, |(id, seconds, said, body)| -> Checked {
        let id = id.unwrap_or_else(|| genuine.0.clone());
        let seconds = seconds.unwrap_or(genuine.1);
        let body = body.unwrap_or_else(|| genuine.2.clone());
        let said = String::from_utf8_lossy(&said.unwrap_or_else(|| signature.clone())).into_owned();
        let same = (id.as_str(), seconds, body.as_slice()) == (genuine.0.as_str(), genuine.1, genuine.2.as_slice());
        let believed = keys.verify(&id, &seconds.to_string(), &said, &body, now).is_ok();
        prop_assert!(!believed || same, "believed: {:?} {} {:?} {:?}", id, seconds, said, body);
        Ok(())
    });
}

#[test]
fn a_message_of_any_shape_is_opened_or_refused_with_a_word() {
    let keys = keys();
    let inputs = (text(), text(), text(), text(), vec(any::<u8>(), 0..300), any::<bool>());
    fuzz("messages", inputs, |(content_type, id, timestamp, signatures, body, signed)| -> Checked {
        let now = Timestamp::from_micros(SENT * 1_000_000);
        let received = if signed {
            let signatures = keys.sign(&id, SENT, &body);
            let received = (MEDIA_TYPE.to_owned(), SENT.to_string(), signatures);
            envelope::open(
                &Received {
                    content_type: &received.0,
                    id: &id,
                    timestamp: &received.1,
                    signatures: &received.2,
                    body: &body,
                },
                &keys,
                now,
            )
        } else {
            envelope::open(
                &Received {
                    content_type: &content_type,
                    id: &id,
                    timestamp: &timestamp,
                    signatures: &signatures,
                    body: &body,
                },
                &keys,
                now,
            )
        };
        match received {
            Ok(contents) => prop_assert!(signed && contents.events.is_empty(), "taken from {:?}", body),
            Err(why) => prop_assert!(!why.code().is_empty() && !why.to_string().is_empty()),
        }
        Ok(())
    });
}
