//! Column types, from `create type` to `PgType`.

use crate::postgres::Database;
use rowcast::catalog::Tables;
use rowcast::model::{Column, PgType};

const TYPES: &str = "
    create type mood as enum ('sad', 'ok');
    alter type mood add value 'fine' before 'ok';
    create domain positive as int check (value > 0);
    create domain required as positive not null;
    create domain tags as text[];
    create type point3 as (x int, gone int, mood mood, more positive[]);
    alter type point3 drop attribute gone;
    create type span as range (subtype = int);
    create table t (
        id bigint primary key, mood mood, moods mood[], positive positive, required required, tags tags, tags_list tags[],
        point3 point3, points point3[], span span, spans span[], ints int2vector, matrix int[][], boxes box[], at timestamptz(3),
        code varchar(10), price numeric(10, 2), doc jsonb, ip inet, ips inet[], raw bytea, row_of_t pg_class
    );
    select rowcast.watch('t', public => true)";

async fn types() -> Vec<Column> {
    let (_database, client) = Database::migrated().await;
    client.batch_execute(TYPES).await.unwrap();
    let tables = Tables::load(&client).await.unwrap();
    tables.find("t").unwrap().columns.to_vec()
}

fn array_of(pg_type: &PgType) -> (&PgType, u8) {
    match pg_type {
        PgType::Array(array) => (&array.element, array.delimiter),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_type_is_resolved() {
    let columns = types().await;
    let of = |name: &str| &columns.iter().find(|column| column.name == name).unwrap().pg_type;
    let PgType::Enum(mood) = of("mood") else { panic!() };
    assert_eq!((mood.name.as_str(), mood.labels.join(" ").as_str()), ("mood", "sad fine ok"));
    assert_eq!(array_of(of("moods")), (of("mood"), b','));
    assert_eq!(*of("positive"), PgType::Int4);
    assert_eq!(*of("required"), PgType::Int4);
    assert_eq!(array_of(of("tags")), (&PgType::Text, b','));
    assert_eq!(array_of(of("tags_list")), (&PgType::Other, b','));
    let PgType::Composite(point) = of("point3") else { panic!() };
    let names: Vec<&str> = point.attributes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x", "mood", "more"]);
    assert_eq!(point.attributes[1].1, *of("mood"));
    assert_eq!(array_of(&point.attributes[2].1), (&PgType::Int4, b','));
    assert_eq!(array_of(of("points")), (of("point3"), b','));
    assert_eq!(*of("span"), PgType::Other);
    assert_eq!(array_of(of("spans")), (&PgType::Other, b','));
    assert_eq!(*of("ints"), PgType::Other, "prints as 1 2 3, not as {{1,2,3}}");
    assert_eq!(array_of(of("matrix")), (&PgType::Int4, b','));
    assert_eq!(array_of(of("boxes")), (&PgType::Other, b';'));
    assert_eq!(*of("at"), PgType::TimestampTz);
    assert_eq!(*of("code"), PgType::Text);
    assert_eq!(*of("price"), PgType::Numeric);
    assert_eq!(*of("doc"), PgType::Json);
    assert_eq!(*of("ip"), PgType::Other);
    assert_eq!(*of("raw"), PgType::Bytea);
    assert!(matches!(of("row_of_t"), PgType::Composite(_)));
}

#[tokio::test]
async fn a_domain_that_forbids_null_makes_its_column_not_null() {
    let columns = types().await;
    let not_null: Vec<&str> =
        columns.iter().filter(|column| column.not_null).map(|column| column.name.as_str()).collect();
    assert_eq!(not_null, ["id", "required"]);
}

#[tokio::test]
async fn citext_is_text_wherever_it_is_installed() {
    let (_database, client) = Database::migrated().await;
    let available = client.query_opt("select from pg_available_extensions where name = 'citext'", &[]).await.unwrap();
    if available.is_none() {
        return;
    }
    client
        .batch_execute(
            "create schema ext; create extension citext schema ext;
             create table t (id int primary key, email ext.citext, emails ext.citext[]); select rowcast.watch('t', public => true)",
        )
        .await
        .unwrap();
    let tables = Tables::load(&client).await.unwrap();
    let columns = &tables.find("t").unwrap().columns;
    assert_eq!(columns[1].pg_type, PgType::Text);
    assert_eq!(array_of(&columns[2].pg_type), (&PgType::Text, b','));
}
