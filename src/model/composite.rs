//! The text form of a row or composite value: `(1,"a ""b""",)`, where an empty field is NULL (manual, section 8.16.6
//! "Composite Type Input and Output Syntax").

use std::borrow::Cow;

/// Reads the fields of one value, in order: [`open`](Self::open), then each [`field`](Self::field) with a
/// [`comma`](Self::comma) before all but the first, then [`close`](Self::close).
pub struct Fields<'a> {
    text: &'a [u8],
    at: usize,
}

/// The text is not of that form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no composite value at byte {at}")]
pub struct NotComposite {
    /// Where it stops being one.
    pub at: usize,
}

impl<'a> Fields<'a> {
    /// Steps behind the opening parenthesis.
    pub fn open(text: &'a [u8]) -> Result<Self, NotComposite> {
        let mut fields = Fields { text, at: 0 };
        fields.expect(b'(')?;
        Ok(fields)
    }

    /// Steps behind a comma.
    pub fn comma(&mut self) -> Result<(), NotComposite> {
        self.expect(b',')
    }

    /// Nothing may follow the closing parenthesis.
    pub fn close(mut self) -> Result<(), NotComposite> {
        self.expect(b')')?;
        if self.at == self.text.len() { Ok(()) } else { Err(self.wrong()) }
    }

    /// Whether a comma or something else follows, but not the end.
    pub fn has_more(&self) -> bool {
        self.text.get(self.at) != Some(&b')')
    }

    /// The next field's text; `None` is NULL.
    pub fn field(&mut self) -> Result<Option<Cow<'a, [u8]>>, NotComposite> {
        if self.text.get(self.at) == Some(&b'"') {
            return self.quoted().map(Some);
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let ends = |byte: &u8| matches!(byte, b',' | b'(' | b')' | b'"' | b'\\');
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        self.at += length;
        Ok(rest.get(..length).filter(|text| !text.is_empty()).map(Cow::Borrowed))
    }

    /// A field in quotes, without them; `""` and `\` before any byte stand for one byte.
    fn quoted(&mut self) -> Result<Cow<'a, [u8]>, NotComposite> {
        self.at += 1;
        let mut unescaped: Option<Vec<u8>> = None;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).ok_or_else(|| self.wrong())?;
            let (plain, special) = rest.split_at(length);
            self.at += length + 1;
            match (special, &mut unescaped) {
                ([b'\\', escaped, ..] | [b'"', escaped @ b'"', ..], text) => {
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

    fn expect(&mut self, expected: u8) -> Result<(), NotComposite> {
        if self.text.get(self.at) != Some(&expected) {
            return Err(self.wrong());
        }
        self.at += 1;
        Ok(())
    }

    fn wrong(&self) -> NotComposite {
        NotComposite { at: self.at }
    }
}
