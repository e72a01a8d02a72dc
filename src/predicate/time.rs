//! Dates and times as integers, from PostgreSQL's ISO text and from ISO 8601.
//!
//! Counted from 2000-01-01, as PostgreSQL counts: from 1970 the last years of `timestamp` would not fit 64 bits.
//! `infinity` and `-infinity` are the ends of the integer's range, so they compare as they should. `date` is in days,
//! everything else in microseconds; a finer fraction is rounded to the nearest, ties to even.

const DAY: i64 = 86_400_000_000;
/// 4714-11-24 BC, the first day of every PostgreSQL type.
const FIRST_DAY: i64 = days(-4713, 11, 24);
/// The day after the last day of `timestamp`.
const TIMESTAMP_END: i64 = days(294_277, 1, 1);
/// The day after the last day of `date`.
const DATE_END: i64 = days(5_874_898, 1, 1);

/// `date`: `2026-11-23`, `0044-03-15 BC`, `infinity`.
pub(super) fn date(text: &str) -> Option<i32> {
    if let Some(infinite) = infinity(text) {
        return Some(if infinite { i32::MAX } else { i32::MIN });
    }
    let (day, rest) = calendar_day(text)?;
    (rest.is_empty() && (FIRST_DAY..DATE_END).contains(&day)).then_some(day as i32)
}

/// `time`: `09:30`, `09:30:00.25`, `24:00:00`.
pub(super) fn time(text: &str) -> Option<i64> {
    let (micros, rest) = clock(text)?;
    rest.is_empty().then_some(micros)
}

/// `timestamp`: a date, or a date and a time after a blank or a `T`; no offset.
pub(super) fn timestamp(text: &str) -> Option<i64> {
    instant(text, |rest| rest.is_empty().then_some(0))
}

/// `timestamptz`: the same with an offset: `Z`, `+00`, `-03:30`, `+0530`.
pub(super) fn timestamptz(text: &str) -> Option<i64> {
    instant(text, offset)
}

fn instant(text: &str, offset: impl Fn(&str) -> Option<i64>) -> Option<i64> {
    if let Some(infinite) = infinity(text) {
        return Some(if infinite { i64::MAX } else { i64::MIN });
    }
    let (day, rest) = calendar_day(text)?;
    let (micros, rest) = match rest.as_bytes().first() {
        Some(b' ' | b'T' | b't') => clock(&rest[1..])?,
        _ => (0, rest),
    };
    let instant = day.checked_mul(DAY)?.checked_add(micros)?.checked_sub(offset(rest)?)?;
    (FIRST_DAY * DAY..TIMESTAMP_END * DAY).contains(&instant).then_some(instant)
}

fn infinity(text: &str) -> Option<bool> {
    match text {
        "infinity" => Some(true),
        "-infinity" => Some(false),
        _ => None,
    }
}

/// The day, and what follows it. The era stands at the very end of the text, after the time, and belongs to the year.
fn calendar_day(text: &str) -> Option<(i64, &str)> {
    let (text, before_christ) = match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (year, rest) = number(text, 4, 7)?;
    let (month, rest) = number(rest.strip_prefix('-')?, 2, 2)?;
    let (day, rest) = number(rest.strip_prefix('-')?, 2, 2)?;
    let year = match (before_christ, year) {
        (_, 0) => return None,
        (true, year) => 1 - year,
        (false, year) => year,
    };
    ((1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day)).then(|| (days(year, month, day), rest))
}

/// Microseconds since midnight, and what follows. 24:00:00 and the leap second 23:59:60 are the next midnight.
fn clock(text: &str) -> Option<(i64, &str)> {
    let (hour, rest) = number(text, 2, 2)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 2, 2)?;
    let (second, rest) = match rest.strip_prefix(':') {
        Some(rest) => number(rest, 2, 2)?,
        None => (0, rest),
    };
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) if second < 60 => fraction(rest)?,
        _ => (0, rest),
    };
    let micros = ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction;
    (minute < 60 && second <= 60 && micros <= DAY).then_some((micros, rest))
}

fn fraction(text: &str) -> Option<(i64, &str)> {
    let (nanos, rest) = number(text, 1, 9)?;
    let scale = 10_i64.pow(9 - (text.len() - rest.len()) as u32);
    let nanos = nanos * scale;
    let (micros, odd) = (nanos / 1000, nanos % 1000);
    let up = odd > 500 || (odd == 500 && micros % 2 == 1);
    Some((micros + i64::from(up), rest))
}

/// Microseconds east of UTC.
fn offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hour, rest) = number(rest, 2, 2)?;
    let (minute, rest) = offset_part(rest)?;
    let (second, rest) = offset_part(rest)?;
    let valid = rest.is_empty() && hour < 16 && minute < 60 && second < 60;
    valid.then_some(sign * ((hour * 60 + minute) * 60 + second) * 1_000_000)
}

fn offset_part(text: &str) -> Option<(i64, &str)> {
    if text.is_empty() { Some((0, text)) } else { number(text.strip_prefix(':').unwrap_or(text), 2, 2) }
}

/// A run of decimal digits of this length, and what follows it.
fn number(text: &str, shortest: usize, longest: usize) -> Option<(i64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let taken = digits.min(longest);
    // A longer run is taken in part only where the width is fixed, as in +0530.
    if digits < shortest || (digits > longest && shortest != longest) {
        return None;
    }
    Some((text[..taken].parse().ok()?, &text[taken..]))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 2000-01-01 in the proleptic Gregorian calendar; year 0 is 1 BC. Years are counted from March, so the leap
/// day is the last of its year, and in cycles of 400 years, which have 146,097 days each.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let cycle = year.div_euclid(400);
    let year_of_cycle = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    // 2000-03-01 begins cycle 5, 60 days after 2000-01-01.
    (cycle - 5) * 146_097 + day_of_cycle + 60
}

#[cfg(test)]
mod tests {
    use super::{DAY, date, time, timestamp, timestamptz};

    #[test]
    fn days_are_counted_from_2000() {
        for (text, days) in [
            ("2000-01-01", 0),
            ("2000-02-29", 59),
            ("2000-03-01", 60),
            ("1999-12-31", -1),
            ("1970-01-01", -10_957),
            ("0001-01-01", -730_119),
            ("0001-12-31 BC", -730_120),
            ("4714-11-24 BC", -2_451_545),
            ("5874897-12-31", 2_145_031_948),
            ("infinity", i32::MAX),
            ("-infinity", i32::MIN),
        ] {
            assert_eq!(date(text), Some(days), "{text}");
        }
    }

    #[test]
    fn an_instant_has_many_spellings() {
        let expected = timestamptz("2026-11-23 16:16:15.123456+00");
        assert!(expected.is_some());
        for text in [
            "2026-11-23T16:16:15.123456Z",
            "2026-11-23T17:16:15.123456+01:00",
            "2026-11-23T12:46:15.123456-0330",
            "2026-11-23 16:16:15.123456400+00:00:00",
        ] {
            assert_eq!(timestamptz(text), expected, "{text}");
        }
        assert_eq!(timestamp("2000-01-02"), Some(DAY));
        assert_eq!(timestamp("2000-01-01 24:00:00"), Some(DAY));
        assert_eq!(timestamp("2000-01-01T23:59:60"), Some(DAY));
        assert_eq!(timestamp("2000-01-01 23:59:59.9999999"), Some(DAY));
        assert_eq!(time("24:00:00"), Some(DAY));
    }

    #[test]
    fn the_last_and_the_first_instant_fit() {
        assert!(timestamp("294276-12-31 23:59:59.999999").is_some());
        assert!(timestamptz("4714-11-24 00:00:00+00 BC").is_some());
        assert_eq!(timestamp("294277-01-01"), None);
        assert_eq!(timestamptz("4714-11-23 23:59:59+00 BC"), None);
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in ["", "2026", "2026-13-01", "2026-02-29", "0000-01-01", "2026-1-1", "20261-1-01", "2026-01-01x", "é"]
        {
            assert_eq!(date(text), None, "{text}");
        }
        for text in
            ["24:00:01", "1:00", "12:60", "12:00:61", "12:00:00.", "12:00:00.1234567891", "12:00:00Z", "23:59:60.5"]
        {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(timestamp("2026-01-01T00:00:00Z"), None);
        assert_eq!(timestamptz("2026-01-01T00:00:00"), None);
        assert_eq!(timestamptz("2026-01-01T00:00:00+16:00"), None);
    }
}
