//! Rows that move from one partition to another are delivered whole, whichever statement moves them, over both kinds of capture.

use std::sync::Arc;

use rowcast::engine::Engine;
use serde_json::json;

use crate::engine::client::{Client, PATIENCE, serving};
use crate::engine::order::{replica, seed};
use crate::postgres::Server;

/// Partitions of two levels, some with their columns in another order and after a dropped one. `n` is another with each change.
const TABLE: &str = "
    create table t (id int, k int, n int, primary key (id, k)) partition by list (k);
    create table one partition of t for values in (1);
    create table two (n int, k int not null, gone int, id int not null);
    alter table two drop column gone;
    alter table t attach partition two for values in (2);
    create table more (k int not null, gone int, id int not null, n int) partition by list (k);
    alter table more drop column gone;
    alter table t attach partition more for values in (3, 4);
    create table three partition of more for values in (3);
    create table four (n int, id int not null, k int not null);
    alter table more attach partition four for values in (4);";

async fn following(sql: &str) -> (Server, Arc<Engine>, Client) {
    let server = Server::logical();
    server.sql(sql).await;
    let engine = serving(&server, &json!([{ "table": "t", "public": true }])).await;
    let client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { t { transition key { id } row { n } } }");
    (server, engine, client)
}

/// A client that applies all that it receives ends with what the table has.
async fn is_told_whole(server: &Server, client: &mut Client, about: &str) {
    server.sql("insert into t values (99, 1, 0)").await;
    let mut told: Vec<_> = replica(client, about).await.into_iter().collect();
    told.sort_unstable();
    let told = told.iter().map(|(id, n)| format!("{id}={n}")).collect::<Vec<_>>().join(" ");
    let has = "select string_agg(id || '=' || n, ' ' order by id) from t";
    assert_eq!(Some(told), server.value(has).await, "{about}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_a_merge_moves_to_another_partition_are_told_whatever_else_it_does() {
    let delete = "when matched and t.n = 0 then delete";
    let update = "when matched then update set k = s.k, n = t.n + 1";
    let insert = "when not matched then insert values (s.id, s.k, 9)";
    for actions in [&[update][..], &[update, insert], &[delete, update], &[delete, update, insert]] {
        let (server, engine, mut client) = following(TABLE).await;
        server.sql("insert into t values (1, 1, 0), (2, 1, 1), (3, 2, 1), (4, 3, 1), (5, 4, 1), (6, 1, 1)").await;
        let source = "merge into t using (values (1, 2), (2, 4), (3, 1), (4, 4), (5, 3), (6, 1), (7, 3)) s (id, k) on t.id = s.id";
        let merge = format!("{source} {}", actions.join(" "));
        server.sql(&merge).await;
        is_told_whole(&server, &mut client, &merge).await;
        engine.stop(PATIENCE).await;
    }
}

/// The server tells a trigger of neither what runs inside a function nor of what was prepared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_moves_rows_wherever_it_runs() {
    let merge = "merge into t using (values (1, 2), (2, 4)) s (id, k) on t.id = s.id when matched then update set k = s.k, n = t.n + 1";
    let merge_with_f = "merge into t using (select 1, 2 from (select f() offset 0) f) s (id, k) on t.id = s.id \
                        when matched then update set k = s.k, n = t.n + 1";
    let update = "update t set k = 3 - k, n = n + 1 where k < 3";
    let ways = [
        format!("do $$ begin {merge}; end $$"),
        format!("do $$ begin execute '{merge}'; end $$"),
        format!("create function f() returns void language sql as '{merge}'; select f()"),
        format!("create function f() returns int language plpgsql as $$ begin {merge}; return 1; end $$; insert into t select 3, f(), 0"),
        format!("create function f() returns int language plpgsql as $$ begin {merge}; return 1; end $$; update t set n = n + f() where id = 5"),
        format!("prepare p as {merge}; execute p"),
        format!("do $$ begin begin {merge}; raise exception 'never mind'; exception when others then null; end; {merge}; end $$"),
        format!("create function f() returns void language sql as '{update}'; select f()"),
        format!("do $$ begin {update}; end $$ /* no merge */"),
        "with a as (update t set k = 3 - k, n = n + 1 where id = 1 returning id) \
         merge into t using (values (2, 4)) s (id, k) on t.id = s.id when matched then update set k = s.k, n = t.n + 1"
            .to_owned(),
        "with a as (insert into t values (3, 1, 7)) \
         merge into t using (values (2, 4)) s (id, k) on t.id = s.id when matched then update set k = s.k, n = t.n + 1"
            .to_owned(),
        "merge into more as t using (values (5, 3)) s (id, k) on t.id = s.id when matched then update set k = s.k, n = t.n + 1"
            .to_owned(),
        "do $$ begin update more set k = 7 - k, n = n + 1; end $$ /* not by its root */".to_owned(),
        format!("create function f() returns int language plpgsql as $$ begin update four set n = n + 1; return 0; end $$; {merge_with_f}"),
        "with a as (update more set n = n + 1) \
         merge into t using (values (2, 2)) s (id, k) on t.id = s.id when matched then update set k = s.k, n = t.n + 1"
            .to_owned(),
    ];
    for way in ways {
        let (server, engine, mut client) = following(TABLE).await;
        server.sql("insert into t values (1, 1, 0), (2, 1, 1), (5, 4, 1)").await;
        server.sql(&way).await;
        is_told_whole(&server, &mut client, &way).await;
        engine.stop(PATIENCE).await;
    }
}

/// What one session has captured before it, and what others have changed since, make no difference.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_is_told_whatever_has_become_of_the_table_since_the_last() {
    let (server, engine, mut client) = following(TABLE).await;
    let writer = server.admin().await;
    let merge =
        "merge into t using (values (1)) s (id) on t.id = s.id when matched then update set k = 3 - k, n = n + 1";
    writer.batch_execute(&format!("insert into t values (1, 1, 0); {merge}")).await.unwrap();
    for change in [
        "alter table t add note varchar(9) default 'new'",
        "alter table t alter note type varchar(12)",
        "alter table t drop note",
    ] {
        server.sql(change).await;
        writer.batch_execute(merge).await.unwrap();
    }
    is_told_whole(&server, &mut client, "with columns that come and go").await;
    engine.stop(PATIENCE).await;
}

/// The server shows no text there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_at_the_end_of_a_transaction_is_told() {
    let later = "create table other (n int);
         create function merge_later() returns trigger language plpgsql as $$
         begin merge into t using (values (1)) s (id) on t.id = s.id when matched then update set k = 2, n = t.n + 1; return null; end $$;
         create constraint trigger merge_later after insert on other deferrable initially deferred
             for each row execute function merge_later()";
    let (server, engine, mut client) = following(&[TABLE, later].concat()).await;
    server.sql("insert into t values (1, 1, 0)").await;
    server.admin().await.execute("insert into other values ($1)", &[&1_i32]).await.unwrap();
    is_told_whole(&server, &mut client, "deferred").await;
    engine.stop(PATIENCE).await;
}

/// They run within the statement that they follow from, and end after it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn referential_actions_on_partitions_take_nothing_from_what_is_told() {
    for action in ["set null", "cascade"] {
        let table = format!(
            "create table t (id int primary key, k int, n int, up int references t on delete {action}) partition by range (id);
             create table low partition of t for values from (0) to (10);
             create table high partition of t for values from (10) to (100);
             create function remove(which int) returns void language sql as 'delete from t where id = which'"
        );
        let (server, engine, mut client) = following(&table).await;
        server.sql("insert into t (id, n, up) values (1, 0, null), (2, 0, 1), (11, 0, 1), (3, 0, null), (4, 0, null), (5, 0, 4), (6, 0, null), (7, 0, 6)").await;
        server.sql("delete from t where id = 1; delete from t where id = 3; select remove(4)").await;
        server
            .sql("merge into t using (values (6), (7)) s (id) on t.id = s.id when matched and t.id = 6 then delete")
            .await;
        is_told_whole(&server, &mut client, action).await;
        engine.stop(PATIENCE).await;
    }
}

/// Everything that can move rows, at random, in each other's functions too.
const MOVERS: &str = "
    create function some_id() returns int language sql volatile as 'select 1 + floor(random() * 6)::int';
    create function some_k() returns int language sql volatile as 'select 1 + floor(random() * 4)::int';
    create view s as select id, some_k() as k from generate_series(1, 6) id where random() < 0.7;
    create function by_merge() returns int language plpgsql as $$
    begin
        merge into t using s on t.id = s.id when matched then update set k = s.k, n = t.n + 1;
        return some_k();
    end $$;
    create function by_sql() returns void language sql as
        'merge into t using s on t.id = s.id when matched then update set k = s.k, n = t.n + 1';
    create function move() returns void language plpgsql as $$
    begin
        case floor(random() * 14)
            when 0 then perform by_merge();
            when 1 then perform by_sql();
            when 2 then merge into t using s on t.id = s.id
                when matched and t.n % 3 = 0 then delete when matched then update set k = s.k, n = t.n + 1;
            when 3 then merge into t using s on t.id = s.id
                when matched then update set k = s.k, n = t.n + 1 when not matched then insert values (s.id, s.k, 0);
            when 4 then merge into t using s on t.id = s.id
                when matched and t.n % 3 = 0 then delete when matched then update set k = s.k, n = t.n + 1
                when not matched then insert values (s.id, s.k, 0);
            when 5 then update t set k = some_k(), n = n + 1 where id <= some_id();
            when 6 then merge into more using s on more.id = s.id and s.k > 2 when matched then update set k = s.k, n = more.n + 1;
            when 7 then insert into t select * from t where id = some_id() on conflict (id, k) do update set n = t.n + 1;
            when 8 then insert into t select id, some_k(), 0 from generate_series(1, 6) g (id) where not exists (select from t where t.id = g.id);
            when 9 then with a as (update t set k = some_k(), n = n + 1 where id <= 2 returning id)
                merge into t using s on t.id = s.id and s.id > 2 when matched then update set k = s.k, n = t.n + 1;
            when 10 then with a as (delete from t where id <= 2 returning id)
                merge into t using s on t.id = s.id and s.id > 2 when matched then update set k = s.k, n = t.n + 1;
            when 11 then update t set n = n + 1, k = by_merge() where id = 3;
            when 12 then execute 'merge into t using s on t.id = s.id when matched then update set k = s.k, n = t.n + 1';
            when 13 then delete from t where id = some_id();
        end case;
    exception when others then null;
    end $$;";

/// What a trigger of the table's own does after a row, to the third degree.
const STIRRERS: &str = "
    create function stir() returns trigger language plpgsql as $$
    begin
        if pg_trigger_depth() <= 3 and random() < 0.3 then perform move(); end if;
        return null;
    end $$;
    create trigger stir after insert or update or delete on t for each row execute function stir();
    create trigger stir_whole after insert or update or delete on t for each statement execute function stir();";

async fn holds_at_random(setup: &str) {
    let seed = seed();
    let (server, engine, mut client) = following(setup).await;
    let writer = server.admin().await;
    writer.batch_execute(&format!("select setseed({})", f64::from(seed % 1_000_000) / 1e6)).await.unwrap();
    for _ in 0..100 {
        writer.batch_execute("select move(), move()").await.unwrap();
    }
    writer.batch_execute("drop function if exists stir() cascade").await.unwrap();
    is_told_whole(&server, &mut client, &format!("seed {seed}")).await;
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_moves_rows_a_client_ends_with_what_the_table_has() {
    holds_at_random(&[TABLE, MOVERS].concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_moves_rows_after_others_have_a_client_ends_with_what_the_table_has() {
    holds_at_random(&[TABLE, MOVERS, STIRRERS].concat()).await;
}
