//! TLS as libpq's users know it, on rustls with ring: how the server's certificate is verified, and which client certificate is sent.
//!
//! No process-wide provider is installed: the host application has its own. What libpq accepts and web browsers do not
//! is accepted here too where it can be checked safely: a certificate that names its host in the common name alone, and
//! a self-signed one that is itself the given root. X.509 version 1 certificates cannot be checked by rustls; they work
//! with `sslmode=require` and are refused, by name, by the verifying modes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::certificate::Certificate;

/// What the connection string says about certificates. Files are read at each connect, so renewed ones are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    pub(crate) roots: Roots,
    pub(crate) client: Option<ClientCertificate>,
    /// Whether the server's name is sent in the clear with the handshake.
    pub(crate) sni: bool,
}

/// The roots that may certify the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    None,
    /// The operating system's authorities.
    System,
    File(PathBuf),
}

/// What we show when the server asks who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// How much of the server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Nothing,
    Chain,
    ChainAndName,
}

/// A connector that checks that much. Errors name the file.
pub(crate) fn connector(settings: &TlsSettings, check: Check) -> Result<TlsConnector, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match check {
        Check::Nothing => Arc::new(Unchecked(provider.signature_verification_algorithms)),
        Check::Chain | Check::ChainAndName => Arc::new(Checked::new(&settings.roots, check, &provider)?),
    };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some(client) => client.load().and_then(|(certificates, key)| {
            let refused = |error| format!("{} and {}: {error}", client.certificate.display(), client.key.display());
            builder.with_client_auth_cert(certificates, key).map_err(refused)
        })?,
    };
    config.enable_sni = settings.sni;
    Ok(TlsConnector::from(Arc::new(config)))
}

impl ClientCertificate {
    fn load(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
        let key = PrivateKeyDer::from_pem_file(&self.key);
        let key = key.map_err(|error| format!("the client key {} cannot be used: {error}", self.key.display()))?;
        Ok((read_certificates(&self.certificate)?, key))
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unusable =
        |error: &dyn std::fmt::Display| format!("the certificate file {} cannot be used: {error}", path.display());
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|error| unusable(&error))?;
    if certificates.is_empty() { Err(unusable(&"it has no certificate")) } else { Ok(certificates) }
}

/// `sslmode` below verify-ca without roots. The peer has proven nothing, so its signature is not asked for either.
#[derive(Debug)]
struct Unchecked(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// verify-ca and verify-full.
#[derive(Debug)]
struct Checked {
    roots: RootCertStore,
    /// The same roots as they were given: a self-signed server certificate is its own root.
    given: Vec<CertificateDer<'static>>,
    name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Checked {
    fn new(roots: &Roots, check: Check, provider: &CryptoProvider) -> Result<Self, String> {
        let given = match roots {
            Roots::None => Vec::new(),
            Roots::System => rustls_native_certs::load_native_certs().certs,
            Roots::File(path) => read_certificates(path)?,
        };
        let mut store = RootCertStore::empty();
        let (usable, _) = store.add_parsable_certificates(given.iter().cloned());
        if usable == 0 {
            return Err("no usable root certificate was found to check the server's with".to_owned());
        }
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { roots: store, given, name: check == Check::ChainAndName, algorithms })
    }

    fn check_chain(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.given.iter().any(|root| root.as_ref() == leaf.as_ref()) {
            return Certificate::parse(leaf)
                .map_or(Err(CertificateError::BadEncoding.into()), |own| own.check_time(now));
        }
        let parsed = ParsedCertificate::try_from(leaf)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, others, now, self.algorithms.all)
    }

    fn check_name(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
        let certificate = Certificate::parse(leaf).ok_or(CertificateError::BadEncoding)?;
        if certificate.has_alternative_names() {
            return verify_server_name(&ParsedCertificate::try_from(leaf)?, name);
        }
        let matches = certificate.common_name().is_some_and(|pattern| names(&pattern, &name.to_str()));
        if matches { Ok(()) } else { Err(CertificateError::NotValidForName.into()) }
    }
}

impl ServerCertVerifier for Checked {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check_chain(leaf, others, now)?;
        if self.name {
            Self::check_name(leaf, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// libpq's rule for common names: equal, or `*.` for exactly one label.
fn names(pattern: &str, host: &str) -> bool {
    let wildcard = || pattern.strip_prefix("*.").zip(host.split_once('.').map(|(_, domain)| domain));
    pattern.eq_ignore_ascii_case(host) || wildcard().is_some_and(|(domain, own)| domain.eq_ignore_ascii_case(own))
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let cases = [
            ("db.example.com", "DB.example.com", true),
            ("*.example.com", "db.example.com", true),
            ("*.example.com", "a.db.example.com", false),
            ("*.example.com", "example.com", false),
            ("*", "db", false),
            ("db", "dbx", false),
        ];
        for (pattern, host, due) in cases {
            assert_eq!(names(pattern, host), due, "{pattern} {host}");
        }
    }
}
