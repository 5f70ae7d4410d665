//! What is answered, on the wire.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use serde_json::{Value, json};

/// A body that may go on for long.
pub type Stream = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// A status and an object, or why not.
pub type Answered = Result<(u16, Arc<Value>), Refusal>;

/// Why a request was not carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
}

impl Refusal {
    pub fn not_found(what: &str, name: &str) -> Self {
        Self { code: 404, reason: "NotFound", message: format!("{what} \"{name}\" not found") }
    }

    pub fn exists(what: &str, name: &str) -> Self {
        Self { code: 409, reason: "AlreadyExists", message: format!("{what} \"{name}\" already exists") }
    }

    pub fn conflict(what: &str, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {what} \"{name}\": {why}");
        Self { code: 409, reason: "Conflict", message }
    }

    pub fn forbidden(message: String) -> Self {
        Self { code: 403, reason: "Forbidden", message }
    }

    pub fn invalid(message: String) -> Self {
        Self { code: 422, reason: "Invalid", message }
    }

    pub fn bad(message: String) -> Self {
        Self { code: 400, reason: "BadRequest", message }
    }

    pub fn expired(message: String) -> Self {
        Self { code: 410, reason: "Expired", message }
    }

    /// As the API server writes it.
    pub fn status(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        })
    }
}

pub fn reply(code: u16, body: &Value) -> Response<Stream> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())).boxed_unsync());
    *response.status_mut() = http::StatusCode::from_u16(code).expect("it is a status");
    response
}

pub fn refuse(refusal: &Refusal) -> Response<Stream> {
    reply(refusal.code, &refusal.status())
}
