//! Whose ledger it is.
//!
//! Compiled once in each of the SQL stores, with its `Connection` and `Pool`.

use sqlx::{query, query_as, query_scalar};

use super::{Connection, Pool, read::INSTALLATION};
use crate::{
    domain::{Epoch, Shard},
    ledger::{fault::failed, records::InstallationRecord, store::StoreError, types::Installation},
};

/// What is stored; `proposed`, if nothing was.
pub(super) async fn installation(pool: &Pool, proposed: &Installation) -> Result<Installation, StoreError> {
    let failed = failed("recording whose ledger this is");
    query("INSERT INTO installation (one, id, cluster_uid, era) VALUES (1, $1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(proposed.id.as_str())
        .bind(proposed.cluster_uid.as_str())
        .bind(proposed.era.get())
        .execute(pool)
        .await
        .map_err(failed)?;
    query_as::<_, InstallationRecord>(INSTALLATION).fetch_one(pool).await.map(Into::into).map_err(failed)
}

/// Writes another if `mine` is the shard's epoch, and answers which epoch that is. The caller keeps all appends out.
pub(super) async fn replace(
    connection: &mut Connection,
    shard: Shard,
    mine: Epoch,
    installation: &Installation,
) -> Result<Epoch, sqlx::Error> {
    let current: Option<i64> = query_scalar("SELECT epoch FROM shard WHERE id = $1")
        .bind(shard.get())
        .fetch_optional(&mut *connection)
        .await?;
    let current = Epoch::new(current.unwrap_or(0));
    if current == mine {
        query("UPDATE installation SET id = $1, cluster_uid = $2, era = $3")
            .bind(installation.id.as_str())
            .bind(installation.cluster_uid.as_str())
            .bind(installation.era.get())
            .execute(connection)
            .await?;
    }
    Ok(current)
}
