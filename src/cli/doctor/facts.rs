//! What was found out about an installation, before anybody judges it.

use jiff::SignedDuration;

use crate::{
    cluster::Leadership,
    domain::{InstallationId, Timestamp, Uid},
    ledger::{Checkup, Installation},
};

/// Everything that was asked, each with its answer or why there is none.
pub struct Facts {
    /// Now, by this machine's clock.
    pub now: Timestamp,
    /// What the API server says; or why it says nothing.
    pub api: Result<ApiServer, Trouble>,
    /// What the cluster says of Trueup; nothing was asked if the API server does not answer.
    pub cluster: Option<Cluster>,
    /// The database; `None` if it was not to be asked.
    pub ledger: Option<Result<Ledger, Trouble>>,
}

/// Why something was not found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// In words.
    pub said: String,
    /// Whether waiting, or another network, may help.
    pub unreachable: bool,
}

/// The API server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiServer {
    /// Its version, as `1.33`.
    pub version: (u32, u32),
    /// How far its clock is ahead of this machine's.
    pub ahead: Option<SignedDuration>,
}

/// What the cluster says.
pub struct Cluster {
    /// The UID of `kube-system`.
    pub uid: Result<Uid, String>,
    /// Each definition.
    pub definitions: Vec<Definition>,
    /// Whose rights were asked about.
    pub subject: String,
    /// Each right that the chart grants, and whether it is there.
    pub rights: Result<Vec<Right>, String>,
    /// What the ConfigMap says of the installation.
    pub named: Result<Option<(InstallationId, Uid)>, String>,
    /// What the Lease says.
    pub leadership: Result<Option<Leadership>, String>,
    /// The sinks.
    pub sinks: Result<Vec<Sink>, String>,
    /// What is said of the whole installation, in words; `None` if nothing.
    pub mandate: Option<String>,
}

/// A custom resource definition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// How it is there.
    pub state: DefinitionState,
}

/// How a definition is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DefinitionState {
    /// It is served, with everything that this program knows.
    Current,
    /// It is served, and this program knows another form.
    Differs,
    /// It is there, and not served yet.
    NotEstablished,
    /// It is not there.
    Missing,
    /// Nobody knows.
    Unknown(String),
}

/// Something that the controller must be allowed to do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Right {
    /// Of what, as `deployments.apps` or `configmaps in trueup-system`.
    pub resource: String,
    /// What.
    pub verb: String,
    /// Whether it is allowed.
    pub allowed: bool,
}

/// A BillingSink.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// What the controller says of it: `Ready`, its reason and its message.
    pub ready: Option<(bool, String, String)>,
    /// What of its Secret is missing.
    pub secret: Result<(), String>,
    /// The first of its addresses that does not answer from here.
    pub reached: Result<String, String>,
}

/// The database.
pub struct Ledger {
    /// What it says of itself.
    pub checkup: Checkup,
    /// Whose ledger it holds.
    pub installation: Option<Installation>,
    /// How long it took to ask, between which its clock was read.
    pub asked: (Timestamp, Timestamp),
}
