//! PostgreSQL as the oracle: random rows of every type, random conditions as GraphQL and as SQL side by side, and
//! `select (condition)` must say what `eval` says of the row's text, in all three values.
//!
//! `ROWCAST_SEED=… cargo test --test it predicate::oracle` replays a run.

use std::fmt::Write as _;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rowcast::catalog::Tables;
use rowcast::model::{Datum, Table, Tuple};
use rowcast::predicate::{Operator, Predicate, RowImage, Truth, offered};
use serde_json::{Value, json};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use crate::postgres::Database;
use crate::predicate::corpus::decisions;

const ROWS: usize = 200;
const TREES: usize = 300;
const CONDITIONS_PER_QUERY: usize = 60;
const LABELS: [&str; 4] = ["sad", "ok", "Happy", "äh"];

/// A column and its SQL type, which the catalog is asked about.
const COLUMNS: &[(&str, &str)] = &[
    ("id", "integer"),
    ("b", "boolean"),
    ("i2", "smallint"),
    ("i8", "bigint"),
    ("n", "numeric"),
    ("f4", "real"),
    ("f8", "double precision"),
    ("t", "text"),
    ("v", "varchar"),
    ("ch", "character(5)"),
    ("u", "uuid"),
    ("d", "date"),
    ("tm", "time"),
    ("ts", "timestamp"),
    ("tz", "timestamptz"),
    ("j", "jsonb"),
    ("y", "bytea"),
    ("m", "mood"),
    ("ai", "integer[]"),
    ("an", "numeric[]"),
    ("at", "text[]"),
    ("ac", "character(3)[]"),
    ("au", "uuid[]"),
    ("bp", "bpchar"),
    ("nm", "name"),
    ("q", "\"char\""),
    ("dt", "label"),
    ("dc", "code"),
    ("dd", "short_code"),
    ("dj", "document"),
    ("ad", "code[]"),
    ("am", "mood[]"),
    ("tc", "text_c"),
    ("tp", "text_posix"),
    ("tu", "text_utf8"),
    ("tb", "text_builtin"),
    ("ti", "text_icu"),
    ("tg", "text_greek"),
    ("tf", "text_fast"),
];

/// Domains over `text`, each with its collation; the database's own where the server has no such collation.
const COLLATED: &[(&str, &str)] = &[
    ("text_c", "C"),
    ("text_posix", "POSIX"),
    ("text_utf8", "C.utf8"),
    ("text_builtin", "pg_c_utf8"),
    ("text_icu", "und-x-icu"),
    ("text_greek", "el-x-icu"),
    ("text_fast", "pg_unicode_fast"),
];

/// Types of the test, each with what it is made of.
const DOMAINS: &[(&str, &str)] =
    &[("label", "text"), ("code", "character(5)"), ("short_code", "code"), ("document", "jsonb")];

/// The built-in type below domains, without a length.
fn base(type_name: &str) -> &str {
    match DOMAINS.iter().find(|(name, _)| *name == type_name) {
        Some((_, of)) => base(of),
        None if COLLATED.iter().any(|(name, _)| *name == type_name) => "text",
        None if type_name.starts_with("character(") && !type_name.ends_with("[]") => "bpchar",
        None => type_name,
    }
}

fn is_text(type_name: &str) -> bool {
    matches!(base(type_name), "text" | "varchar" | "name" | "bpchar")
}

/// Values, as PostgreSQL and clients spell them; rows and operands are drawn from the same few so that they meet.
#[allow(clippy::too_many_lines)] // a table
fn pool(type_name: &str) -> &'static [&'static str] {
    match type_name {
        "boolean" => &["true", "false"],
        "smallint" | "integer" => &["-32768", "-1", "0", "1", "2", "7", "32767"],
        "bigint" => {
            &["-9223372036854775808", "-1", "0", "1", "9007199254740992", "9007199254740993", "9223372036854775807"]
        }
        "numeric" => &[
            "NaN",
            "Infinity",
            "-Infinity",
            "0",
            "-0.0",
            "1",
            "1.0",
            "1.000001",
            "-1.5",
            "-1.50",
            "-12",
            "0.05",
            "1e3",
            "1000",
            "123456789012345678901234567890.123456789",
            "123456789012345678901234567890.12345678",
            "1e-30",
            "-1e-30",
        ],
        "real" => {
            &["NaN", "Infinity", "-Infinity", "0", "-0", "0.1", "0.3", "1e30", "-1e-30", "16777216", "16777217", "1.5"]
        }
        "double precision" => &[
            "NaN",
            "Infinity",
            "-Infinity",
            "0",
            "-0",
            "0.1",
            "0.3",
            "0.30000000000000004",
            "1e300",
            "-1e-300",
            "9007199254740993",
            "1.5",
        ],
        "uuid" => &[
            "00000000-0000-0000-0000-000000000000",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a12}",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ],
        "date" => &[
            "infinity",
            "-infinity",
            "2026-11-23",
            "2026-11-24",
            "2000-02-29",
            "1999-12-31",
            "0001-01-01",
            "0001-12-31 BC",
            "0044-03-15 BC",
            "4714-11-24 BC",
            "12026-01-01",
            "5874897-12-31",
        ],
        "time" => &["00:00:00", "24:00:00", "23:59:59.999999", "09:30", "09:30:00.25", "09:30:00.250001", "23:59:60"],
        "timestamp" => &[
            "infinity",
            "-infinity",
            "2026-11-23T16:16:15",
            "2026-11-23 16:16:15.123456",
            "2026-11-23 16:16:15.1234564",
            "2026-11-23",
            "2026-11-22 24:00:00",
            "0044-03-15 12:00:00 BC",
            "4714-11-24 00:00:00 BC",
            "294276-12-31 23:59:59.999999",
            "1999-12-31 23:59:59.9999999",
            "2000-01-01T00:00",
        ],
        "timestamptz" => &[
            "infinity",
            "-infinity",
            "2026-11-23T16:16:15Z",
            "2026-11-23T17:16:15.000+01:00",
            "2026-11-23 16:16:15.000001+00",
            "2026-11-24 01:46:15+0930",
            "0044-03-15 12:00:00+00 BC",
            "0044-03-15T11:00:00-01 BC",
            "294276-12-31 23:59:59.999999+00",
            "1969-12-31 23:59:59.999999-00:00",
            "2000-01-01 00:00:00+15:59:59",
        ],
        "jsonb" => &[
            "null",
            "true",
            "1",
            "1.0",
            "12345678901234567",
            "1e400",
            "-0",
            "0.0",
            "0.3",
            "0.30000000000000001",
            "12345678901234567890.1",
            "12345678901234567890.10",
            "[12345678901234567890.1, 12345678901234567890]",
            "{\"a\": 12345678901234567890.100}",
            "\"a\"",
            "\"é\\\"\\u00e9\"",
            "[]",
            "{}",
            "[1, \"a\", null]",
            "[[1, 2], {\"a\": 1}]",
            "[\"a\"]",
            "{\"a\": 1}",
            "{\"a\": 1.00, \"b\": null}",
            "{\"a\": [1, 2, {\"b\": \"a\"}], \"b\": {\"c\": true}}",
            "{\"a\": [{\"b\": \"a\"}]}",
            "{\"b\": {}}",
            "[[1]]",
            "{\"a\": []}",
            "{\"a\": \"a\"}",
            "[1, 1, 1]",
            "[true, false]",
        ],
        "bytea" => &["\\x", "\\x00", "\\x00ff", "\\xFF", "\\xdeadbeef", "\\x0100"],
        "mood" => &LABELS,
        "\"char\"" => &["", "a", "b", "Z", " ", "%"],
        other => panic!("no values for {other}"),
    }
}

struct Generator {
    random: StdRng,
    table: Arc<Table>,
}

/// One condition in both languages.
struct Condition {
    graphql: Value,
    sql: String,
}

impl Generator {
    fn new(seed: u64, table: Arc<Table>) -> Generator {
        Generator { random: StdRng::seed_from_u64(seed), table }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.random_range(0..from.len())]
    }

    /// A value's text: short words over an alphabet with everything that quoting, folding and wildcards can trip over.
    fn text(&mut self, type_name: &str) -> String {
        if !is_text(type_name) {
            return self.pick(pool(base(type_name))).to_owned();
        }
        let letters: Vec<char> = "aabABéÉßẞŁłİIıK\u{212a}σΣς%_\\ '\"{},$😀".chars().collect();
        let length = self.random.random_range(0..if type_name == "character(3)" { 4 } else { 6 });
        (0..length).map(|_| self.pick(&letters)).collect()
    }

    /// A document within arrays, up to `most` of them.
    fn nested(&mut self, most: usize) -> String {
        let inner = self.pick(pool("jsonb"));
        let depths = [1, 2, 90, 127, 128, 129, 1000].map(|depth: usize| depth.min(most));
        let depth = self.pick(&depths);
        format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth))
    }

    fn row_value(&mut self, type_name: &str) -> Option<String> {
        if self.random.random_bool(0.12) {
            return None;
        }
        if base(type_name) == "jsonb" && self.random.random_bool(0.1) {
            return Some(self.nested(1000));
        }
        let Some(element) = type_name.strip_suffix("[]") else { return Some(self.text(type_name)) };
        let count = self.random.random_range(0..4);
        let elements: Vec<_> = (0..count).map(|_| self.row_value(element)).collect();
        Some(match (count, self.random.random_range(0..6)) {
            (1.., 0) => format!("{{{},{}}}", array(&elements), array(&elements)),
            (1.., 1) => format!("[0:{}]={}", count - 1, array(&elements)),
            _ => array(&elements),
        })
    }

    fn insert(&mut self) -> String {
        let mut sql = String::from("truncate t; insert into t values ");
        for row in 0..ROWS {
            let values = COLUMNS.iter().map(|(name, type_name)| match *name {
                "id" => row.to_string(),
                _ => self.row_value(type_name).map_or("null".into(), |value| literal(&value, type_name)),
            });
            let values: Vec<_> = values.collect();
            write!(sql, "{} ({})", if row == 0 { "" } else { "," }, values.join(", ")).unwrap();
        }
        sql
    }

    fn tree(&mut self, depth: u32) -> Condition {
        if depth == 0 || self.random.random_bool(0.25) {
            let index = self.random.random_range(0..COLUMNS.len());
            let operator = self.pick(offered(&self.table.columns[index]));
            return self.leaf(index, operator);
        }
        let count = self.random.random_range(0..4);
        match self.random.random_range(0..4) {
            0 => {
                let part = self.tree(depth - 1);
                Condition { graphql: json!({"NOT": part.graphql}), sql: format!("(not {})", part.sql) }
            }
            1 => joined("OR", "false", (0..count).map(|_| self.tree(depth - 1)).collect()),
            _ => joined("AND", "true", (0..count).map(|_| self.tree(depth - 1)).collect()),
        }
    }

    fn leaf(&mut self, index: usize, operator: Operator) -> Condition {
        let (name, type_name) = COLUMNS[index];
        let (operand, sql) = self.operation(name, type_name, operator);
        Condition { graphql: json!({name: {operator.name(): operand}}), sql: format!("({sql})") }
    }

    fn operation(&mut self, name: &str, type_name: &str, operator: Operator) -> (Value, String) {
        let collate = if is_text(type_name) { " collate \"C\"" } else { "" };
        let symbol = match operator {
            Operator::Eq => "=",
            Operator::Neq => "<>",
            Operator::Gt => ">",
            Operator::Gte => ">=",
            Operator::Lt => "<",
            Operator::Lte => "<=",
            Operator::In | Operator::Nin => return self.membership(name, type_name, operator),
            Operator::IsNull => {
                let asked: bool = self.random.random();
                return (json!(asked), format!("{name} is {}null", if asked { "" } else { "not " }));
            }
            Operator::Like | Operator::Ilike => {
                let pattern = self.pattern();
                let sql = format!("{name} {} {}", operator.name(), quoted(&pattern));
                return (json!(pattern), sql);
            }
            Operator::Contains if is_text(type_name) || type_name == "\"char\"" => {
                let part: String = self.text("text").chars().take(2).collect();
                return (json!(part), format!("strpos({name}, {}) > 0", quoted(&part)));
            }
            Operator::Contains => "@>",
        };
        let (operand, sql) = self.operand(type_name);
        (operand, format!("{name}{collate} {symbol} {sql}"))
    }

    fn membership(&mut self, name: &str, type_name: &str, operator: Operator) -> (Value, String) {
        let count = self.random.random_range(0..4);
        let (operands, sql): (Vec<_>, Vec<_>) = (0..count).map(|_| self.operand(type_name)).unzip();
        let (comparison, connective, none) =
            if operator == Operator::In { ("=", " or ", "false") } else { ("<>", " and ", "true") };
        let sql: Vec<_> = sql.iter().map(|operand| format!("{name} {comparison} {operand}")).collect();
        (json!(operands), if sql.is_empty() { none.into() } else { sql.join(connective) })
    }

    /// NULL now and then; a number as a number or as a string.
    fn operand(&mut self, type_name: &str) -> (Value, String) {
        if self.random.random_bool(0.05) {
            return (Value::Null, format!("null::{type_name}"));
        }
        if let Some(element) = type_name.strip_suffix("[]") {
            let count = self.random.random_range(0..3);
            let (operands, sql): (Vec<_>, Vec<_>) = (0..count).map(|_| self.operand(element)).unzip();
            return (json!(operands), format!("array[{}]::{type_name}", sql.join(", ")));
        }
        let is_document = base(type_name) == "jsonb";
        let deep = is_document && self.random.random_bool(0.2);
        let text = if deep { self.nested(90) } else { self.text(type_name) };
        // A smallint is compared with any integer, a char(n) with a string of any length.
        let sql_type = match type_name {
            "smallint" => "bigint",
            other => base(other),
        };
        let number = serde_json::from_str::<Value>(&text).ok().filter(Value::is_number);
        let operand = match (base(type_name), number) {
            ("boolean", _) => json!(text == "true"),
            ("jsonb", _) => serde_json::from_str(&text).unwrap(),
            ("numeric", Some(number)) if self.random.random() => number,
            ("smallint" | "integer" | "bigint" | "real" | "double precision", Some(number)) if self.random.random() => {
                number
            }
            _ => json!(text),
        };
        // JSON null is not an operand that anybody can give: it is SQL's.
        let sql = if operand.is_null() { format!("null::{type_name}") } else { literal(&text, sql_type) };
        (operand, sql)
    }

    fn pattern(&mut self) -> String {
        let pieces = [
            "%", "%", "_", "\\%", "\\_", "\\\\", "\\a", "a", "A", "b", "é", "É", "ß", "Ł", "İ", "ς", "Σ", "σ", "ẞ",
            "I", "ı", "k", " ", "'",
        ];
        let length = self.random.random_range(0..5);
        (0..length).map(|_| self.pick(&pieces)).collect()
    }
}

fn joined(connective: &str, none: &str, parts: Vec<Condition>) -> Condition {
    let (graphql, sql): (Vec<_>, Vec<_>) = parts.into_iter().map(|part| (part.graphql, part.sql)).unzip();
    let sql = if sql.is_empty() { none.to_owned() } else { sql.join(&format!(" {connective} ")) };
    Condition { graphql: json!({connective: graphql}), sql: format!("({sql})") }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn literal(text: &str, type_name: &str) -> String {
    format!("{}::{type_name}", quoted(text))
}

fn array(elements: &[Option<String>]) -> String {
    let element = |element: &Option<String>| match element {
        None => "null".to_owned(),
        Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    format!("{{{}}}", elements.iter().map(element).collect::<Vec<_>>().join(","))
}

async fn rows(client: &Client, sql: &str) -> Vec<SimpleQueryRow> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
    let row = |message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None };
    messages.into_iter().filter_map(row).collect()
}

fn truth(answer: Option<&str>) -> Truth {
    answer.map_or(Truth::Unknown, |answer| if answer == "t" { Truth::True } else { Truth::False })
}

/// Every column with every operator, and then trees of them.
fn conditions(generator: &mut Generator) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for index in 0..COLUMNS.len() {
        for operator in offered(&generator.table.columns[index]) {
            conditions.push(generator.leaf(index, *operator));
        }
    }
    conditions.extend((0..TREES).map(|_| generator.tree(3)));
    conditions
}

/// The domains of [`COLLATED`].
async fn collated(client: &Client) -> String {
    let mut domains = String::new();
    for (name, collation) in COLLATED {
        let query = format!("select 1 from pg_collation where collname = {}", quoted(collation));
        let collate =
            if rows(client, &query).await.is_empty() { String::new() } else { format!("collate \"{collation}\"") };
        write!(domains, "create domain {name} as text {collate}; ").unwrap();
    }
    domains
}

/// The table as the catalog describes it.
async fn watched(client: &Client) -> Arc<Table> {
    let columns: Vec<_> = COLUMNS.iter().map(|(name, type_name)| format!("{name} {type_name}")).collect();
    let labels: Vec<_> = LABELS.iter().map(|label| quoted(label)).collect();
    let domains: Vec<_> = DOMAINS.iter().map(|(name, of)| format!("create domain {name} as {of};")).collect();
    let schema = format!(
        "create type mood as enum ({}); {} {} create table t ({}); select rowcast.watch('t', public => true)",
        labels.join(", "),
        domains.join(" "),
        collated(client).await,
        columns.join(", ")
    );
    client.batch_execute(&schema).await.unwrap();
    Arc::clone(Tables::load(client).await.unwrap().find("t").unwrap())
}

#[tokio::test]
async fn conditions_say_what_postgresql_says() {
    let seed = std::env::var("ROWCAST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("ROWCAST_SEED={seed}");
    let (_database, client) = Database::migrated().await;
    let mut generator = Generator::new(seed, watched(&client).await);
    client.batch_execute(&generator.insert()).await.unwrap();
    let datum = |row: &SimpleQueryRow, at| row.get(at).map_or(Datum::Null, |text| Datum::Text(text.to_owned().into()));
    let tuples: Vec<Vec<Datum>> = rows(&client, "select * from t order by id")
        .await
        .iter()
        .map(|row| (0..COLUMNS.len()).map(|at| datum(row, at)).collect())
        .collect();
    let conditions = conditions(&mut generator);
    let mut counts = [0_usize; 3];
    for batch in conditions.chunks(CONDITIONS_PER_QUERY) {
        let sql: Vec<_> = batch.iter().map(|condition| condition.sql.as_str()).collect();
        let answers = rows(&client, &format!("select {} from t order by id", sql.join(", "))).await;
        for (at, condition) in batch.iter().enumerate() {
            let predicate = Predicate::parse_where(&generator.table, &condition.graphql)
                .unwrap_or_else(|error| panic!("{error}\n{}\nROWCAST_SEED={seed}", condition.graphql));
            for (tuple, answer) in tuples.iter().zip(&answers) {
                let expected = truth(answer.get(at));
                let context = || {
                    format!("{}\n{}\n{predicate:?}\n{tuple:?}\nROWCAST_SEED={seed}", condition.graphql, condition.sql)
                };
                let tuple_of = |tuple: &[Datum]| Tuple::new(tuple.to_vec());
                let whole = tuple_of(tuple);
                assert_eq!(predicate.eval(&RowImage::new(&generator.table, &whole)), expected, "{}", context());
                counts[expected as usize] += 1;

                // What a partial image decides, the whole one decides alike.
                let mut partial = tuple.clone();
                partial
                    .iter_mut()
                    .filter(|_| generator.random.random_bool(0.3))
                    .for_each(|datum| *datum = Datum::Absent);
                let partial = tuple_of(&partial);
                let guess = predicate.eval(&RowImage::new(&generator.table, &partial));
                assert!(guess == Truth::Unavailable || guess == expected, "{guess:?} of {partial:?}\n{}", context());
            }
        }
    }
    println!("decisions: {} true, {} false, {} unknown", counts[0], counts[1], counts[2]);
    assert!(counts.iter().sum::<usize>() >= 20_000 && counts.iter().all(|count| *count > 2_000), "{counts:?}");
}

/// What is equal there is not what has equal bytes, in every place that a type can stand in.
const INCOMPARABLE: &[(&str, &str, &str)] = &[
    ("ci", "citext", "its type compares text in its own way"),
    ("cd", "email", "its type compares text in its own way"),
    ("ca", "citext[]", "its type compares text in its own way"),
    ("nt", "text collate folded", "its collation is not deterministic"),
    ("nv", "varchar(9) collate folded", "its collation is not deterministic"),
    ("nc", "char(9) collate folded", "its collation is not deterministic"),
    ("nd", "folded_text", "its collation is not deterministic"),
    ("na", "text[] collate folded", "its collation is not deterministic"),
];

#[tokio::test]
async fn a_column_that_only_postgresql_can_compare_is_refused_by_name_and_reason() {
    let (_database, client) = Database::migrated().await;
    let columns: Vec<_> = INCOMPARABLE.iter().map(|(name, type_name, _)| format!("{name} {type_name}")).collect();
    let schema = format!(
        "create extension citext; create domain email as citext;
         create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         create domain folded_text as text collate folded;
         create table t ({}); select rowcast.watch('t', public => true)",
        columns.join(", ")
    );
    client.batch_execute(&schema).await.unwrap();
    let tables = Tables::load(&client).await.unwrap();
    let table = tables.find("t").unwrap();
    for ((name, _, reason), column) in INCOMPARABLE.iter().zip(&table.columns) {
        assert_eq!(offered(column), [Operator::IsNull], "{name}");
        for operator in Operator::ALL.into_iter().filter(|operator| *operator != Operator::IsNull) {
            let operand = if name.ends_with('a') { json!(["a"]) } else { json!("a") };
            for operand in [operand, Value::Null] {
                let error = Predicate::parse_where(table, &json!({*name: {operator.name(): operand}})).unwrap_err();
                let place = format!("where.{name}.{}: column {name} cannot", operator.name());
                assert_eq!(error.code(), "BAD_WHERE");
                assert!(error.to_string().starts_with(&place) && error.to_string().contains(reason), "{error}");
            }
        }
        Predicate::parse_where(table, &json!({*name: {"isNull": true}})).unwrap();
    }
}

#[tokio::test]
async fn ilike_by_the_rules_of_a_language_is_refused_by_name_and_reason() {
    let (_database, client) = Database::migrated().await;
    let schema = "create collation turkish (provider = icu, locale = 'tr-TR');
                  create table t (tr text collate turkish); select rowcast.watch('t', public => true)";
    client.batch_execute(schema).await.unwrap();
    let tables = Tables::load(&client).await.unwrap();
    let table = tables.find("t").unwrap();
    let error = Predicate::parse_where(table, &json!({"tr": {"ilike": "I%"}})).unwrap_err();
    assert_eq!(error.code(), "BAD_WHERE");
    assert!(error.to_string().contains("column tr") && error.to_string().contains("language"), "{error}");
    for operator in ["eq", "like", "contains"] {
        Predicate::parse_where(table, &json!({"tr": {operator: "I"}})).unwrap();
    }
}

#[tokio::test]
async fn the_corpus_is_what_postgresql_says() {
    let database = Database::empty().await;
    let client = database.connect().await;
    for case in decisions() {
        let value = case.value.as_deref().map_or("null".into(), quoted);
        let sql = format!("select {} from (select {value}::{} as c) as t", case.sql, case.type_name);
        let answer = rows(&client, &sql).await;
        assert_eq!(answer[0].get(0).map(|answer| answer == "t"), case.truth, "{}", case.name);
    }
}
