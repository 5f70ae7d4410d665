//! What an object's children should be, against what they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Child, Desired, ObjectKey, contained};
use crate::{
    api::{MANAGER, annotation, label},
    domain::Uid,
};

/// The difference between the children that should be and those that are.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Difference {
    /// Missing, or not as they should be.
    pub apply: Vec<Desired>,
    /// In the way: they have the right name, and Trueup did not make them.
    pub foreign: Vec<ObjectKey>,
    /// On their way out, though they should be there.
    pub terminating: Vec<ObjectKey>,
    /// Made for this owner and no longer wanted.
    pub surplus: Vec<ObjectKey>,
    /// The UID that they were marked with, when it is another: this owner was made anew under the old name.
    pub adopted_from: Option<Uid>,
}

/// Nobody tells Trueup when what does not carry its label goes away, so it looks this often at what is in its way.
const LOOK_AT_UNWATCHED: Duration = Duration::from_secs(5);

impl Difference {
    /// When to look again: after `otherwise`, or earlier if something is in the way.
    pub fn look_again(&self, otherwise: Option<Duration>) -> Option<Duration> {
        let foreign = (!self.foreign.is_empty()).then_some(LOOK_AT_UNWATCHED);
        otherwise.into_iter().chain(foreign).min()
    }
}

/// Who children belong to: the label that carries the owner's name, and the owner's UID.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The label whose value is the owner's name.
    pub label: &'static str,
    /// The owner's name.
    pub name: &'a str,
    /// The owner's UID.
    pub uid: &'a Uid,
    /// UIDs of other owners of this kind that are still there: what carries the mark of one of them is not up for taking.
    pub others: &'a BTreeSet<Uid>,
}

impl Owner<'_> {
    /// Whether `child` is this owner's to keep as it should be: it carries the owner's mark, or the owner's name and nobody
    /// else's mark. Either may have been taken off or changed by somebody, and is then put right.
    pub fn made(self, child: &Child) -> bool {
        child.is_managed()
            && match child.owner_uid() {
                Some(marked) if marked == *self.uid => true,
                Some(marked) if self.others.contains(&marked) => false,
                _ => child.label(self.label) == Some(self.name),
            }
    }

    /// Whether `child` is this owner's to delete: a label alone, which anybody may have changed, is not enough.
    pub fn may_delete(self, child: &Child) -> bool {
        self.made(child) && child.owner_uid().is_some()
    }

    /// When to look again for the end of `children`: after `otherwise`, or earlier if one of them has lost the label by which
    /// watches tell of it.
    pub fn look_again(self, children: &[&Child], otherwise: Option<Duration>) -> Option<Duration> {
        let unwatched = children.iter().any(|child| child.label(self.label) != Some(self.name));
        otherwise.into_iter().chain(unwatched.then_some(LOOK_AT_UNWATCHED)).min()
    }
}

/// Compares. Names decide, not UIDs: an owner made anew takes over what carries its name.
pub fn compare(owner: Owner<'_>, desired: Vec<Desired>, seen: &[Child]) -> Difference {
    let by_key: BTreeMap<_, _> = seen.iter().map(|child| (&child.key, child)).collect();
    let mut difference = Difference {
        surplus: seen
            .iter()
            .filter(|child| owner.may_delete(child) && !child.is_terminating())
            .filter(|child| desired.iter().all(|wanted| wanted.key != child.key))
            .map(|child| child.key.clone())
            .collect(),
        adopted_from: seen
            .iter()
            .filter(|child| owner.made(child))
            .filter_map(Child::owner_uid)
            .find(|marked| marked != owner.uid),
        ..Difference::default()
    };
    for wanted in desired {
        match by_key.get(&wanted.key) {
            Some(child) if !owner.made(child) => difference.foreign.push(wanted.key),
            Some(child) if child.is_terminating() => difference.terminating.push(wanted.key),
            Some(child) if contained(&wanted.body, &child.body) || child.is_answer_to(&wanted) => {}
            None | Some(_) => difference.apply.push(wanted),
        }
    }
    difference
}

/// Makes a manifest that carries its owner's marks and a digest of itself.
///
/// The digest tells a field that was taken out of the manifest from one that somebody else has set.
pub fn manifest(owner: Owner<'_>, key: ObjectKey, labels: &[(&str, &str)], content: Value) -> Desired {
    let mut body = content;
    let mut all_labels = json!({ label::MANAGED_BY: MANAGER, owner.label: owner.name });
    for (name, value) in labels {
        all_labels[*name] = json!(value);
    }
    body["apiVersion"] = json!(key.kind.api_version());
    body["kind"] = json!(key.kind.as_str());
    body["metadata"]["name"] = json!(key.name);
    if let Some(namespace) = &key.namespace {
        body["metadata"]["namespace"] = json!(namespace);
    }
    body["metadata"]["labels"] = all_labels;
    body["metadata"]["annotations"][annotation::OWNER_UID] = json!(owner.uid.as_str());
    let digest = hex::encode(Sha256::digest(body.to_string().as_bytes()));
    body["metadata"]["annotations"][annotation::APPLIED] = json!(&digest[..16]);
    Desired { key, body }
}
