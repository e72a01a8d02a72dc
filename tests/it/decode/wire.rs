//! pgoutput messages by hand, for streams that no server would send, and for benches without one.

use bytes::Bytes;
use rowcast::decode::Tables;
use rowcast::model::{Column, PgType, ReplicaIdentity, Table, TableName};
use std::sync::Arc;

/// The commit LSN of [`begin`] and [`commit`].
pub(crate) const COMMIT_LSN: u64 = 0x16_B374_D848;

/// A column of a row image.
#[derive(Clone, Copy)]
pub(crate) enum Col<'a> {
    Null,
    Unchanged,
    Text(&'a [u8]),
}

pub(crate) fn text(text: &str) -> Col<'_> {
    Col::Text(text.as_bytes())
}

pub(crate) fn begin() -> Bytes {
    [&b"B"[..], &COMMIT_LSN.to_be_bytes(), &1_000_000_i64.to_be_bytes(), &727_u32.to_be_bytes()].concat().into()
}

pub(crate) fn commit() -> Bytes {
    commit_at(COMMIT_LSN)
}

pub(crate) fn commit_at(lsn: u64) -> Bytes {
    [&b"C\0"[..], &lsn.to_be_bytes(), &(lsn + 48).to_be_bytes(), &1_000_000_i64.to_be_bytes()].concat().into()
}

pub(crate) fn relation(oid: u32, name: &str, identity: u8, columns: &[(&str, u32)]) -> Bytes {
    let mut body = [&b"R"[..], &oid.to_be_bytes(), b"public\0", name.as_bytes(), &[0, identity]].concat();
    body.extend_from_slice(&(columns.len() as u16).to_be_bytes());
    for (name, type_oid) in columns {
        body.push(0);
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body.extend_from_slice(&type_oid.to_be_bytes());
        body.extend_from_slice(&(-1_i32).to_be_bytes());
    }
    body.into()
}

pub(crate) fn insert(oid: u32, new: &[Col<'_>]) -> Bytes {
    row(b'I', oid, &[(b'N', new)])
}

pub(crate) fn update(oid: u32, old: Option<(u8, &[Col<'_>])>, new: &[Col<'_>]) -> Bytes {
    let images: Vec<_> = old.into_iter().chain([(b'N', new)]).collect();
    row(b'U', oid, &images)
}

pub(crate) fn delete(oid: u32, mark: u8, old: &[Col<'_>]) -> Bytes {
    row(b'D', oid, &[(mark, old)])
}

pub(crate) fn row(tag: u8, oid: u32, images: &[(u8, &[Col<'_>])]) -> Bytes {
    let mut body = vec![tag];
    body.extend_from_slice(&oid.to_be_bytes());
    for (mark, columns) in images {
        body.push(*mark);
        body.extend_from_slice(&(columns.len() as u16).to_be_bytes());
        for column in *columns {
            put(column, &mut body);
        }
    }
    body.into()
}

fn put(column: &Col<'_>, body: &mut Vec<u8>) {
    match column {
        Col::Null => body.push(b'n'),
        Col::Unchanged => body.push(b'u'),
        Col::Text(text) => {
            body.push(b't');
            body.extend_from_slice(&(text.len() as u32).to_be_bytes());
            body.extend_from_slice(text);
        }
    }
}

pub(crate) fn truncate(oids: &[u32]) -> Bytes {
    let mut body = [&b"T"[..], &(oids.len() as u32).to_be_bytes(), &[3]].concat();
    body.extend(oids.iter().flat_map(|oid| oid.to_be_bytes()));
    body.into()
}

pub(crate) fn message(transactional: bool, prefix: &str, content: &[u8]) -> Bytes {
    let head = [&b"M"[..], &[u8::from(transactional)], &77_u64.to_be_bytes(), prefix.as_bytes(), &[0]].concat();
    [&head[..], &(content.len() as u32).to_be_bytes(), content].concat().into()
}

/// A watched table of built-in types, the first column its key.
pub(crate) fn table(oid: u32, name: &str, identity: ReplicaIdentity, columns: &[(&str, u32)]) -> Arc<Table> {
    let column = |(index, &(name, type_oid)): (usize, &(&str, u32))| Column {
        name: name.into(),
        field: name.into(),
        type_oid,
        pg_type: PgType::builtin(type_oid).unwrap_or(PgType::Other),
        not_null: index == 0,
        collation: rowcast::model::Collation::Plain,
        folding: rowcast::model::Folding::Simple,
    };
    Arc::new(Table {
        oid,
        name: TableName { schema: "public".into(), name: name.into() },
        type_name: name.into(),
        field: name.into(),
        columns: columns.iter().enumerate().map(column).collect(),
        key: [0].into(),
        tenant: None,
        public: true,
        access: rowcast::model::Access::default(),
        identity,
        comment: None,
    })
}

pub(crate) fn tables(tables: impl IntoIterator<Item = Arc<Table>>) -> Arc<Tables> {
    Arc::new(tables.into_iter().map(|table| (table.oid, table)).collect())
}
