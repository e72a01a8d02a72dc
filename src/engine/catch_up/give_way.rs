//! A snapshot holds its table's weakest lock for as long as its client reads. DDL waits for it, and everything else on
//! the table waits behind the DDL: so a snapshot that is waited for ends.

use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::time::{sleep, timeout};

use crate::failure::Failure;

/// How long between two looks. A snapshot that is waited for at two looks in a row ends: most are over before.
const INTERVAL: Duration = Duration::from_secs(1);

const WAITED_FOR: &str = "
    select exists (
        select from pg_catalog.pg_locks w
        where not w.granted and w.locktype operator(pg_catalog.=) 'relation'
        and $1 operator(pg_catalog.=) any (pg_catalog.pg_blocking_pids(w.pid))
    )";

/// Returns when statements keep waiting for the snapshot that this server process holds; never without a database.
pub(super) async fn waited_for(pool: Option<&Pool>, process: i32) {
    let Some(pool) = pool else { return std::future::pending().await };
    let mut before = false;
    loop {
        sleep(INTERVAL).await;
        let now = is_waited_for(pool, process).await;
        if before && now {
            return;
        }
        before = now;
    }
}

/// If the database does not answer, no statement is known to wait.
async fn is_waited_for(pool: &Pool, process: i32) -> bool {
    let Ok(Ok(client)) = timeout(INTERVAL, pool.get()).await else { return false };
    let answer = client.query_one(WAITED_FOR, &[&process]).await;
    answer.and_then(|row| row.try_get(0)).unwrap_or(false)
}

pub(super) fn gave_way() -> Failure {
    let message = "the rows were still being sent when a statement needed the table for itself: subscribe again";
    Failure::new("SNAPSHOT_INTERRUPTED", message)
}
