//! Sinks as they are built from a configuration, for tests.

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::Value;

use super::{ConfigFault, Sink, SinkConfig, build};
use crate::domain::SystemClock;

/// Secrets by what the sink calls them.
pub(super) type Secrets<'a> = &'a [(&'a str, &'a str)];

/// Builds a sink.
pub(super) fn configured(name: &str, settings: Value, secrets: Secrets<'_>) -> Result<Arc<dyn Sink>, ConfigFault> {
    let secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))).collect();
    let config = SinkConfig { sink_type: name.to_owned(), settings, secrets };
    build(&config, Arc::new(SystemClock::default()))
}

/// That each configuration is refused with the words beside it, and without the secret `hush`.
pub(super) fn assert_refused(name: &str, cases: &[(Value, Secrets<'_>, &str)]) {
    for (settings, secrets, expected) in cases {
        let fault = configured(name, settings.clone(), secrets).unwrap_err().to_string();
        assert!(fault.contains(expected) && !fault.contains("hush"), "{fault}");
    }
}
