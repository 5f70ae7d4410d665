//! The relay, the webhook sink and the reference receiver together, over loopback, with everything that goes wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs, reason = "this is a test")]

mod batches;
mod certificates;
mod doubt;
mod faults;
mod flow;
mod front;
mod healing;
mod held;
mod hostile;
mod mend;
mod nats;
mod openmeter;
mod rig;
mod sight;
mod tls;
