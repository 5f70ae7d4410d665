//! What a person asks for, what stands against it, and how it is seen that it was done. Pure.

use crate::{
    cluster::Listed,
    domain::Kind,
    lifecycle::{
        detach::DETACHED,
        mandate::{Mandate, Said},
    },
};

/// What comes of detaching, for people who are about to.
pub const CONSEQUENCE: &str = "its streams end as Detached, nothing more is charged for them, Trueup's finalizer goes, and everything that runs \
     runs on, unwatched";

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    Pause,
    Resume,
    Detach,
    Attach,
}

impl Wish {
    /// What is to be said of it.
    pub const fn mandate(self) -> Mandate {
        match self {
            Self::Pause => Mandate::Record,
            Self::Detach => Mandate::Leave,
            Self::Resume | Self::Attach => Mandate::Act,
        }
    }

    /// Whether that may be said now: `known` is what is said, and `above` what is said of everything, where that is more.
    pub fn allowed(self, known: &Said, above: Option<&Said>, name: &str) -> Result<(), String> {
        let by = |said: &Said| said.by.as_ref().map_or_else(String::new, |by| format!(", by {by}"));
        if let Some(above) = above.filter(|above| above.mandate > self.mandate()) {
            let (word, undo) = match above.mandate {
                Mandate::Leave => ("detached", "attach"),
                _ => ("paused", "resume"),
            };
            return Err(format!(
                "the whole installation is {word}{}, and {name} with it; `trueup {undo} --all` ends that",
                by(above)
            ));
        }
        match (self, known.mandate) {
            (Self::Pause | Self::Resume, Mandate::Leave) => {
                Err(format!("{name} is detached{}; `trueup attach` takes it in again", by(known)))
            }
            (Self::Attach, Mandate::Record) => {
                Err(format!("{name} is paused, not detached{}; `trueup resume` ends that", by(known)))
            }
            _ => Ok(()),
        }
    }

    /// Whether it is for this command to wait for `listed`.
    pub fn concerns(self, listed: &Listed, everything: bool) -> bool {
        let (kind, own) = (listed.shown.kind, listed.mandate);
        match self {
            Self::Pause | Self::Detach => true,
            // What is said of themselves holds on, and what is said of a Tenant for all that is its.
            Self::Resume => own == Mandate::Act && (!everything || kind == Kind::Tenant),
            Self::Attach => own == Mandate::Act && kind != Kind::Backup && (!everything || kind == Kind::Tenant),
        }
    }

    /// Whether it was done to `listed`.
    pub fn is_done(self, listed: &Listed) -> bool {
        let shown = &listed.shown;
        let detached = shown.state.as_ref() == Some(&DETACHED);
        let never_taken_in = shown.ledger.is_none();
        match self {
            Self::Pause => listed.paused || detached,
            Self::Resume => !listed.paused,
            Self::Detach => !shown.has_finalizer && (detached || never_taken_in),
            Self::Attach => !detached && shown.has_finalizer,
        }
    }

    /// What it is then.
    pub const fn done(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Detach => "detached",
            Self::Attach => "attached",
        }
    }

    /// What to do next.
    pub fn next(self, everything: bool) -> Option<&'static str> {
        match (self, everything) {
            (Self::Pause, true) => {
                Some("What happens is recorded and told on. `trueup resume --all` lets the controller act again.")
            }
            (Self::Pause, false) => Some("What happens to it is recorded and told on. `trueup resume` ends that."),
            (Self::Detach, true) => Some(
                "No BillingSink is owed anything, and Trueup may be removed now (`helm uninstall`). `trueup attach --all` takes \
                 everything in again.",
            ),
            (Self::Detach, false) => Some("It may be deleted like any object. `trueup attach` takes it in again."),
            (Self::Resume | Self::Attach, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(mandate: Mandate) -> Said {
        Said { mandate, by: Some("ann@desk: leaving".into()) }
    }

    #[test]
    fn what_was_detached_is_neither_paused_nor_resumed_but_attached() {
        let (act, record, leave) = (said(Mandate::Act), said(Mandate::Record), said(Mandate::Leave));
        for wish in [Wish::Pause, Wish::Resume] {
            let why = wish.allowed(&leave, None, "Tenant acme").unwrap_err();
            assert_eq!(why, "Tenant acme is detached, by ann@desk: leaving; `trueup attach` takes it in again");
            assert_eq!(wish.allowed(&record, None, "it"), Ok(()));
        }
        assert!(Wish::Attach.allowed(&record, None, "it").unwrap_err().contains("`trueup resume`"));
        for known in [&act, &record, &leave] {
            assert_eq!(Wish::Detach.allowed(known, None, "it"), Ok(()));
        }
    }

    #[test]
    fn one_resource_is_not_freed_from_what_holds_for_everything() {
        let (act, record, leave) = (said(Mandate::Act), said(Mandate::Record), said(Mandate::Leave));
        let why = Wish::Resume.allowed(&act, Some(&record), "Tenant acme").unwrap_err();
        assert!(why.starts_with("the whole installation is paused, by ann@desk"), "{why}");
        assert!(why.ends_with("`trueup resume --all` ends that"), "{why}");
        assert!(Wish::Pause.allowed(&act, Some(&leave), "it").unwrap_err().contains("attach --all"));
        assert_eq!(Wish::Detach.allowed(&act, Some(&record), "it"), Ok(()), "what is stricter may be said");
        assert_eq!(Wish::Resume.allowed(&record, Some(&act), "it"), Ok(()));
    }
}
