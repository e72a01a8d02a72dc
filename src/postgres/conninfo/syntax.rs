//! The two spellings of a connection string, as libpq reads them: `postgresql://…` and `key=value …`. Both become the
//! same list of pairs; what the keys mean is decided elsewhere.
//!
//! A message from here never repeats a value: in a malformed string any part may be a piece of the password.

/// Keys and values in the order given; a later one wins.
pub(super) type Pairs = Vec<(String, String)>;

/// Reads either spelling.
pub(super) fn parse(text: &str) -> Result<Pairs, String> {
    match text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
        Some(rest) => parse_url(rest),
        None => parse_pairs(text),
    }
}

/// `[user[:password]@][host[:port][,…]][/dbname][?key=value[&…]]`, every part percent-encoded.
fn parse_url(rest: &str) -> Result<Pairs, String> {
    let (rest, parameters) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let mut pairs = Pairs::new();
    // As libpq: the user part ends at the first `@`, and a slash before it means there is none.
    let credentials = rest.find(['@', '/']).filter(|at| rest[*at..].starts_with('@'));
    let (credentials, rest) = credentials.map_or(("", rest), |at| (&rest[..at], &rest[at + 1..]));
    let (hosts, database) = rest.split_once('/').map_or((rest, ""), |(hosts, database)| (hosts, database));
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    for (key, value) in [("user", user), ("password", password), ("dbname", database)] {
        if !value.is_empty() {
            pairs.push((key.to_owned(), decode(value, key)?));
        }
    }
    push_hosts(hosts, &mut pairs)?;
    for parameter in parameters.iter().flat_map(|query| query.split('&')).filter(|parameter| !parameter.is_empty()) {
        pairs.push(parse_parameter(parameter)?);
    }
    Ok(pairs)
}

fn push_hosts(hosts: &str, pairs: &mut Pairs) -> Result<(), String> {
    if hosts.is_empty() {
        return Ok(());
    }
    let split: Vec<(&str, &str)> = hosts.split(',').map(split_port).collect::<Result<_, _>>()?;
    let names: Vec<String> = split.iter().map(|(host, _)| decode(host, "host")).collect::<Result<_, _>>()?;
    pairs.push(("host".to_owned(), names.join(",")));
    if split.iter().any(|(_, port)| !port.is_empty()) {
        pairs.push(("port".to_owned(), split.iter().map(|(_, port)| *port).collect::<Vec<_>>().join(",")));
    }
    Ok(())
}

/// `host:port`, where the host may be an IPv6 address in brackets.
fn split_port(host: &str) -> Result<(&str, &str), String> {
    let Some(bracketed) = host.strip_prefix('[') else {
        return Ok(host.split_once(':').unwrap_or((host, "")));
    };
    let (address, rest) = bracketed.split_once(']').ok_or("an IPv6 address has no closing bracket")?;
    match rest.strip_prefix(':') {
        Some(port) => Ok((address, port)),
        None if rest.is_empty() => Ok((address, "")),
        None => Err("something other than a port follows the bracket of an IPv6 address".to_owned()),
    }
}

fn parse_parameter(parameter: &str) -> Result<(String, String), String> {
    let (key, value) = parameter.split_once('=').ok_or("a parameter after the question mark has no \"=\"")?;
    if value.contains('=') {
        return Err("a parameter after the question mark has a second \"=\" (write it as %3D)".to_owned());
    }
    match (decode(key, "a parameter's name")?.as_str(), decode(value, key)?) {
        // JDBC's spelling, which libpq accepts too.
        ("ssl", value) if value == "true" => Ok(("sslmode".to_owned(), "require".to_owned())),
        (key, value) => Ok((key.to_owned(), value)),
    }
}

fn decode(text: &str, what: &str) -> Result<String, String> {
    let what = if what.chars().all(|c| c.is_ascii_lowercase() || "_' ".contains(c)) { what } else { "a parameter" };
    let escapes = text.split('%').skip(1);
    let hexadecimal = |piece: &str| piece.len() >= 2 && piece.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    if !escapes.clone().all(hexadecimal) {
        return Err(format!("{what}: a % is not followed by two hexadecimal digits (write a plain one as %25)"));
    }
    if escapes.clone().any(|piece| piece.starts_with("00")) {
        return Err(format!("{what}: %00 is forbidden"));
    }
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| format!("{what}: not UTF-8 after decoding"))
}

/// `key = value` with spaces between pairs; a value may be in single quotes; a backslash takes the next character as is.
fn parse_pairs(text: &str) -> Result<Pairs, String> {
    let mut pairs = Pairs::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or("a key has no \"=\" after it")?;
        let key = key.trim_end();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err("a key has no \"=\" after it (a value with spaces needs single quotes)".to_owned());
        }
        let (value, after) = take_value(after.trim_start())?;
        pairs.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

fn take_value(text: &str) -> Result<(String, &str), String> {
    let quoted = text.strip_prefix('\'');
    let source = quoted.unwrap_or(text);
    let mut value = String::new();
    let mut characters = source.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted.is_some() => return Ok((value, &source[at + 1..])),
            _ if quoted.is_none() && character.is_whitespace() => return Ok((value, &source[at..])),
            _ => value.push(character),
        }
    }
    if quoted.is_some() { Err("a quoted value has no closing quote".to_owned()) } else { Ok((value, "")) }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn shown(text: &str) -> Result<String, String> {
        parse(text).map(|pairs| pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn both_spellings_are_read_as_libpq_reads_them() {
        let cases = [
            ("postgresql://", ""),
            ("postgres://localhost", "host=localhost"),
            ("postgres://localhost:5433", "host=localhost|port=5433"),
            ("postgres://localhost/mydb", "dbname=mydb|host=localhost"),
            ("postgres://u@h", "user=u|host=h"),
            (
                "postgres://u:s%40cret@h/d?connect_timeout=10&application_name=my%20app",
                "user=u|password=s@cret|dbname=d|host=h|connect_timeout=10|application_name=my app",
            ),
            ("postgres://h1:123,h2:456/d", "dbname=d|host=h1,h2|port=123,456"),
            ("postgres://h1,h2:456", "host=h1,h2|port=,456"),
            ("postgres:///d?host=/var/run/pg&port=5433", "dbname=d|host=/var/run/pg|port=5433"),
            ("postgres://%2Fvar%2Frun%2Fpg/d", "dbname=d|host=/var/run/pg"),
            ("postgres://[2001:db8::1]:99/d", "dbname=d|host=2001:db8::1|port=99"),
            ("postgres://[::1]", "host=::1"),
            ("postgres://h/d?ssl=true", "dbname=d|host=h|sslmode=require"),
            ("postgres://h/d?", "dbname=d|host=h"),
            ("", ""),
            ("  ", ""),
            ("host=h port=5", "host=h|port=5"),
            ("host = h  port = 5 ", "host=h|port=5"),
            ("host=h password='a b'", "host=h|password=a b"),
            (r"password='it\'s \\ ok' user=u", r"password=it's \ ok|user=u"),
            (r"password=a\ b", "password=a b"),
            ("password='' user=u", "password=|user=u"),
            ("password= user=u", "password=user=u"),
        ];
        for (text, due) in cases {
            assert_eq!(shown(text).as_deref(), Ok(due), "{text}");
        }
    }

    #[test]
    fn a_malformed_string_is_refused_without_its_values() {
        let cases = [
            "postgres://u:hunter2%@h",
            "postgres://u:hunter2%zz@h",
            "postgres://u:hunter2%00@h",
            "postgres://[::1/hunter2",
            "postgres://[::1]hunter2",
            "postgres://h/d?hunter2",
            "postgres://h?a=hunter2=b",
            "postgres://h/%ff",
            "hunter2",
            "host=h hunter2",
            "password='hunter2",
            "hunter2 hunter2 = 5",
            "postgres://h?hunter2%=1",
        ];
        for text in cases {
            let message = shown(text).unwrap_err();
            assert!(!message.contains("hunter2"), "{text}: {message}");
        }
    }
}
