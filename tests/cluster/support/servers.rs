//! The ledger's server, and the standby that may take its place.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::postgres::Postgres;

/// The ports of the two: whichever is not written to is the other's standby.
pub const PORTS: [u16; 2] = [5433, 5434];

/// None for a ledger in a file; one; or two.
pub struct Servers(RwLock<Vec<(u16, Postgres)>>);

impl Servers {
    /// For a ledger in a file.
    pub fn none() -> Self {
        Self(RwLock::default())
    }

    /// One, reached by its socket.
    pub fn one() -> Self {
        Self(RwLock::new(vec![(0, Postgres::start())]))
    }

    /// One, and a standby that has all that the first ever confirmed.
    pub fn pair(address: &'static str) -> Self {
        let first = Postgres::start_at(address, PORTS[0]);
        let standby = first.standby(PORTS[1]);
        Self(RwLock::new(vec![(PORTS[0], first), (PORTS[1], standby)]))
    }

    fn servers(&self) -> RwLockReadGuard<'_, Vec<(u16, Postgres)>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of a new, empty database, if there is a server.
    #[expect(clippy::await_holding_lock, reason = "nobody else knows of the servers yet")]
    pub(super) async fn url(&self) -> Option<String> {
        match self.servers().first() {
            Some((_, server)) => Some(server.database().await),
            None => None,
        }
    }

    /// Kills the one that is written to, with those of its processes that are stopped and would not notice that the first one
    /// is gone. Answers whether there is one.
    pub fn kill(&self) -> bool {
        self.signal("KILL");
        self.servers().first().map(|(_, server)| server.kill()).is_some()
    }

    /// Starts it again.
    pub fn restart(&self) {
        self.servers().iter().take(1).for_each(|(_, server)| server.restart());
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: &str) {
        self.servers().iter().take(1).for_each(|(_, server)| server.signal(signal));
    }

    /// Whether there is one that may take over.
    pub fn has_standby(&self) -> bool {
        self.servers().len() > 1
    }

    /// After a kill: the standby takes over, and what was killed is thrown away. Answers the port at which it is written to from
    /// now on.
    pub fn fail_over(&self) -> u16 {
        let mut servers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        drop(servers.remove(0));
        let (port, standby) = servers.first().expect("a standby");
        standby.promote();
        *port
    }

    /// After that: a new standby. Until it is there, nothing can be committed.
    pub fn mirror(&self) {
        let mirrored = {
            let servers = self.servers();
            let (taken, first) = servers.first().expect("a server");
            let port = if *taken == PORTS[0] { PORTS[1] } else { PORTS[0] };
            (port, first.standby(port))
        };
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(mirrored);
    }
}
