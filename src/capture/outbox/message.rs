//! Messages of `pgoutput`, protocol version 1, as a server would write them (manual, section 55.9 "Logical Replication
//! Message Formats").

use bytes::{BufMut, Bytes, BytesMut};

use crate::model::{Fields, Lsn, NotComposite};

/// A table as one row of the outbox describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    schema: String,
    name: String,
    /// Type and name of each column of an image; without a type it is generated, and not sent.
    columns: Vec<(Option<u32>, String)>,
}

impl Shape {
    /// Schema, name, and `oid name` of each column. `None` is not that form.
    pub(super) fn parse(words: Vec<String>) -> Option<Self> {
        let mut words = words.into_iter();
        let (schema, name) = (words.next()?, words.next()?);
        let column = |word: String| {
            let (oid, name) = word.split_once(' ')?;
            let oid: u32 = oid.parse().ok()?;
            Some(((oid != 0).then_some(oid), name.to_owned()))
        };
        Some(Self { schema, name, columns: words.map(column).collect::<Option<_>>()? })
    }

    fn told(&self) -> usize {
        self.columns.iter().filter(|(oid, _)| oid.is_some()).count()
    }
}

/// `committed_at` is in microseconds since 2000.
pub(super) fn begin(commit: Lsn, committed_at: i64, xid: u32) -> Bytes {
    let mut body = BytesMut::with_capacity(21);
    body.put_u8(b'B');
    body.put_u64(commit.0);
    body.put_i64(committed_at);
    body.put_u32(xid);
    body.freeze()
}

pub(super) fn commit(commit: Lsn, end: Lsn, committed_at: i64) -> Bytes {
    let mut body = BytesMut::with_capacity(26);
    body.put_u8(b'C');
    body.put_u8(0);
    body.put_u64(commit.0);
    body.put_u64(end.0);
    body.put_i64(committed_at);
    body.freeze()
}

/// Old images are whole.
pub(super) fn relation(oid: u32, shape: &Shape) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(b'R');
    body.put_u32(oid);
    put_text(&shape.schema, &mut body);
    put_text(&shape.name, &mut body);
    body.put_u8(b'f');
    // A table has 1600 columns at most.
    body.put_u16(shape.told() as u16);
    for (type_oid, name) in shape.columns.iter().filter_map(|(oid, name)| Some(((*oid)?, name))) {
        body.put_u8(1);
        put_text(name, &mut body);
        body.put_u32(type_oid);
        body.put_i32(-1);
    }
    body.freeze()
}

/// A row's images, of which the kind of change has one or both.
pub(super) fn row(
    kind: u8,
    oid: u32,
    shape: &Shape,
    old: Option<&str>,
    new: Option<&str>,
) -> Result<Bytes, NotComposite> {
    let texts = old.map_or(0, str::len) + new.map_or(0, str::len);
    let mut body = BytesMut::with_capacity(16 + texts + 10 * shape.columns.len());
    body.put_u8(kind);
    body.put_u32(oid);
    for (mark, image) in [(b'O', old), (b'N', new)] {
        if let Some(image) = image {
            body.put_u8(mark);
            put_image(shape, image.as_bytes(), &mut body)?;
        }
    }
    Ok(body.freeze())
}

pub(super) fn truncate(oid: u32) -> Bytes {
    let mut body = BytesMut::with_capacity(10);
    body.put_u8(b'T');
    body.put_u32(1);
    body.put_u8(0);
    body.put_u32(oid);
    body.freeze()
}

/// A transactional message.
pub(super) fn logical(prefix: &str, content: &str) -> Bytes {
    let mut body = BytesMut::with_capacity(16 + prefix.len() + content.len());
    body.put_u8(b'M');
    body.put_u8(1);
    body.put_u64(0);
    put_text(prefix, &mut body);
    body.put_u32(content.len() as u32);
    body.put_slice(content.as_bytes());
    body.freeze()
}

fn put_image(shape: &Shape, image: &[u8], body: &mut BytesMut) -> Result<(), NotComposite> {
    body.put_u16(shape.told() as u16);
    let mut fields = Fields::open(image)?;
    for (index, (type_oid, _)) in shape.columns.iter().enumerate() {
        if index > 0 {
            fields.comma()?;
        }
        let field = fields.field()?;
        match (type_oid, field) {
            (None, _) => {}
            (Some(_), None) => body.put_u8(b'n'),
            (Some(_), Some(text)) => {
                body.put_u8(b't');
                body.put_u32(text.len() as u32);
                body.put_slice(&text);
            }
        }
    }
    fields.close()
}

/// PostgreSQL's texts have no zero in them.
fn put_text(text: &str, body: &mut BytesMut) {
    body.put_slice(text.as_bytes());
    body.put_u8(0);
}

#[cfg(test)]
mod tests {
    use super::{Shape, row};

    fn shape(words: &[&str]) -> Option<Shape> {
        Shape::parse(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn values_are_the_texts_of_the_image_and_an_empty_field_is_null() {
        let shape = shape(&["public", "t", "23 id", "0 computed", "25 a note"]).unwrap();
        let update = row(b'U', 7, &shape, Some("(1,5,)"), Some(r#"(1,6,"a ""b"", \\c")"#)).unwrap();
        let columns = b"\x00\x02t\x00\x00\x00\x011";
        let wanted = [&b"U\x00\x00\x00\x07O"[..], columns, b"nN", columns, b"t\x00\x00\x00\x09a \"b\", \\c"].concat();
        assert_eq!(update, wanted);
    }

    #[test]
    fn an_image_that_does_not_fit_its_description_is_refused() {
        let shape = shape(&["public", "t", "23 id", "25 note"]).unwrap();
        for image in ["(1)", "(1,a,b)", "1,a", "(1,\"a)", "(1,a) "] {
            assert!(row(b'I', 7, &shape, None, Some(image)).is_err(), "{image}");
        }
        assert!(row(b'I', 7, &shape, None, Some("(,)")).is_ok());
    }

    #[test]
    fn a_description_names_a_table_and_typed_columns() {
        assert!(shape(&["public", "t"]).is_some());
        for words in [&["public"][..], &["public", "t", "id"], &["public", "t", "x id"]] {
            assert_eq!(shape(words), None, "{words:?}");
        }
    }
}
