//! From keys and values to a [`Conninfo`]: which keys are honoured, which variables stand in for them, what is assumed
//! without either, and what is refused with a reason that repeats no secret.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::pgpass::{self, Wanted};
use super::surroundings::Surroundings;
use super::syntax;
use super::{ChannelBinding, Conninfo, Endpoint, Host, Keepalive, Secret, SslMode, Target, socket_path};
use crate::postgres::tls::{ClientCertificate, Roots, TlsSettings};

/// Keys that are honoured, with the variable that stands in for each.
const HONOURED: [(&str, Option<&str>); 23] = [
    ("application_name", Some("PGAPPNAME")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("dbname", Some("PGDATABASE")),
    ("fallback_application_name", None),
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("keepalives", None),
    ("keepalives_count", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("options", Some("PGOPTIONS")),
    ("passfile", Some("PGPASSFILE")),
    ("password", Some("PGPASSWORD")),
    ("port", Some("PGPORT")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslmode", Some("PGSSLMODE")),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("sslsni", Some("PGSSLSNI")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("tcp_user_timeout", None),
    ("user", Some("PGUSER")),
];

/// Keys whose only accepted values say what happens anyway.
const FIXED: [(&str, Option<&str>, &[&str]); 8] = [
    ("client_encoding", Some("PGCLIENTENCODING"), &["UTF8", "utf8", "UTF-8", "utf-8", "auto"]),
    ("gssencmode", Some("PGGSSENCMODE"), &["disable", "prefer"]),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), &["disable"]),
    ("service", Some("PGSERVICE"), &[]),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION"), &["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ("sslcompression", Some("PGSSLCOMPRESSION"), &["0", "1"]),
    ("sslcrl", Some("PGSSLCRL"), &[]),
    ("sslnegotiation", Some("PGSSLNEGOTIATION"), &["postgres"]),
];

/// The values that count, each known to be under a key of ours.
pub(super) struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    pub(super) fn gather(text: &str, around: &dyn Surroundings) -> Result<Self, String> {
        let pairs = syntax::parse(text)?;
        let has_password = pairs.iter().any(|(key, _)| key == "password");
        let mut parts = BTreeMap::new();
        for (key, value) in pairs {
            let known = HONOURED.iter().map(|(known, _)| *known).chain(FIXED.iter().map(|(known, ..)| *known));
            let known = known.into_iter().find(|known| *known == key).ok_or_else(|| unknown_key(&key, has_password))?;
            parts.insert(known, value);
        }
        let variables = HONOURED.iter().map(|(key, variable)| (*key, *variable));
        for (key, variable) in variables.chain(FIXED.iter().map(|(key, variable, _)| (*key, *variable))) {
            if parts.get(key).is_none_or(String::is_empty) {
                let value = variable.and_then(|variable| around.variable(variable)).filter(|value| !value.is_empty());
                value.map(|value| parts.insert(key, value));
            }
        }
        for (key, _, accepted) in FIXED {
            if parts.get(key).is_some_and(|value| !value.is_empty() && !accepted.contains(&value.as_str())) {
                return Err(refused(key, accepted));
            }
        }
        Ok(Self(parts))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn number<T: FromStr>(&self, key: &str) -> Result<Option<T>, String> {
        let read =
            |value: &str| value.trim().parse().map_err(|_| format!("{key} is not a number of the expected size"));
        self.get(key).map(read).transpose()
    }

    /// Zero and negative numbers of seconds mean "no limit" to libpq.
    fn seconds(&self, key: &str) -> Result<Option<Duration>, String> {
        Ok(self.number::<i32>(key)?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).map(Duration::from_secs))
    }

    pub(super) fn build(self, around: &dyn Surroundings) -> Result<Conninfo, String> {
        let user = self.get("user").map(str::to_owned).or_else(|| around.os_user());
        let user = user.ok_or("no user is given and the operating system's user has no name")?;
        let database = self.get("dbname").unwrap_or(&user).to_owned();
        let application_name = self.get("application_name").or_else(|| self.get("fallback_application_name"));
        Ok(Conninfo {
            endpoints: self.endpoints(&user, &database, around)?,
            application_name: application_name.unwrap_or("rowcast").to_owned(),
            options: self.get("options").map(str::to_owned),
            sslmode: self.sslmode()?,
            tls: self.tls(around)?,
            channel_binding: self.channel_binding()?,
            target: self.target()?,
            connect_timeout: self.seconds("connect_timeout")?,
            keepalive: self.keepalive()?,
            user,
            database,
        })
    }

    fn endpoints(&self, user: &str, database: &str, around: &dyn Surroundings) -> Result<Vec<Endpoint>, String> {
        let ports = self.ports()?;
        let list = |key| self.get(key).map(|value| value.split(',').collect::<Vec<_>>()).unwrap_or_default();
        let (names, addresses) = (list("host"), list("hostaddr"));
        if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
            return Err(format!("host names {} places and hostaddr {}", names.len(), addresses.len()));
        }
        let count = names.len().max(addresses.len()).max(1);
        if ports.len() > 1 && ports.len() != count {
            return Err(format!("there are {} ports for {count} hosts", ports.len()));
        }
        let passwords = Passwords { parameters: self, user, database, around };
        (0..count)
            .map(|at| {
                let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
                let host = host(names.get(at).copied(), addresses.get(at).copied(), port, around)?;
                Ok(Endpoint { password: passwords.of(&host, port), host, port })
            })
            .collect()
    }

    fn ports(&self) -> Result<Vec<u16>, String> {
        let read = |port: &str| match port.trim() {
            "" => Ok(5432),
            port => port.parse().ok().filter(|port| *port > 0).ok_or(PORT),
        };
        self.get("port").unwrap_or_default().split(',').map(read).collect::<Result<_, _>>().map_err(str::to_owned)
    }

    fn sslmode(&self) -> Result<SslMode, String> {
        let system = self.get("sslrootcert") == Some("system");
        match self.get("sslmode") {
            // Public authorities sign anybody's certificate: only the name tells a true server from a false one.
            None => Ok(if system { SslMode::VerifyFull } else { SslMode::Prefer }),
            Some(mode) => match mode.parse()? {
                SslMode::VerifyFull => Ok(SslMode::VerifyFull),
                weaker if system => Err(format!("sslrootcert=system needs sslmode=verify-full, not {weaker}")),
                mode => Ok(mode),
            },
        }
    }

    fn tls(&self, around: &dyn Surroundings) -> Result<TlsSettings, String> {
        let usual = |name: &str| around.variable("HOME").map(|home| Path::new(&home).join(".postgresql").join(name));
        let usual = |name: &str| usual(name).filter(|path| around.exists(path));
        let given = |key: &str, name: &str| self.get(key).map(PathBuf::from).or_else(|| usual(name));
        let roots = match self.get("sslrootcert") {
            Some("system") => Roots::System,
            _ => given("sslrootcert", "root.crt").map_or(Roots::None, Roots::File),
        };
        if matches!(self.sslmode()?, SslMode::VerifyCa | SslMode::VerifyFull) && matches!(roots, Roots::None) {
            return Err(
                "sslmode verify-ca and verify-full need root certificates: give sslrootcert (a file, or system \
                        with verify-full), or put them in ~/.postgresql/root.crt"
                    .to_owned(),
            );
        }
        let client = match (given("sslcert", "postgresql.crt"), given("sslkey", "postgresql.key")) {
            (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
            (Some(_), None) => return Err("sslcert is given without sslkey".to_owned()),
            (None, _) => None,
        };
        Ok(TlsSettings { roots, client, sni: self.get("sslsni") != Some("0") })
    }

    fn target(&self) -> Result<Target, String> {
        match self.get("target_session_attrs") {
            None | Some("any") => Ok(Target::Any),
            Some("primary" | "read-write") => Ok(Target::Primary),
            Some(_) => {
                Err("target_session_attrs is none of any, primary, read-write: rowcast needs the primary".to_owned())
            }
        }
    }

    fn channel_binding(&self) -> Result<ChannelBinding, String> {
        match self.get("channel_binding") {
            None | Some("prefer") => Ok(ChannelBinding::Prefer),
            Some("require") => Ok(ChannelBinding::Require),
            Some("disable") => Ok(ChannelBinding::Disable),
            Some(_) => Err("channel_binding is none of disable, prefer, require".to_owned()),
        }
    }

    fn keepalive(&self) -> Result<Keepalive, String> {
        let timeout = self.number::<u64>("tcp_user_timeout")?;
        Ok(Keepalive {
            enabled: self.number::<i32>("keepalives")? != Some(0),
            idle: self.seconds("keepalives_idle")?.unwrap_or(Duration::from_secs(30)),
            interval: self.seconds("keepalives_interval")?.unwrap_or(Duration::from_secs(10)),
            count: self.number::<u32>("keepalives_count")?.filter(|count| *count > 0).unwrap_or(3),
            user_timeout: timeout
                .map_or(Some(Duration::from_mins(1)), |ms| (ms > 0).then(|| Duration::from_millis(ms))),
        })
    }
}

/// In a malformed URL the "port" may be a piece of the password, so it is not repeated.
const PORT: &str = "a port is not a number between 1 and 65535 (in a URL, percent-encode the characters : / ? # [ ] @ of \
                    user and password)";

/// A password with unquoted spaces makes keys of its pieces, so beside a password no key is repeated.
fn unknown_key(key: &str, has_password: bool) -> String {
    if has_password {
        return "it has a key that is not known (quote a password that has spaces)".to_owned();
    }
    let known: Vec<&str> = HONOURED.iter().map(|(known, _)| *known).collect();
    format!("{key:?} is not a key that is known; known are {}", known.join(", "))
}

fn refused(key: &str, accepted: &[&str]) -> String {
    match accepted {
        [] => format!("{key} is not supported; remove it (its variable too) and name what it stands for"),
        accepted => format!("{key} is supported only as {}", accepted.join(" or ")),
    }
}

fn host(name: Option<&str>, address: Option<&str>, port: u16, around: &dyn Surroundings) -> Result<Host, String> {
    let address = address.map(str::trim).filter(|address| !address.is_empty());
    let address = address.map(|text| text.parse::<IpAddr>().map_err(|_| "hostaddr is not an IP address".to_owned()));
    match (name.map(str::trim).filter(|name| !name.is_empty()), address.transpose()?) {
        (Some(name), None) if name.starts_with('/') => Ok(Host::Unix(PathBuf::from(name))),
        (Some(name), address) => Ok(Host::Tcp { name: name.to_owned(), address }),
        (None, Some(address)) => Ok(Host::Tcp { name: address.to_string(), address: Some(address) }),
        (None, None) => Ok(usual_host(port, around)),
    }
}

/// libpq has its socket directory compiled in: Debian's and upstream's differ, so the socket decides.
fn usual_host(port: u16, around: &dyn Surroundings) -> Host {
    let directories = ["/var/run/postgresql", "/tmp"].map(PathBuf::from);
    let found = directories.into_iter().find(|directory| around.exists(&socket_path(directory, port)));
    found.map_or_else(|| Host::Tcp { name: "localhost".to_owned(), address: None }, Host::Unix)
}

/// A password comes from the string, PGPASSWORD or the password file, which is read once for each endpoint.
struct Passwords<'a> {
    parameters: &'a Parameters,
    user: &'a str,
    database: &'a str,
    around: &'a dyn Surroundings,
}

impl Passwords<'_> {
    fn of(&self, host: &Host, port: u16) -> Option<Secret> {
        self.parameters.get("password").map(str::to_owned).or_else(|| self.in_file(host, port)).map(Secret)
    }

    fn in_file(&self, host: &Host, port: u16) -> Option<String> {
        let home = || self.around.variable("HOME").map(|home| Path::new(&home).join(".pgpass"));
        let file = self.around.secret_file(&self.parameters.get("passfile").map(PathBuf::from).or_else(home)?)?;
        let name = match host {
            Host::Tcp { name, .. } => name.clone(),
            Host::Unix(directory) => directory.display().to_string(),
        };
        // libpq calls the default socket directory localhost in this file.
        let is_usual = ["/var/run/postgresql", "/tmp"].contains(&name.as_str());
        let hosts: &[&str] = if is_usual { &[&name, "localhost"] } else { &[&name] };
        pgpass::find(&file, &Wanted { hosts, port, database: self.database, user: self.user })
    }
}
