//! Custom settings that policies name literally, and which value they have when a principal brings none.
//!
//! What is promised: the value that this session has by the server's, the database's or its role's configuration. A
//! session keeps what it began with, so a default of `alter role … set` is another one only in new sessions, here as
//! everywhere. What is never done: a setting is not set here; once it was, it would never be missing again.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::model::Access;

/// A setting of an extension may be for superusers alone, which is an error; NULL means that the setting has no value.
const DEFAULT: &str = "select pg_catalog.current_setting($1, true)";

/// In front of a setting's name, as `pg_get_expr` prints it.
const CALL: &str = "current_setting('";

/// The names with a dot, as they are written: only those can be set without an extension that defines them.
pub(super) fn named<'a>(tables: impl Iterator<Item = &'a Access>) -> BTreeSet<Box<str>> {
    let texts = tables.flat_map(|access| &access.policies).filter_map(|policy| policy.using.as_deref());
    texts.flat_map(names).filter(|name| name.contains('.')).map(String::into_boxed_str).collect()
}

/// Each on its own: one that may not be read is left out, and takes no other with it.
pub(super) async fn read(
    client: &Client,
    names: &BTreeSet<Box<str>>,
) -> Result<BTreeMap<Box<str>, Box<str>>, tokio_postgres::Error> {
    let mut defaults = BTreeMap::new();
    for name in names {
        match client.query_one(DEFAULT, &[&&**name]).await {
            Ok(row) => defaults.extend(row.try_get::<_, Option<String>>(0)?.map(|value| (name.clone(), value.into()))),
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(defaults)
}

fn names(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(CALL).skip(1).map(literal)
}

/// Up to the quote that is not doubled.
fn literal(text: &str) -> String {
    let mut name = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\'') {
        name.push_str(before);
        match behind.strip_prefix('\'') {
            Some(behind) => {
                name.push('\'');
                rest = behind;
            }
            None => break,
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn settings_are_found_by_the_names_that_a_policy_writes() {
        let text = "((tenant)::text = current_setting('app.tenant'::text, true)) AND (x = current_setting('it''s.odd'::text)) \
                    AND (y = current_setting(name_of_it))";
        assert_eq!(names(text).collect::<Vec<_>>(), ["app.tenant", "it's.odd"]);
    }
}
