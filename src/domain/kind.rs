//! The kinds of resources that have a stream in the ledger.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A kind whose every transition is recorded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// A customer: namespaces, quotas and rights.
    Tenant,
    /// A customer's running application.
    AppDeployment,
    /// A recovery artifact made of a customer's data.
    Backup,
}

/// A word that names no kind.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a kind with a history; use one of: tenant, appdeployment, backup")]
pub struct UnknownKind(String);

impl Kind {
    /// All of them, in the order in which people think of them.
    pub const ALL: [Self; 3] = [Self::Tenant, Self::AppDeployment, Self::Backup];

    /// As in a manifest: `AppDeployment`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "Tenant",
            Self::AppDeployment => "AppDeployment",
            Self::Backup => "Backup",
        }
    }

    /// As in an event's type and source: `appdeployment`.
    pub const fn lower(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::AppDeployment => "appdeployment",
            Self::Backup => "backup",
        }
    }

    /// As kubectl abbreviates it: `tua`.
    pub const fn short(self) -> &'static str {
        match self {
            Self::Tenant => "tut",
            Self::AppDeployment => "tua",
            Self::Backup => "tub",
        }
    }
}

impl JsonSchema for Kind {
    fn schema_name() -> Cow<'static, str> {
        "Kind".into()
    }

    fn inline_schema() -> bool {
        true
    }

    // Open: a version that knows more kinds tells of them under the same schema.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Z][A-Za-z]*$", "examples": Self::ALL.map(Self::as_str) })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Takes what kubectl takes: any case, singular or plural, or the short name; and `app`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = text.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|kind| {
                wanted == kind.lower()
                    || (wanted == "app" && *kind == Self::AppDeployment)
                    || wanted == kind.short()
                    || wanted.strip_suffix('s') == Some(kind.lower())
            })
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}
