//! `ilike` on a column without a collation of its own: PostgreSQL folds as the database does, and so does rowcast.

use rowcast::catalog::Tables;
use rowcast::model::{Datum, Tuple};
use rowcast::predicate::{Predicate, RowImage};
use serde_json::json;

use crate::postgres::Database;

/// How databases are made. A server without ICU, or an older one, does not know the last ones.
const DATABASES: [&str; 5] = [
    "lc_collate 'C' lc_ctype 'C'",
    "lc_collate 'C' lc_ctype 'C.UTF-8'",
    "locale_provider icu icu_locale 'de' lc_collate 'C' lc_ctype 'C'",
    "locale_provider builtin builtin_locale 'C.UTF-8' lc_collate 'C' lc_ctype 'C'",
    "locale_provider builtin builtin_locale 'PG_UNICODE_FAST' lc_collate 'C' lc_ctype 'C'",
];

/// Letters that fold to another number of letters, by where they stand, or out of another script.
const WORDS: [&str; 14] =
    ["É", "é", "İ", "i", "i\u{307}", "ẞ", "ß", "SS", "ΟΔΟΣ", "οδος", "οδοσ", "\u{212a}", "k", "ı"];

#[tokio::test]
async fn ilike_folds_as_the_collation_of_the_database_does() {
    let server = Database::empty().await;
    let mut made = 0;
    for (number, options) in DATABASES.iter().enumerate() {
        let Some(database) = server.beside(&format!("folding_{number}"), options).await else { continue };
        made += 1;
        compare(&database, options).await;
    }
    assert!(made >= 3, "{made} databases");
}

async fn compare(database: &Database, options: &str) {
    let mut client = database.connect().await;
    rowcast::store::migrate(&mut client).await.unwrap();
    client.batch_execute("create table t (v text); select rowcast.watch('t', public => true)").await.unwrap();
    let tables = Tables::load(&client).await.unwrap();
    let table = tables.find("t").unwrap();
    for pattern in WORDS.iter().flat_map(|word| [word.to_string(), format!("{word}%"), format!("_{word}")]) {
        let predicate = Predicate::parse_where(table, &json!({"v": {"ilike": pattern}})).unwrap();
        for word in WORDS {
            let row = client.query_one("select $1::text ilike $2::text", &[&word, &pattern]).await.unwrap();
            let tuple = Tuple::new(vec![Datum::Text(word.to_owned().into())]);
            let truth = predicate.eval(&RowImage::new(table, &tuple));
            assert_eq!(truth.is_true(), row.get::<_, bool>(0), "{word} ilike {pattern}: {options}");
        }
    }
}
