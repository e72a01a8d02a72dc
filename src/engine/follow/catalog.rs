//! The catalog as the engine reads it: what PostgreSQL says of the watched tables, and which of their policies it cannot be
//! asked about.

use tokio_postgres::Client;

use crate::catalog::{CaptureMode, CatalogError, Tables};
use crate::graphql::Naming;
use crate::probe;

/// A caller that drops this future half-way must drop the client too.
pub(crate) async fn load(client: &Client, naming: Naming, mode: CaptureMode) -> Result<Tables, CatalogError> {
    let mut tables = Tables::load_named(client, naming, mode).await?;
    let served: Vec<_> = tables.by_oid.values().cloned().collect();
    for table in served {
        let unbound = probe::unbound(client, &table).await?;
        tables = tables.with_unbound(table.oid, &unbound);
    }
    Ok(tables)
}
