//! What a policy must not contain to be decided on a row image at all, read from its words: that works also where its
//! grammar is not understood.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer, Word};

/// What stands in rowcast's own session for another value than in the principal's.
const OF_THE_SESSION: [&str; 2] = ["session_user", "system_user"];
const FUNCTIONS_OF_THE_SESSION: [&str; 12] = [
    "inet_client_addr",
    "inet_client_port",
    "inet_server_addr",
    "inet_server_port",
    "pg_backend_pid",
    "pg_my_temp_schema",
    "pg_current_xact_id",
    "pg_current_xact_id_if_assigned",
    "txid_current",
    "txid_current_if_assigned",
    "pg_listening_channels",
    "pg_postmaster_pid",
];
const SETTINGS_OF_THE_SESSION: [&str; 3] = ["application_name", "session_authorization", "is_superuser"];
/// A row image has none of these.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"];

/// What was found in a policy's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// The first word whose value is of the session, or a system column.
    pub(super) forbidden: Option<Box<str>>,
    /// It names a row as a whole. The row may be another table's: a false positive is harmless.
    pub(super) whole_row: bool,
    /// It reads tables or calls functions that are not PostgreSQL's own: the role may lack the privilege, and then
    /// PostgreSQL refuses every SELECT before it looks at a row.
    pub(super) privileged: bool,
}

pub(super) fn scan(text: &str) -> Scan {
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize() else {
        return Scan { forbidden: Some("text that cannot be read".into()), whole_row: true, privileged: true };
    };
    let tokens: Vec<&Token> = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    let whole_row = tokens.windows(2).any(|pair| matches!(pair, [Token::Period, Token::Mul]));
    let privileged = reads_tables(&tokens) || calls_foreign(&tokens);
    Scan { forbidden: (0..tokens.len()).find_map(|at| forbidden(&tokens, at)), whole_row, privileged }
}

/// `SELECT … FROM`; a setting is often wrapped into a SELECT without one.
fn reads_tables(tokens: &[&Token]) -> bool {
    let mut words = tokens.iter().skip_while(|token| !is_word(token, "select"));
    let mut before = words.next();
    words.any(|token| {
        let distinct = before.replace(token).is_some_and(|before| is_word(before, "distinct"));
        is_word(token, "from") && !distinct
    })
}

/// Where only `pg_catalog` is searched PostgreSQL prints the schema of every function but its own.
fn calls_foreign(tokens: &[&Token]) -> bool {
    tokens.windows(3).any(|three| matches!(three, [Token::Period, Token::Word(_), Token::LParen]))
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(word))
}

fn forbidden(tokens: &[&Token], at: usize) -> Option<Box<str>> {
    let Token::Word(Word { value, quote_style: None, .. }) = tokens[at] else { return None };
    let is_among = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    let next = |by: usize| tokens.get(at + by).copied();
    let called = next(1) == Some(&Token::LParen);
    let qualified = at > 0 && *tokens[at - 1] == Token::Period;
    let found = (is_among(&OF_THE_SESSION) && !qualified)
        || (called && is_among(&FUNCTIONS_OF_THE_SESSION))
        || (!called && is_among(&SYSTEM_COLUMNS));
    if found {
        return Some(value.to_ascii_lowercase().into());
    }
    match next(2) {
        Some(Token::SingleQuotedString(name)) if called && is_among(&["current_setting"]) => {
            SETTINGS_OF_THE_SESSION.iter().find(|own| name.eq_ignore_ascii_case(own)).map(|own| (*own).into())
        }
        _ => None,
    }
}
