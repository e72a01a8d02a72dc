use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rowcast::catalog::Tables;
use rowcast::model::{Datum, Table, TableName, Tuple};
use rowcast::postgres::Conninfo;
use rowcast::probe::{Probe, RowVerdict, image};
use rowcast::security::{Question, Reads};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::postgres::Server;

const TYPES: &str = r#"
    create type mood as enum ('sad', 'quite "ok"', 'it''s, (fine)');
    create domain required as int check (value > 0) not null;
    create domain tags as text[];
    create domain doc as jsonb;
    create domain old_doc as json;
    create domain worded as text not null;
    create type point3 as (x int, "odd ""name" text, j json, more int[]);
    create type span as range (subtype = int);
    create table "odd ""table's" (
        id int primary key, "a ""quoted"", {name}" text, "char" "char", code char(5), vc varchar(3), n name, b bool, i2 int2,
        i8 int8, num numeric, f4 float4, f8 float8, u uuid, d date, t time, tz timetz, ts timestamp, tstz timestamptz,
        iv interval, j json, jb jsonb, dj doc, doj old_doc, js json[], jbs jsonb[], raw bytea, raws bytea[], mood mood,
        moods mood[], required required default 1, worded worded default E'a "q" \\\\ , ()', tags tags, tags_list tags[], p point3, ps point3[], span span, spans span[],
        tr tstzrange, mr int4multirange, ip inet, c cidr, mac macaddr, bits bit(4), vb varbit, box box, boxes box[], pt point,
        m int[][], lsn pg_lsn, tsv tsvector, x xml, money money, ov int2vector, gone int, g text generated always as (vc || '!') stored
    );
    alter table "odd ""table's" drop gone;
    select rowcast.watch('"odd ""table''s"', public => true);
"#;

/// Each is one row's columns and values.
const ROWS: &[(&str, &str)] = &[
    ("i8", "9223372036854775807"),
    (r#""a ""quoted"", {name}""#, r#"'null'), (2, E'\\\\u0000 \\\\ \t \n \x01 " , {}'), (3, ''), (4, '☃ é 😀'"#),
    (r#""char", code, vc, n, b"#, r#"'"', 'ab', 'é', 'A "b"', true), (2, '\351', '     ', '', 'x', false"#),
    (
        "i2, num, f4, f8",
        "-32768, 'NaN', 'NaN', '-Infinity'), (2, 1, 1e-400, '-0', 5e-324), (3, 1, '1.100', 'Infinity', 0.1",
    ),
    ("num, jb, j", "('1' || repeat('9', 999))::numeric, ('1' || repeat('9', 999))::jsonb, '1e99999'"),
    (
        "j, jb",
        r#"'{"b" : 1, "a":1e2,  "a": [1 , null]}', '{"a": null, "s": "x\"y"}'), (2, '"s"', '"s"'), (3, '[]', '1.10'"#,
    ),
    (
        "j, jb, dj, doj, vc",
        "'null', 'null', 'null', 'null', null), (2, null, 'null', null, '{}', 'x'), (3, 'null', null, null, null, ''",
    ),
    ("dj, doj", r#"'[null]', '{"k":  "v"}'"#),
    // What does not come out of another document as it went in.
    (
        "j, jb, dj, doj",
        r#"' null ', 'null', '"s"', E'\t{} '), (2, E'\n[1]', '"s"', 'null', '"\u0000"'), (3, '"\ud800"', '1', '2', '3'"#,
    ),
    (
        "j, dj, doj, required, worded, mood",
        r#"'null', '"a \"b\""', '"\\u0041"', 3, E'x" \\ ,', 'sad'), (2, '"\u0041"', '[]', '" "', 4, '', null"#,
    ),
    ("js, jbs", r#"array['{"a": "\"x\", {}"}', 'null', null]::json[], array['null', '"a,b"', null]::jsonb[]"#),
    (
        "u, d, t, tz, ts, tstz",
        "gen_random_uuid(), 'infinity', '24:00', '12:00+05:30', '0044-03-15 12:00 BC', '-infinity'",
    ),
    ("iv, d, tstz", "'-1 year -2 days +3 hours', '4713-01-01 BC', '2024-01-02 03:04:05.678901+00'"),
    ("iv", "'-1 year 2 days -00:00:01.5'"),
    ("raw, raws", r"'\x00ff5c22', array['\x', null, '\x5c']::bytea[]"),
    ("mood, moods", r#"'quite "ok"', array['it''s, (fine)', null, 'quite "ok"']::mood[]"#),
    ("required, tags, tags_list", r#"7, '{a,"b,c",NULL,"NULL",""}', array['{"x\"y"}', '{}']::tags[]"#),
    (
        "p, ps",
        r#"row(1, 'a "q", (b)', 'null', '{1,NULL}')::point3, array[row(null, '', '{"a": ","}', '{}')::point3, null]"#,
    ),
    ("span, spans, tr, mr", "'[1,5)', array['empty', '(,3]']::span[], '[2024-01-01 00:00+00,)', '{[1,3),[5,9)}'"),
    ("ip, c, mac", "'::1/128', '10.0.0.0/8', '08:00:2b:01:02:03'"),
    ("bits, vb, box, boxes, pt", "b'0101', b'', '(1,2),(3,4)', '{(1,1),(0,0);(2,2),(1,1)}', '(1e300,-0)'"),
    ("m, lsn, tsv, money, ov", "'[2:3][1:1]={{1},{2}}', '16/B374D848', $$'a ''b' c:1A$$, -12.5, '1 2'"),
    ("x", "'<a b=\"c\">&amp;</a>'"),
];

async fn rows(client: &Client, table: &Table) -> Vec<Tuple> {
    let columns: Vec<String> = table.columns.iter().map(|column| quoted(&column.name)).collect();
    let sql = format!("select {} from {} order by id", columns.join(", "), quoted(&table.name.name));
    let read = |message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    };
    let datum =
        |text: Option<&str>| text.map_or(Datum::Null, |text| Datum::Text(Bytes::copy_from_slice(text.as_bytes())));
    let rows = client.simple_query(&sql).await.unwrap().into_iter().filter_map(read);
    rows.map(|row| Tuple::new((0..row.len()).map(|at| datum(row.get(at))).collect::<Vec<_>>())).collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

struct Fixture {
    client: Client,
    probe: Probe,
    table: Arc<Table>,
    _server: Server,
}

impl Fixture {
    async fn new() -> Self {
        let server = Server::logical();
        let mut client = server.admin().await;
        rowcast::store::migrate(&mut client).await.unwrap();
        client.batch_execute(TYPES).await.unwrap();
        let tables = Tables::load(&client).await.unwrap();
        assert!(tables.problems.iter().all(|problem| !problem.unserved), "{:?}", tables.problems);
        let table = Arc::clone(tables.by_oid.values().next().unwrap());
        let conninfo = Conninfo::resolve(Some(&server.url())).unwrap();
        let probe = Probe::new(conninfo.manager(), 1, Duration::from_secs(10)).unwrap();
        Fixture { client, probe, table, _server: server }
    }

    fn question(&self, condition: &str) -> Arc<Question> {
        let TableName { schema, name } = self.table.name.clone();
        let (role, settings) = ("postgres".into(), Box::default());
        Arc::new(Question {
            table: TableName { schema, name },
            role,
            settings,
            condition: condition.into(),
            reads: Reads::Row,
            binding: None,
        })
    }

    async fn asked(&self, condition: &str, images: &[Arc<str>]) -> Vec<RowVerdict> {
        self.probe.ask(&self.question(condition), images).await.unwrap()
    }
}

#[tokio::test]
async fn every_type_comes_back_as_it_was() {
    let fixture = Fixture::new().await;
    // The generated column is not in the stream, so it is left out on both sides. Each column is compared as text.
    let own = quoted(&fixture.table.name.name);
    let same = fixture.table.columns.iter().map(|column| {
        let column = quoted(&column.name);
        format!("{own}.{column}::pg_catalog.text is not distinct from u.{column}::pg_catalog.text")
    });
    let same = same.collect::<Vec<_>>().join(" and ");
    let condition = format!("(select {same} from public.{own} u where u.id = {own}.id)");
    for (columns, values) in ROWS {
        fixture
            .client
            .batch_execute(&format!("truncate {own}; insert into {own} (id, {columns}) values (1, {values})"))
            .await
            .unwrap();
        let tuples = rows(&fixture.client, &fixture.table).await;
        let images: Vec<Arc<str>> =
            tuples.iter().map(|tuple| image(&fixture.table, tuple, &Reads::Row).unwrap().into()).collect();
        let verdicts = fixture.asked(&condition, &images).await;
        assert!(verdicts.iter().all(|verdict| *verdict == RowVerdict::Visible), "{columns}: {verdicts:?} {images:?}");
    }
}

#[tokio::test]
async fn the_null_of_json_is_not_the_null_of_sql() {
    let fixture = Fixture::new().await;
    let own = quoted(&fixture.table.name.name);
    let insert =
        format!("insert into {own} (id, j, jb) values (1, 'null', null), (2, null, 'null'), (3, '{{}}', '{{}}')");
    fixture.client.batch_execute(&insert).await.unwrap();
    let tuples = rows(&fixture.client, &fixture.table).await;
    let images: Vec<Arc<str>> =
        tuples.iter().map(|tuple| image(&fixture.table, tuple, &Reads::Row).unwrap().into()).collect();
    let (yes, no) = (RowVerdict::Visible, RowVerdict::Hidden);
    assert_eq!(fixture.asked("jb is null", &images).await, [yes.clone(), no.clone(), no.clone()]);
    assert_eq!(fixture.asked("j is null", &images).await, [no.clone(), yes.clone(), no.clone()]);
    assert_eq!(
        fixture.asked("pg_catalog.jsonb_typeof(jb) = 'null'", &images).await,
        [no.clone(), yes.clone(), no.clone()]
    );
    assert_eq!(fixture.asked("j is null", &images[2..]).await, [no]);
    assert_eq!(fixture.asked("jb is not null and id = 2", &images[1..2]).await, [yes]);
}

/// The server simplifies what stands after a `where`, and comes past what would raise in a select list: an `in` that is NULL
/// is as good as false there.
#[tokio::test]
async fn a_condition_is_evaluated_as_a_policy_is() {
    let fixture = Fixture::new().await;
    let condition = "(id in (select null::int) and 1 / (id - 1) > 0) or id = 1";
    assert_eq!(
        fixture.asked(condition, &[r#"{"id":"1","required":"1","worded":""}"#.into()]).await,
        [RowVerdict::Visible]
    );
}

#[tokio::test]
async fn an_image_without_what_is_read_cannot_be_asked() {
    let fixture = Fixture::new().await;
    let table = &fixture.table;
    let (id, vc) = (table.column("id").unwrap(), table.column("vc").unwrap());
    let mut data = vec![Datum::Absent; table.columns.len()];
    data[id] = Datum::Text(Bytes::from_static(b"5"));
    data[vc] = Datum::Null;
    let tuple = Tuple::new(data.clone());
    assert_eq!(image(table, &tuple, &Reads::Row), None);
    assert_eq!(image(table, &tuple, &Reads::Columns([id, vc + 1].into())), None);
    assert_eq!(image(table, &tuple, &Reads::Columns([id, vc].into())).unwrap(), r#"{"id":"5"}"#);
    data[vc] = Datum::Unchanged;
    assert_eq!(image(table, &Tuple::new(data.clone()), &Reads::Columns([vc].into())), None);
    data[vc] = Datum::Text(Bytes::from_static(b"\xff"));
    assert_eq!(image(table, &Tuple::new(data), &Reads::Columns([vc].into())), None);
}
