//! Which streams a destination is told of.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Kind;

/// The labels of a tenant.
pub type Labels = BTreeMap<String, String>;

/// Chooses streams by their kind and by their tenant's labels. One that names nothing chooses all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selector {
    /// Only streams of these kinds; of all if empty.
    pub kinds: BTreeSet<Kind>,
    /// Only streams whose tenant carries all of these labels.
    pub tenant_labels: Labels,
}

impl Selector {
    /// Whether it chooses every stream.
    pub fn is_all(&self) -> bool {
        self.kinds.is_empty() && self.tenant_labels.is_empty()
    }

    /// Whether it chooses streams of `kind`, whoever the tenant is.
    pub fn chooses_kind(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// Whether it chooses the streams of a tenant with `labels`, whatever their kind.
    pub fn chooses_tenant(&self, labels: &Labels) -> bool {
        self.tenant_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    /// Whether it chooses a stream of `kind` whose tenant has `labels`.
    pub fn chooses(&self, kind: Kind, labels: &Labels) -> bool {
        self.chooses_kind(kind) && self.chooses_tenant(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn kind_and_labels_must_both_fit_and_what_is_not_named_fits() {
        let gold = Selector { kinds: [Kind::Backup].into(), tenant_labels: labels(&[("tier", "gold")]) };
        let rich = labels(&[("tier", "gold"), ("region", "eu")]);
        assert!(gold.chooses(Kind::Backup, &rich));
        assert!(!gold.chooses(Kind::Tenant, &rich));
        assert!(!gold.chooses(Kind::Backup, &labels(&[("tier", "silver")])));
        assert!(!gold.chooses(Kind::Backup, &Labels::new()));
        assert!(Selector::default().is_all() && Selector::default().chooses(Kind::Tenant, &Labels::new()));
    }
}
