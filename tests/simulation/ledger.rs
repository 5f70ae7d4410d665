//! The ledgers that lives are told on: the one in memory, and SQLite in a file.

use std::sync::{Arc, LazyLock};

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use trueup::{
    ledger::{MemoryStore, SqliteStore, Store},
    lifecycle::TABLES,
};

/// Which one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Memory,
    /// Slower, since it writes to a disk.
    Sqlite,
}

/// Where a database's own tasks and timers live, whose time is everybody's.
static OUTSIDE: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(1).enable_all().build().expect("a runtime")
});

/// A ledger, for as long as this is kept.
pub struct Ledger {
    pub store: Arc<dyn Store>,
    _folder: Option<TempDir>,
}

impl Ledger {
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Memory => Self { store: Arc::new(MemoryStore::new(TABLES)), _folder: None },
            Kind::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder");
                let store = SqliteStore::new(&folder.path().join("trueup.db"), TABLES).expect("its folder is there");
                at_once(store.migrate()).expect("the file is new");
                Self { store: Arc::new(store), _folder: Some(folder) }
            }
        }
    }
}

/// What `call` answers. However long that takes in truth, simulated time stands still meanwhile: it would run away from a disk.
pub fn at_once<T>(call: impl Future<Output = T>) -> T {
    let _outside = OUTSIDE.enter();
    futures::executor::block_on(call)
}
