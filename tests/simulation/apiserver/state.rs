//! What the server keeps: the objects, and what became of them.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use serde_json::{Value, json};
use trueup::domain::Timestamp;

use super::{answer::Refusal, request::Target};

/// An object's place.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    pub group: String,
    pub plural: String,
    pub namespace: Option<String>,
    pub name: String,
}

impl Key {
    pub fn of(target: &Target) -> Self {
        let Target { group, plural, namespace, name, .. } = target.clone();
        Self { group, plural, namespace, name }
    }

    /// Whether a list or watch of `target` shows it.
    pub fn is_in(&self, target: &Target) -> bool {
        (&self.group, &self.plural) == (&target.group, &target.plural)
            && target.namespace.as_ref().is_none_or(|namespace| self.namespace.as_ref() == Some(namespace))
    }
}

/// An object, and what each manager last applied to it.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    pub object: Arc<Value>,
    pub applied: Arc<BTreeMap<String, Value>>,
}

/// What happened to an object.
#[derive(Clone, Debug)]
pub struct Change {
    pub version: u64,
    /// When that was.
    pub at: Timestamp,
    pub key: Key,
    pub before: Option<Arc<Value>>,
    /// `None` if it was removed.
    pub after: Option<Arc<Value>>,
}

#[derive(Debug, Default)]
pub struct State {
    pub objects: BTreeMap<Key, Kept>,
    changes: Vec<Change>,
    version: u64,
    made: u64,
    /// How many objects had each name.
    named: BTreeMap<Key, u64>,
    /// The time of what is written now, in microseconds.
    pub micros: i64,
    compacted: u64,
    /// With so many changes it is time to look which of them are old.
    remembered: usize,
    /// How many writes there were of each kind.
    written: BTreeMap<String, usize>,
}

impl State {
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Nothing that happened up to here can be told any more.
    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    /// What was changed since, as far as it is remembered.
    pub fn since(&self, version: u64) -> &[Change] {
        &self.changes[self.changes.partition_point(|change| change.version <= version)..]
    }

    pub fn compact(&mut self) {
        self.compacted = self.version;
        self.changes.clear();
    }

    /// Forgets what is older than `time`, now and then.
    pub fn forget_before(&mut self, time: Timestamp) {
        if self.changes.len() >= self.remembered {
            let old = self.changes.partition_point(|change| change.at < time);
            self.compacted = self.changes[..old].last().map_or(self.compacted, |change| change.version);
            self.changes.drain(..old);
            self.remembered = 2 * self.changes.len().max(256);
        }
    }

    /// How much was written of the kinds that count.
    pub fn writes(&self, counts: impl Fn(&str) -> bool) -> usize {
        self.written.iter().filter(|(plural, _)| counts(plural)).map(|(_, count)| count).sum()
    }

    /// What was written last, of what is remembered.
    pub fn last(&self, counts: impl Fn(&str) -> bool) -> Vec<String> {
        let some = self.changes.iter().rev().filter(|change| counts(&change.key.plural)).take(8);
        let words = |Change { key, before, after, .. }: &Change| {
            let what = match (before, after) {
                (None, _) => "made",
                (_, Some(_)) => "changed",
                (_, None) => "removed",
            };
            let place = key.namespace.as_ref().map_or(String::new(), |namespace| format!("{namespace}/"));
            format!("{what} {} {place}{}", key.plural, key.name)
        };
        some.map(words).collect()
    }

    /// A UID that no object had before. Its first part, which Trueup names Jobs by, is another for each object that has a name, and
    /// the same in each telling.
    pub fn new_uid(&mut self, key: &Key) -> String {
        self.made += 1;
        let before = self.named.entry(key.clone()).or_insert(0);
        *before += 1;
        let mut hasher = DefaultHasher::new();
        (key, before).hash(&mut hasher);
        format!("{:08x}-0000-4000-8000-{:012x}", hasher.finish() & 0xffff_ffff, self.made)
    }

    pub fn get(&self, target: &Target) -> Result<Arc<Value>, Refusal> {
        self.kept(target).map(|kept| kept.object.clone())
    }

    pub fn kept(&self, target: &Target) -> Result<&Kept, Refusal> {
        self.objects.get(&Key::of(target)).ok_or_else(|| Refusal::not_found(&target.what(), &target.name))
    }

    /// Every object of `target`'s kind, wherever it is.
    pub fn all(&self, target: &Target) -> impl Iterator<Item = &Arc<Value>> {
        let from = Key { namespace: None, name: String::new(), ..Key::of(target) };
        let of_kind = move |key: &Key| (&key.group, &key.plural) == (&from.group, &from.plural);
        let first = Key { namespace: None, name: String::new(), ..Key::of(target) };
        self.objects.range(first..).take_while(move |(key, _)| of_kind(key)).map(|(_, kept)| &kept.object)
    }

    pub fn list(&self, target: &Target, selector: Option<&String>) -> Value {
        let shown = self.objects.iter().filter(|(key, kept)| key.is_in(target) && selects(selector, &kept.object));
        let items: Vec<&Value> = shown.map(|(_, kept)| &*kept.object).collect();
        json!({
            "kind": "List", "apiVersion": "v1",
            "metadata": { "resourceVersion": self.version.to_string() }, "items": items,
        })
    }

    /// Puts an object where it is from now on; one that is as it was is not written.
    pub fn put(&mut self, key: Key, mut kept: Kept) -> Arc<Value> {
        let before = self.objects.get(&key).map(|kept| kept.object.clone());
        if before.as_ref() == Some(&kept.object) {
            let object = kept.object.clone();
            self.objects.insert(key, kept);
            return object;
        }
        self.version += 1;
        Arc::make_mut(&mut kept.object)["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let after = kept.object.clone();
        self.objects.insert(key.clone(), kept);
        self.note(key, before, Some(after.clone()));
        after
    }

    /// Takes an object away.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let mut last = self.objects.remove(key)?.object;
        self.version += 1;
        Arc::make_mut(&mut last)["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.note(key.clone(), Some(last.clone()), None);
        Some(last)
    }

    fn note(&mut self, key: Key, before: Option<Arc<Value>>, after: Option<Arc<Value>>) {
        match self.written.get_mut(&key.plural) {
            Some(count) => *count += 1,
            None => drop(self.written.insert(key.plural.clone(), 1)),
        }
        self.changes.push(Change {
            version: self.version,
            at: Timestamp::from_micros(self.micros),
            key,
            before,
            after,
        });
    }
}

/// Whether `object` carries the labels that a selector of the form `a=b,c` asks for.
pub fn selects(selector: Option<&String>, object: &Value) -> bool {
    let asked = selector.map_or("", String::as_str).split(',').filter(|part| !part.is_empty());
    asked.into_iter().all(|part| match part.split_once('=') {
        Some((name, value)) => object["metadata"]["labels"][name] == value,
        None => object["metadata"]["labels"].get(part).is_some(),
    })
}
