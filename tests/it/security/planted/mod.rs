//! Another role may create in the schemas that the database searches: what it plants there decides nothing and is never
//! called. Each planted function leaves a line in the server's log, which no rollback takes back.

mod suite;
mod tables;
mod things;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rowcast::engine::Engine;
use rowcast::model::Principal;
use serde_json::{Value, json};
use tokio_postgres::Client as Sql;

use crate::engine::client::{Client, PATIENCE, QUIET, serving};
use crate::postgres::Server;

/// Nearer than what PostgreSQL finds for these operands in its own schema; each says yes.
const PLANT: &str = "
    set role planter;
    create function public.planted_bool(name text) returns boolean language plpgsql as
        $$ begin raise log 'planted % in %', name, current_setting('application_name'); return true; end $$;
    create function public.format(text, text) returns text language plpgsql as
        $$ begin perform public.planted_bool('format'); return 'red'; end $$;
    create function public.concat(text, text) returns text language plpgsql as
        $$ begin perform public.planted_bool('concat'); return 'red'; end $$;
    create function public.same(a mood, b mood) returns boolean language plpgsql as
        $$ begin return public.planted_bool('mood'); end $$;
    create function public.same(a varchar, b varchar) returns boolean language plpgsql as
        $$ begin return public.planted_bool('varchar'); end $$;
    create function public.same(a bigint, b text) returns boolean language plpgsql as
        $$ begin return public.planted_bool('bigint'); end $$;
    create function public.alike(a text) returns boolean language plpgsql as
        $$ begin return public.planted_bool('alike'); end $$;
    create operator public.= (leftarg = mood, rightarg = mood, function = public.same);
    create operator public.<> (leftarg = mood, rightarg = mood, function = public.same);
    create operator public.= (leftarg = varchar, rightarg = varchar, function = public.same);
    create operator public.= (leftarg = bigint, rightarg = text, function = public.same);
    create domain public.text as pg_catalog.text check (public.planted_bool('domain'));
    create collation public.\"C\" from \"POSIX\";
    reset role;";

/// The owner of a type may make casts to it.
const CAST: &str = "
    create function public.to_mood(text) returns mood language plpgsql as
        $$ begin perform public.planted_bool('cast'); return 'red'; end $$;
    create cast (pg_catalog.text as mood) with function public.to_mood(pg_catalog.text);";

/// No function of the planter's is in it: `concat` makes an empty text of NULL, where the type's own output makes NULL. The
/// operator makes PostgreSQL parse its prepared statements again.
const CAST_BY_CONCAT: &str = "
    set role planter;
    create cast (mood as pg_catalog.text) with function pg_catalog.concat(\"any\");
    create operator public.@@@@ (rightarg = pg_catalog.int4, function = pg_catalog.int4abs);
    reset role;";

/// False of no row without a mood, and true of none.
const BY_TEXT: &str = "ok(owner) and format('%s', m::text || '!') <> 'blue!' and m::text || '' <> 'blue'";

const BY_CAST: &str = "ok(owner) and m is distinct from current_setting('app.m')::mood";

const POLICIES: [&str; 6] = [
    "ok(owner) and format('%s', owner) = 'red'",
    "ok(owner) and concat(owner, '') = 'red'",
    "ok(owner) and nullif(m, 'blue') is not null",
    "ok(owner) and case m when 'red' then true else false end",
    "ok(owner) and short in ('red', 'pink')",
    "m = current_setting('app.m')::mood",
];

struct World {
    server: Server,
    admin: Sql,
}

impl World {
    async fn new(policy: &str) -> Self {
        let server = Server::logical();
        let admin = server.admin().await;
        admin
            .batch_execute(&format!(
                "create role planter; create role reader; grant create on schema public to planter;
                 create type mood as enum ('red', 'blue');
                 create table docs (id int primary key, owner text, m mood, short varchar(9));
                 alter table docs replica identity full; alter table docs enable row level security;
                 grant select on docs to reader;
                 create function ok(text) returns boolean language sql stable as 'select true';
                 create policy p on docs using ({policy})"
            ))
            .await
            .unwrap();
        World { server, admin }
    }

    async fn plant(&self) {
        self.admin.batch_execute("alter type mood owner to planter").await.unwrap();
        self.admin.batch_execute(PLANT).await.unwrap();
    }

    async fn insert(&self) {
        let rows =
            "insert into docs values (1, 'red', 'red', 'red'), (2, 'blue', 'blue', 'blue'), (3, 'pink', 'red', 'pink')";
        self.admin.batch_execute(rows).await.unwrap();
    }

    async fn insert_again(&self, mood: &str) {
        let (next, rows) = ("max(d.id) + 1", "(select 10 union select id from docs) d (id)");
        let row = format!("insert into docs select {next}, 'red', '{mood}', 'red' from {rows}");
        self.admin.batch_execute(&row).await.unwrap();
    }

    /// What SELECT shows.
    async fn shown(&self) -> BTreeSet<i64> {
        let path = "set search_path = pg_catalog, pg_temp; set app.m = 'red'; set role reader";
        self.admin.batch_execute(path).await.unwrap();
        let rows = self.admin.query("select id from public.docs", &[]).await.unwrap();
        self.admin.batch_execute("reset role; reset search_path").await.unwrap();
        rows.iter().map(|row| i64::from(row.get::<_, i32>(0))).collect()
    }

    /// Lines of planted functions.
    fn called(&self) -> Vec<String> {
        self.server.log().lines().filter(|line| line.contains("LOG:  planted")).map(str::to_owned).collect()
    }
}

fn reader(engine: &Engine) -> Client {
    let settings = BTreeMap::from([("app.m".to_owned(), "red".to_owned())]);
    Client::connect(engine, Principal { role: Some("reader".into()), settings, ..Principal::default() })
}

async fn delivered(client: &mut Client, count: usize) -> BTreeSet<i64> {
    client.rows(count, "id").await.iter().map(|id| id.as_i64().unwrap()).collect()
}

/// Rows that come alive, and then a snapshot of them.
async fn decides_as_select(world: &World, engine: &Engine, client: &mut Client, policy: &str) {
    world.insert().await;
    let shown = world.shown().await;
    assert_eq!(delivered(client, shown.len()).await, shown, "{policy}");
    client.is_quiet().await;
    let mut late = reader(engine);
    late.subscribe("late", "subscription { docs(snapshot: true) { operation row { id } } }");
    let mut snapshot = BTreeSet::new();
    while snapshot.len() < shown.len() {
        snapshot.extend(late.next().await["row"]["id"].as_i64());
    }
    assert_eq!(snapshot, shown, "{policy}");
    assert_eq!(world.called(), Vec::<String>::new(), "{policy}");
}

fn fields() -> Value {
    json!([{ "table": "docs" }])
}

const DOCS: &str = "subscription { docs { row { id } } }";

/// Everything is planted before the engine starts, and a reader has subscribed.
async fn planted(policy: &str) -> (World, Arc<Engine>, Client) {
    let world = World::new(policy).await;
    world.plant().await;
    let engine = serving(&world.server, &fields()).await;
    let client = reader(&engine);
    client.subscribe("1", DOCS);
    (world, engine, client)
}

#[tokio::test]
async fn what_is_planted_while_the_engine_runs_decides_nothing_and_is_never_called() {
    for policy in POLICIES {
        let world = World::new(policy).await;
        let engine = serving(&world.server, &fields()).await;
        let mut client = reader(&engine);
        client.subscribe("1", DOCS);
        world.plant().await;
        decides_as_select(&world, &engine, &mut client, policy).await;
        engine.stop(PATIENCE).await;
    }
}

#[tokio::test]
async fn what_is_planted_before_the_start_decides_nothing_and_is_never_called() {
    for policy in POLICIES {
        let (world, engine, mut client) = planted(policy).await;
        decides_as_select(&world, &engine, &mut client, policy).await;
        engine.stop(PATIENCE).await;
    }
}

/// The text of the policy means another cast now.
#[tokio::test]
async fn a_policy_that_would_call_a_planted_cast_is_refused_and_so_told_when_it_is_planted_later() {
    let (world, engine, mut client) = planted(BY_CAST).await;
    world.admin.batch_execute(CAST).await.unwrap();
    assert_eq!(client.error().await.0, "POLICY_UNBOUND");
    client.subscribe("2", DOCS);
    assert_eq!(client.error().await.0, "POLICY_UNBOUND");
    world.admin.batch_execute("drop cast (text as mood)").await.unwrap();
    let admitted = async {
        loop {
            client.subscribe("3", DOCS);
            tokio::time::sleep(QUIET).await;
            world.insert_again("blue").await;
            let frame = client.frame().await;
            if frame["type"] == "next" {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, admitted).await.expect("a policy that is bound again is asked again");
    assert_eq!(world.called(), Vec::<String>::new());
    engine.stop(PATIENCE).await;
}

/// It is immutable, and its argument a constant: to plan the statement would be to call it.
#[tokio::test]
async fn what_is_planted_between_two_events_is_not_called_by_the_planner() {
    let (world, engine, mut client) = planted("ok(owner) and m = 'red'::text::mood").await;
    world.insert().await;
    assert_eq!(delivered(&mut client, 2).await, BTreeSet::from([1, 3]));
    world.admin.batch_execute(&CAST.replace("plpgsql", "plpgsql immutable")).await.unwrap();
    // PostgreSQL parses every prepared statement a second time after this.
    world.admin.batch_execute("create operator public.@@@@ (rightarg = int4, function = int4abs)").await.unwrap();
    world.insert_again("red").await;
    assert_eq!(client.error().await.0, "POLICY_UNBOUND");
    assert_eq!(world.called(), Vec::<String>::new());
    engine.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_planted_cast_to_postgresqls_own_function_shows_no_row_that_select_hides() {
    let (world, engine, mut client) = planted(BY_TEXT).await;
    world.insert().await;
    assert_eq!(delivered(&mut client, 2).await, BTreeSet::from([1, 3]));
    world.admin.batch_execute(CAST_BY_CONCAT).await.unwrap();
    world.admin.batch_execute("insert into docs values (4, 'none', null, 'none')").await.unwrap();
    assert_eq!(client.error().await.0, "POLICY_UNBOUND");
    assert_eq!(world.shown().await, BTreeSet::from([1, 3]));
    engine.stop(PATIENCE).await;
    is_refused(&world).await;
}

/// By a new engine, which has parsed nothing yet.
async fn is_refused(world: &World) {
    let engine = serving(&world.server, &fields()).await;
    let mut client = reader(&engine);
    client.subscribe("1", DOCS);
    assert_eq!(client.error().await.0, "POLICY_UNBOUND");
    assert_eq!(world.called(), Vec::<String>::new());
    engine.stop(PATIENCE).await;
}

/// Its author meant the operator of the type's owner, which no text shows.
#[tokio::test]
async fn an_operator_that_no_text_shows_is_not_replaced_by_postgresqls_own() {
    let world = World::new("false").await;
    world.plant().await;
    let policy = "alter policy p on docs using (m is distinct from current_setting('app.m')::mood)";
    world.admin.batch_execute(policy).await.unwrap();
    is_refused(&world).await;
}
