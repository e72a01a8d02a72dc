//! The two ways to capture changes, and which of them a database allows.

use tokio_postgres::Client;

use crate::store::StoreError;

/// Where changes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureMode {
    /// The replication stream of a logical slot.
    Wal,
    /// What triggers write into a table, `rowcast.outbox`.
    Outbox,
}

/// For [`CaptureMode::choose`]. Amazon RDS has a role in place of the attribute.
const CHOOSE: &str = "
    select exists (select from rowcast.outbox_state),
           pg_catalog.current_setting('wal_level') = 'logical',
           exists (
               select from pg_catalog.pg_roles r
               where r.rolname = current_user and (r.rolreplication or r.rolsuper)
                  or r.rolname = 'rds_replication' and pg_catalog.pg_has_role(current_user, r.oid, 'usage')
           )";

impl CaptureMode {
    /// The outbox if it exists; else the WAL stream if the database allows it; else the outbox.
    pub async fn choose(client: &Client) -> Result<Self, StoreError> {
        let row = client.query_one(CHOOSE, &[]).await?;
        let (outbox, logical, may): (bool, bool, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(if !outbox && logical && may { Self::Wal } else { Self::Outbox })
    }
}
