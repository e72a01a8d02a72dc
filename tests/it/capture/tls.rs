//! TLS as libpq's users know it, against a real server with certificates made here by the openssl program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::capture::reader::{Reader, start};
use crate::postgres::Server;
use rowcast::capture::CaptureError;
use rowcast::postgres::{ConnectionError, Conninfo};

struct Certificates(tempfile::TempDir);

impl Certificates {
    /// Two authorities, a server certificate for `localhost` by the first, one with a common name alone, a client
    /// certificate for `ann`, and a self-signed one.
    fn make() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        for authority in ["ca", "other"] {
            made.openssl(&[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "10",
                "-subj",
                "/CN=test authority",
                "-addext",
                "keyUsage=critical,keyCertSign",
                "-keyout",
                &format!("{authority}.key"),
                "-out",
                &format!("{authority}.crt"),
            ]);
        }
        made.signed("server", "/CN=ignored", Some("subjectAltName=DNS:localhost"));
        made.signed("named", "/CN=localhost", Some("basicConstraints=CA:FALSE"));
        made.signed("client", "/CN=ann", Some("basicConstraints=CA:FALSE"));
        made.signed("version1", "/CN=localhost", None);
        made.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "10",
            "-subj",
            "/CN=localhost",
            "-keyout",
            "self.key",
            "-out",
            "self.crt",
        ]);
        made
    }

    fn signed(&self, name: &str, subject: &str, extension: Option<&str>) {
        let (key, request, out) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        self.openssl(&[
            "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", &key, "-out", &request,
        ]);
        let sign = [
            "x509",
            "-req",
            "-in",
            &request,
            "-days",
            "10",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            &out,
        ];
        match extension {
            None => self.openssl(&sign),
            Some(extension) => {
                std::fs::write(self.path("extension"), extension).unwrap();
                self.openssl(&[&sign[..], &["-extfile", "extension"]].concat());
            }
        }
    }

    fn openssl(&self, arguments: &[&str]) {
        let done =
            Command::new("openssl").args(arguments).current_dir(self.0.path()).stderr(Stdio::piped()).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn serve(&self, server: &mut Server, name: &str) {
        server.give(&self.path(&format!("{name}.crt")), "server.crt");
        server.give(&self.path(&format!("{name}.key")), "server.key");
        server.give(&self.path("ca.crt"), "root.crt");
        server.restart(crate::postgres::Stop::Immediate);
    }
}

/// Plain connections over TCP are refused by `pg_hba.conf`, encrypted ones need a password. None, and a word about it, if
/// the server was built without OpenSSL.
async fn encrypted(certificates: &Certificates) -> Option<Server> {
    let server = Server::logical();
    if server.value("show ssl_library").await.unwrap_or_default() != "OpenSSL" {
        println!("skipped: this PostgreSQL was built without OpenSSL; ROWCAST_TEST_PG_BIN may name another");
        return None;
    }
    server.sql("create table t (id int primary key); create publication feed for table t").await;
    server.sql("create role ann superuser login password 'geheim'").await;
    for (name, file) in [("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key"), ("ssl_ca_file", "root.crt")] {
        server.sql(&format!("alter system set {name} = '{file}'")).await;
    }
    server.sql("alter system set ssl = on").await;
    server.set_hba("local all all trust\nhostssl all all all scram-sha-256\n");
    let mut server = server;
    certificates.serve(&mut server, "server");
    Some(server)
}

fn url(server: &Server, host: &str, rest: &str) -> String {
    let port = server.port();
    format!("host={host} hostaddr=127.0.0.1 port={port} user=ann password=geheim dbname=postgres {rest}")
}

fn with_root(mode: &str, root: &Path) -> String {
    format!("sslmode={mode} sslrootcert={}", root.display())
}

/// Both kinds of session have to agree.
async fn outcome(url: &str) -> Result<(), CaptureError> {
    let streamed = start(url).await;
    let sql = Conninfo::resolve(Some(url)).unwrap().connect().await.map(drop);
    let codes = (streamed.as_ref().err().map(CaptureError::code), sql.as_ref().err().map(ConnectionError::code));
    assert_eq!(codes.0, codes.1, "{url}");
    streamed?.stop().await;
    Ok(())
}

#[tokio::test]
async fn each_sslmode_does_what_libpq_does() {
    let certificates = Certificates::make();
    let (ca, other) = (certificates.path("ca.crt"), certificates.path("other.crt"));
    let Some(mut server) = encrypted(&certificates).await else { return };
    let at = |server: &Server, host: &str, rest: &str| url(server, host, rest);
    for (host, rest) in [
        ("localhost", "sslmode=prefer".to_owned()),
        ("localhost", "sslmode=allow".to_owned()),
        ("wrong.example", "sslmode=require".to_owned()),
        ("wrong.example", with_root("verify-ca", &ca)),
        ("wrong.example", with_root("require", &ca)),
        ("localhost", with_root("verify-full", &ca)),
        ("localhost", with_root("verify-full", &ca) + " channel_binding=require"),
    ] {
        outcome(&at(&server, host, &rest)).await.unwrap_or_else(|error| panic!("{host} {rest}: {error}"));
    }
    for (host, rest, code, word) in [
        ("localhost", "sslmode=disable".to_owned(), "AUTHENTICATION_FAILED", "no encryption"),
        ("wrong.example", with_root("verify-full", &ca), "TLS_FAILED", "verify-ca"),
        ("localhost", with_root("verify-full", &other), "TLS_FAILED", "sslrootcert"),
        ("localhost", with_root("verify-ca", &other), "TLS_FAILED", "sslrootcert"),
        ("localhost", with_root("require", &other), "TLS_FAILED", "sslrootcert"),
        ("localhost", with_root("verify-ca", Path::new("/nonexistent.crt")), "TLS_FAILED", "/nonexistent.crt"),
    ] {
        let error = outcome(&at(&server, host, &rest)).await.expect_err(&rest);
        assert_eq!(error.code(), code, "{rest}: {error}");
        assert!(error.to_string().contains(word), "{rest}: {error}");
        assert!(!error.to_string().contains("geheim"), "{error}");
    }

    certificates.serve(&mut server, "named");
    outcome(&at(&server, "localhost", &with_root("verify-full", &ca))).await.unwrap();
    let error = outcome(&at(&server, "wrong.example", &with_root("verify-full", &ca))).await.unwrap_err();
    assert_eq!(error.code(), "TLS_FAILED");

    certificates.serve(&mut server, "self");
    let own = certificates.path("self.crt");
    outcome(&at(&server, "localhost", &with_root("verify-full", &own))).await.unwrap();
    assert_eq!(
        outcome(&at(&server, "localhost", &with_root("verify-ca", &ca))).await.unwrap_err().code(),
        "TLS_FAILED"
    );

    certificates.serve(&mut server, "version1");
    outcome(&at(&server, "localhost", "sslmode=require")).await.unwrap();
    let error = outcome(&at(&server, "localhost", &with_root("verify-full", &ca))).await.unwrap_err();
    assert!(error.code() == "TLS_FAILED" && error.to_string().contains("version 1"), "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_rows_flow_through_tls() {
    let certificates = Certificates::make();
    let Some(server) = encrypted(&certificates).await else { return };
    server.set_hba("local all all trust\nhostssl all all all cert\n");
    let rest = with_root("verify-full", &certificates.path("ca.crt"));
    let own = format!(
        "sslcert={} sslkey={}",
        certificates.path("client.crt").display(),
        certificates.path("client.key").display()
    );
    let mut reader = Reader::new(start(&url(&server, "localhost", &format!("{rest} {own}"))).await.unwrap());
    server.sql("insert into t select generate_series(1, 5000)").await;
    reader.until("all rows", |reader| reader.events.len() == 5000).await;
    let error = start(&url(&server, "localhost", &rest)).await.unwrap_err();
    assert_eq!(error.code(), "AUTHENTICATION_FAILED", "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_used_plainly_or_refused_as_asked() {
    let server = Server::logical();
    server.sql("create publication feed; create role ann superuser login").await;
    outcome(&url(&server, "localhost", "sslmode=prefer")).await.unwrap();
    outcome(&url(&server, "localhost", "sslmode=allow")).await.unwrap();
    let error = outcome(&url(&server, "localhost", "sslmode=require")).await.unwrap_err();
    assert_eq!(error.code(), "TLS_REQUIRED", "{error}");
}
