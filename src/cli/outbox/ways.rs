//! What a person can do about a parked lane, by why it is parked.

use serde::Serialize;

use crate::{
    cli::resource::Resource,
    domain::{DestinationId, Sequence},
    ledger::{interventions::Action, lanes},
};

/// One way out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Way {
    /// When it is the right one.
    pub when: &'static str,
    /// What to type.
    pub command: String,
}

/// The ways out of a lane that is parked for `reason`, the likeliest first. `options` is what else names it.
pub fn ways(
    reason: &str,
    resource: &Resource,
    options: &str,
    destination: &DestinationId,
    sequence: Sequence,
) -> Vec<Way> {
    let way = |(when, action): &(&'static str, Action)| Way {
        when,
        command: format!(
            "trueup outbox {action} {}{options} --destination {destination} --sequence {sequence} --reason TEXT",
            resource.typed()
        ),
    };
    choices(reason).iter().map(way).collect()
}

fn choices(reason: &str) -> &'static [(&'static str, Action)] {
    match reason {
        // Whatever would be sent in the meantime, the receiver has more than that.
        lanes::RECEIVER_AHEAD => &[("once the ledger has again what it lost (see `trueup audit`)", Action::Retry)],
        // There is no row that could be voided.
        lanes::ROW_MISSING => &[("once the ledger was restored (see `trueup audit`)", Action::Retry)],
        lanes::AMBIGUOUS => &[
            ("if the receiver does not have it, or knows what comes twice", Action::Retry),
            ("if the receiver has it", Action::Void),
        ],
        _ => &[
            ("once the receiver takes it", Action::Retry),
            ("if it never will, and must learn what holds now", Action::Amend),
            ("if it never will, and need not know", Action::Void),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_ledger_lacks_is_not_voided() {
        for reason in [lanes::RECEIVER_AHEAD, lanes::ROW_MISSING] {
            assert!(choices(reason).iter().all(|(_, action)| *action == Action::Retry), "{reason}");
        }
    }
}
