//! The rules of libpq as a table, on surroundings made for each case.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::surroundings::Surroundings;
use super::{ChannelBinding, Conninfo, Host, SslMode};
use crate::postgres::tls::Roots;

type Pairs = &'static [(&'static str, &'static str)];

#[derive(Default)]
struct Made {
    variables: HashMap<&'static str, &'static str>,
    files: HashMap<&'static str, &'static str>,
}

impl Made {
    fn with(variables: &[(&'static str, &'static str)], files: &[(&'static str, &'static str)]) -> Self {
        let variables = variables.iter().copied().chain([("HOME", "/home/ann")]).collect();
        Self { variables, files: files.iter().copied().collect() }
    }
}

impl Surroundings for Made {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(|value| (*value).to_owned())
    }

    fn secret_file(&self, path: &Path) -> Option<String> {
        self.files.get(path.to_str()?).map(|text| (*text).to_owned())
    }

    fn exists(&self, path: &Path) -> bool {
        path.to_str().is_some_and(|path| self.files.contains_key(path))
    }

    fn os_user(&self) -> Option<String> {
        Some("ann".to_owned())
    }
}

fn resolved(text: &str, around: &Made) -> Conninfo {
    Conninfo::resolve_in(Some(text), around).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: &str, around: &Made) -> String {
    let error = Conninfo::resolve_in(Some(text), around).expect_err(text);
    assert_eq!(error.code(), "CONNINFO_INVALID", "{text}");
    error.to_string()
}

fn password(info: &Conninfo) -> Option<&str> {
    info.endpoints[0].password.as_ref().map(|secret| secret.0.as_str())
}

#[test]
fn a_string_is_completed_as_libpq_completes_it() {
    let cases: [(&str, Pairs, Pairs, &str); 17] = [
        ("", &[], &[], "ann@localhost:5432/ann"),
        ("", &[], &[("/var/run/postgresql/.s.PGSQL.5432", "")], "ann@/var/run/postgresql/.s.PGSQL.5432/ann"),
        ("", &[("PGPORT", "6000")], &[("/tmp/.s.PGSQL.6000", "")], "ann@/tmp/.s.PGSQL.6000/ann"),
        ("", &[("PGHOST", "db"), ("PGUSER", "bob")], &[], "bob@db:5432/bob"),
        ("", &[("PGHOST", "db"), ("PGDATABASE", "app"), ("PGPORT", "6000")], &[], "ann@db:6000/app"),
        ("postgres://h/d", &[("PGHOST", "db"), ("PGUSER", "bob"), ("PGDATABASE", "x")], &[], "bob@h:5432/d"),
        ("host=h", &[("PGHOSTADDR", "")], &[], "ann@h:5432/ann"),
        ("host='' port=''", &[("PGHOST", "db"), ("PGPORT", "77")], &[], "ann@db:77/ann"),
        ("postgres://u@h1,h2:6/d", &[], &[], "u@h1:5432,h2:6/d"),
        ("host=h1,h2,h3 port=7", &[], &[], "ann@h1:7,h2:7,h3:7/ann"),
        ("host=h1,h2 port=7,8 dbname=d", &[], &[], "ann@h1:7,h2:8/d"),
        ("hostaddr=10.0.0.1", &[], &[], "ann@10.0.0.1:5432/ann"),
        ("postgres://[::1]:7/d", &[], &[], "ann@[::1]:7/d"),
        ("postgres:///d?host=/run/pg", &[], &[], "ann@/run/pg/.s.PGSQL.5432/d"),
        ("postgres://%2Frun%2Fpg:7/d", &[], &[], "ann@/run/pg/.s.PGSQL.7/d"),
        ("user=a user=b host=h", &[], &[], "b@h:5432/b"),
        ("postgres://h/d?gssencmode=disable&target_session_attrs=any", &[], &[], "ann@h:5432/d"),
    ];
    for (text, variables, files, due) in cases {
        assert_eq!(resolved(text, &Made::with(variables, files)).to_string(), due, "{text} {variables:?}");
    }
}

#[test]
fn what_is_not_understood_is_refused_and_says_why() {
    let cases = [
        ("frobnicate=1", "frobnicate"),
        ("host=h port=99999", "port"),
        ("host=h port=x", "port"),
        ("host=a,b,c port=1,2", "2 ports for 3 hosts"),
        ("host=a,b hostaddr=1.2.3.4", "hostaddr"),
        ("hostaddr=db", "hostaddr"),
        ("sslmode=maybe", "verify-full"),
        ("sslmode=verify-full", "sslrootcert"),
        ("sslrootcert=system sslmode=require", "verify-full"),
        ("sslcert=/c", "sslkey"),
        ("connect_timeout=soon", "connect_timeout"),
        ("target_session_attrs=standby", "primary"),
        ("gssencmode=require", "disable or prefer"),
        ("sslcrl=/crl", "sslcrl"),
        ("service=x", "service"),
        ("channel_binding=maybe", "require"),
        ("client_encoding=LATIN1", "UTF8"),
        ("mydb", "="),
    ];
    for (text, word) in cases {
        let message = refusal(text, &Made::with(&[], &[]));
        assert!(message.contains(word), "{text}: {message}");
    }
    assert!(refusal("", &Made::with(&[("PGSERVICE", "x")], &[])).contains("service"));
}

#[test]
fn a_password_is_found_and_never_shown() {
    let file = "h:5432:*:ann:from-file\n/run/pg:*:*:*:for-socket\nlocalhost:*:*:*:for-default\n";
    let home = [("/home/ann/.pgpass", file)];
    let cases: [(&str, Pairs, Option<&str>); 8] = [
        ("postgres://u:p%40ss@h/d", &[("PGPASSWORD", "env")], Some("p@ss")),
        ("host=h", &[("PGPASSWORD", "env")], Some("env")),
        ("host=h", &[], Some("from-file")),
        ("host=h port=1", &[], None),
        ("host=/run/pg", &[], Some("for-socket")),
        ("host=/var/run/postgresql", &[], Some("for-default")),
        ("host=h", &[("PGPASSFILE", "/else")], None),
        ("host=h passfile=/home/ann/.pgpass", &[("PGPASSFILE", "/else")], Some("from-file")),
    ];
    for (text, variables, due) in cases {
        let variables = variables.to_vec();
        let info = resolved(text, &Made::with(&variables, &home));
        assert_eq!(password(&info), due, "{text} {variables:?}");
        let shown = format!("{info:?} {info} {:?}", info.sql_config());
        assert!(due.is_none_or(|password| !shown.contains(password)), "{shown}");
    }
    for text in [
        "postgres://u:hunter2/x@h/d",
        "postgres://u:hunter/2@h:x/d",
        "password=a hunter2=1",
        "host=h password='hunter2",
    ] {
        assert!(!refusal(text, &Made::with(&[], &[])).contains("hunter"), "{text}");
    }
}

#[test]
fn tls_is_asked_for_as_libpq_would() {
    let root = [("/home/ann/.postgresql/root.crt", "")];
    let mode = |text: &str, files: &[(&'static str, &'static str)]| {
        let info = resolved(text, &Made::with(&[], files));
        (info.sslmode, info.tls.roots)
    };
    let usual = || Roots::File(PathBuf::from("/home/ann/.postgresql/root.crt"));
    assert_eq!(mode("host=h", &[]), (SslMode::Prefer, Roots::None));
    assert_eq!(mode("host=h sslmode=require", &[]), (SslMode::Require, Roots::None));
    assert_eq!(mode("host=h sslmode=require", &root), (SslMode::Require, usual()));
    assert_eq!(mode("host=h sslmode=verify-full", &root), (SslMode::VerifyFull, usual()));
    assert_eq!(mode("sslmode=verify-ca sslrootcert=/ca", &[]), (SslMode::VerifyCa, Roots::File("/ca".into())));
    assert_eq!(mode("sslrootcert=system", &[]), (SslMode::VerifyFull, Roots::System));
    let client = [("/home/ann/.postgresql/postgresql.crt", ""), ("/home/ann/.postgresql/postgresql.key", "")];
    assert!(resolved("host=h", &Made::with(&[], &client)).tls.client.is_some());
}

#[test]
fn the_rest_is_honoured_too() {
    let around = Made::with(&[("PGAPPNAME", "mine"), ("PGOPTIONS", "-c a=b"), ("PGCONNECT_TIMEOUT", "3")], &[]);
    let info = resolved("host=h hostaddr=10.0.0.9 channel_binding=require keepalives=0 tcp_user_timeout=0", &around);
    assert_eq!((info.application_name.as_str(), info.options.as_deref()), ("mine", Some("-c a=b")));
    assert_eq!(info.connect_timeout, Some(Duration::from_secs(3)));
    assert_eq!(info.channel_binding, ChannelBinding::Require);
    assert_eq!((info.keepalive.enabled, info.keepalive.user_timeout), (false, None));
    let address = Some("10.0.0.9".parse().unwrap());
    assert_eq!(info.endpoints[0].host, Host::Tcp { name: "h".to_owned(), address });
    let plain = resolved("host=h connect_timeout=0", &Made::with(&[], &[]));
    assert_eq!((plain.application_name.as_str(), plain.connect_timeout), ("rowcast", None));
}
