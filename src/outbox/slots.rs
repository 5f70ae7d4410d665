//! How many resources are delivered at once, and how many of those may be ones that failed before.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one destination. Only its courier takes them.
#[derive(Debug)]
pub(super) struct Slots {
    all: Arc<Semaphore>,
    retries: Arc<Semaphore>,
}

/// A place that is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _any: OwnedSemaphorePermit,
    _retry: Option<OwnedSemaphorePermit>,
}

/// Places that were taken and not yet handed out.
#[derive(Debug)]
pub(super) struct Free {
    any: OwnedSemaphorePermit,
    retries: Arc<Semaphore>,
}

impl Slots {
    /// `all` places, of which at most half serve retries, so that what hangs cannot take them all.
    pub(super) fn new(all: u32) -> Self {
        let all = usize::try_from(all.max(1)).unwrap_or(1).min(Semaphore::MAX_PERMITS);
        Self { all: Arc::new(Semaphore::new(all)), retries: Arc::new(Semaphore::new((all / 2).max(1))) }
    }

    /// Waits for a place, and takes with it what else is free, up to `most`.
    pub(super) async fn take(&self, most: u32) -> Option<Free> {
        // Fails only when the semaphore is closed, which nobody does.
        let mut any = Arc::clone(&self.all).acquire_owned().await.ok()?;
        let more = u32::try_from(self.all.available_permits()).unwrap_or(u32::MAX).min(most.saturating_sub(1));
        if let Ok(more) = Arc::clone(&self.all).try_acquire_many_owned(more) {
            any.merge(more);
        }
        Some(Free { any, retries: Arc::clone(&self.retries) })
    }
}

impl Free {
    /// How many places.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.any.num_permits()).unwrap_or(u32::MAX)
    }

    /// How many of them may serve retries.
    pub(super) fn retries(&self) -> u32 {
        u32::try_from(self.retries.available_permits()).unwrap_or(u32::MAX).min(self.count())
    }

    /// Hands one out.
    pub(super) fn hand_out(&mut self, retry: bool) -> Option<Slot> {
        let any = self.any.split(1)?;
        // A retry whose holder died is not in the ledger's count of retries; it goes ahead all the same.
        let retry = if retry { Arc::clone(&self.retries).try_acquire_owned().ok() } else { None };
        Some(Slot { _any: any, _retry: retry })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn retries_get_half_of_the_places_and_all_come_back() {
        let slots = Slots::new(5);
        let mut free = slots.take(100).await.unwrap();
        assert_eq!((free.count(), free.retries()), (5, 2));
        let held: Vec<_> = (0..3).map(|n| free.hand_out(n < 2).unwrap()).collect();
        assert_eq!((free.count(), free.retries()), (2, 0));
        drop((free, held));
        let free = slots.take(3).await.unwrap();
        assert_eq!((free.count(), free.retries()), (3, 2));
    }

    #[tokio::test]
    async fn even_a_single_place_serves_retries() {
        let free = Slots::new(0).take(9).await.unwrap();
        assert_eq!((free.count(), free.retries()), (1, 1));
    }
}
