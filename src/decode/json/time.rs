//! Dates and times: PostgreSQL's ISO style is rearranged into ISO 8601, never computed with.
//!
//! ```text
//!  2026-11-23 16:16:15.123456+00     ->  2026-11-23T16:16:15.123456+00:00
//!  0044-03-15 12:00:00+00 BC         ->  0044-03-15T12:00:00+00:00 BC
//!  294276-12-31 23:59:59.999999+00   ->  294276-12-31T23:59:59.999999+00:00
//!  infinity                          ->  infinity
//! ```

use super::{ValueError, quoted};

/// `date`.
pub(super) fn date(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let mut clock = Clock(text);
    let is_date = is_infinite(text) || (clock.date() && clock.era_and_end());
    if !is_date {
        return Err(ValueError::Malformed { expected: "a date in ISO style" });
    }
    quoted(text, out);
    Ok(())
}

/// `time` without time zone.
pub(super) fn time(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let mut clock = Clock(text);
    if !(clock.time() && clock.0.is_empty()) {
        return Err(ValueError::Malformed { expected: "a time" });
    }
    quoted(text, out);
    Ok(())
}

/// `timestamp` without time zone.
pub(super) fn timestamp(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    if is_infinite(text) {
        quoted(text, out);
        return Ok(());
    }
    let mut clock = Clock(text);
    let parts = clock.date_and_time().filter(|_| clock.era_and_end());
    let (date, time) = parts.ok_or(ValueError::Malformed { expected: "a timestamp in ISO style" })?;
    let era = &text[date.len() + 1 + time.len()..];
    quote_parts([date, b"T", time, b"", b"", era], out);
    Ok(())
}

/// `timestamp with time zone`.
pub(super) fn timestamptz(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    if is_infinite(text) {
        quoted(text, out);
        return Ok(());
    }
    let mut clock = Clock(text);
    let parts = clock.date_and_time().and_then(|(date, time)| Some((date, time, clock.offset()?, clock.0)));
    let parts = parts.filter(|_| clock.era_and_end());
    let (date, time, offset, era) =
        parts.ok_or(ValueError::Malformed { expected: "a timestamp with time zone in ISO style" })?;
    let minutes: &[u8] = if offset.len() == 3 { b":00" } else { b"" };
    quote_parts([date, b"T", time, offset, minutes, era], out);
    Ok(())
}

fn is_infinite(text: &[u8]) -> bool {
    matches!(text, b"infinity" | b"-infinity")
}

fn quote_parts(parts: [&[u8]; 6], out: &mut Vec<u8>) {
    out.push(b'"');
    for part in parts {
        out.extend_from_slice(part);
    }
    out.push(b'"');
}

/// The text that is still to be read. Each verb steps over what it names and says whether it was there.
struct Clock<'a>(&'a [u8]);

impl<'a> Clock<'a> {
    /// Date and time around the one space between them.
    fn date_and_time(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let date = self.taken(Clock::date)?;
        if !self.byte(b' ') {
            return None;
        }
        Some((date, self.taken(Clock::time)?))
    }

    /// `+00`, `+05:30` or, in the days of local mean time, `+00:53:28`.
    fn offset(&mut self) -> Option<&'a [u8]> {
        self.taken(|clock| {
            (clock.byte(b'+') || clock.byte(b'-'))
                && clock.digits(2, 2)
                && (!clock.byte(b':') || clock.digits(2, 2))
                && (!clock.byte(b':') || clock.digits(2, 2))
        })
    }

    fn date(&mut self) -> bool {
        self.digits(4, 7) && self.byte(b'-') && self.digits(2, 2) && self.byte(b'-') && self.digits(2, 2)
    }

    fn time(&mut self) -> bool {
        self.digits(2, 2)
            && self.byte(b':')
            && self.digits(2, 2)
            && self.byte(b':')
            && self.digits(2, 2)
            && (!self.byte(b'.') || self.digits(1, 6))
    }

    fn era_and_end(&mut self) -> bool {
        matches!(self.0, b"" | b" BC")
    }

    /// What `read` steps over.
    fn taken(&mut self, read: impl FnOnce(&mut Self) -> bool) -> Option<&'a [u8]> {
        let text = self.0;
        read(self).then(|| &text[..text.len() - self.0.len()])
    }

    fn byte(&mut self, expected: u8) -> bool {
        match self.0 {
            [first, rest @ ..] if *first == expected => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn digits(&mut self, least: usize, most: usize) -> bool {
        let count = self.0.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        self.0 = &self.0[count..];
        count >= least
    }
}
