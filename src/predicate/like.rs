//! `LIKE` and `ILIKE` as PostgreSQL reads patterns (manual, section 9.7.1): `%` any run, `_` one character, `\` escapes.
//!
//! `ilike` folds both sides with the first character of Unicode's lower-case mapping, which is its simple mapping and
//! what the libc provider does; ICU folds some letters by context and would answer otherwise for them.

/// A pattern longer than this many characters is refused: the worst case is its length times the value's.
pub(super) const PATTERN_CHARS_MAX: usize = 1024;

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Like {
    tokens: Box<[Token]>,
    fold: bool,
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
        Like::compile(pattern, false)
    }

    /// An `ILIKE` pattern; `None` as above.
    pub fn insensitive(pattern: &str) -> Option<Like> {
        Like::compile(pattern, true)
    }

    fn compile(pattern: &str, fold: bool) -> Option<Like> {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars();
        while let Some(char) = chars.next() {
            let token = match char {
                '%' => Token::Run,
                '_' => Token::One,
                '\\' => Token::Char(folded(chars.next()?, fold)),
                char => Token::Char(folded(char, fold)),
            };
            if (token, tokens.last()) != (Token::Run, Some(&Token::Run)) {
                tokens.push(token);
            }
        }
        (tokens.len() <= PATTERN_CHARS_MAX).then(|| Like { tokens: tokens.into(), fold })
    }

    /// Whether the whole text fits. On a mismatch only the last `%` is widened: an earlier one could gain nothing.
    pub fn matches(&self, text: &str) -> bool {
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
                Some(token) if rest.next().is_some_and(|char| self.admits(*token, char)) => {
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

    fn admits(&self, token: Token, char: char) -> bool {
        match token {
            Token::Run | Token::One => true,
            Token::Char(expected) => expected == folded(char, self.fold),
        }
    }
}

fn folded(char: char, fold: bool) -> char {
    if fold { char.to_lowercase().next().unwrap_or(char) } else { char }
}

#[cfg(test)]
mod tests {
    use super::{Like, PATTERN_CHARS_MAX};

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
        assert!(Like::insensitive("GRÜ%").unwrap().matches("grün"));
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
