//! Carries out that an object is let be: its stream ends, that is shown, and its finalizer goes.

use kube::{ResourceExt, runtime::controller::Action};
use serde_json::json;

use super::{
    ReconcileError,
    look::{Look, facts},
};
use crate::{
    api::Condition,
    domain::{Head, Kind, Uid},
    lifecycle::{Finalizer, detach, ledger_ref, mandate::Mandate},
};

impl Look {
    /// One round. `None` if a row was written, so that it is time to look anew.
    pub(super) async fn leave(
        &mut self,
        kind: Kind,
        head: Option<&Head>,
        by: Option<&str>,
    ) -> Result<Option<Action>, ReconcileError> {
        let context = self.context.clone();
        let uid = Uid::new(self.object.uid().unwrap_or_default());
        let now = context.clock.now();
        let shown: Vec<Condition> =
            serde_json::from_value(self.object.data["status"]["conditions"].clone()).unwrap_or_default();
        let object = facts(&self.object, &(), &shown, &uid, Mandate::Leave);
        let leaving = detach::decide(&object, head, by, now);
        let conditions = leaving.verdict.conditions(&object, now);
        if let (Some(transition), Some(head)) = (&leaving.transition, head) {
            self.commit(kind, transition, Some(head), None, head.generation).await?;
            return Ok(None);
        }
        let mut status = self.object.data["status"].clone();
        if !status.is_object() {
            status = json!({});
        }
        status["observedGeneration"] = json!(self.object.metadata.generation);
        status["conditions"] = json!(conditions);
        if let Some(head) = head {
            status["state"] = json!(head.state);
            status["ledger"] = json!(ledger_ref(head));
        }
        self.project(status).await?;
        if leaving.finalizer == Finalizer::Remove {
            self.object = context.cluster.remove_finalizer(&self.key, &self.object).await?;
            context.looked.forget(&uid);
            context.written.forget_own(&self.key);
        }
        Ok(Some(Action::await_change()))
    }
}
