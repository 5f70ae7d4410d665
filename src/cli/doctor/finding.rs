//! What the doctor says: one line for each thing that was looked at.

use serde::Serialize;

/// How it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    Ok,
    /// It works, and may not for long, or could not be looked at from here.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// Whether it fails for being out of reach.
    #[serde(skip)]
    pub unreachable: bool,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, health: Health::Ok, found: found.into(), advice: None, unreachable: false }
    }

    /// Not as it should be, or not to be seen from here.
    pub fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { health: Health::Warn, advice: Some(advice.into()), ..Self::ok(check, found) }
    }

    /// Broken.
    pub fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { health: Health::Fail, ..Self::warn(check, found, advice) }
    }
}

/// The exit code for all of it: 3 if something that must be reached cannot be, 1 if anything else is broken.
pub fn exit_code(findings: &[Finding]) -> u8 {
    let failed = || findings.iter().filter(|finding| finding.health == Health::Fail);
    if failed().any(|finding| finding.unreachable) { 3 } else { u8::from(failed().next().is_some()) }
}
