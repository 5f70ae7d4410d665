//! Kubernetes quantities, in the form that a person writes: `250m`, `512Mi`, `2`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// An amount of something, as Kubernetes writes it. The schema refuses what is not one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

/// A text that is not a quantity.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a quantity; write a number with an optional suffix, such as 250m, 512Mi or 2")]
pub struct ParseQuantityError(String);

// What the API server's CEL can add up cheaply: bounded length, no exponent, no sign.
const PATTERN: &str = r"^([0-9]{1,12})(\.[0-9]{1,3})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$";

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "maxLength": 20 })
    }
}

impl Quantity {
    /// The amount in thousandths, rounded up as Kubernetes does.
    pub fn millis(&self) -> Result<u64, ParseQuantityError> {
        let fault = || ParseQuantityError(self.0.clone());
        let split = self.0.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.0.len());
        let (number, suffix) = self.0.split_at(split);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || fraction.len() > 9 {
            return Err(fault());
        }
        let (factor, divisor): (u128, u128) = match suffix {
            "m" => (1, 1000),
            "" => (1, 1),
            "k" => (1_000, 1),
            "M" => (1_000_000, 1),
            "G" => (1_000_000_000, 1),
            "T" => (1_000_000_000_000, 1),
            "P" => (1_000_000_000_000_000, 1),
            "Ki" => (1 << 10, 1),
            "Mi" => (1 << 20, 1),
            "Gi" => (1 << 30, 1),
            "Ti" => (1 << 40, 1),
            "Pi" => (1 << 50, 1),
            _ => return Err(fault()),
        };
        let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| fault())?;
        let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| fault())?);
        let millis = (digits * factor * 1000).div_ceil(divisor * scale);
        u64::try_from(millis).map_err(|_| fault())
    }

    /// The amount in whole units (bytes, say), rounded up.
    pub fn units(&self) -> Result<u64, ParseQuantityError> {
        Ok(self.millis()?.div_ceil(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_mean_what_kubernetes_says() {
        for (text, millis) in [
            ("250m", 250),
            ("1", 1000),
            ("0.5", 500),
            ("1.5k", 1_500_000),
            ("128Mi", 134_217_728_000),
            ("0", 0),
            ("0.1m", 1),
        ] {
            assert_eq!(Quantity(text.into()).millis().unwrap(), millis, "{text}");
        }
        for text in ["", "m", "1e3", "-1", "1Zi", "1.2.3"] {
            assert!(Quantity(text.into()).millis().is_err(), "{text}");
        }
    }
}
