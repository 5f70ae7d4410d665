//! What a decision about drafts stands on.

use std::{collections::HashMap, sync::Arc};

use super::types::{Head, Installation, ShardRow};
use crate::domain::{DestinationId, Selector, Uid};

/// What was read under the shard's lock.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The shard's row.
    pub shard: ShardRow,
    /// Whose ledger this is.
    pub installation: Installation,
    /// The heads of the streams that the drafts name, as far as they exist.
    pub heads: HashMap<Uid, Arc<Head>>,
    /// Which streams those destinations hear of that do not hear of all.
    pub selectors: Vec<(DestinationId, Selector)>,
}

impl Standing {
    /// Whether all that a decision stands on but the heads is as in `other`.
    pub(super) fn is_but_for_heads(&self, other: &Self) -> bool {
        let Self { shard, installation, selectors, heads: _ } = self;
        (shard, installation, selectors) == (&other.shard, &other.installation, &other.selectors)
    }
}
