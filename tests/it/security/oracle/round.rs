//! One round: some worlds on one server with one engine; what the engine tells, and what PostgreSQL says of it afterwards.

use std::sync::Arc;

use rowcast::engine::Engine;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::compare::{Case, is_of_policies};
use super::filter::Filter;
use super::judge::Judgement;
use super::listener::{Listener, query};
use super::rights::Rights;
use super::session::{self, rows, run};
use super::sql::{literal, name};
use super::table::Table;
use super::tally::Tally;
use super::ways;
use super::world::World;
use crate::engine::client::{PATIENCE, request, serving};
use crate::postgres::Server;

/// What a round came to.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) tally: Tally,
    pub(super) differences: Vec<String>,
}

/// A world with what was found out about it.
struct Life {
    world: World,
    /// By table and principal.
    rights: Vec<Vec<Rights>>,
    ways: Vec<Vec<&'static str>>,
    listeners: Vec<Listener>,
}

/// Lets the worlds of these seeds happen. `meddle` is run as the superuser between the engine's answer and PostgreSQL's.
pub(super) async fn round(seeds: impl Iterator<Item = u64>, meddle: impl Fn(&World) -> String) -> Outcome {
    let server = Server::with(&["wal_level=logical", "max_connections=100"]);
    let client = session::superuser(&server).await;
    let mut outcome = Outcome::default();
    let mut lives = Vec::new();
    for world in seeds.map(World::new) {
        lives.push(born(&client, world).await);
    }
    let fields: Vec<_> =
        lives.iter().flat_map(|life| life.world.tables.iter().map(|table| field(&life.world, table))).collect();
    let engine = serving(&server, &Value::Array(fields)).await;
    for life in &mut lives {
        life.ways = ways::of(&client, &life.world).await;
        life.listen(&engine, &mut outcome);
    }
    for life in &lives {
        for transaction in &life.world.traffic {
            run(&client, transaction).await;
        }
        for table in &life.world.tables {
            run(&client, &format!("truncate {}", table.sql_name(&life.world.schema))).await;
        }
    }
    for life in &mut lives {
        life.read(&client).await;
    }
    engine.stop(PATIENCE).await;
    // A published table cannot be rewritten without a key.
    run(&client, "drop publication rowcast").await;
    for life in &lives {
        run(&client, &meddle(&life.world)).await;
        life.judge(&server, &mut outcome).await;
    }
    outcome
}

async fn born(client: &Client, world: World) -> Life {
    for statement in &world.setup {
        run(client, statement).await;
    }
    let mut rights = Vec::new();
    for table in &world.tables {
        let mut of_table = Vec::new();
        for principal in &world.principals {
            of_table.push(Rights::of(client, &world, table, principal).await);
        }
        rights.push(of_table);
    }
    Life { world, rights, ways: Vec::new(), listeners: Vec::new() }
}

fn field(world: &World, table: &Table) -> Value {
    json!({
        "name": table.field,
        "table": table.sql_name(&world.schema),
        "tenant": table.tenant.map(|column| column.name),
        "public": table.public,
        "replica_identity": if table.full { "full" } else { "keep" },
    })
}

impl Life {
    /// Twice for each table and principal: for everything, and with a filter.
    fn listen(&mut self, engine: &Arc<Engine>, outcome: &mut Outcome) {
        for (at, table) in self.world.tables.iter().enumerate() {
            for (who, principal) in self.world.principals.iter().enumerate() {
                let readable = &self.rights[at][who].readable;
                let mut filter = self.world.filters[at][who].clone();
                if filter.columns.iter().any(|column| !readable.contains(column)) {
                    outcome.differences.extend(self.forbidden(engine, at, who, &filter, readable.is_empty()));
                    filter = Filter { operations: filter.operations, ..Filter::none() };
                }
                let filtered = !filter.graphql.is_empty();
                let listener = |filter: &Filter, filtered| {
                    Listener::new(engine, (at, table), (who, principal), readable, filter, filtered)
                };
                self.listeners.push(listener(&Filter::none(), false));
                self.listeners.push(listener(&filter, filtered));
            }
        }
    }

    /// To filter by, or to select, what may not be read is refused.
    fn forbidden(&self, engine: &Engine, at: usize, who: usize, filter: &Filter, all: bool) -> Vec<String> {
        let (table, principal) = (&self.world.tables[at], &self.world.principals[who]);
        let readable = &self.rights[at][who].readable;
        let refused = self.rights[at][who].refusals(table, principal);
        let all_columns = query(table, &table.columns, &Filter::none());
        let mut wrong = Vec::new();
        for text in [query(table, readable, filter), all_columns] {
            let answer = engine.register(&Arc::new(principal.model()), &request(&text));
            let code = answer.as_ref().err().map_or("none", rowcast::error::Error::code);
            let fits = code == "COLUMN_FORBIDDEN" || refused.contains(&code) || is_of_policies(code);
            if let Ok((id, _)) = answer {
                engine.complete(id);
            }
            if !fits && !all {
                wrong.push(self.told(at, who, &text, &format!("refused with {code} and not with COLUMN_FORBIDDEN")));
            }
        }
        wrong
    }

    async fn read(&mut self, client: &Client) {
        for (at, table) in self.world.tables.iter().enumerate() {
            let sql = format!(
                "select count(*) from {}.log where op = 'TRUNCATE' and field = {}",
                name(&self.world.schema),
                literal(&table.field)
            );
            let truncations = rows(client, &sql).await[0][0].as_ref().unwrap().parse().unwrap();
            let listeners = self.listeners.iter_mut().filter(|listener| listener.table == at);
            tokio::task::block_in_place(|| listeners.for_each(|listener| listener.read(truncations)));
        }
    }

    async fn judge(&self, server: &Server, outcome: &mut Outcome) {
        let tally = &mut outcome.tally;
        tally.worlds += 1;
        tally.subscriptions += self.listeners.len();
        for (at, rights) in self.rights.iter().enumerate() {
            let judgement = Judgement::of(server, &self.world, at, rights).await;
            tally.policies += self.world.tables[at].policies.len();
            tally.judged(&judgement, rights, &self.ways[at]);
            for listener in self.listeners.iter().filter(|listener| listener.table == at) {
                let who = listener.principal;
                let case = Case { world: &self.world, listener, rights: &rights[who], judgement: &judgement };
                if let Some(difference) = case.difference(tally) {
                    outcome.differences.push(self.told(at, who, &listener.query, &difference));
                }
            }
        }
    }

    /// What is needed to look into a difference.
    fn told(&self, at: usize, who: usize, query: &str, what: &str) -> String {
        let principal = &self.world.principals[who];
        let table = &self.world.tables[at];
        format!(
            "ROWCAST_SEED={} ROWCAST_WORLDS=1\n{}\n  full identity: {}, tenant column {:?}, public {}\n\
             principal: tenant {:?}, role {:?}\n  {}\n{query}\n{what}\n",
            self.world.seed,
            table.sql.join(";\n"),
            table.full,
            table.tenant.map(|column| column.name),
            table.public,
            principal.tenant,
            principal.role,
            principal.sql(),
        )
    }
}
