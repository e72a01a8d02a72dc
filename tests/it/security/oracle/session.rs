//! Sessions of the oracle with PostgreSQL. A principal's is its own: a custom setting that was set once in a session is
//! never unset in it again.

use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::principal::Principal;
use crate::postgres::Server;

/// Values print as the engine's capture has them printed. To choose partitions PostgreSQL evaluates what a condition may not
/// come to for any row; where that raises nothing is said of rows (`ROWCAST_SEED=958598734`).
const PINNED: &str = "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c bytea_output=hex \
                      -c extra_float_digits=1 -c client_min_messages=warning -c enable_partition_pruning=off";

pub(super) async fn superuser(server: &Server) -> Client {
    let mut config = Config::new();
    config.host_path(server.socket_folder()).port(server.port()).user("postgres").dbname("postgres").options(PINNED);
    let (client, connection) = config.connect(NoTls).await.expect("connect");
    tokio::spawn(connection);
    client
}

pub(super) async fn of(server: &Server, principal: &Principal) -> Client {
    let client = superuser(server).await;
    run(&client, &principal.sql()).await;
    client
}

/// It must not fail.
pub(super) async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
}

/// All rows as text.
pub(super) async fn rows(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    try_rows(client, sql).await.unwrap_or_else(|error| panic!("{error:?}\n{sql}"))
}

pub(super) async fn try_rows(client: &Client, sql: &str) -> Result<Vec<Vec<Option<String>>>, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
        _ => None,
    };
    Ok(messages.into_iter().filter_map(row).collect())
}
