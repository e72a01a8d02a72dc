//! The password file: `host:port:database:user:password` in lines, `*` matches all, `\` escapes `:` and `\`.
//!
//! The first line that matches wins. Nothing is kept of the others.

/// What a line must match. The host is what the connection string names, a socket directory included; libpq calls the
/// default socket directory `localhost`, so the caller gives that too.
pub(super) struct Wanted<'a> {
    pub(super) hosts: &'a [&'a str],
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// The password of the first line that matches.
pub(super) fn find(file: &str, wanted: &Wanted<'_>) -> Option<String> {
    let lines = file.lines().map(|line| line.strip_suffix('\r').unwrap_or(line));
    lines.filter(|line| !line.starts_with('#')).find_map(|line| wanted.password_in(line))
}

impl Wanted<'_> {
    fn password_in(&self, line: &str) -> Option<String> {
        let mut rest = line;
        let mut field = || take_field(&mut rest);
        let (host, port, database, user) = (field()?, field()?, field()?, field()?);
        let matches = (host.is_any || self.hosts.contains(&host.text.as_str()))
            && (port.is_any || port.text == self.port.to_string())
            && (database.is_any || database.text == self.database)
            && (user.is_any || user.text == self.user);
        matches.then(|| unescape(rest))
    }
}

struct Field {
    text: String,
    is_any: bool,
}

fn take_field(rest: &mut &str) -> Option<Field> {
    let mut escaped = false;
    let end = rest.char_indices().find(|(_, character)| {
        let ends = *character == ':' && !escaped;
        escaped = *character == '\\' && !escaped;
        ends
    });
    let raw = &rest[..end?.0];
    *rest = &rest[raw.len() + 1..];
    Some(Field { text: unescape(raw), is_any: raw == "*" })
}

fn unescape(raw: &str) -> String {
    let mut characters = raw.chars();
    let mut text = String::new();
    while let Some(character) = characters.next() {
        text.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Wanted, find};

    const FILE: &str = "# comment:*:*:*:no\n\
        db.example.com:5432:app:ann:first\r\n\
        db.example.com:*:*:ann:second\n\
        broken line\n\
        localhost:5432:app:*:local\n\
        /run/pg:5432:app:bob:socket\n\
        *:*:*:c\\:d:pass\\:wo\\\\rd\n";

    fn password(host: &str, port: u16, database: &str, user: &str) -> Option<String> {
        find(FILE, &Wanted { hosts: &[host], port, database, user })
    }

    #[test]
    fn the_first_line_that_matches_gives_the_password() {
        assert_eq!(password("db.example.com", 5432, "app", "ann").as_deref(), Some("first"));
        assert_eq!(password("db.example.com", 5433, "app", "ann").as_deref(), Some("second"));
        assert_eq!(password("localhost", 5432, "app", "zoe").as_deref(), Some("local"));
        assert_eq!(password("/run/pg", 5432, "app", "bob").as_deref(), Some("socket"));
        assert_eq!(password("anything", 1, "x", "c:d").as_deref(), Some("pass:wo\\rd"));
        assert_eq!(password("db.example.com", 5432, "app", "eve"), None);
    }
}
