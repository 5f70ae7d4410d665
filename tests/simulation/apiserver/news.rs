//! Who is woken when something is written: only those who look at such objects, so that a Lease that is renewed wakes nobody else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use super::state::Change;

/// Waits for changes of some kinds.
#[derive(Debug)]
pub struct News {
    told: Arc<Notify>,
}

impl News {
    /// Waits until something was written since this was last waited for.
    pub async fn come(&self) {
        self.told.notified().await;
    }
}

/// Everybody who waits.
#[derive(Debug, Default)]
pub struct Listeners {
    all: Mutex<Vec<Listener>>,
}

#[derive(Debug)]
struct Listener {
    plurals: Vec<String>,
    told: Weak<Notify>,
}

impl Listeners {
    /// Somebody who is told of changes of these kinds.
    pub fn listen(&self, plurals: &[&str]) -> News {
        let told = Arc::new(Notify::new());
        let plurals = plurals.iter().map(|plural| (*plural).to_owned()).collect();
        self.all().push(Listener { plurals, told: Arc::downgrade(&told) });
        News { told }
    }

    /// Tells those whom it concerns.
    pub fn tell(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        self.all().retain(|listener| {
            let Some(told) = listener.told.upgrade() else { return false };
            if changes.iter().any(|change| listener.plurals.contains(&change.key.plural)) {
                told.notify_one();
            }
            true
        });
    }

    fn all(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
