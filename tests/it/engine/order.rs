//! In one transaction: whatever triggers, cascades and savepoints do, each row is delivered as it became, over both kinds of capture.

use std::collections::HashMap;
use std::sync::Arc;

use rowcast::engine::Engine;
use serde_json::{Value, json};

use crate::engine::client::{Client, PATIENCE, serving};
use crate::postgres::Server;

const ROWS: &str = "subscription { t { operation key { id } row { note } } }";

/// A table, and what else there is before an engine serves it.
async fn prepared(sql: &str) -> (Server, Arc<Engine>, Client) {
    let server = Server::logical();
    server.sql("create table t (id int primary key, note text, up int)").await;
    server.sql(sql).await;
    let engine = serving(&server, &json!([{ "table": "t", "public": true }])).await;
    let client = Client::of(&engine, "acme");
    client.subscribe("1", ROWS);
    (server, engine, client)
}

/// A trigger on `t` with this body.
fn trigger(when: &str, body: &str) -> String {
    format!(
        "create function work() returns trigger language plpgsql as $$ begin {body} return new; end $$;
         create trigger work {when} on t for each row execute function work()"
    )
}

/// So many changes, each as `operation key note`.
async fn told(client: &mut Client, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    for _ in 0..count {
        told.push(line(&client.next().await));
    }
    told
}

fn line(event: &Value) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("{} {} {}", word(&event["operation"]), event["key"]["id"], word(&event["row"]["note"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_trigger_changes_after_a_row_is_told_after_the_row() {
    let body = "update t set note = 'done' where id = new.id and note = 'raw';";
    let (server, engine, mut client) = prepared(&trigger("after insert", body)).await;
    server.sql("insert into t values (1, 'raw'), (2, 'raw'); insert into t values (3, 'plain')").await;
    let due = ["INSERT 1 raw", "INSERT 2 raw", "UPDATE 1 done", "UPDATE 2 done", "INSERT 3 plain"];
    assert_eq!(told(&mut client, 5).await, due);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_trigger_changes_before_a_row_is_told_before_the_row() {
    let body = "delete from t where id = new.id;";
    let (server, engine, mut client) = prepared(&trigger("before insert", body)).await;
    server.sql("insert into t values (1, 'first'); insert into t values (1, 'second')").await;
    assert_eq!(told(&mut client, 3).await, ["INSERT 1 first", "DELETE 1 null", "INSERT 1 second"]);
    engine.stop(PATIENCE).await;
}

/// The statement of each level runs while that above it is not at its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_within_triggers_are_told_from_the_outside_in() {
    let body = "if new.id > 0 then insert into t values (new.id - 1, 'below'); update t set note = note || '!' where id = new.id; end if;";
    let (server, engine, mut client) = prepared(&trigger("after insert", body)).await;
    server.sql("insert into t values (2, 'top')").await;
    let due = ["INSERT 2 top", "INSERT 1 below", "INSERT 0 below", "UPDATE 1 below!", "UPDATE 2 top!"];
    assert_eq!(told(&mut client, 5).await, due);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_savepoint_takes_back_leaves_the_order_of_the_rest() {
    let body = "if new.note = 'raw' then
            begin update t set note = 'lost' where id = new.id; raise exception 'never mind'; exception when others then null; end;
            update t set note = 'done' where id = new.id;
        end if;";
    let (server, engine, mut client) = prepared(&trigger("after insert or update", body)).await;
    server.sql("begin; savepoint a; insert into t values (1, 'raw'); rollback to a; insert into t values (1, 'raw'); commit").await;
    server.sql("update t set note = 'raw'").await;
    let due = ["INSERT 1 raw", "UPDATE 1 done", "UPDATE 1 raw", "UPDATE 1 done"];
    assert_eq!(told(&mut client, 4).await, due);
    client.is_quiet().await;
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_statement_with_several_commands_is_told_before_what_its_triggers_change() {
    let body = "if new.note like 'raw%' then update t set note = 'done' where id = new.id; end if;";
    let (server, engine, mut client) = prepared(&trigger("after insert or update", body)).await;
    server.sql("insert into t values (1, 'old')").await;
    server
        .sql("with a as (update t set note = 'raw' where id = 1 returning id) insert into t select 2, 'raw' from a")
        .await;
    let mut first = told(&mut client, 3).await;
    first[1..].sort();
    assert_eq!(first, ["INSERT 1 old", "INSERT 2 raw", "UPDATE 1 raw"]);
    let mut then = told(&mut client, 2).await;
    then.sort();
    assert_eq!(then, ["UPDATE 1 done", "UPDATE 2 done"]);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cascade_is_told_after_what_it_follows_from() {
    let tree = "alter table t add foreign key (up) references t on delete cascade;
                insert into t values (1, 'a', null), (2, 'b', 1), (3, 'c', 2)";
    let (server, engine, mut client) = prepared(tree).await;
    server.sql("delete from t where id = 1; insert into t values (3, 'again')").await;
    assert_eq!(told(&mut client, 4).await, ["DELETE 1 null", "DELETE 2 null", "DELETE 3 null", "INSERT 3 again"]);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_partitions_are_told_before_what_their_triggers_change() {
    let server = Server::logical();
    let body = "update t set note = 'done' where id = new.id and note = 'raw';";
    server
        .sql(&format!(
            "create table t (id int primary key, note text) partition by range (id);
             create table low partition of t for values from (0) to (10);
             create table high partition of t for values from (10) to (20); {}",
            trigger("after insert or update", body)
        ))
        .await;
    let engine = serving(&server, &json!([{ "table": "t", "public": true }])).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", ROWS);
    server.sql("begin; insert into t values (1, 'raw'); insert into low values (2, 'raw'); commit").await;
    let due = ["INSERT 1 raw", "UPDATE 1 done", "INSERT 2 raw", "UPDATE 2 done"];
    assert_eq!(told(&mut client, 4).await, due);
    server.sql("update t set id = id + 10, note = 'raw'").await;
    // Each was moved to another partition, which the replication stream tells as DELETE and INSERT.
    let mut last = HashMap::new();
    while last.get("11").map(String::as_str) != Some("done") || last.get("12").map(String::as_str) != Some("done") {
        let next = told(&mut client, 1).await.remove(0);
        let mut words = next.split(' ').skip(1).map(str::to_owned);
        last.insert(words.next().unwrap(), words.next().unwrap());
    }
    client.is_quiet().await;
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_goes_with_its_parent_after_much_else_is_told_last() {
    let more = "create table parent (id int primary key); insert into parent values (1);
         alter table t add foreign key (up) references parent on delete cascade;
         create table other (n int); insert into other values (1);
         create function touch() returns trigger language plpgsql as $$ begin update t set note = 'touched'; return new; end $$;
         create trigger touch after update on other for each row execute function touch();
         create function nothing() returns trigger language plpgsql as $$ begin return null; end $$;
         create trigger nothing after delete on t for each statement execute function nothing()";
    let (server, engine, mut client) = prepared(more).await;
    server.sql("begin; insert into t values (1, 'new', 1); update other set n = 2; delete from parent; commit").await;
    assert_eq!(told(&mut client, 3).await, ["INSERT 1 new", "UPDATE 1 touched", "DELETE 1 null"]);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_function_in_a_statement_changes_is_told_before_the_row_that_it_makes() {
    let body = "if new.note = 'clear' then delete from t where id = 5; end if;";
    let more = "create function clear(at int) returns int language plpgsql as $$ begin update t set note = 'clear' where id = 1; return at; end $$";
    let (server, engine, mut client) = prepared(&format!("{}; {more}", trigger("after insert or update", body))).await;
    server.sql("insert into t values (1, 'one'), (5, 'old')").await;
    server.sql("insert into t select clear(5), 'new'").await;
    let due = ["INSERT 1 one", "INSERT 5 old", "UPDATE 1 clear", "DELETE 5 null", "INSERT 5 new"];
    assert_eq!(told(&mut client, 5).await, due);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_trigger_changes_between_two_rows_of_a_statement_is_told_between_them() {
    let body = "update t set note = 'second best' where id <> new.id and note = 'best';";
    let (server, engine, mut client) = prepared(&trigger("before insert", body)).await;
    server.sql("insert into t values (1, 'best'), (2, 'best'), (3, 'good')").await;
    let due = ["INSERT 1 best", "UPDATE 1 second best", "INSERT 2 best", "UPDATE 2 second best", "INSERT 3 good"];
    assert_eq!(told(&mut client, 5).await, due);
    engine.stop(PATIENCE).await;
}

/// All are emptied at once, after what their BEFORE triggers do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_before_several_tables_are_truncated_is_told_before_they_are() {
    let more = "create table u (id int primary key);
         create function fill() returns trigger language plpgsql as $$ begin insert into t values (7, 'filled'); return null; end $$;
         create trigger fill before truncate on u for each statement execute function fill();
         create function nothing() returns trigger language plpgsql as $$ begin return null; end $$;
         create trigger nothing before truncate on t for each statement execute function nothing()";
    let (server, engine, mut client) = prepared(more).await;
    server.sql("select rowcast.watch('u', public => true); insert into t values (1, 'one'); truncate t, u; insert into t values (7, 'again')").await;
    let due = ["INSERT 1 one", "INSERT 7 filled", "TRUNCATE null null", "INSERT 7 again"];
    assert_eq!(told(&mut client, 4).await, due);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_trigger_on_a_distant_table_writes_while_rows_cascade_is_told_in_order() {
    // Referential actions run in the order in which they were declared.
    let more = "create table g (id int primary key, up int);
         create table p (id int primary key, g int references g on delete cascade);
         alter table g add foreign key (up) references g on delete cascade;
         alter table t add foreign key (up) references p on delete cascade;
         insert into g values (1, null), (2, 1); insert into p values (1, 1); insert into t values (1, 'old', 1);
         create function keep() returns trigger language plpgsql as $$
         begin if old.id = 2 then insert into t values (1, 'kept', null) on conflict do nothing; end if; return null; end $$;
         create trigger keep after delete on g for each row execute function keep()";
    let (server, engine, mut client) = prepared(more).await;
    server.sql("delete from g where id = 1").await;
    assert_eq!(told(&mut client, 2).await, ["DELETE 1 null", "INSERT 1 kept"]);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_after_a_truncate_is_told_after_it() {
    let more = "create function seed() returns trigger language plpgsql as $$ begin insert into t values (0, 'seed'); return null; end $$;
         create trigger again after truncate on t for each statement execute function seed()";
    let (server, engine, mut client) = prepared(more).await;
    server.sql("insert into t values (1, 'one'); truncate t").await;
    assert_eq!(told(&mut client, 3).await, ["INSERT 1 one", "TRUNCATE null null", "INSERT 0 seed"]);
    engine.stop(PATIENCE).await;
}

/// Two tables whose triggers do anything at any time, to the third degree.
const MEDDLERS: &str = "
    create table t (id int primary key, n int);
    create table c (id int primary key, n int, up int references t on delete cascade);
    create function some_id() returns int language sql volatile as 'select 1 + floor(random() * 6)::int';
    create function meddle() returns int language plpgsql as $$
    begin
        case floor(random() * 15)
            when 0 then insert into t values (some_id(), 0) on conflict do nothing;
            when 1 then insert into t values (some_id(), 0) on conflict (id) do update set n = t.n + 1;
            when 2 then update t set n = n + 1 where id = some_id();
            when 3 then update t set n = n + 1 where id <= 3;
            when 4 then delete from t where id = some_id();
            when 5 then insert into t select g, 0 from generate_series(1, 6) g where not exists (select from t where id = g);
            when 6 then with d as (delete from t where id <= 3 returning id) insert into t select id, 100 from d limit 1;
            when 7 then insert into t select 1 + meddle() % 6, 7 from generate_series(1, 2);
            when 8 then insert into c values (some_id(), 0, some_id()) on conflict (id) do update set up = excluded.up;
            when 9 then update c set n = n + 1, up = some_id() where id = some_id();
            when 10 then delete from c where id <= some_id();
            when 11 then update c set n = n + meddle() where id <= 2;
            when 12 then delete from t where id > 4;
            when 13 then insert into c select g, 0, some_id() from generate_series(1, 6) g where not exists (select from c where id = g);
            when 14 then
                merge into t using generate_series(1, 6) g on t.id = g
                    when matched and n > 2 then delete
                    when matched then update set n = n + 1
                    when not matched then insert values (g, 0);
        end case;
        return some_id();
    end $$;
    create function work() returns trigger language plpgsql as $$
    begin
        if pg_trigger_depth() <= 3 and random() < 0.3 then
            begin
                perform meddle();
            exception when others then null;
            end;
        end if;
        return case when tg_op = 'DELETE' then old else new end;
    end $$;
    create function work_whole() returns trigger language plpgsql as $$ begin perform work_once(); return null; end $$;
    create function work_once() returns void language plpgsql as $$
    begin
        if pg_trigger_depth() <= 3 and random() < 0.2 then perform meddle(); end if;
    exception when others then null;
    end $$;
    create function go(times int) returns void language plpgsql as $$
    begin
        for n in 1..times loop
            begin perform meddle(); exception when others then null; end;
        end loop;
    end $$;";

/// With the names that such triggers may have: before ours and behind.
fn meddling() -> String {
    let names = [("a", "before"), ("z", "before"), ("b", "after"), ("y", "after")];
    let each = |table| {
        names.map(|(name, when)| {
            format!(
                "create trigger {name}_row {when} insert or update or delete on {table} for each row execute function work();
                 create trigger {name}_statement {when} insert or update or delete on {table} for each statement execute function work_whole();"
            )
        })
    };
    MEDDLERS.to_owned() + &["t", "c"].map(each).concat().concat()
}

/// What a client that applies all that it receives has of each row in the end; that it can is part of the promise.
pub(super) async fn replica(client: &mut Client, about: &str) -> HashMap<i64, i64> {
    let mut rows = HashMap::new();
    loop {
        let event = client.next().await;
        let id = event["key"]["id"].as_i64().unwrap();
        let known = match event["row"]["n"].as_i64() {
            Some(n) => rows.insert(id, n),
            None => rows.remove(&id),
        };
        assert_eq!(known.is_some(), event["transition"] != "ENTER", "{about}: {event}");
        if id == 99 {
            return rows;
        }
    }
}

/// The given one, or another each time, which is printed.
pub(super) fn seed() -> u32 {
    let seed = match std::env::var("ROWCAST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => rand::random::<u32>(),
    };
    eprintln!("ROWCAST_SEED={seed}");
    seed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_triggers_do_to_each_other_a_client_ends_with_what_the_table_has() {
    let seed = seed();
    let server = Server::logical();
    server.sql(&meddling()).await;
    let engine = serving(&server, &json!([{ "table": "t", "public": true }, { "table": "c", "public": true }])).await;
    let mut clients = ["t", "c"].map(|table| (table, Client::of(&engine, "acme")));
    for (table, client) in &clients {
        client.subscribe("1", &format!("subscription {{ {table} {{ transition key {{ id }} row {{ n }} }} }}"));
    }
    let writer = server.admin().await;
    writer.batch_execute(&format!("select setseed({})", f64::from(seed % 1_000_000) / 1e6)).await.unwrap();
    for _ in 0..60 {
        writer.batch_execute("select go(5)").await.unwrap();
    }
    writer.batch_execute("drop function work() cascade; drop function work_whole() cascade").await.unwrap();
    writer.batch_execute("insert into t values (99, 0); insert into c values (99, 0)").await.unwrap();
    for (table, client) in &mut clients {
        let mut told: Vec<_> = replica(client, &format!("seed {seed}")).await.into_iter().collect();
        told.sort_unstable();
        let sql = format!("select coalesce(string_agg(id || '=' || n, ' ' order by id), '') from {table}");
        let told = told.iter().map(|(id, n)| format!("{id}={n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(Some(told), server.value(&sql).await, "seed {seed}: {table}");
    }
    engine.stop(PATIENCE).await;
}
