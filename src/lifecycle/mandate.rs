//! How far Trueup may go for an object, and who said so. Pure.

use std::collections::BTreeMap;

use crate::api::annotation;

/// How far Trueup may go. What is stricter comes later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Mandate {
    /// It makes what was asked so.
    #[default]
    Act,
    /// It records and shows what is, and changes nothing: paused.
    Record,
    /// It ends the stream and lets everything be: detached.
    Leave,
}

impl Mandate {
    /// What stands in the annotation; `None` if it is not to be there.
    pub const fn value(self) -> Option<&'static str> {
        match self {
            Self::Act => None,
            Self::Record => Some("disabled"),
            Self::Leave => Some("detached"),
        }
    }

    /// What an annotation of this value says. One that nobody knows says nothing.
    fn of(value: Option<&str>) -> Self {
        let known = [Self::Record, Self::Leave].into_iter();
        known.filter(|mandate| mandate.value() == value).max().unwrap_or_default()
    }
}

/// What was said, and by whom.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Said {
    /// What.
    pub mandate: Mandate,
    /// Who, and why, in their own words.
    pub by: Option<String>,
}

impl Said {
    /// What these annotations say.
    pub fn by_annotations(annotations: &BTreeMap<String, String>) -> Self {
        let of = |name: &str| annotations.get(name).cloned();
        let mandate = Mandate::of(of(annotation::RECONCILE).as_deref());
        Self { mandate, by: of(annotation::RECONCILE_BY).filter(|_| mandate != Mandate::Act) }
    }

    /// The stricter of the two: what holds for an object is what is said of it, of its Tenant or of everything. Where both
    /// say the same, it is this one's word.
    #[must_use]
    pub fn or_stricter(self, other: Self) -> Self {
        if other.mandate > self.mandate { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: &str, by: &str) -> Said {
        let annotations = [(annotation::RECONCILE, value), (annotation::RECONCILE_BY, by)];
        Said::by_annotations(&annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    #[test]
    fn only_the_two_known_words_take_anything_away() {
        assert_eq!(said("disabled", "ann").mandate, Mandate::Record);
        assert_eq!(said("detached", "ann").mandate, Mandate::Leave);
        for other in ["", "enabled", "Disabled", "true"] {
            assert_eq!(said(other, "ann"), Said::default(), "{other:?}");
        }
        assert_eq!(Said::by_annotations(&BTreeMap::new()), Said::default());
    }

    #[test]
    fn the_strictest_word_holds_and_who_said_it_is_remembered() {
        let (nothing, paused, detached) = (Said::default(), said("disabled", "ann"), said("detached", "bob"));
        assert_eq!(nothing.clone().or_stricter(paused.clone()), paused);
        assert_eq!(paused.clone().or_stricter(nothing), paused);
        assert_eq!(paused.clone().or_stricter(detached.clone()), detached);
        assert_eq!(detached.clone().or_stricter(paused.clone()), detached);
        assert_eq!(paused.clone().or_stricter(said("disabled", "eve")), paused, "the nearer word");
    }
}
