//! The decoder against the messages of a real server, fetched through `pg_logical_slot_get_binary_changes`.

use crate::postgres::Database;
use bytes::Bytes;
use rowcast::decode::{Decoded, Decoder, Tables, json};
use rowcast::model::{
    Change, Column, Datum, Event, Message, Operation, PgType, ReplicaIdentity, RowChange, Table, TableName,
};
use std::sync::Arc;
use tokio_postgres::Client;

/// A database with a publication of all its tables and a slot that is drained on demand.
struct Stream {
    _database: Database,
    client: Client,
    slot: String,
    decoder: Decoder,
}

impl Stream {
    /// Runs `setup`, then watches the tables named.
    async fn new(setup: &str, watched: &[&str]) -> Stream {
        let database = Database::empty().await;
        let client = database.connect().await;
        client.batch_execute(setup).await.unwrap();
        let publication = "create publication p for all tables with (publish_via_partition_root = true)";
        client.batch_execute(publication).await.unwrap();
        let slot = format!("slot_{}", database.name);
        client.execute("select pg_create_logical_replication_slot($1, 'pgoutput')", &[&slot]).await.unwrap();
        let decoder = Decoder::new(tables(&client, watched).await);
        Stream { _database: database, client, slot, decoder }
    }

    async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// What the server has sent since the last call, decoded.
    async fn decoded(&mut self) -> Vec<Decoded> {
        let sql = "select data from pg_logical_slot_get_binary_changes($1, null, null,
                   'proto_version', '1', 'publication_names', 'p', 'messages', 'true')";
        let rows = self.client.query(sql, &[&self.slot]).await.unwrap();
        let bodies = rows.iter().map(|row| Bytes::from(row.get::<_, Vec<u8>>(0)));
        bodies.map(|body| self.decoder.decode(body).unwrap()).collect()
    }

    async fn events(&mut self) -> Vec<Arc<Event>> {
        self.decoded().await.into_iter().flat_map(events_of).collect()
    }

    async fn rows(&mut self) -> Vec<RowChange> {
        self.events().await.iter().filter_map(|event| row_of(event)).collect()
    }

    /// Runs `sql` and takes the one row that it changes.
    async fn row(&mut self, sql: &str) -> RowChange {
        self.sql(sql).await;
        let mut rows = self.rows().await;
        assert_eq!(rows.len(), 1, "{sql}");
        rows.remove(0)
    }

    async fn reload(&mut self, watched: &[&str]) {
        self.decoder.set_tables(tables(&self.client, watched).await);
    }
}

fn events_of(decoded: Decoded) -> Vec<Arc<Event>> {
    match decoded {
        Decoded::Event(event) => vec![event],
        Decoded::Events(events) => events,
        _ => Vec::new(),
    }
}

fn row_of(event: &Event) -> Option<RowChange> {
    match &event.change {
        Change::Row(row) => Some(row.clone()),
        _ => None,
    }
}

async fn tables(client: &Client, names: &[&str]) -> Arc<Tables> {
    let mut tables = Tables::new();
    for name in names {
        let table = table(client, name).await;
        tables.insert(table.oid, Arc::new(table));
    }
    Arc::new(tables)
}

async fn table(client: &Client, name: &str) -> Table {
    let sql = "select c.oid, c.relname, c.relreplident::text from pg_class c where c.oid = $1::text::regclass";
    let class = client.query_one(sql, &[&name]).await.unwrap();
    let (oid, name, identity): (u32, String, String) = (class.get(0), class.get(1), class.get(2));
    let sql = "select attname, atttypid, attnotnull from pg_attribute
               where attrelid = $1 and attnum > 0 and not attisdropped order by attnum";
    let columns = client.query(sql, &[&oid]).await.unwrap();
    let column = |row: &tokio_postgres::Row| Column {
        name: row.get(0),
        field: row.get(0),
        type_oid: row.get(1),
        pg_type: PgType::builtin(row.get(1)).unwrap_or(PgType::Other),
        not_null: row.get(2),
        collation: rowcast::model::Collation::Plain,
        folding: rowcast::model::Folding::Simple,
    };
    Table {
        oid,
        name: TableName { schema: "public".into(), name: name.clone() },
        type_name: name.clone(),
        field: name,
        columns: columns.iter().map(column).collect(),
        key: [0].into(),
        tenant: None,
        public: true,
        access: rowcast::model::Access::default(),
        identity: match &*identity {
            "f" => ReplicaIdentity::Full,
            "i" => ReplicaIdentity::Index,
            "n" => ReplicaIdentity::Nothing,
            _ => ReplicaIdentity::Default,
        },
        comment: None,
    }
}

fn datum(text: &str) -> Datum {
    Datum::Text(Bytes::copy_from_slice(text.as_bytes()))
}

fn old(row: &RowChange) -> &[Datum] {
    row.old.as_ref().unwrap().values()
}

fn new(row: &RowChange) -> &[Datum] {
    row.new.as_ref().unwrap().values()
}

const ABSENT: Datum = Datum::Absent;
const NULL: Datum = Datum::Null;

#[tokio::test]
async fn every_replica_identity_tells_what_it_knows_of_the_old_row() {
    let setup = "create table d (id int primary key, n text, s text);
                 create table f (like d including all); alter table f replica identity full;
                 create table i (like d including all, u int not null); create unique index i_u on i (u);
                 alter table i replica identity using index i_u;
                 create table x (n text); alter table x replica identity nothing;
                 create table k (n text, s text); alter table k replica identity full;";
    let mut stream = Stream::new(setup, &["d", "f", "i", "x", "k"]).await;

    stream.row("insert into d values (1, 'n', null)").await;
    let row = stream.row("update d set n = 'm'").await;
    assert_eq!(
        (row.operation, row.old.is_none(), new(&row)),
        (Operation::Update, true, &[datum("1"), datum("m"), NULL][..])
    );
    let row = stream.row("update d set id = 2").await;
    assert_eq!((old(&row), new(&row)), (&[datum("1"), ABSENT, ABSENT][..], &[datum("2"), datum("m"), NULL][..]));
    let row = stream.row("delete from d").await;
    assert_eq!(
        (row.operation, old(&row), row.new.is_none()),
        (Operation::Delete, &[datum("2"), ABSENT, ABSENT][..], true)
    );

    stream.row("insert into f values (1, 'n', null)").await;
    let row = stream.row("update f set n = null").await;
    assert_eq!((old(&row), new(&row)), (&[datum("1"), datum("n"), NULL][..], &[datum("1"), NULL, NULL][..]));
    let row = stream.row("delete from f").await;
    assert_eq!(old(&row), [datum("1"), NULL, NULL]);

    stream.row("insert into i values (1, 'n', null, 7)").await;
    let row = stream.row("update i set u = 8").await;
    assert_eq!(old(&row), [ABSENT, ABSENT, ABSENT, datum("7")]);
    let row = stream.row("delete from i").await;
    assert_eq!(old(&row), [ABSENT, ABSENT, ABSENT, datum("8")]);

    let row = stream.row("insert into x values ('n')").await;
    assert_eq!(new(&row), [datum("n")]);
    let refused = stream.client.batch_execute("update x set n = 'm'").await;
    assert!(refused.is_err(), "PostgreSQL refuses updates of a published table without identity");

    stream.row("insert into k values ('n', null)").await;
    let row = stream.row("delete from k").await;
    assert_eq!(old(&row), [datum("n"), NULL], "FULL needs no key");
}

#[tokio::test]
async fn an_untouched_toasted_value_is_filled_from_a_full_image_and_unchanged_without_one() {
    let setup = "create table d (id int primary key, big text, n int);
                 create table f (like d including all); alter table f replica identity full;
                 create function noise() returns text language sql volatile as
                   $$ select string_agg(md5(random()::text), '') from generate_series(1, 400) $$;";
    let mut stream = Stream::new(setup, &["d", "f"]).await;
    for table in ["d", "f"] {
        let row = stream.row(&format!("insert into {table} values (1, noise(), 0)")).await;
        let big = new(&row)[1].clone();
        assert_eq!(big.text().unwrap().len(), 12_800);
        let row = stream.row(&format!("update {table} set n = 1")).await;
        let expected = if table == "f" { big.clone() } else { Datum::Unchanged };
        assert_eq!(new(&row), [datum("1"), expected, datum("1")]);
        let row = stream.row(&format!("update {table} set big = null")).await;
        assert_eq!(new(&row), [datum("1"), NULL, datum("1")]);
        if table == "f" {
            assert_eq!(old(&row)[1], big);
        }
    }
}

const PARTITIONED: &str =
    "create table root (id int, region text, n text, primary key (id, region)) partition by list (region);
     create table leaf_a partition of root for values in ('a');
     create table leaf_b (n text, region text not null, junk int, id int not null);
     alter table leaf_b drop column junk;
     alter table root attach partition leaf_b for values in ('b');
     alter table root replica identity full; alter table leaf_a replica identity full;
     alter table leaf_b replica identity full;";

#[tokio::test]
async fn a_partitions_rows_come_under_their_roots_name_and_in_its_column_order() {
    let mut stream = Stream::new(PARTITIONED, &["root"]).await;
    for region in ["a", "b"] {
        let row = stream.row(&format!("insert into root values (1, '{region}', null)")).await;
        assert_eq!((&*row.table.name.name, new(&row)), ("root", &[datum("1"), datum(region), NULL][..]));
        let row = stream.row(&format!("update leaf_{region} set n = 'x'")).await;
        assert_eq!(old(&row), [datum("1"), datum(region), NULL]);
        assert_eq!(new(&row), [datum("1"), datum(region), datum("x")]);
    }
    stream.sql("update root set region = 'b', id = 2 where region = 'a'").await;
    let operations: Vec<_> = stream.rows().await.iter().map(|row| row.operation).collect();
    assert_eq!(operations, [Operation::Delete, Operation::Insert], "a row that moves between partitions");
    stream.sql("truncate leaf_a").await;
    assert_eq!(stream.events().await, [], "PostgreSQL does not send a partition's TRUNCATE");
    stream.sql("truncate root").await;
    assert!(matches!(&stream.events().await[0].change, Change::Truncate(table) if table.name.name == "root"));
}

#[tokio::test]
async fn a_partition_that_logs_its_key_alone_never_tells_nulls_that_were_not() {
    let mut stream = Stream::new(PARTITIONED, &["root"]).await;
    stream.sql("create table leaf_c partition of root for values in ('c')").await;
    stream.rows_of_insert("a").await;
    stream.rows_of_insert("c").await;
    let row = stream.row("delete from root where region = 'c'").await;
    assert_eq!(old(&row), [datum("1"), datum("c"), ABSENT], "n was 'told', the message says NULL");
    let row = stream.row("delete from root where region = 'a'").await;
    assert_eq!(old(&row), [datum("1"), datum("a"), datum("told")], "what is sent is delivered");

    stream.sql("alter table leaf_c replica identity full").await;
    stream.sql("insert into root values (2, 'c', null)").await;
    stream.rows().await;
    let row = stream.row("delete from root where region = 'c'").await;
    assert_eq!(old(&row), [datum("2"), datum("c"), NULL], "whole again");
}

impl Stream {
    async fn rows_of_insert(&mut self, region: &str) {
        self.row(&format!("insert into root values (1, '{region}', 'told')")).await;
    }
}

#[tokio::test]
async fn a_truncate_of_several_tables_is_one_event_each_in_the_servers_order() {
    let setup = "create table a (id int primary key); create table b (id int primary key references a);
                 create table c (id int primary key);";
    let mut stream = Stream::new(setup, &["a", "c"]).await;
    stream.sql("begin; insert into c values (1); truncate a, c cascade; insert into c values (2); commit").await;
    let events = stream.events().await;
    let told: Vec<_> = events.iter().map(|event| (event.position.ordinal, event.operation())).collect();
    let (insert, truncate) = (Operation::Insert, Operation::Truncate);
    // a, c and, by cascade, the unwatched b.
    assert_eq!((told[0], told.len()), ((0, insert), 4));
    assert_eq!(told[1..3].iter().map(|told| told.1).collect::<Vec<_>>(), [truncate, truncate]);
    assert_eq!(told[3], (8, insert));
}

#[tokio::test]
async fn a_table_that_changes_shape_in_mid_stream_is_followed() {
    let mut stream = Stream::new("create table t (id int primary key, n text, v int)", &["t"]).await;
    stream.row("insert into t values (1, 'n', 5)").await;
    let steps = [
        ("alter table t add column extra text default 'e'", "insert into t values (2, 'n', 5, 'x')", 4),
        ("alter table t drop column n", "insert into t values (3, 5, 'x')", 3),
        ("alter table t rename column v to w", "insert into t values (4, 6, 'x')", 3),
        ("alter table t alter column w type text using 'w' || w", "insert into t values (5, 'w7', 'x')", 3),
        ("alter table t replica identity full", "update t set w = 'w8' where id = 5", 3),
    ];
    for (change, write, width) in steps {
        stream.sql(change).await;
        stream.sql(write).await;
        let decoded = stream.decoded().await;
        let changes = decoded.iter().filter(|decoded| matches!(decoded, Decoded::SchemaChanged { .. })).count();
        assert_eq!(changes, 1, "{change}");
        let described = decoded.iter().position(|decoded| matches!(decoded, Decoded::SchemaChanged { .. }));
        let row = decoded.iter().position(|decoded| matches!(decoded, Decoded::Event(_)));
        assert!(described < row, "sent before the first row of the new shape");
        stream.reload(&["t"]).await;
        let row = stream.row("insert into t select max(id) + 100 from t").await;
        assert_eq!(new(&row).len(), width, "{change}");
        assert!(new(&row).iter().all(Datum::is_known), "{change}: {:?}", new(&row));
    }
    assert!(new(&stream.row("update t set w = 'z' where id = 5").await).contains(&datum("z")));
}

#[tokio::test]
async fn rows_written_before_a_change_of_shape_are_read_in_the_old_shape() {
    let mut stream = Stream::new("create table t (id int primary key, n text, v int)", &["t"]).await;
    stream.sql("insert into t values (1, 'n', 5)").await;
    stream.sql("alter table t drop column n; alter table t alter v type text; insert into t values (2, 'six')").await;
    stream.reload(&["t"]).await;
    let rows = stream.rows().await;
    assert_eq!(new(&rows[0]), [datum("1"), ABSENT], "v was an integer then");
    assert_eq!(new(&rows[1]), [datum("2"), datum("six")]);
}

#[tokio::test]
async fn messages_and_savepoints_belong_to_their_top_level_transaction() {
    let mut stream = Stream::new("create table t (id int primary key)", &["t"]).await;
    stream
        .sql(
            r#"begin; savepoint a; insert into t values (1); rollback to a; savepoint b; insert into t values (2);
               select pg_logical_emit_message(true, 'rowcast.publish',
                 jsonb_build_object('topic', 'alerts', 'tenant', null, 'payload', jsonb_build_object('n', 1e30, 's', E'ü"\n'))::text);
               select pg_logical_emit_message(false, 'rowcast.publish', '{}');
               select pg_logical_emit_message(true, 'rowcast.publish', 'nonsense');
               select pg_logical_emit_message(true, 'rowcast.catalog', '');
               insert into t values (3); commit"#,
        )
        .await;
    let xid: u32 = stream
        .client
        .query_one("select xmin::text from t where id = 2", &[])
        .await
        .unwrap()
        .get::<_, String>(0)
        .parse()
        .unwrap();
    let decoded = stream.decoded().await;
    assert!(decoded.contains(&Decoded::CatalogChanged));
    assert_eq!(decoded.iter().filter(|decoded| matches!(decoded, Decoded::Ignored(_))).count(), 1);
    let Some(Decoded::Commit { commit_lsn, end_lsn }) = decoded.last().cloned() else { panic!("{decoded:?}") };
    assert!(end_lsn > commit_lsn);
    let events: Vec<_> = decoded.into_iter().flat_map(events_of).collect();
    let ordinals: Vec<_> = events.iter().map(|event| event.position.ordinal).collect();
    assert_eq!(ordinals, [0, 2, 8]);
    assert!(events.iter().all(|event| event.xid < xid && event.position.commit_lsn == commit_lsn));
    let payload = Bytes::from_static("{\"n\": 1000000000000000000000000000000, \"s\": \"ü\\\"\\n\"}".as_bytes());
    assert_eq!(events[1].change, Change::Message(Message { topic: "alerts".into(), tenant: None, payload }));
}

#[tokio::test]
async fn enum_domain_and_composite_columns_are_known_by_their_own_types() {
    let setup = "create type mood as enum ('ok'); create domain positive as int; create type pair as (a int, b text);
                 create table t (id positive primary key, m mood, ms mood[], p pair)";
    let mut stream = Stream::new(setup, &["t"]).await;
    stream.sql("insert into t values (1, 'ok', '{ok}', row(1, 'a b'))").await;
    let decoded = stream.decoded().await;
    assert!(!decoded.iter().any(|decoded| matches!(decoded, Decoded::SchemaChanged { .. })));
    let row = decoded.into_iter().flat_map(events_of).find_map(|event| row_of(&event)).unwrap();
    assert_eq!(new(&row), [datum("1"), datum("ok"), datum("{ok}"), datum("(1,\"a b\")")]);
}

#[tokio::test]
async fn a_generated_column_is_absent_and_told_as_a_difference_once() {
    let setup = "create table t (id int primary key, g int generated always as (id * 2) stored, n int)";
    let mut stream = Stream::new(setup, &["t"]).await;
    stream.sql("insert into t (id, n) values (1, 5); insert into t (id, n) values (2, 5)").await;
    let decoded = stream.decoded().await;
    let told = decoded.iter().filter(|decoded| matches!(decoded, Decoded::SchemaChanged { .. })).count();
    assert_eq!(told, 1);
    let rows: Vec<_> = decoded.into_iter().flat_map(events_of).filter_map(|event| row_of(&event)).collect();
    assert_eq!(new(&rows[1]), [datum("2"), ABSENT, datum("5")]);
}

#[tokio::test]
async fn the_commit_time_is_the_servers_clock() {
    let mut stream = Stream::new("create table t (id int primary key)", &["t"]).await;
    let now = "select (extract(epoch from clock_timestamp()) * 1000000)::int8";
    let before: i64 = stream.client.query_one(now, &[]).await.unwrap().get(0);
    stream.sql("insert into t values (1)").await;
    let after: i64 = stream.client.query_one(now, &[]).await.unwrap().get(0);
    let at = stream.events().await[0].committed_at.0;
    assert!((before..=after).contains(&at), "{before} {at} {after}");
}

#[tokio::test]
async fn a_row_of_every_kind_of_type_arrives_as_postgresql_would_print_it_in_json() {
    let setup =
        "create table t (id int primary key, b bool, s int2, f float8, r float4, x text, c char(4), u uuid, d date,
                   ti time, ts timestamp, tz timestamptz, j json, jb jsonb, by bytea, ia int[], ta text[], iv interval,
                   net inet, ran int4range, tza timestamptz[], uz uuid[]);";
    let mut stream = Stream::new(setup, &["t"]).await;
    let row = stream
        .row(
            r#"insert into t values (1, true, -7, 1e-307, 3.4e38, E'a"b\\c\u0001\n\u00e4', 'ab', gen_random_uuid(), '0044-03-15 BC',
                '23:59:59.5', '2026-11-23 16:16:15.123456', 'infinity', '{"a" : [1.00,
                "x"]}', '{"k": null}', '\x00ff', '{{1,2},{3,null}}', array['NULL', null, '', 'a,"{\'], '1 year 2 days', '10.0.0.0/8', '[1,5)',
                array['2026-11-23 16:16:15+05'::timestamptz], array[gen_random_uuid()])"#,
        )
        .await;
    let expected: String = stream.client.query_one("select row_to_json(t)::text from t", &[]).await.unwrap().get(0);
    let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
    for (column, value) in row.table.columns.iter().zip(new(&row)) {
        let mut out = Vec::new();
        let _ = json::write(&column.pg_type, value.text().unwrap(), &mut out).unwrap();
        let got: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(got, expected[&column.name], "{}", column.name);
    }
}
