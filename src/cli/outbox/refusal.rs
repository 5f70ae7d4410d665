//! Why nothing was done to a lane, and what to do instead.

use crate::{
    cli::{Failure, resource::Resource},
    domain::DestinationId,
    ledger::interventions::{Action, Refusal},
};

/// What a refusal means for whoever asked: 1 if the ledger is damaged, else 2.
pub fn failure(refusal: &Refusal, action: Action, resource: &Resource, destination: &DestinationId) -> Failure {
    let next = match refusal {
        Refusal::NoLane => "; the destination was closed meanwhile, see `trueup outbox status`".to_owned(),
        Refusal::NothingOwed { .. } => "; there is nothing to do".to_owned(),
        Refusal::Elsewhere { .. } => "; leave --sequence out to take that one, which is shown first".to_owned(),
        Refusal::UnderWay { .. } => "; there is nothing to retry".to_owned(),
        Refusal::VoidedBefore { next } => {
            let typed = resource.typed();
            format!(": `trueup outbox retry {typed} --destination {destination} --sequence {next} --reason TEXT`")
        }
        // These say it themselves.
        Refusal::BeingDelivered { .. } | Refusal::Missing { .. } => String::new(),
    };
    let said = format!("cannot {action} {} for {destination}: {refusal}{next}", resource.in_words());
    match refusal {
        Refusal::Missing { .. } => Failure::violated(&said),
        _ => Failure::usage(&said),
    }
}
