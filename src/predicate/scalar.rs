//! Values that can be compared: typed, owned, and such that `==`, `<` and the hash are PostgreSQL's.

use std::mem::discriminant;

use super::{Float, Json, Numeric, array, time};
use crate::model::PgType;

/// One value. Two values are comparable when they are of one variant; one column has values of one variant only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scalar {
    /// `boolean`
    Bool(bool),
    /// `smallint`, `integer`, `bigint`
    Int(i64),
    /// `real`, `double precision`
    Float(Float),
    /// `numeric`
    Numeric(Numeric),
    /// `text` and its kin; ordered by code point. `char(n)` is without its trailing blanks.
    Text(Box<str>),
    /// `uuid`
    Uuid([u8; 16]),
    /// `date`: days since 2000-01-01; the ends of the range are the infinities.
    Date(i32),
    /// `time`: microseconds since midnight.
    Time(i64),
    /// `timestamp`, `timestamptz`: microseconds since 2000-01-01 (UTC); the ends of the range are the infinities.
    Timestamp(i64),
    /// `bytea`
    Bytea(Box<[u8]>),
    /// A label of an enum by its place in the enum's order.
    Enum(u32),
    /// `json`, `jsonb`
    Json(Box<Json>),
    /// An array's elements, of all dimensions; `None` is NULL.
    Array(Box<[Option<Scalar>]>),
}

impl Scalar {
    /// Reads PostgreSQL's output in a session with UTC and ISO settings, and the other spellings of the type's input
    /// that clients use (a UUID in upper case, a timestamp with `T` and `Z`). `None`: not a value of this type, an enum
    /// label that the catalog did not have, or a type that [`operators`](super::operators) does not compare.
    pub fn from_text(pg_type: &PgType, text: &[u8]) -> Option<Scalar> {
        let text = std::str::from_utf8(text).ok()?;
        Some(match pg_type {
            PgType::Bool => Scalar::Bool(boolean(text)?),
            PgType::Int2 | PgType::Int4 | PgType::Int8 => Scalar::Int(text.parse().ok()?),
            PgType::Float4 => Scalar::Float(Float::parse_real(text)?),
            PgType::Float8 => Scalar::Float(Float::parse_double(text)?),
            PgType::Numeric => Scalar::Numeric(Numeric::parse(text)?),
            PgType::Text => Scalar::Text(text.into()),
            PgType::Bpchar => Scalar::Text(text.trim_end_matches(' ').into()),
            PgType::Uuid => Scalar::Uuid(uuid(text)?),
            PgType::Date => Scalar::Date(time::date(text)?),
            PgType::Time => Scalar::Time(time::time(text)?),
            PgType::Timestamp => Scalar::Timestamp(time::timestamp(text)?),
            PgType::TimestampTz => Scalar::Timestamp(time::timestamptz(text)?),
            PgType::Bytea => Scalar::Bytea(bytea(text)?),
            PgType::Enum(labels) => Scalar::Enum(labels.labels.iter().position(|label| label == text)? as u32),
            PgType::Json => Scalar::Json(Box::new(Json::parse(text)?)),
            PgType::Array(array) => Scalar::Array(array::elements(array, text)?),
            PgType::Composite(_) | PgType::Other => return None,
        })
    }

    /// Whether the two may be compared at all.
    pub(super) fn comparable(&self, other: &Scalar) -> bool {
        discriminant(self) == discriminant(other)
    }

    /// Whether it contains `part`; `None` where the type has no containment.
    pub(super) fn contains(&self, part: &Scalar) -> Option<bool> {
        match (self, part) {
            (Scalar::Text(whole), Scalar::Text(part)) => Some(whole.contains(&**part)),
            (Scalar::Json(whole), Scalar::Json(part)) => Some(whole.contains(part)),
            (Scalar::Array(whole), Scalar::Array(part)) => Some(array::contains(whole, part)),
            _ => None,
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "t" | "true" => Some(true),
        "f" | "false" => Some(false),
        _ => None,
    }
}

/// PostgreSQL takes 32 hexadecimal digits, a hyphen after any group of four, and braces around it all.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits = text.strip_prefix('{').map_or(Some(text), |inner| inner.strip_suffix('}'))?;
    let mut uuid = [0; 16];
    let mut rest = digits.as_bytes();
    for (index, byte) in uuid.iter_mut().enumerate() {
        if let ([b'-', after @ ..], 2 | 4 | 6 | 8 | 10 | 12 | 14) = (rest, index) {
            rest = after;
        }
        let [high, low, after @ ..] = rest else { return None };
        *byte = nibble(*high)? << 4 | nibble(*low)?;
        rest = after;
    }
    rest.is_empty().then_some(uuid)
}

fn bytea(text: &str) -> Option<Box<[u8]>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let (pairs, odd) = digits.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?));
    odd.is_empty().then(|| bytes.collect()).flatten()
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::Scalar;
    use crate::model::PgType;

    #[test]
    fn a_uuid_has_the_spellings_that_postgresql_takes() {
        let read = |text: &str| Scalar::from_text(&PgType::Uuid, text.as_bytes());
        let expected = read("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        assert!(expected.is_some());
        for text in [
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        for text in [
            "",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
            "a0e-ebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11-",
            "g0eebc999c0b4ef8bb6d6bb9bd380a11",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn text_that_is_no_value_of_its_type_is_none() {
        for (pg_type, text) in [
            (PgType::Bool, "yes"),
            (PgType::Int8, "9223372036854775808"),
            (PgType::Int4, "1.0"),
            (PgType::Bytea, "\\x0"),
            (PgType::Bytea, "00"),
            (PgType::Other, "1 day"),
        ] {
            assert_eq!(Scalar::from_text(&pg_type, text.as_bytes()), None, "{text}");
        }
        assert_eq!(Scalar::from_text(&PgType::Text, &[0xFF]), None);
    }

    #[test]
    fn a_scalar_stays_small() {
        assert!(size_of::<Scalar>() <= 24);
        assert!(size_of::<crate::predicate::Predicate>() <= 32);
    }
}
