//! A changed catalog: read it again, make a new schema, and carry every live subscription over.

use std::sync::Arc;

use super::Core;
use super::declare::Declaration;
use super::live::Live;
use super::subscription::{Source, Subscription};
use crate::capture::{Conninfo, Tables};
use crate::decode;
use crate::error::Error;

/// What is needed to read the catalog again.
pub(super) struct Refresher {
    pub(super) conninfo: Conninfo,
    pub(super) declared: Vec<Declaration>,
}

impl Refresher {
    /// The tables that the decoder is to use from here on.
    pub(super) async fn refresh(&self, core: &Core) -> Result<Arc<decode::Tables>, Error> {
        let tables = self.load(core).await?.keeping(&core.live()?.tables);
        let by_oid = Arc::new(tables.by_oid.clone());
        let live = Arc::new(Live::build(tables, &self.declared, &core.settings)?);
        core.serve(&live);
        carry_over(core, &live);
        Ok(by_oid)
    }

    async fn load(&self, core: &Core) -> Result<Tables, Error> {
        let (client, connection) = self.conninfo.connect().await?;
        let tables = Tables::load_named(&client, core.settings.naming).await;
        connection.abort();
        Ok(tables?)
    }
}

/// Compiles each subscription of a changed table anew; one that no longer makes sense fails with the reason.
fn carry_over(core: &Core, live: &Live) {
    for subscription in core.registry.subscriptions() {
        if is_current(&subscription, live) {
            continue;
        }
        if let Err(failure) = core.renew(live, &subscription) {
            subscription.fail_later(failure);
        }
    }
}

fn is_current(subscription: &Subscription, live: &Live) -> bool {
    match &subscription.source {
        Source::Table { table, .. } => live.tables.iter().any(|served| Arc::ptr_eq(served, table)),
        Source::Topic(_) => true,
    }
}
