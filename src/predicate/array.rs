//! Array text (manual, section 8.15.6) and `@>` on arrays.
//!
//! Containment ignores dimensions, so the elements are read as a flat list.

use super::Scalar;
use crate::model::ArrayType;

/// The elements in storage order, `None` for NULL.
pub(super) fn elements(array: &ArrayType, text: &str) -> Option<Box<[Option<Scalar>]>> {
    // Bounds other than 1 are printed in front: [0:1]={a,b}
    let body = if text.starts_with('[') { text.split_once('=')?.1 } else { text };
    let mut rest = body.strip_prefix('{')?;
    let mut elements = Vec::new();
    while let Some(first) = rest.bytes().next() {
        rest = match first {
            b'{' | b'}' => &rest[1..],
            b if b == array.delimiter => &rest[1..],
            b'"' => {
                let (element, rest) = quoted(&rest[1..])?;
                elements.push(Some(Scalar::from_text(&array.element, element.as_bytes())?));
                rest
            }
            _ => {
                let end = rest.bytes().position(|b| b == array.delimiter || b == b'}')?;
                let (element, rest) = rest.split_at(end);
                let null = element.eq_ignore_ascii_case("null");
                elements.push(if null { None } else { Some(Scalar::from_text(&array.element, element.as_bytes())?) });
                rest
            }
        };
    }
    body.ends_with('}').then(|| elements.into())
}

/// An element after its opening quote, and what follows the closing one.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut element = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((element, chars.as_str())),
            '\\' => element.push(chars.next()?),
            char => element.push(char),
        }
    }
}

/// `whole @> part`: every element of `part` is in `whole`; a NULL there is in nothing.
pub(super) fn contains(whole: &[Option<Scalar>], part: &[Option<Scalar>]) -> bool {
    part.iter().all(|element| element.is_some() && whole.contains(element))
}

#[cfg(test)]
mod tests {
    use super::{Scalar, contains, elements};
    use crate::model::{ArrayType, PgType};

    fn texts(text: &str) -> Option<Vec<Option<Scalar>>> {
        elements(&ArrayType { element: PgType::Text, delimiter: b',' }, text).map(<[_]>::into_vec)
    }

    fn all(texts: &[&str]) -> Vec<Option<Scalar>> {
        texts.iter().map(|text| (*text != "-").then(|| Scalar::Text((*text).into()))).collect()
    }

    #[test]
    fn reads_what_array_out_prints() {
        assert_eq!(texts("{}"), Some(all(&[])));
        assert_eq!(texts(r#"{a,"b,\"c\\",NULL,"NULL",""}"#), Some(all(&["a", "b,\"c\\", "-", "NULL", ""])));
        assert_eq!(texts("{{a,b},{c,d}}"), Some(all(&["a", "b", "c", "d"])));
        assert_eq!(texts("[0:1]={a,é}"), Some(all(&["a", "é"])));
    }

    #[test]
    fn broken_text_is_not_read() {
        for broken in ["", "a", "{a", r#"{"a}"#, "[0:1]", r#"{"a\"#] {
            assert_eq!(texts(broken), None, "{broken}");
        }
    }

    #[test]
    fn null_is_in_no_array() {
        let whole = texts("{a,NULL}").unwrap();
        assert!(contains(&whole, &texts("{a,a}").unwrap()));
        assert!(contains(&whole, &[]));
        assert!(!contains(&whole, &texts("{NULL}").unwrap()));
    }
}
