//! What a resource costs from a moment on.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Absolute quantities, never differences, valid until the stream's next row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Billable {
    /// Thousandths of a core, all replicas together.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    #[schemars(with = "String", regex(pattern = "^(0|[1-9][0-9]{0,18})$"))]
    pub cpu_millicores: u64,
    /// Bytes of memory, all replicas together.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    #[schemars(with = "String", regex(pattern = "^(0|[1-9][0-9]{0,18})$"))]
    pub memory_bytes: u64,
    /// Pods that are both wanted and available.
    pub replicas: u32,
    /// Bytes of storage.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    #[schemars(with = "String", regex(pattern = "^(0|[1-9][0-9]{0,18})$"))]
    pub storage_bytes: u64,
}

impl Billable {
    /// Costs nothing.
    pub const ZERO: Self = Self { replicas: 0, cpu_millicores: 0, memory_bytes: 0, storage_bytes: 0 };
}

// Decimal strings, because a receiver that reads JSON numbers as doubles would round above 2^53.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn as_text<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}
