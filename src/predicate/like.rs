//! `LIKE` and `ILIKE` as PostgreSQL reads patterns (manual, section 9.7.1): `%` any run, `_` one character, `\`
//! escapes.
//!
//! `ilike` folds both sides as `lower()` does under the column's collation ([`Folding`]). The pattern is folded as a
//! whole, wildcards and all, as PostgreSQL folds it: where a sigma stands at the end depends on what is beside it.

use std::borrow::Cow;

use crate::model::Folding;

/// A pattern longer than this many characters is refused: the worst case is its length times the value's.
pub(super) const PATTERN_CHARS_MAX: usize = 1024;

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Like {
    tokens: Box<[Token]>,
    fold: Option<Folding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Token {
    /// `%`
    Run,
    /// `_`
    One,
    /// Itself.
    Char(char),
}

impl Like {
    /// A `LIKE` pattern; `None` when it ends in a lone backslash or is too long.
    pub fn new(pattern: &str) -> Option<Like> {
        Like::compile(pattern, None)
    }

    /// An `ILIKE` pattern; `None` as above, and where the letters of a language are folded.
    pub fn insensitive(pattern: &str, folding: Folding) -> Option<Like> {
        (folding != Folding::Language).then_some(())?;
        Like::compile(&folded(pattern, folding), Some(folding))
    }

    fn compile(pattern: &str, fold: Option<Folding>) -> Option<Like> {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars();
        while let Some(char) = chars.next() {
            let token = match char {
                '%' => Token::Run,
                '_' => Token::One,
                '\\' => Token::Char(chars.next()?),
                char => Token::Char(char),
            };
            if (token, tokens.last()) != (Token::Run, Some(&Token::Run)) {
                tokens.push(token);
            }
        }
        (tokens.len() <= PATTERN_CHARS_MAX).then(|| Like { tokens: tokens.into(), fold })
    }

    /// Whether the whole text fits.
    pub fn matches(&self, text: &str) -> bool {
        self.matches_folded(&self.fold.map_or(Cow::Borrowed(text), |folding| folded(text, folding)))
    }

    /// On a mismatch only the last `%` is widened: an earlier one could gain nothing.
    fn matches_folded(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let mut next = 0;
        let mut last_run = None;
        loop {
            match self.tokens.get(next) {
                None if rest.as_str().is_empty() => return true,
                Some(Token::Run) => {
                    next += 1;
                    last_run = Some((next, rest.clone()));
                    continue;
                }
                Some(token) if rest.next().is_some_and(|char| token.admits(char)) => {
                    next += 1;
                    continue;
                }
                Some(Token::One | Token::Char(_)) | None => {}
            }
            let Some((after_run, taken)) = &mut last_run else { return false };
            if taken.next().is_none() {
                return false;
            }
            (next, rest) = (*after_run, taken.clone());
        }
    }
}

impl Token {
    fn admits(self, char: char) -> bool {
        match self {
            Token::Run | Token::One => true,
            Token::Char(expected) => expected == char,
        }
    }
}

/// The first character of a full mapping is the simple one.
fn folded(text: &str, folding: Folding) -> Cow<'_, str> {
    match folding {
        _ if text.is_ascii() => text.to_ascii_lowercase().into(),
        Folding::Simple => text.chars().map(|char| char.to_lowercase().next().unwrap_or(char)).collect(),
        Folding::Full => text.to_lowercase().into(),
        Folding::Ascii | Folding::Language => text.to_ascii_lowercase().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Like, PATTERN_CHARS_MAX};
    use crate::model::Folding;

    #[test]
    fn wildcards_and_escapes_mean_what_they_mean_in_postgresql() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("a%", "abc", true),
            ("%c", "abcc", true),
            ("%b_", "abbc", true),
            ("a_c", "aéc", true),
            ("_", "", false),
            ("%a%b%", "xaxxbx", true),
            ("%aab", "aaab", true),
            (r"50\%", "50%", true),
            (r"50\%", "500", false),
            (r"a\b", "ab", true),
            (r"\\", r"\", true),
            ("%%%", "x", true),
            ("abc", "ab", false),
        ] {
            assert_eq!(Like::new(pattern).map(|like| like.matches(text)), Some(expected), "{text} like {pattern}");
        }
        assert!(Like::insensitive("GRÜ%", Folding::Simple).unwrap().matches("grün"));
        assert!(!Like::insensitive("GRÜ%", Folding::Ascii).unwrap().matches("grün"));
        assert!(Like::insensitive("GRÜ%", Folding::Language).is_none());
        assert!(!Like::new("GRÜ%").unwrap().matches("grün"));
    }

    #[test]
    fn a_lone_backslash_at_the_end_and_an_endless_pattern_are_refused() {
        assert_eq!(Like::new(r"abc\"), None);
        assert_eq!(Like::new(&"a".repeat(PATTERN_CHARS_MAX + 1)), None);
    }

    #[test]
    fn a_hostile_pattern_ends_in_time() {
        let pattern = Like::new(&"%a".repeat(300)).unwrap();
        assert!(!pattern.matches(&"a".repeat(299)));
        assert!(!Like::new(&("%a".repeat(200) + "b")).unwrap().matches(&"a".repeat(10_000)));
    }
}
