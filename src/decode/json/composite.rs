//! Composites: `(1,"a ""b""",)`, where an empty field is NULL (manual, section 8.16.6 "Composite Type Input and Output
//! Syntax").

use std::borrow::Cow;

use super::{ValueError, Written, string, value};
use crate::model::{CompositeType, PgType};

/// Appends an object by attribute.
pub(super) fn write(
    composite: &CompositeType,
    text: &[u8],
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<Written, ValueError> {
    let mut reader = Reader { text, at: 0 };
    let mut written = Written::Value;
    reader.expect(b'(')?;
    out.push(b'{');
    for (index, (name, pg_type)) in composite.attributes.iter().enumerate() {
        if index > 0 {
            reader.expect(b',').map_err(|_| field_count(composite))?;
            out.push(b',');
        }
        string::write(name.as_bytes(), out);
        out.push(b':');
        written = written.and(field(pg_type, &mut reader, out, depth)?);
    }
    out.push(b'}');
    reader.expect(b')').map_err(|_| field_count(composite))?;
    if reader.at == text.len() { Ok(written) } else { Err(reader.wrong()) }
}

fn field_count(composite: &CompositeType) -> ValueError {
    ValueError::FieldCount { attributes: composite.attributes.len() }
}

fn field(pg_type: &PgType, reader: &mut Reader<'_>, out: &mut Vec<u8>, depth: usize) -> Result<Written, ValueError> {
    let Some(text) = reader.field()? else {
        out.extend_from_slice(b"null");
        return Ok(Written::Value);
    };
    value(pg_type, &text, out, depth)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next field's text; `None` is NULL.
    fn field(&mut self) -> Result<Option<Cow<'a, [u8]>>, ValueError> {
        if self.text.get(self.at) == Some(&b'"') {
            return self.quoted().map(Some);
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let ends = |byte: &u8| matches!(byte, b',' | b'(' | b')' | b'"' | b'\\');
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        self.at += length;
        Ok(rest.get(..length).filter(|text| !text.is_empty()).map(Cow::Borrowed))
    }

    /// A field in quotes, without them; `""` and `\` before any byte stand for one byte.
    fn quoted(&mut self) -> Result<Cow<'a, [u8]>, ValueError> {
        self.at += 1;
        let mut unescaped: Option<Vec<u8>> = None;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).ok_or_else(|| self.wrong())?;
            let (plain, special) = rest.split_at(length);
            self.at += length + 1;
            match (special, &mut unescaped) {
                ([b'\\', escaped, ..] | [b'"', escaped @ b'"', ..], text) => {
                    let text = text.get_or_insert_default();
                    text.extend_from_slice(plain);
                    text.push(*escaped);
                    self.at += 1;
                }
                ([b'"', ..], None) => return Ok(Cow::Borrowed(plain)),
                ([b'"', ..], Some(text)) => {
                    text.extend_from_slice(plain);
                    return Ok(Cow::Owned(std::mem::take(text)));
                }
                _ => return Err(self.wrong()),
            }
        }
    }

    fn expect(&mut self, expected: u8) -> Result<(), ValueError> {
        if self.text.get(self.at) != Some(&expected) {
            return Err(self.wrong());
        }
        self.at += 1;
        Ok(())
    }

    fn wrong(&self) -> ValueError {
        ValueError::Syntax { expected: "a composite", at: self.at }
    }
}
