//! Composites to JSON objects.

use super::{ValueError, Written, string, value};
use crate::model::{CompositeType, Fields, NotComposite, PgType};

/// Appends an object by attribute.
pub(super) fn write(
    composite: &CompositeType,
    text: &[u8],
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<Written, ValueError> {
    let mut fields = Fields::open(text)?;
    let mut written = Written::Value;
    out.push(b'{');
    for (index, (name, pg_type)) in composite.attributes.iter().enumerate() {
        if index > 0 {
            fields.comma().map_err(|_| field_count(composite))?;
            out.push(b',');
        }
        string::write(name.as_bytes(), out);
        out.push(b':');
        written = written.and(field(pg_type, &mut fields, out, depth)?);
    }
    out.push(b'}');
    if fields.has_more() {
        return Err(field_count(composite));
    }
    fields.close()?;
    Ok(written)
}

fn field_count(composite: &CompositeType) -> ValueError {
    ValueError::FieldCount { attributes: composite.attributes.len() }
}

fn field(pg_type: &PgType, fields: &mut Fields<'_>, out: &mut Vec<u8>, depth: usize) -> Result<Written, ValueError> {
    let Some(text) = fields.field()? else {
        out.extend_from_slice(b"null");
        return Ok(Written::Value);
    };
    value(pg_type, &text, out, depth)
}

impl From<NotComposite> for ValueError {
    fn from(NotComposite { at }: NotComposite) -> Self {
        ValueError::Syntax { expected: "a composite", at }
    }
}
