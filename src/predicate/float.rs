//! `real` and `double precision` as an integer whose order is PostgreSQL's: -0 equals 0, NaN equals NaN and is
//! greatest.

/// A floating-point value; `real` is widened after it was rounded to `real`, as a cast of the operand does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Float(i64);

impl Float {
    /// The value's place in PostgreSQL's order.
    pub fn new(value: f64) -> Float {
        if value.is_nan() {
            return Float(i64::MAX);
        }
        let bits = if value == 0.0 { 0 } else { value.to_bits().cast_signed() };
        Float(if bits < 0 { bits ^ i64::MAX } else { bits })
    }

    /// Reads `double precision`.
    pub fn parse_double(text: &str) -> Option<Float> {
        in_range(text, text.parse().ok()?)
    }

    /// Reads `real`.
    pub fn parse_real(text: &str) -> Option<Float> {
        in_range(text, f64::from(text.parse::<f32>().ok()?))
    }
}

/// PostgreSQL refuses what Rust rounds to infinity or to zero.
fn in_range(text: &str, value: f64) -> Option<Float> {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let overflowed = value.is_infinite() && mantissa.bytes().any(|byte| byte.is_ascii_digit());
    let underflowed = value == 0.0 && mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    (!overflowed && !underflowed).then(|| Float::new(value))
}

#[cfg(test)]
mod tests {
    use super::Float;

    #[test]
    fn orders_as_postgresql_does() {
        let ascending = ["-Infinity", "-1e300", "-1", "-1e-300", "0", "1e-300", "1", "1e300", "Infinity", "NaN"];
        let floats = ascending.map(|text| Float::parse_double(text).unwrap());
        assert!(floats.is_sorted_by(|left, right| left < right));
        assert_eq!(Float::new(-0.0), Float::new(0.0));
        assert_eq!(Float::new(-f64::NAN), Float::new(f64::NAN));
    }

    #[test]
    fn what_would_be_rounded_out_of_range_is_refused() {
        for text in ["1e400", "-1e400", "1e-400", "abc", ""] {
            assert_eq!(Float::parse_double(text), None, "{text}");
        }
        assert_eq!(Float::parse_real("1e39"), None);
        assert_eq!(Float::parse_real("0.1"), Some(Float::new(f64::from(0.1_f32))));
    }
}
