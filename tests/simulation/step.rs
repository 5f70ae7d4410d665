//! What people and misfortune do, one step after the other.

/// One thing that is done. Tenants, applications and backups have numbers; an application or backup is in its tenant's namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A tenant comes.
    CreateTenant(u8),
    /// Its plan, of which there are two.
    ChangePlan(u8, bool),
    SuspendTenant(u8, bool),
    /// With all that is in its namespace.
    DeleteTenant(u8),
    /// Somebody takes its finalizer off, so that it is gone at once, and makes it again.
    RebirthTenant(u8),
    /// Somebody deletes its namespace by hand, with all that is in it.
    LoseNamespace(u8),
    /// Somebody takes a label off its namespace.
    Relabel(u8),
    CreateApp(u8, u8),
    Scale(u8, u8, u8),
    /// A version whose image there is, or not.
    Release(u8, u8, u8, bool),
    SuspendApp(u8, u8, bool),
    /// Its pods fail, or recover.
    Sicken(u8, u8, bool),
    DeleteApp(u8, u8),
    RebirthApp(u8, u8),
    /// Somebody scales its Deployment by hand.
    ScaleByHand(u8, u8, u8),
    /// A backup whose dump ends well, or not.
    CreateBackup(u8, u8, bool),
    DeleteBackup(u8, u8),
    RebirthBackup(u8, u8),
    /// So many seconds pass.
    Wait(u8),
    /// A replica's process is killed.
    Kill(u8),
    /// A replica's process is asked to end.
    Stop(u8),
    /// A replica's process stands still for so many seconds.
    Pause(u8, u8),
    /// A replica's clock is set to so many seconds beside the right time.
    SetClock(u8, i16),
    /// Billing does not answer for so many seconds.
    BillingDown(u8),
    /// The ledger's database does not answer for so many seconds.
    LedgerDown(u8),
    /// The API server does not answer the replicas for so many seconds.
    ServerDown(u8),
    /// The API server forgets what it could tell watches.
    Compact,
}

impl Step {
    /// Whether it is misfortune, which must change nothing in the end.
    pub const fn is_trouble(self) -> bool {
        matches!(
            self,
            Self::Kill(_)
                | Self::Stop(_)
                | Self::Pause(..)
                | Self::SetClock(..)
                | Self::BillingDown(_)
                | Self::LedgerDown(_)
                | Self::ServerDown(_)
                | Self::Compact
        )
    }
}
