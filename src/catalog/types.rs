//! From `pg_type` rows to [`PgType`]: pure, and total even for rows that contradict each other.

use std::collections::HashMap;
use std::sync::Arc;

use super::rows::TypeRow;
use crate::model::{ArrayType, CompositeType, EnumType, PgType};

/// Types nest by domains, arrays and composites. PostgreSQL refuses a type that contains itself, so the depth is that
/// of somebody's `create type` statements; beyond this bound a type is shown as PostgreSQL's text.
const DEPTH_MAX: u8 = 32;

/// `text`, `varchar`, `char(n)`, `name`, `"char"`, and arrays of them.
const PLAIN_TEXT: [u32; 10] = [25, 1043, 1042, 19, 18, 1009, 1015, 1014, 1003, 1002];

/// The types that a catalog named, by OID.
pub(super) struct Types(HashMap<u32, TypeRow>);

impl Types {
    pub(super) fn new(rows: Vec<TypeRow>) -> Self {
        Types(rows.into_iter().map(|row| (row.oid, row)).collect())
    }

    /// What the text of a value of this type means.
    pub(super) fn resolve(&self, oid: u32) -> PgType {
        self.resolve_to(oid, DEPTH_MAX)
    }

    /// Whether a domain, or one that it is based on, forbids NULL.
    pub(super) fn not_null(&self, oid: u32) -> bool {
        let base = |row: &&TypeRow| (row.kind == "d").then(|| self.0.get(&row.base)).flatten();
        std::iter::successors(self.0.get(&oid), base).take(DEPTH_MAX.into()).any(|row| row.not_null)
    }

    /// Whether its text, or that of its elements, compares by its collation alone: not so `citext`.
    pub(super) fn is_plain_text(&self, oid: u32) -> bool {
        let made_of = |oid: &u32| match self.0.get(oid)? {
            row if row.kind == "d" => Some(row.base),
            row => (row.element != 0).then_some(row.element),
        };
        let mut parts = std::iter::successors(Some(oid), made_of).take(DEPTH_MAX.into());
        parts.any(|oid| PLAIN_TEXT.contains(&oid))
    }

    fn resolve_to(&self, oid: u32, depth: u8) -> PgType {
        if let Some(builtin) = PgType::builtin(oid) {
            return builtin;
        }
        match (self.0.get(&oid), depth.checked_sub(1)) {
            (Some(row), Some(depth)) => self.resolve_row(row, depth),
            (None, _) | (_, None) => PgType::Other,
        }
    }

    fn resolve_row(&self, row: &TypeRow, depth: u8) -> PgType {
        match row.kind.as_str() {
            "d" => self.resolve_to(row.base, depth),
            "e" => PgType::Enum(Arc::new(EnumType { name: row.name.clone(), labels: row.labels.clone() })),
            "c" => self.composite(row, depth),
            "b" if row.element != 0 => self.array(row, depth),
            // citext and other string types of extensions: category S
            "b" if row.category == "S" => PgType::Text,
            // ranges, multiranges, pseudo-types, base types of extensions
            _ => PgType::Other,
        }
    }

    fn composite(&self, row: &TypeRow, depth: u8) -> PgType {
        let types = row.attribute_types.iter().map(|oid| self.resolve_to(*oid, depth));
        let attributes = row.attribute_names.iter().cloned().zip(types).collect();
        PgType::Composite(Arc::new(CompositeType { name: row.name.clone(), attributes }))
    }

    /// An array of a domain over an array prints its elements as quoted arrays: those stay text.
    fn array(&self, row: &TypeRow, depth: u8) -> PgType {
        let element = match self.resolve_to(row.element, depth) {
            PgType::Array(_) => PgType::Other,
            element => element,
        };
        let delimiter = row.delimiter.bytes().next().unwrap_or(b',');
        PgType::Array(Arc::new(ArrayType { element, delimiter }))
    }
}
