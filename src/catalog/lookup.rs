//! Finding a table by what somebody wrote: `orders`, `public.orders`, `"My Schema"."T"`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{CatalogError, TableProblem, Tables};
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
    /// and if nothing has that name, taken as they are: `Orders` in Python means the table `Orders`. Without
    /// a schema, `public` comes first, then the only table of that name in any schema. A table that cannot be served is
    /// found as well and is an error: another one of the same name does not take its place.
    pub fn find(&self, written: &str) -> Result<&Arc<Table>, CatalogError> {
        let unknown = || CatalogError::UnknownTable(written.to_owned());
        let parts = parse(written).ok_or_else(unknown)?;
        for fold in [true, false] {
            let names: Vec<String> = parts.iter().map(|part| part.name(fold)).collect();
            if let Some(found) = self.named(written, &names)? {
                return self.served(found);
            }
        }
        Err(unknown())
    }

    /// The tables in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.by_name.values()
    }

    /// What keeps tables from being served.
    pub(crate) fn unserved(&self) -> impl Iterator<Item = &TableProblem> {
        self.problems.iter().filter(|problem| problem.unserved)
    }

    fn served(&self, name: &TableName) -> Result<&Arc<Table>, CatalogError> {
        let problem = || self.unserved().find(|problem| problem.table == *name);
        self.by_name.get(name).ok_or_else(|| match problem() {
            Some(problem) => CatalogError::NotServed(Box::new(problem.clone())),
            None => CatalogError::UnknownTable(name.to_string()),
        })
    }

    fn named(&self, written: &str, names: &[String]) -> Result<Option<&TableName>, CatalogError> {
        match names {
            [schema, name] => Ok(self.names().find(|known| known.schema == *schema && known.name == *name)),
            [name] => self.unqualified(written, name),
            _ => Ok(None),
        }
    }

    fn names(&self) -> impl Iterator<Item = &TableName> {
        self.by_name.keys().chain(self.unserved().map(|problem| &problem.table))
    }

    fn unqualified(&self, written: &str, name: &str) -> Result<Option<&TableName>, CatalogError> {
        let fitting: BTreeSet<&TableName> = self.names().filter(|known| known.name == name).collect();
        if let Some(public) = fitting.iter().find(|known| known.schema == "public") {
            return Ok(Some(public));
        }
        match (fitting.first(), fitting.last()) {
            (Some(first), Some(second)) if first != second => Err(CatalogError::AmbiguousTable {
                name: written.to_owned(),
                first: (*first).clone(),
                second: (*second).clone(),
            }),
            (only, _) => Ok(only.copied()),
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
