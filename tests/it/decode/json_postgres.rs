//! Every built-in type's JSON form against PostgreSQL's own `to_json`, where the two are meant to be equal; where they
//! differ (long numbers are strings, floats that are not finite are null) the difference is written down as SQL.

use crate::postgres::Database;
use rowcast::decode::json::{self, Written};
use rowcast::model::{CompositeType, EnumType, PgType};
use std::sync::Arc;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

/// What `to_json` says.
const SAME: &str = "to_json(v)";
/// The text, as a string.
const AS_TEXT: &str = "to_json(v::text)";
/// The texts of the elements, as strings.
const AS_TEXTS: &str = "to_json(v::text[])";
/// A number, or null where there is none.
const FINITE: &str = "case when v::text in ('NaN', 'Infinity', '-Infinity') then 'null'::json else to_json(v) end";

/// Types by name, how the answer is asked for, and values as SQL expressions.
const SCALARS: &[(&str, &str, &[&str])] = &[
    ("bool", SAME, &["true", "false"]),
    ("int2", SAME, &["-32768", "0", "32767"]),
    ("int4", SAME, &["-2147483648", "0", "2147483647"]),
    ("int8", AS_TEXT, &["-9223372036854775808", "0", "9007199254740993", "9223372036854775807"]),
    (
        "numeric",
        AS_TEXT,
        &[
            "0",
            "0.00",
            "-0.10",
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "1e-400",
            "1e400",
            "('1' || repeat('9', 999))",
            "('-0.' || repeat('7', 1000))",
            "100.00",
        ],
    ),
    (
        "float4",
        FINITE,
        &[
            "0",
            "'-0'",
            "0.1",
            "1e-45",
            "1.17549435e-38",
            "3.4028235e38",
            "16777217",
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
        ],
    ),
    (
        "float8",
        FINITE,
        &[
            "0",
            "'-0'",
            "0.1",
            "1e-307",
            "5e-324",
            "1.7976931348623157e308",
            "9007199254740993",
            "1e15",
            "1e16",
            "0.30000000000000004",
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
        ],
    ),
    (
        "text",
        SAME,
        &[
            "''",
            "'plain'",
            r#"E'"\\/\b\f\n\r\t'"#,
            r"E'\u0001\u001f\u007f'",
            "'äß字🦀'",
            r"E'\u2028'",
            "'NULL'",
            "repeat('x', 20000)",
        ],
    ),
    ("varchar(5)", SAME, &["'abc'", "''"]),
    ("bpchar", SAME, &["'abc'"]),
    ("char(5)", SAME, &["'abc'", "''"]),
    ("name", SAME, &["'a \"name\"'"]),
    ("\"char\"", SAME, &["'a'", "'\"'", "''", r"E'\\'"]),
    ("uuid", SAME, &["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "'00000000-0000-0000-0000-000000000000'"]),
    (
        "date",
        SAME,
        &[
            "'2026-11-23'",
            "'4713-01-01 BC'",
            "'0001-12-31 BC'",
            "'0001-01-01'",
            "'5874897-12-31'",
            "'infinity'",
            "'-infinity'",
        ],
    ),
    ("time", SAME, &["'00:00'", "'16:16:15.123456'", "'16:16:15.1'", "'24:00:00'"]),
    ("timetz", SAME, &["'16:16:15.123456+05:30'", "'00:00-15:59'"]),
    (
        "timestamp",
        SAME,
        &[
            "'2026-11-23 16:16:15'",
            "'2026-11-23 16:16:15.12'",
            "'0044-03-15 12:00 BC'",
            "'4713-01-01 BC'",
            "'294276-12-31 23:59:59.999999'",
            "'infinity'",
            "'-infinity'",
        ],
    ),
    (
        "timestamptz",
        SAME,
        &[
            "'2026-11-23 16:16:15+01'",
            "'2026-11-23 16:16:15.123456Z'",
            "'0044-03-15 12:00 BC'",
            "'4713-01-02 BC'",
            "'294276-12-31 23:59:59.999999Z'",
            "'infinity'",
            "'-infinity'",
        ],
    ),
    ("bytea", SAME, &[r"'\x'", r"'\x00ff10'", "decode(repeat('ab', 5000), 'hex')"]),
    (
        "json",
        SAME,
        &[
            "'null'",
            "'1.000'",
            "'\"\\ud83e\\udd80\\n\"'",
            "E'{\"a\" :\\n\\t[1,\\r\\n{}]}'",
            "'[[[[[]]]]]'",
            "'{\"a\":1,\"a\":2}'",
        ],
    ),
    ("jsonb", SAME, &["'null'", "'\"x\"'", "'1.000'", "'{\"b\": [1, null], \"a\": \"ä\\n\"}'"]),
    ("interval", SAME, &["'1 year -2 mons +3 days 04:05:06.789'", "'0'"]),
    ("inet", SAME, &["'10.1.2.3/8'", "'::1'"]),
    ("cidr", SAME, &["'10.0.0.0/8'"]),
    ("macaddr", SAME, &["'08:00:2b:01:02:03'"]),
    ("macaddr8", SAME, &["'08:00:2b:01:02:03:04:05'"]),
    ("money", SAME, &["1234.56"]),
    ("bit(4)", SAME, &["'1010'"]),
    ("varbit", SAME, &["'10101'"]),
    ("point", SAME, &["'(1,2)'"]),
    ("lseg", SAME, &["'[(0,0),(1,1)]'"]),
    ("box", SAME, &["'(1,1),(0,0)'"]),
    ("path", SAME, &["'((0,0),(1,1))'"]),
    ("polygon", SAME, &["'((0,0),(1,1),(1,0))'"]),
    ("line", SAME, &["'{1,2,3}'"]),
    ("circle", SAME, &["'<(0,0),1>'"]),
    ("tsvector", SAME, &["'a:1 b''c:2'"]),
    ("tsquery", SAME, &["'a & b'"]),
    ("int4range", SAME, &["'[1,5)'", "'empty'"]),
    ("tstzrange", SAME, &["'[2026-01-01Z,)'"]),
    ("nummultirange", SAME, &["'{[1,2),[3,4)}'"]),
    ("xml", SAME, &["'<a b=\"c\">d</a>'"]),
    ("oid", SAME, &["4294967295"]),
    ("xid8", SAME, &["'18446744073709551615'"]),
    ("pg_lsn", SAME, &["'16/B374D848'"]),
    ("tid", SAME, &["'(1,2)'"]),
    ("jsonpath", SAME, &["'$.a[*] ? (@ > 1)'"]),
    ("regclass", SAME, &["'pg_class'"]),
    ("int2vector", AS_TEXT, &["'1 2 3'"]),
];

const ARRAYS: &[(&str, &str, &[&str])] = &[
    ("bool[]", SAME, &["'{}'", "'{t,f,null}'"]),
    ("int2[]", SAME, &["'{1}'"]),
    (
        "int4[]",
        SAME,
        &["'{}'", "'{1,null,-3}'", "'{{1,2},{3,4}}'", "'[0:2]={1,2,3}'", "'[1:1][-2:-1][3:5]={{{1,2,3},{4,5,6}}}'"],
    ),
    ("int8[]", AS_TEXTS, &["'{9223372036854775807,null}'", "'{{1},{2}}'"]),
    ("numeric[]", AS_TEXTS, &["'{0.10,NaN,null,1e30}'"]),
    ("float8[]", SAME, &["'{1e-307,null,0.1}'"]),
    ("float4[]", SAME, &["'{1.5}'"]),
    (
        "text[]",
        SAME,
        &[
            "'{}'",
            "array['', 'NULL', 'null', null, ' a ', 'b']",
            r#"array['"', '\', '{', '}', ',', E'\n\t\u0001', 'ä🦀']"#,
            "array[array['a', null], array['c,d', '\"{}\\']]",
            "array_fill('x'::text, array[2,1,2,1,2,1])",
        ],
    ),
    ("varchar[]", SAME, &["array['a', '']"]),
    ("bpchar[]", SAME, &["array['a ', null]"]),
    ("uuid[]", SAME, &["array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']::uuid[]"]),
    ("date[]", SAME, &["'{2026-11-23,0044-03-15 BC,infinity}'"]),
    ("time[]", SAME, &["'{16:16:15.5}'"]),
    ("timestamp[]", SAME, &["'{2026-11-23 16:16:15,-infinity,null}'"]),
    ("timestamptz[]", SAME, &["'{2026-11-23 16:16:15+01,infinity,0044-03-15 12:00 BC}'"]),
    ("bytea[]", SAME, &[r"array['\x00ff', '\x']::bytea[]"]),
    ("json[]", SAME, &[r#"array['{"a": "b\\c"}', '[1, 2]', 'null', null]::json[]"#]),
    ("jsonb[]", SAME, &[r#"array['{"a": "b\\c"}', '"x"', null]::jsonb[]"#]),
    ("inet[]", SAME, &["'{10.0.0.0/8}'"]),
    ("interval[]", SAME, &["'{1 day,2 hours}'"]),
    ("box[]", SAME, &["array['(1,1),(0,0)', '(2,2),(1,1)', null]::box[]"]),
    ("oid[]", SAME, &["'{1,2}'"]),
    ("timetz[]", SAME, &["'{16:16:15+01}'"]),
    ("macaddr[]", SAME, &["'{08:00:2b:01:02:03}'"]),
];

#[tokio::test]
async fn every_built_in_type_has_the_json_form_that_postgresql_gives_it() {
    let database = Database::empty().await;
    let client = database.connect().await;
    let mut values = 0;
    for (name, oracle, literals) in SCALARS.iter().chain(ARRAYS) {
        let sql = format!("select '{name}'::regtype::oid");
        let oid: u32 = client.query_one(&sql, &[]).await.unwrap().get(0);
        let pg_type = PgType::builtin(oid).unwrap_or(PgType::Other);
        assert_eq!(matches!(pg_type, PgType::Array(_)), name.ends_with("[]"), "{name}");
        for literal in *literals {
            check(&client, &pg_type, name, oracle, literal).await;
            values += 1;
        }
    }
    assert!(values > 150, "{values}");
}

#[tokio::test]
async fn enums_composites_domains_and_what_they_nest_have_postgresqls_json_form() {
    let database = Database::empty().await;
    let client = database.connect().await;
    let types = r#"create type mood as enum ('it''s "ok"', 'sad');
        create type inner_c as (x int, "odd ""name""" text, l text[]);
        create type outer_c as (i inner_c, j jsonb, m mood, many inner_c[], at timestamptz, f float8);
        create domain positive as int check (value > 0); create domain tags as text[];"#;
    client.batch_execute(types).await.unwrap();
    let texts = || PgType::builtin(1009).unwrap();
    let mood =
        PgType::Enum(Arc::new(EnumType { name: "mood".into(), labels: vec!["it's \"ok\"".into(), "sad".into()] }));
    let inner = composite(&[("x", PgType::Int4), ("odd \"name\"", PgType::Text), ("l", texts())]);
    let many = array(inner.clone());
    let outer = composite(&[
        ("i", inner.clone()),
        ("j", PgType::Json),
        ("m", mood.clone()),
        ("many", many.clone()),
        ("at", PgType::TimestampTz),
        ("f", PgType::Float8),
    ]);
    let inner_value = r#"row(1, E'a"b\\c, (d)\n', array['x"', null, '\', 'a b', ''])::inner_c"#;
    let cases: &[(&PgType, &str, &[&str])] = &[
        (&mood, "mood", &[r#"'it''s "ok"'"#, "'sad'"]),
        (&array(mood.clone()), "mood[]", &[r#"array['it''s "ok"', null, 'sad']::mood[]"#]),
        (&inner, "inner_c", &[inner_value, "row(null, '', '{}')", "row(null, null, null)"]),
        (&many, "inner_c[]", &[&format!("array[{inner_value}, null, row(2, '', null)::inner_c]"), "'{}'"]),
        (
            &outer,
            "outer_c",
            &[
                &format!(
                    r#"row({inner_value}, '{{"a": "b\"c"}}', 'it''s "ok"', array[{inner_value}, {inner_value}], '2026-11-23 16:16:15Z', 1e-307)"#
                ),
                "row(null, 'null', null, '{}', 'infinity', 0)",
            ],
        ),
        (&PgType::Int4, "positive", &["7"]),
        (&texts(), "tags", &["array['a', null]"]),
        (&array(texts()), "tags[]", &[r#"array[array['a"', null]::tags, '{}'::tags]::tags[]"#]),
    ];
    for (pg_type, name, literals) in cases {
        for literal in *literals {
            check(&client, pg_type, name, SAME, literal).await;
        }
    }
}

fn array(element: PgType) -> PgType {
    PgType::Array(Arc::new(rowcast::model::ArrayType { element, delimiter: b',' }))
}

fn composite(attributes: &[(&str, PgType)]) -> PgType {
    let attributes = attributes.iter().map(|(name, pg_type)| ((*name).to_owned(), pg_type.clone())).collect();
    PgType::Composite(Arc::new(CompositeType { name: "c".into(), attributes }))
}

/// Writes the value's text, which is what the stream carries, and compares it with what the server says.
async fn check(client: &Client, pg_type: &PgType, name: &str, oracle: &str, literal: &str) {
    let sql = format!("select v, ({oracle})::text from (select cast({literal} as {name}) as v) as t");
    let answer = match client.simple_query(&sql).await {
        Ok(answer) => answer,
        Err(error) if error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) => {
            return println!("skipped: this PostgreSQL was built without {name}");
        }
        Err(error) => panic!("{sql}: {error:?}"),
    };
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let (text, expected) = (row.unwrap().get(0).unwrap(), row.unwrap().get(1).unwrap());
    let mut out = Vec::new();
    let written = json::write(pg_type, text.as_bytes(), &mut out).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert!(out.iter().all(|byte| *byte >= 0x20), "{sql}: one line");
    assert_eq!(written == Written::NoJsonForm, expected == "null" && *pg_type != PgType::Json, "{sql}");
    let read = |json: &[u8]| {
        serde_json::from_slice::<serde_json::Value>(json).unwrap_or_else(|error| panic!("{sql}: {error}"))
    };
    assert_eq!(read(&out), read(expected.as_bytes()), "{sql}");
}
