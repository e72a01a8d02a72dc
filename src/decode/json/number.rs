//! Numbers: checked to be JSON's, copied digit by digit.

use super::{ValueError, Written, quoted};

/// `int2` and `int4`: a number.
pub(super) fn integer(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    check_integer(text)?;
    out.extend_from_slice(text);
    Ok(())
}

/// `int8`: a string.
pub(super) fn big_integer(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    check_integer(text)?;
    quoted(text, out);
    Ok(())
}

/// `numeric`: a string.
pub(super) fn decimal(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    if !is_not_finite(text) && !is_number(text) {
        return Err(ValueError::Malformed { expected: "a numeric" });
    }
    quoted(text, out);
    Ok(())
}

/// `float4` and `float8`: a number where there is one.
pub(super) fn float(text: &[u8], out: &mut Vec<u8>) -> Result<Written, ValueError> {
    if is_not_finite(text) {
        out.extend_from_slice(b"null");
        return Ok(Written::NoJsonForm);
    }
    if !is_number(text) {
        return Err(ValueError::Malformed { expected: "a float" });
    }
    out.extend_from_slice(text);
    Ok(Written::Value)
}

fn check_integer(text: &[u8]) -> Result<(), ValueError> {
    match integer_part(text) {
        Some([]) => Ok(()),
        _ => Err(ValueError::Malformed { expected: "an integer" }),
    }
}

fn is_not_finite(text: &[u8]) -> bool {
    matches!(text, b"NaN" | b"Infinity" | b"-Infinity")
}

/// JSON's grammar of numbers, which is also what PostgreSQL prints.
fn is_number(text: &[u8]) -> bool {
    integer_part(text).and_then(fraction).and_then(exponent).is_some_and(<[u8]>::is_empty)
}

/// What follows a sign and digits without a leading zero.
fn integer_part(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    match text {
        [b'0', rest @ ..] => Some(rest),
        _ => digits(text),
    }
}

fn fraction(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b".").map_or(Some(text), digits)
}

fn exponent(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'e' | b'E', b'+' | b'-', rest @ ..] | [b'e' | b'E', rest @ ..] => digits(rest),
        _ => Some(text),
    }
}

/// What follows at least one digit.
fn digits(text: &[u8]) -> Option<&[u8]> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 { None } else { text.get(count..) }
}
