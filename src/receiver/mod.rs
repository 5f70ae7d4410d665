//! The reference receiver: how a billing system takes Trueup's events, each exactly once.
//!
//! `envelope` checks who sent a message and that its parts agree, `inbox` decides what an event means where it
//! stands (both pure, to be copied), `store` remembers and applies in one transaction, `server` speaks HTTP.

pub mod envelope;
pub mod inbox;
mod server;
mod store;

pub use server::{Events, Receiver, Resources};
pub use store::{EventView, ReceiverStore, ResourceView, StoreFault};
