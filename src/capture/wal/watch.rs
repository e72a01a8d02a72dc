//! Checks at an interval, on its own connection, that the publication still exists.
//!
//! The stream does not show a dropped publication before the next change: PostgreSQL 17 and older then stop, 18 omits the
//! changes. A watch that cannot connect reports nothing, because the stream itself detects a lost server.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::settings::WalSettings;
use super::slot::publication_query;
use crate::capture::error::CaptureError;
use crate::postgres::Conninfo;

/// Ends with its owner.
pub(super) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watch {
    pub(super) fn start(conninfo: Arc<Conninfo>, settings: &WalSettings, alarms: mpsc::Sender<CaptureError>) -> Self {
        let (publication, interval) = (settings.publication.clone(), settings.publication_check);
        Self(tokio::spawn(async move {
            let mut client = None;
            loop {
                tokio::time::sleep(interval).await;
                if is_missing(&conninfo, &mut client, &publication).await {
                    let place = conninfo.endpoints.first().map(|endpoint| conninfo.place(endpoint)).unwrap_or_default();
                    let _ = alarms.send(CaptureError::PublicationMissing { place, publication }).await;
                    return;
                }
            }
        }))
    }
}

/// Only a clear "no such row" counts.
async fn is_missing(conninfo: &Conninfo, client: &mut Option<Client>, publication: &str) -> bool {
    if client.as_ref().is_none_or(Client::is_closed) {
        *client = conninfo.connect().await.ok().map(|(client, _)| client);
    }
    let Some(client) = client else { return false };
    let rows = client.simple_query(&publication_query(publication)).await;
    let is_row =
        |message: &tokio_postgres::SimpleQueryMessage| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_));
    rows.is_ok_and(|messages| !messages.iter().any(is_row))
}
