//! The way from a process to the world outside, on which things go wrong.

use std::{
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;

use super::{Fault, Faults, Life, Point, Surface};

/// One process's way.
#[derive(Clone, Debug)]
pub struct Passage {
    pub life: Arc<Life>,
    pub faults: Arc<Faults>,
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silence {
    /// Nothing was done.
    Nothing,
    /// It was done, or will be.
    Perhaps,
}

impl Passage {
    /// Does something that can be done late, or says why there is no answer. `changed` tells of an answer whether anything is
    /// another than before.
    pub async fn pass<T: Send + 'static>(
        &self,
        surface: Surface,
        what: String,
        deed: impl Future<Output = T> + Send + 'static,
        changed: impl Fn(&T) -> bool,
    ) -> Result<T, Silence> {
        self.life.goes_on().await;
        let (point, fault) = self.faults.meet(surface, what);
        if let Some(Fault::Late(after) | Fault::CrashLate(after)) = fault {
            tokio::spawn(async move {
                sleep(Duration::from_millis(after)).await;
                deed.await;
            });
            if fault == Some(Fault::CrashLate(after)) {
                return self.die().await;
            }
            return Err(Silence::Perhaps);
        }
        self.meet(point, fault, deed, changed).await
    }

    /// The same for what cannot outlive whoever asked for it: too late is never.
    pub async fn pass_now<T>(
        &self,
        surface: Surface,
        what: String,
        deed: impl Future<Output = T>,
        changed: impl Fn(&T) -> bool,
    ) -> Result<T, Silence> {
        self.life.goes_on().await;
        let (point, fault) = self.faults.meet(surface, what);
        self.meet(point, fault, deed, changed).await
    }

    /// A watch has something to tell: for how long is it held back, or does the watch end?
    pub async fn hear(&self, what: String) -> Heard {
        self.life.goes_on().await;
        let (point, fault) = self.faults.meet(Surface::News, what);
        self.faults.changed(point);
        match fault {
            Some(Fault::Held(millis) | Fault::Slow(millis)) => {
                sleep(Duration::from_millis(millis)).await;
                self.life.goes_on().await;
                Heard::Told
            }
            Some(Fault::Cut | Fault::Refused) => Heard::Cut,
            Some(Fault::Expired) => Heard::Expired,
            Some(Fault::CrashBefore | Fault::CrashAfter | Fault::CrashLate(_)) => self.die().await,
            Some(Fault::Lost | Fault::Late(_)) | None => Heard::Told,
        }
    }

    async fn meet<T>(
        &self,
        point: Point,
        fault: Option<Fault>,
        deed: impl Future<Output = T>,
        changed: impl Fn(&T) -> bool,
    ) -> Result<T, Silence> {
        match fault {
            Some(Fault::Refused | Fault::Late(_)) => return Err(Silence::Nothing),
            Some(Fault::CrashBefore | Fault::CrashLate(_)) => self.die().await,
            Some(Fault::Slow(millis) | Fault::Held(millis)) => sleep(Duration::from_millis(millis)).await,
            Some(Fault::Lost | Fault::CrashAfter | Fault::Cut | Fault::Expired) | None => {}
        }
        let answer = deed.await;
        if changed(&answer) {
            self.faults.changed(point);
        }
        match fault {
            Some(Fault::Lost) => Err(Silence::Perhaps),
            Some(Fault::CrashAfter) => self.die().await,
            _ => {
                self.life.goes_on().await;
                Ok(answer)
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.life.kill();
        pending().await
    }
}

/// What becomes of what a watch has to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// It is told.
    Told,
    /// The connection ends first.
    Cut,
    /// The connection ends first, and the server forgets.
    Expired,
}

/// How long a lost connection takes to be noticed.
pub const NOTICED_AFTER: Duration = Duration::from_millis(5);
