//! `trueup outbox retry|void|amend`: what a person does to one lane.

use clap::value_parser;

use super::{every, lanes, refusal};
use crate::{
    cli::{
        Failure, confirm, describe,
        reading::{self, Ledger},
        resource::{Named, PerhapsNamed, Resource},
        text::{BAD, BOLD, DIM, PLAIN, Text},
        who,
    },
    domain::{Clock, DestinationId, Sequence, SystemClock},
    ledger::{
        Head, LaneState, LaneView, Row,
        interventions::{self, Action, Request},
    },
};

/// How much of an error is shown.
const ERROR_WIDTH: usize = 110;

/// Options.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    resource: Named,
    /// The place that is meant; without it, the one where the lane stands, which is shown. If the lane has moved on,
    /// nothing is done.
    #[arg(long, value_parser = value_parser!(i64).range(1..))]
    sequence: Option<i64>,
    #[command(flatten)]
    how: How,
}

/// Options.
#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    #[command(flatten)]
    resource: PerhapsNamed,
    /// The place that is meant; without it, the one where the lane stands, which is shown. If the lane has moved on,
    /// nothing is done.
    #[arg(long, value_parser = value_parser!(i64).range(1..))]
    sequence: Option<i64>,
    /// All resources that are parked for one reason, as after a receiver was mended.
    #[arg(long, requires = "parked_for", conflicts_with_all = ["kind", "name", "namespace", "uid", "sequence"])]
    all: bool,
    /// The reason, as `trueup outbox parked` shows it: permanent-refusal, say.
    #[arg(long, value_name = "WORD", requires = "all")]
    parked_for: Option<String>,
    #[command(flatten)]
    how: How,
}

/// For whom, by whom and why.
#[derive(Debug, clap::Args)]
pub struct How {
    /// The destination's id, as the BillingSink has it.
    #[arg(short, long, value_name = "ID")]
    pub destination: String,
    /// Why. It is kept for good.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
    /// Who asks; without it, the user and the machine.
    #[arg(long = "as", value_name = "WHO")]
    pub who: Option<String>,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub ledger: Ledger,
}

/// Sends one event, or all that are parked for a reason, once more.
pub async fn retry(args: RetryArgs) -> Result<(), Failure> {
    let RetryArgs { resource, sequence, all, parked_for, how } = args;
    match (resource.named(), parked_for) {
        (Some(resource), _) => run(Action::Retry, Args { resource, sequence, how }).await,
        (None, Some(parked_for)) if all => every::run(&parked_for, how).await,
        _ => Err(Failure::usage(&"which resource? Name it (KIND NAME), or say --all --parked-for WORD")),
    }
}

/// Does `action` to one lane.
pub async fn run(action: Action, args: Args) -> Result<(), Failure> {
    let resource = args.resource.resolve()?;
    let destination = DestinationId::new(args.how.destination);
    let who = who::who(args.how.who)?;
    let store = args.how.ledger.open_to_mend().await?;
    let (head, lane) = lanes::meant(&*store, &resource, &destination).await?;
    let sequence = args.sequence.map_or(lane.acked.next(), Sequence::new);
    if let Some(refused) = interventions::misplaced(lane.acked, lane.head, sequence) {
        return Err(refusal::failure(&refused, action, &resource, &destination));
    }
    let uid = head.subject.uid.clone();
    let what = format!("{action} sequence {sequence} of {} for {destination}", resource.in_words());
    if !args.how.yes {
        let row = store.row(&uid, sequence).await.map_err(|error| reading::failure(&error))?;
        for line in outlook(action, &resource, &head, &lane, row.as_ref()) {
            anstream::eprintln!("{}", line.to_ansi());
        }
    }
    confirm::confirm(args.how.yes, "yes", &what)?;
    let reason = args.how.reason;
    let request = Request { action, destination: destination.clone(), uid, sequence, who: who.clone(), reason };
    let done = store.intervene(&request, SystemClock::default().now()).await;
    done.map_err(|error| reading::failure(&error))?
        .map_err(|refused| refusal::failure(&refused, action, &resource, &destination))?;
    reading::emit(&[Text::plain(done_in_words(action, &resource, &destination, sequence, &who))]);
    Ok(())
}

/// What is about to happen to what.
fn outlook(action: Action, resource: &Resource, head: &Head, lane: &LaneView, row: Option<&Row>) -> Vec<Text> {
    let (next, destination) = (lane.acked.next(), &lane.destination);
    let says = row.map_or_else(String::new, |row| {
        let from = row.from.as_ref().map_or(String::new(), |from| format!("{from} → "));
        format!(", {from}{} ({}), {}", row.to, row.reason, describe::moment(row.effective.at))
    });
    let mut lines = vec![
        Text::new(BOLD, resource.in_words()).and(DIM, format!("   uid {}", head.subject.uid)),
        Text::plain(format!("  for {destination} at sequence {next} of {}{says}", lane.head)),
    ];
    if lane.state == LaneState::Parked {
        let since = format!(" since {}", describe::moment(lane.next_at));
        let reason = lane.park_reason.as_deref().unwrap_or_default();
        lines.push(Text::plain("  parked: ").and(BAD, reason).and(PLAIN, since));
    } else {
        lines.push(Text::plain("  not parked: it may be delivered yet"));
    }
    if let Some(error) = &lane.last_error {
        lines.push(Text::new(DIM, "  │ ").and(PLAIN, error).cut(ERROR_WIDTH));
    }
    lines.push(Text::plain(format!("  {}", consequence(action, lane))));
    lines
}

/// What comes of it, in a sentence or two.
fn consequence(action: Action, lane: &LaneView) -> String {
    let (next, destination) = (lane.acked.next(), &lane.destination);
    let void = if next == lane.first && lane.first > Sequence::FIRST {
        format!("{destination} is not told how things stood at sequence {next}, and begins one further on.")
    } else {
        format!(
            "{destination} is never sent what stands at sequence {next}: a void goes in its place, with its hash, and \
             then what waits behind it."
        )
    };
    match action {
        Action::Retry => format!("Sequence {next} is sent again, the same bytes, and then what waits behind it."),
        Action::Void => format!("{void} This cannot be taken back."),
        Action::Amend => format!(
            "{void} The controller then records an event that states anew what holds, for every destination. This cannot \
             be taken back."
        ),
    }
}

fn done_in_words(
    action: Action,
    resource: &Resource,
    destination: &DestinationId,
    sequence: Sequence,
    who: &str,
) -> String {
    let about = format!("sequence {sequence} of {} for {destination}, as {who}", resource.in_words());
    match action {
        Action::Retry => format!("Retried {about}."),
        Action::Void => format!("Voided {about}."),
        Action::Amend => format!(
            "Voided {about}. The controller states anew what holds; `trueup outbox interventions {}` says when it has.",
            resource.typed()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Timestamp, Uid};

    fn lane(acked: i64, first: i64) -> LaneView {
        LaneView {
            destination: DestinationId::new("billing"),
            uid: Uid::new("u"),
            acked: Sequence::new(acked),
            first: Sequence::new(first),
            head: Sequence::new(9),
            state: LaneState::Parked,
            park_reason: None,
            attempts: 0,
            next_at: Timestamp::from_micros(0),
            last_error: None,
            oldest_undelivered: None,
        }
    }

    #[test]
    fn a_person_is_told_what_will_happen() {
        let told: Vec<String> =
            [Action::Retry, Action::Void, Action::Amend].map(|action| consequence(action, &lane(3, 1))).into();
        insta::assert_snapshot!(told.join("\n"));
        assert!(consequence(Action::Void, &lane(3, 4)).contains("begins one further on"), "a lane that begins there");
    }
}
