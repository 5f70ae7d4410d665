//! What the commands that list lanes share: which resource, which destination, how it is written.

use std::sync::Arc;

use crate::{
    cli::{
        Failure,
        reading::{Ledger, Output},
        resource::{Named, PerhapsNamed, Resource},
    },
    domain::DestinationId,
    ledger::Store,
};

/// Options. Without a resource and a destination, all of them.
#[derive(Debug, clap::Args)]
pub struct Listing {
    #[command(flatten)]
    resource: PerhapsNamed,
    /// Only for this destination.
    #[arg(short, long, value_name = "ID")]
    destination: Option<String>,
    /// How to write it.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,
    #[command(flatten)]
    ledger: Ledger,
}

/// What is to be listed, and the ledger that it is in.
pub struct Opened {
    /// The one resource, if one is named.
    pub resource: Option<Resource>,
    /// The one destination, if one is named.
    pub destination: Option<DestinationId>,
    /// The ledger.
    pub store: Arc<dyn Store>,
}

impl Listing {
    /// Says what is meant, and opens the ledger.
    pub async fn open(&self) -> Result<Opened, Failure> {
        let resource = self.resource.clone().named().map(Named::resolve).transpose()?;
        let destination = self.destination.as_deref().map(DestinationId::new);
        let (store, _) = self.ledger.open().await?;
        Ok(Opened { resource, destination, store })
    }
}
