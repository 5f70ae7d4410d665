//! The ledgers that lives are told on: the one in memory, and SQLite in a file.

use std::{
    sync::{Arc, LazyLock, mpsc},
    thread,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    task::unconstrained,
};
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
///
/// The task that asks has only so many calls until it must give way to others (tokio's cooperative budget), after which whatever
/// belongs to the runtime, a database's locks and timers too, says that it is not ready. It cannot give way here, so that does not count.
pub fn at_once<T>(call: impl Future<Output = T>) -> T {
    let _outside = OUTSIDE.enter();
    futures::executor::block_on(unconstrained(call))
}

#[test]
fn a_task_that_does_not_give_way_is_answered_as_often_as_it_asks() {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(async {
            let ledger = Ledger::new(Kind::Sqlite);
            for _ in 0..1_000 {
                at_once(ledger.store.counts()).expect("nothing happens to it");
            }
        });
        let _ = tell.send(());
    });
    told.recv_timeout(Duration::from_mins(2)).expect("it is answered at all");
}
