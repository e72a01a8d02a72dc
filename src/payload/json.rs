//! The little JSON that the engine writes itself. Column values come from the decoder.

use crate::model::Timestamp;

/// `text` as a JSON string.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[plain..at]);
        plain = at + 1;
        write_escape(byte, out);
    }
    out.extend_from_slice(&text.as_bytes()[plain..]);
    out.push(b'"');
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// A number in decimal.
pub(super) fn write_index(index: usize, out: &mut Vec<u8>) {
    if index >= 10 {
        write_index(index / 10, out);
    }
    out.push(b'0' + (index % 10) as u8);
}

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// `"2026-11-23T16:16:15.123456+00:00"`, with the quotes.
pub(super) fn write_moment(moment: Timestamp, out: &mut Vec<u8>) {
    let (year, month, day) = civil_date(moment.0.div_euclid(MICROSECONDS_PER_DAY));
    let microseconds = moment.0.rem_euclid(MICROSECONDS_PER_DAY);
    let seconds = microseconds / 1_000_000;
    out.push(b'"');
    if year < 0 {
        out.push(b'-');
    }
    write_padded(year.unsigned_abs(), 4, out);
    for (mark, value, digits) in [
        (b'-', month, 2),
        (b'-', day, 2),
        (b'T', seconds / 3600, 2),
        (b':', seconds / 60 % 60, 2),
        (b':', seconds % 60, 2),
        (b'.', microseconds % 1_000_000, 6),
    ] {
        out.push(mark);
        write_padded(value.unsigned_abs(), digits, out);
    }
    out.extend_from_slice(b"+00:00\"");
}

/// `value` with at least `digits` digits.
fn write_padded(value: u64, digits: u32, out: &mut Vec<u8>) {
    if digits > 1 || value >= 10 {
        write_padded(value / 10, digits.saturating_sub(1), out);
    }
    out.push(b'0' + (value % 10) as u8);
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar.
///
/// Years are counted from March, so that the leap day ends one; 400 years are 146,097 days.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(microseconds: i64) -> String {
        let mut out = Vec::new();
        write_moment(Timestamp(microseconds), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn moments_are_iso_8601_with_microseconds() {
        assert_eq!(moment(0), r#""1970-01-01T00:00:00.000000+00:00""#);
        assert_eq!(moment(1_795_450_575_123_456), r#""2026-11-23T16:16:15.123456+00:00""#);
        assert_eq!(moment(951_782_400_000_000), r#""2000-02-29T00:00:00.000000+00:00""#);
        assert_eq!(moment(-1), r#""1969-12-31T23:59:59.999999+00:00""#);
        for extreme in [i64::MIN, i64::MAX] {
            assert!(moment(extreme).ends_with("+00:00\""));
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut before = civil_date(-1);
        for day in 0..146_097 {
            let date = civil_date(day);
            let next_day = (before.0, before.1, before.2 + 1);
            let next_month = (before.0, before.1 + 1, 1);
            let next_year = (before.0 + 1, 1, 1);
            assert!([next_day, next_month, next_year].contains(&date), "{before:?} {date:?}");
            before = date;
        }
        assert_eq!(before, (2369, 12, 31));
    }

    #[test]
    fn strings_are_escaped_as_serde_json_escapes_them() {
        let all: String = (0..0x250).filter_map(char::from_u32).collect();
        for text in ["", "plain", "\"", "a\\", "\n\r\t\u{1}\u{1f}", "ü漢😀", &all] {
            let mut out = Vec::new();
            write_string(text, &mut out);
            let back: String = serde_json::from_slice(&out).unwrap();
            assert_eq!(back, text);
        }
    }

    #[test]
    fn indexes_are_decimal() {
        for index in [0, 9, 10, 12_345, usize::MAX] {
            let mut out = Vec::new();
            write_index(index, &mut out);
            assert_eq!(out, index.to_string().into_bytes());
        }
    }
}
