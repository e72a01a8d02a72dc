//! Which row of which table an event is about, as something to compare.

use std::sync::Arc;

use super::{RowChange, Table, Tuple};

/// The table and the text of the primary key's columns. Equal ones are the same row; the same row may have unequal ones
/// (`1.0` and `1.00` are one `numeric`), so what is taken for two rows may be one, never the other way round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowKey(Arc<[u8]>);

impl RowKey {
    /// `None` when the table has no primary key, when the change does not carry it, and for the whole of an UPDATE that
    /// changed it: that is about two keys, and each of its halves about one.
    pub fn of(change: &RowChange) -> Option<RowKey> {
        let of = |tuple: &Tuple| RowKey::of_tuple(&change.table, tuple);
        match (&change.old, &change.new) {
            (Some(old), Some(new)) => of(new).filter(|key| of(old).as_ref() == Some(key)),
            // An UPDATE without an old image left the key alone: PostgreSQL would have sent it.
            (None, Some(only)) | (Some(only), None) => of(only),
            (None, None) => None,
        }
    }

    /// How many bytes it holds.
    #[allow(clippy::len_without_is_empty)] // none is empty
    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn of_tuple(table: &Table, tuple: &Tuple) -> Option<RowKey> {
        if table.key.is_empty() {
            return None;
        }
        let mut key = table.oid.to_be_bytes().to_vec();
        for index in &table.key {
            let text = tuple.get(*index).text()?;
            key.extend_from_slice(&text.len().to_be_bytes());
            key.extend_from_slice(text);
        }
        Some(RowKey(key.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::RowKey;
    use crate::model::{
        Access, Collation, Column, Datum, Operation, PgType, ReplicaIdentity, RowChange, Table, TableName, Tuple,
    };

    fn table(oid: u32, key: &[usize]) -> Arc<Table> {
        let column = |name: &str| Column {
            name: name.into(),
            field: name.into(),
            type_oid: 25,
            pg_type: PgType::Other,
            not_null: true,
            collation: Collation::C,
            folding: crate::model::Folding::Simple,
        };
        Arc::new(Table {
            oid,
            name: TableName { schema: "public".into(), name: "t".into() },
            type_name: "T".into(),
            field: "t".into(),
            columns: ["a", "b", "c"].into_iter().map(column).collect(),
            key: key.into(),
            tenant: None,
            public: true,
            access: Access::default(),
            identity: ReplicaIdentity::Full,
            comment: None,
        })
    }

    fn row(values: [&str; 3]) -> Tuple {
        Tuple::new(values.map(|value| Datum::Text(value.to_owned().into())))
    }

    fn key(table: &Arc<Table>, old: Option<Tuple>, new: Option<Tuple>) -> Option<RowKey> {
        RowKey::of(&RowChange { table: Arc::clone(table), operation: Operation::Update, old, new })
    }

    #[test]
    fn a_row_is_itself_whatever_happens_to_it_and_no_other() {
        let table = table(1, &[0, 1]);
        let inserted = key(&table, None, Some(row(["x", "yz", "1"])));
        assert!(inserted.is_some());
        assert_eq!(inserted, key(&table, Some(row(["x", "yz", "1"])), Some(row(["x", "yz", "2"]))));
        assert_eq!(inserted, key(&table, Some(row(["x", "yz", "2"])), None));
        for other in [["x", "y", "1"], ["xy", "z", "1"], ["", "xyz", "1"]] {
            assert_ne!(inserted, key(&table, None, Some(row(other))));
        }
        assert_ne!(inserted, key(&self::table(2, &[0, 1]), None, Some(row(["x", "yz", "1"]))));
    }

    #[test]
    fn what_is_about_two_rows_or_about_none_that_is_known_has_no_key() {
        let table = table(1, &[0]);
        assert_eq!(key(&table, Some(row(["x", "", ""])), Some(row(["y", "", ""]))), None);
        assert_eq!(key(&self::table(1, &[]), None, Some(row(["x", "", ""]))), None);
        let unknown = Tuple::new([Datum::Absent, Datum::Null, Datum::Unchanged]);
        for index in 0..3 {
            assert_eq!(key(&self::table(1, &[index]), Some(unknown.clone()), None), None);
        }
    }
}
