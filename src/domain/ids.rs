//! Identities and counters, each a type of its own so that they cannot be confused.

use std::{fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        #[schemars(inline)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a text that is known to be one of these. Clones share it.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(text.as_ref().into())
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// At most `i64::MAX`, because both databases count in signed 64-bit integers.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        #[schemars(inline)]
        pub struct $name(i64);

        impl $name {
            /// Wraps a number that is known to be one of these.
            pub const fn new(number: i64) -> Self {
                Self(number)
            }

            /// The number itself.
            pub const fn get(self) -> i64 {
                self.0
            }

            /// The one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

text_id! {
    /// The UID that the API server gave an object: the identity of a stream.
    ///
    /// An object deleted and created again under the same name has another UID, and so another stream.
    Uid
}
text_id! {
    /// The name of a Tenant, which is unique in the cluster.
    TenantName
}
text_id! {
    /// Where events go. Lanes belong to it, so it outlives the BillingSink that names it.
    DestinationId
}
text_id! {
    /// The identity of one event for whoever receives it: `<uid>-<era>-<sequence>`.
    EventId
}
text_id! {
    /// Proof of holding a lane's lease. Random, never used twice.
    Token
}
text_id! {
    /// The random name of one installation: one cluster and its one ledger.
    InstallationId
}

counter! {
    /// A place in one resource's stream: 1, 2, 3, ...
    Sequence
}
counter! {
    /// A place in a shard's commit order: 1, 2, 3, ...
    Position
}
counter! {
    /// A term of leadership over a shard. A writer of an older epoch is refused.
    Epoch
}
counter! {
    /// A life of the ledger. It rises only when rows were lost for good and an operator said to go on.
    Era
}
counter! {
    /// A part of the ledger with its own leader and its own order.
    Shard
}

impl Sequence {
    /// The place of a stream's first row.
    pub const FIRST: Self = Self(1);

    /// Twenty digits with leading zeros, which sorts as text the way it sorts as a number.
    pub fn padded(self) -> String {
        format!("{:020}", self.0)
    }
}

impl EventId {
    /// The id of the event at `sequence` of the stream `uid` in `era`.
    pub fn of(uid: &Uid, era: Era, sequence: Sequence) -> Self {
        Self::new(format!("{uid}-{era}-{sequence}"))
    }
}
