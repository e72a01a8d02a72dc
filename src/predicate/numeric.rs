//! `numeric` as a byte string whose order is numeric's order.
//!
//! Comparing, hashing and interning happen far more often than parsing, and no arithmetic happens at all. So the value
//! is kept in a form where equal numbers are equal bytes (`1.0`, `1.00` and `1e0` are) and `<` is `memcmp`:
//!
//! ```text
//! -Infinity  00
//! negative   01 | !magnitude (4, big-endian) | !digit … | FF
//! zero       02
//! positive   03 |  magnitude (4, big-endian) |  digit …
//! Infinity   04
//! NaN        05           greater than everything, equal to itself, as in PostgreSQL
//! ```
//!
//! The magnitude is the decimal point's place counted from the first significant digit, so a greater one is a greater
//! number; digits have no zeros at either end. Unlike a big integer with a scale, `1e130000` costs six bytes here.

/// Digits before the decimal point that PostgreSQL's type can hold.
const WHOLE_DIGITS_MAX: i64 = 131_072;
/// Digits after it.
const FRACTION_DIGITS_MAX: i64 = 16_383;

/// A `numeric` value; ordered as PostgreSQL orders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Numeric(Box<[u8]>);

impl Numeric {
    /// Reads PostgreSQL's output and what JSON and people write: `-12.50`, `1e3`, `.5`, `NaN`, `Infinity`.
    pub fn parse(text: &str) -> Option<Numeric> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        if unsigned.eq_ignore_ascii_case("infinity") || unsigned.eq_ignore_ascii_case("inf") {
            return Some(Numeric::tagged(if negative { 0 } else { 4 }));
        }
        if text.eq_ignore_ascii_case("nan") {
            return Some(Numeric::tagged(5));
        }
        finite(negative, unsigned)
    }

    fn tagged(tag: u8) -> Numeric {
        Numeric(Box::new([tag]))
    }
}

fn finite(negative: bool, unsigned: &str) -> Option<Numeric> {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_start_matches('0');
    let length = |digits: &str| i64::try_from(digits.len()).ok();
    let magnitude = length(whole)? + i64::from(exponent) - (length(&digits)? - length(significant)?);
    let significant = significant.trim_end_matches('0');
    if significant.is_empty() {
        return Some(Numeric::tagged(2));
    }
    let fraction_digits = length(significant)? - magnitude;
    let fits = magnitude <= WHOLE_DIGITS_MAX && fraction_digits <= FRACTION_DIGITS_MAX;
    fits.then(|| i32::try_from(magnitude).ok()).flatten().map(|magnitude| encode(negative, magnitude, significant))
}

fn encode(negative: bool, magnitude: i32, digits: &str) -> Numeric {
    // With the sign bit turned over, the order of the bytes is that of the integers.
    let biased = magnitude.cast_unsigned() ^ (1 << 31);
    let plain = biased.to_be_bytes().into_iter().chain(digits.bytes());
    Numeric(if negative {
        std::iter::once(1).chain(plain.map(|byte| !byte)).chain([0xFF]).collect()
    } else {
        std::iter::once(3).chain(plain).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::Numeric;

    fn numeric(text: &str) -> Numeric {
        Numeric::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn the_order_of_bytes_is_the_order_of_numbers() {
        let ascending = [
            "-Infinity",
            "-1e131071",
            "-123.5",
            "-123",
            "-12.30001",
            "-12.3",
            "-1",
            "-0.5",
            "-0.05",
            "0",
            "1e-16383",
            "0.05",
            "0.5",
            "1",
            "1.000001",
            "9",
            "10",
            "12",
            "12.3",
            "123",
            "99999999999999999999",
            "1e131071",
            "Infinity",
            "NaN",
        ];
        for (i, left) in ascending.iter().enumerate() {
            for (j, right) in ascending.iter().enumerate() {
                assert_eq!(numeric(left).cmp(&numeric(right)), i.cmp(&j), "{left} {right}");
            }
        }
    }

    #[test]
    fn one_number_has_one_form() {
        for (left, right) in
            [("1.00", "1"), ("-0", "0.000"), ("1e3", "1000.0"), ("0.0120", "1.2E-2"), ("+7", "007"), (".5", "0.5")]
        {
            assert_eq!(numeric(left), numeric(right));
        }
    }

    #[test]
    fn what_is_not_a_numeric_is_refused() {
        for text in ["", "-", ".", "1.2.3", "1e", "e5", "0x10", "1 ", "-nan", "1e131073", "1e-16384", "1e99999999999"] {
            assert_eq!(Numeric::parse(text), None, "{text}");
        }
    }
}
