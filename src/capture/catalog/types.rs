//! From `pg_type` rows to [`PgType`]: pure, and total even for rows that contradict each other.

use std::collections::HashMap;
use std::sync::Arc;

use super::queries::TypeRow;
use crate::model::{ArrayType, CompositeType, EnumType, PgType};

/// Types nest by domains, arrays and composites. PostgreSQL refuses a type that contains itself, so the depth is that
/// of somebody's `create type` statements; beyond this bound a type is shown as PostgreSQL's text.
const DEPTH_MAX: u8 = 32;

const BPCHAR: u32 = 1042;
/// `text`, `varchar`, `name`, and arrays of the first two.
const PLAIN_TEXT: [u32; 5] = [25, 1043, 19, 1009, 1015];

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

    /// Whether its text compares by its collation alone: not so `citext` and, unless the column itself is one, `char(n)`.
    pub(super) fn is_plain_text(&self, oid: u32) -> bool {
        let base = |oid: &u32| self.0.get(oid).filter(|row| row.kind == "d").map(|row| row.base);
        let last = std::iter::successors(Some(oid), base).take(DEPTH_MAX.into()).last();
        oid == BPCHAR || last.is_some_and(|last| PLAIN_TEXT.contains(&last))
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
