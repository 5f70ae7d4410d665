//! Amendments that people asked for: whoever leads writes the row that states anew what holds.
//!
//! Asking voids an event for one receiver, which any process may do. The row goes the way of all rows, through the
//! appender, so that a deposed leader cannot write it; and whether it was written is read in the ledger, so that one that
//! died between writing it and saying so leaves nothing to be written twice.

use std::{sync::Arc, time::Duration};

use tracing::{info, warn};

use super::{Behind, Context, ReconcileError};
use crate::{
    cluster::{CustomKind, OwnerKey},
    domain::{Clock, Effective, Event, Head, Labels, Sequence, Uid},
    ledger::{Appender, Draft, Outcome, Store, StoreError, Want, interventions::Intervention},
    lifecycle::{
        Transition,
        amend::{self, Next, Standing},
        reasons,
    },
};

/// How often to look whether somebody asked: people who did look for the answer.
const PERIOD: Duration = Duration::from_secs(2);
/// How many are carried out at once.
const DUE: u32 = 1_000;
/// How many rows are read at once.
const PAGE: u32 = 500;

/// Carries out what is asked for, until it is dropped.
pub(super) async fn run(context: Arc<Context>) {
    loop {
        match context.ledger.amendments_due(DUE).await.map_err(ReconcileError::from) {
            Ok(due) => {
                context.waits.worked(Want::Read, &*context.clock);
                for made in due {
                    amend(&context, &made).await;
                }
            }
            Err(error) if error.is_waited_for(&context.waits, &*context.clock) => {}
            Err(error) => warn!(%error, "amendments could not be looked for; this is tried again"),
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn amend(context: &Context, made: &Intervention) {
    let (uid, voided) = (&made.request.uid, made.request.sequence);
    match carry_out(&*context.ledger, &context.appender, &context.behind, &*context.clock, made).await {
        Ok(None) => {}
        Ok(Some(head)) => {
            info!(%uid, %voided, sequence = %head.sequence, who = made.request.who, "amended");
            let (kind, state) = (head.subject.kind, head.state.as_str());
            context.metrics.transition(kind, state, state);
            // Nothing changed in the cluster, and yet its status must reach the new row.
            let (namespace, name) = (head.subject.namespace, head.subject.name);
            context.caches.ask(OwnerKey { kind: CustomKind::of(kind), namespace, name });
        }
        Err(error) if error.is_waited_for(&context.waits, &*context.clock) => {}
        Err(error) => warn!(%uid, %voided, %error, "an amendment was not carried out; it is tried again"),
    }
}

/// Carries out an amendment and says in the ledger what came of it. Answers the stream's new head, if this wrote a row.
///
/// A stream that moves on meanwhile is left for the next time; so is one that is behind what others know, as everything is
/// that would append to it.
pub async fn carry_out(
    ledger: &dyn Store,
    appender: &Appender,
    behind: &Behind,
    clock: &dyn Clock,
    made: &Intervention,
) -> Result<Option<Head>, ReconcileError> {
    let request = &made.request;
    let voided = request.sequence;
    if behind.why(&request.uid).is_some() {
        return Ok(None);
    }
    // The head first: a row that comes later than it makes the draft stale, so what is read next is all there is.
    let (head, effective) = newest(ledger, &request.uid).await?;
    let restated = restated(ledger, &request.uid, voided).await?;
    let evidence = format!("{} amended sequence {voided} for {}: {}", request.who, request.destination, request.reason);
    let (outcome, new) = match amend::decide(Standing { voided, head: &head, effective, restated }, &evidence) {
        Next::Conclude(outcome) => (outcome, None),
        Next::Append(transition) => match appender.append(draft(head, transition, voided)).await? {
            Outcome::Appended(new) => (amend::restated(new.sequence), Some(Arc::unwrap_or_clone(new))),
            Outcome::Stale(_) => return Ok(None),
            Outcome::Illegal(why) => (format!("not restated: {why}"), None),
        },
    };
    ledger.conclude_amendment(made.id, &outcome, clock.now()).await?;
    Ok(new)
}

/// A stream's newest row, and when it happened.
async fn newest(ledger: &dyn Store, uid: &Uid) -> Result<(Head, Effective), StoreError> {
    let corrupt = |what| StoreError::Corrupt { doing: "amending a stream", what };
    let head = ledger.head(uid).await?.ok_or_else(|| corrupt(format!("there is a lane, but no stream {uid}")))?;
    match ledger.row(uid, head.sequence).await? {
        Some(row) => Ok((head, row.effective)),
        None => Err(corrupt(format!("stream {uid} lacks its newest row, sequence {}", head.sequence))),
    }
}

/// Where the row at `voided` was amended, if it was.
async fn restated(ledger: &dyn Store, uid: &Uid, voided: Sequence) -> Result<Option<Sequence>, StoreError> {
    let mut after = voided;
    loop {
        let page = ledger.stream_rows(Some((uid, after)), PAGE).await?;
        for row in page.iter().take_while(|row| row.uid == *uid) {
            after = row.sequence;
            let amends = || serde_json::from_slice::<Event>(&row.body).ok().and_then(|event| event.data.amends);
            if row.reason == reasons::AMENDED.word && amends() == Some(voided) {
                return Ok(Some(row.sequence));
            }
        }
        if page.last().is_none_or(|last| last.uid != *uid) {
            return Ok(None);
        }
    }
}

fn draft(head: Head, transition: Transition, voided: Sequence) -> Draft {
    Draft {
        subject: head.subject,
        after: Some(head.sequence),
        to: transition.to,
        reason: transition.reason.word.to_owned(),
        message: transition.reason.sentence.to_owned(),
        generation: head.generation,
        effective: transition.effective,
        billable: transition.billable,
        evidence: transition.evidence,
        amends: Some(voided),
        labels: Labels::default(),
    }
}
