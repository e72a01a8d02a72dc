//! A place in one message. Every read is checked against what is left, and a refusal names the field and its offset.

use bytes::Bytes;

use super::DecodeError;

/// Reads forward only; it never steps beyond the frame.
pub(super) struct Cursor<'a> {
    frame: &'a Bytes,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(frame: &'a Bytes) -> Self {
        Cursor { frame, at: 0 }
    }

    /// The offset of the next byte.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array(what).map(u8::from_be_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        self.array(what).map(i64::from_be_bytes)
    }

    /// An `Int16` that counts something.
    pub(super) fn count16(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        let at = self.at;
        let count = self.array(what).map(i16::from_be_bytes)?;
        usize::try_from(count).map_err(|_| DecodeError::NegativeLength { what, at, length: count.into() })
    }

    /// An `Int32` that counts something.
    pub(super) fn count32(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        let at = self.at;
        let count = self.array(what).map(i32::from_be_bytes)?;
        usize::try_from(count).map_err(|_| DecodeError::NegativeLength { what, at, length: count })
    }

    /// A string up to its terminating zero.
    pub(super) fn string(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let at = self.at;
        let rest = self.rest();
        let end = rest.iter().position(|&byte| byte == 0).ok_or(DecodeError::Unterminated { what, at })?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| DecodeError::NotUtf8 { what, at })
    }

    /// Bytes behind their `Int32` length, as a slice that shares the frame.
    pub(super) fn sized(&mut self, what: &'static str) -> Result<Bytes, DecodeError> {
        let length = self.count32(what)?;
        let start = self.at;
        self.skip(length, what)?;
        Ok(self.frame.slice(start..self.at))
    }

    /// UTF-8 text behind its `Int32` length.
    pub(super) fn text(&mut self, what: &'static str) -> Result<Bytes, DecodeError> {
        let at = self.at;
        let text = self.sized(what)?;
        match std::str::from_utf8(&text) {
            Ok(_) => Ok(text),
            Err(_) => Err(DecodeError::NotUtf8 { what, at }),
        }
    }

    /// Passes over bytes behind their `Int32` length.
    pub(super) fn skip_sized(&mut self, what: &'static str) -> Result<(), DecodeError> {
        let length = self.count32(what)?;
        self.skip(length, what)
    }

    /// The message must end here.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        match self.rest().len() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing { at: self.at, left }),
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.frame.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, needed: usize, what: &'static str) -> Result<(), DecodeError> {
        let left = self.rest().len();
        if needed > left {
            return Err(DecodeError::Truncated { what, at: self.at, needed, left });
        }
        self.at += needed;
        Ok(())
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let rest = self.rest();
        let Some(array) = rest.first_chunk::<N>() else {
            return Err(DecodeError::Truncated { what, at: self.at, needed: N, left: rest.len() });
        };
        self.at += N;
        Ok(*array)
    }
}
