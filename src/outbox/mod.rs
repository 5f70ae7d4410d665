//! Delivery: every row of the ledger goes to every destination, in the order of its resource, at least once.
//!
//! For each destination a courier claims lanes that are due and gives their events to the sink, and a settler tells
//! the ledger what came of it (`verdict` decides what that is). A lane is one resource's place in its stream; lanes
//! share nothing but the destination's slots, so that none delays another. Toward a sink that takes the events of
//! several resources at once, `pack` puts lanes that are due into one message. A receiver that takes nothing at all is
//! left alone as a whole: that is `gate`.
//!
//! Nothing here is lost with the process: a lane that it held falls due again when its lease ends.

mod backoff;
mod bucket;
mod courier;
mod deliveries;
mod gate;
mod metrics;
mod pack;
mod relay;
mod settler;
mod slots;
mod status;
mod verdict;

pub use backoff::Backoff;
pub use metrics::DeliveryMetrics;
pub use relay::{Destination, Limits, Parts, Relay};
pub use status::{Held, RelayStatus};
pub use verdict::PERMANENT_REFUSAL;
