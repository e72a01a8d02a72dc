//! What the stream does about a catalog that has changed: it waits for it, but not for ever.

use std::time::Duration;

use tokio::time::Instant;

use super::refresh::RefreshError;
use super::stream::Stream;
use crate::failure::Failure;

/// How long the stream waits for a catalog that it needs, and how long between two attempts.
const CATALOG_PATIENCE: Duration = Duration::from_secs(3);
const CATALOG_PAUSE: Duration = Duration::from_millis(20);

/// After that the stream goes on, and tries again this often.
const CATALOG_RETRY: Duration = Duration::from_secs(1);

impl Stream {
    /// The stream waits while the catalog is read, so that rows after the change meet the new shape. When that takes
    /// too long, subscriptions to the changed table end with the reason and the stream goes on without them: to tell
    /// of rows whose shape is not known would be guessing.
    pub(crate) async fn refresh(&mut self, table: Option<u32>) {
        let deadline = Instant::now() + CATALOG_PATIENCE;
        while let Err(error) = self.refresh_once().await {
            if !error.is_transient() || Instant::now() >= deadline {
                return self.postpone(&error, table);
            }
            tokio::time::sleep(CATALOG_PAUSE).await;
        }
    }

    /// The same without waiting.
    pub(crate) async fn refresh_now(&mut self) {
        if let Err(error) = self.refresh_once().await {
            self.postpone(&error, None);
        }
    }

    async fn refresh_once(&mut self) -> Result<(), RefreshError> {
        let refreshed = self.refresher.refresh(&self.clients, self.xid).await?;
        self.decoder.set_tables(refreshed.by_oid);
        (self.known, self.stale) = (refreshed.seen, None);
        self.core.metrics.catalog_stale.set(0);
        Ok(())
    }

    /// Whether the catalog that is served has what the open transaction did to it. To read it again then would only hold
    /// rows against a catalog that is newer than need be.
    pub(crate) fn is_known(&self) -> bool {
        self.stale.is_none() && self.known.as_ref().is_some_and(|seen| seen.sees(self.xid))
    }

    fn postpone(&mut self, error: &RefreshError, table: Option<u32>) {
        if self.stale.is_none() {
            tracing::error!("the catalog has changed and could not be read again, which is tried on: {error}");
        }
        self.stale = Some(Instant::now() + CATALOG_RETRY);
        self.core.metrics.catalog_stale.set(1);
        if let Some(table) = table {
            let message = "the table has changed and its new shape cannot be read now: subscribe again later";
            self.core.set_aside(table, &Failure::new("SCHEMA_UNREADABLE", message));
        }
    }
}
