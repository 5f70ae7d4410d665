//! Kubernetes, as far as Trueup talks to it: reading through caches, writing under the lease.

mod connect;
mod events;
mod identity;
mod index;
mod leader;
mod lease;
mod list;
mod mandate;
mod requests;
mod resources;
mod watch;
mod write;

pub use connect::{ConnectError, connect, connect_counted};
pub use events::Events;
pub use identity::{
    IdentityError, Named, cluster_uid, confirm_installation, installation_reference, name_installation,
    named_installation, said_of_installation, say_of_installation,
};
pub use index::{Index, OwnerKey};
pub use leader::{LEASE, Leadership, leadership};
pub use lease::{Lease, LeaseError, LeaseTerm};
pub use list::{Freshness, Listed, list, tenant_labels};
pub use mandate::{Held, held_sinks, namespaces_of, said_of, say_of};
pub use requests::RequestMetrics;
pub use resources::{CustomKind, child_resource, missing_crds};
pub use watch::{Caches, Request};
pub use write::{Cluster, ClusterError, is_refusal};
