//! Finding a table by what somebody wrote: `orders`, `public.orders`, `"My Schema"."T"`.

use std::sync::Arc;

use super::{CatalogError, Tables};
use crate::model::{Table, TableName};

/// One part of a written name.
struct Part {
    text: String,
    quoted: bool,
}

impl Tables {
    /// The table with exactly this schema and name, as the catalog has them.
    pub fn by_name(&self, schema: &str, name: &str) -> Option<&Arc<Table>> {
        self.by_name.get(&TableName { schema: schema.to_owned(), name: name.to_owned() })
    }

    /// The table that `written` names. Quoted parts are taken as they are; others are folded to lower case as SQL does,
    /// and if nothing has that name, taken as they are: who writes `Orders` in Python means the table `Orders`. Without
    /// a schema, `public` comes first, then the only table of that name in any schema.
    pub fn find(&self, written: &str) -> Result<&Arc<Table>, CatalogError> {
        let unknown = || CatalogError::UnknownTable(written.to_owned());
        let parts = parse(written).ok_or_else(unknown)?;
        for fold in [true, false] {
            let names: Vec<String> = parts.iter().map(|part| part.name(fold)).collect();
            if let Some(found) = self.named(written, &names)? {
                return Ok(found);
            }
        }
        Err(unknown())
    }

    /// The tables in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.by_name.values()
    }

    fn named(&self, written: &str, names: &[String]) -> Result<Option<&Arc<Table>>, CatalogError> {
        match names {
            [schema, name] => Ok(self.by_name(schema, name)),
            [name] => self.unqualified(written, name),
            _ => Ok(None),
        }
    }

    fn unqualified(&self, written: &str, name: &str) -> Result<Option<&Arc<Table>>, CatalogError> {
        if let Some(table) = self.by_name("public", name) {
            return Ok(Some(table));
        }
        let mut fitting = self.iter().filter(|table| table.name.name == name);
        match (fitting.next(), fitting.next()) {
            (Some(first), Some(second)) => Err(CatalogError::AmbiguousTable {
                name: written.to_owned(),
                first: first.name.clone(),
                second: second.name.clone(),
            }),
            (only, _) => Ok(only),
        }
    }
}

impl Part {
    fn name(&self, fold: bool) -> String {
        if fold && !self.quoted { self.text.to_lowercase() } else { self.text.clone() }
    }
}

/// The parts around the dots; `None` when a quote is not closed or a part is empty.
fn parse(written: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = written.trim();
    loop {
        let (part, behind) = parse_part(rest)?;
        parts.push(part);
        match behind.strip_prefix('.') {
            Some(next) => rest = next,
            None => return behind.is_empty().then_some(parts),
        }
    }
}

fn parse_part(text: &str) -> Option<(Part, &str)> {
    if let Some(mut rest) = text.strip_prefix('"') {
        let mut name = String::new();
        loop {
            let (before, behind) = rest.split_once('"')?;
            name.push_str(before);
            match behind.strip_prefix('"') {
                Some(behind) => {
                    name.push('"');
                    rest = behind;
                }
                None => return (!name.is_empty()).then_some((Part { text: name, quoted: true }, behind)),
            }
        }
    }
    let end = text.find(['.', '"']).unwrap_or(text.len());
    let (name, behind) = text.split_at(end);
    (!name.is_empty()).then(|| (Part { text: name.to_owned(), quoted: false }, behind))
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn names(written: &str) -> Option<Vec<String>> {
        Some(parse(written)?.iter().map(|part| part.name(true)).collect())
    }

    #[test]
    fn names_are_read_as_sql_reads_them() {
        for (written, expected) in [
            ("orders", vec!["orders"]),
            ("Public.Orders", vec!["public", "orders"]),
            ("\"My Schema\".\"T\"", vec!["My Schema", "T"]),
            ("\"a.b\".\"say \"\"hi\"\"\"", vec!["a.b", "say \"hi\""]),
            ("a.b.c", vec!["a", "b", "c"]),
        ] {
            assert_eq!(names(written).unwrap(), expected, "{written}");
        }
    }

    #[test]
    fn broken_names_are_refused() {
        for written in ["", ".", "a.", ".a", "\"a", "\"\"", "a\"b\"", "\"a\"b", "a..b"] {
            assert!(names(written).is_none(), "{written}");
        }
    }
}
