//! What an object's children should be, against what they are.

use std::collections::BTreeMap;

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

/// Who children belong to: the label that carries the owner's name, and the owner's UID.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The label whose value is the owner's name.
    pub label: &'static str,
    /// The owner's name.
    pub name: &'a str,
    /// The owner's UID.
    pub uid: &'a Uid,
}

impl Owner<'_> {
    /// Whether `child` was made for an object of this owner's kind and name.
    pub fn made(self, child: &Child) -> bool {
        child.is_managed() && child.label(self.label) == Some(self.name)
    }
}

/// Compares. Names decide, not UIDs: an owner made anew takes over what carries its name.
pub fn compare(owner: Owner<'_>, desired: Vec<Desired>, seen: &[Child]) -> Difference {
    let by_key: BTreeMap<_, _> = seen.iter().map(|child| (&child.key, child)).collect();
    let mut difference = Difference {
        surplus: seen
            .iter()
            .filter(|child| owner.made(child) && !child.is_terminating())
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
