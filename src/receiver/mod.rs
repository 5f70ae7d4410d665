//! How a billing system takes Trueup's events, each exactly once, and the reference receiver that does.
//!
//! Three parts are pure, and are what a billing team copies: [`envelope`] checks who sent a message and takes its events
//! out of it, [`inbox`] decides what an event means where it stands, [`answer`] says what the sender is told. Around
//! them, `store` remembers and applies in one transaction, and `server` speaks HTTP. `docs/receiving.md` tells the same
//! to people who write in other languages.
//!
//! # Example
//!
//! A whole receiver, but for HTTP and for a memory that outlives it:
//!
//! ```
#![doc = include_str!("example.rs")]
//! ```
//!
//! It is compiled into `tests/schemas`, where it has to answer every message of `tests/vectors` as the reference
//! receiver does.

pub mod answer;
pub mod envelope;
pub mod inbox;
mod server;
mod store;
mod views;

pub use server::{Events, Receiver, Resources};
pub use store::{ReceiverStore, StoreFault};
pub use views::{EventView, ResourceView};
