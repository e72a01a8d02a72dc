//! Arrays: `{1,NULL,"a \"b\""}`, nested by dimension, with lower bounds in front where one is not 1 (manual, section
//! 8.15.6 "Array Input and Output Syntax").

use std::borrow::Cow;

use super::{ValueError, Written, deeper, value};
use crate::model::ArrayType;

/// Appends a list. The lower bounds are omitted: a GraphQL list has none.
pub(super) fn write(array: &ArrayType, text: &[u8], out: &mut Vec<u8>, depth: usize) -> Result<Written, ValueError> {
    let mut reader = Reader { array, text, at: after_bounds(text) };
    let written = reader.list(out, depth)?;
    if reader.at == text.len() { Ok(written) } else { Err(reader.wrong()) }
}

/// `[0:2]={…}` or `[1:1][-2:-1]={{…}}`: where the brace stands.
fn after_bounds(text: &[u8]) -> usize {
    if text.first() != Some(&b'[') {
        return 0;
    }
    let is_bound = |byte: &&u8| matches!(byte, b'[' | b']' | b':' | b'-' | b'+' | b'0'..=b'9');
    let bounds = text.iter().take_while(is_bound).count();
    if text.get(bounds) == Some(&b'=') { bounds + 1 } else { 0 }
}

struct Reader<'a> {
    array: &'a ArrayType,
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn list(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<Written, ValueError> {
        if !self.take(b'{') {
            return Err(self.wrong());
        }
        out.push(b'[');
        let mut written = Written::Value;
        if !self.take(b'}') {
            loop {
                written = written.and(self.item(out, depth)?);
                if self.take(b'}') {
                    break;
                }
                if !self.take(self.array.delimiter) {
                    return Err(self.wrong());
                }
                out.push(b',');
            }
        }
        out.push(b']');
        Ok(written)
    }

    fn item(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<Written, ValueError> {
        match self.text.get(self.at) {
            Some(b'{') => self.list(out, deeper(depth)?),
            Some(b'"') => {
                let text = self.quoted()?;
                value(&self.array.element, &text, out, depth)
            }
            _ => self.bare(out, depth),
        }
    }

    /// An element without quotes: it has no blank, brace, quote, backslash or delimiter.
    fn bare(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<Written, ValueError> {
        let delimiter = self.array.delimiter;
        let ends = |byte: &u8| *byte == delimiter || matches!(byte, b'{' | b'}' | b'"' | b'\\');
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        match rest.get(..length).unwrap_or_default() {
            [] => return Err(self.wrong()),
            b"NULL" => out.extend_from_slice(b"null"),
            text => {
                let written = value(&self.array.element, text, out, depth);
                self.at += length;
                return written;
            }
        }
        self.at += length;
        Ok(Written::Value)
    }

    /// An element in quotes, without them and without its backslashes.
    fn quoted(&mut self) -> Result<Cow<'a, [u8]>, ValueError> {
        self.at += 1;
        let mut unescaped: Option<Vec<u8>> = None;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).ok_or_else(|| self.wrong())?;
            let (plain, special) = rest.split_at(length);
            self.at += length + 1;
            match (special, &mut unescaped) {
                ([b'\\', escaped, ..], text) => {
                    let text = text.get_or_insert_default();
                    text.extend_from_slice(plain);
                    text.push(*escaped);
                    self.at += 1;
                }
                ([b'"', ..], None) => return Ok(Cow::Borrowed(plain)),
                ([b'"', ..], Some(text)) => {
                    text.extend_from_slice(plain);
                    return Ok(Cow::Owned(std::mem::take(text)));
                }
                _ => return Err(self.wrong()),
            }
        }
    }

    fn take(&mut self, expected: u8) -> bool {
        let found = self.text.get(self.at) == Some(&expected);
        self.at += usize::from(found);
        found
    }

    fn wrong(&self) -> ValueError {
        ValueError::Syntax { expected: "an array", at: self.at }
    }
}
