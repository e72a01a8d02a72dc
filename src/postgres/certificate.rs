//! The few facts of an X.509 certificate that rustls does not tell: its common name, its times, and the hash that binds
//! SCRAM to the connection (RFC 5929, `tls-server-end-point`).

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::der::Decode;
use x509_cert::der::oid::db::{rfc4519, rfc5280, rfc5912};

/// A parsed certificate.
pub(crate) struct Certificate(x509_cert::Certificate);

impl Certificate {
    /// `None` if `der` is not a certificate.
    pub(crate) fn parse(der: &[u8]) -> Option<Self> {
        x509_cert::Certificate::from_der(der).ok().map(Self)
    }

    pub(crate) fn has_alternative_names(&self) -> bool {
        let extensions = self.0.tbs_certificate.extensions.as_deref().unwrap_or_default();
        extensions.iter().any(|extension| extension.extn_id == rfc5280::ID_CE_SUBJECT_ALT_NAME)
    }

    pub(crate) fn common_name(&self) -> Option<String> {
        let attributes = self.0.tbs_certificate.subject.0.iter().flat_map(|names| names.0.iter());
        let name = attributes.rev().find(|attribute| attribute.oid == rfc4519::CN)?;
        std::str::from_utf8(name.value.value()).ok().map(str::to_owned)
    }

    pub(crate) fn check_time(&self, now: UnixTime) -> Result<(), Error> {
        let validity = &self.0.tbs_certificate.validity;
        if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
            return Err(CertificateError::NotValidYet.into());
        }
        let expired = now.as_secs() > validity.not_after.to_unix_duration().as_secs();
        if expired { Err(CertificateError::Expired.into()) } else { Ok(()) }
    }

    /// The hash of `der` by the signature's own algorithm, MD5 and SHA-1 lifted to SHA-256. `None` where the algorithm
    /// has no hash (Ed25519): then channel binding is not possible.
    pub(crate) fn channel_binding(&self, der: &[u8]) -> Option<Vec<u8>> {
        match self.0.signature_algorithm.oid {
            rfc5912::SHA_1_WITH_RSA_ENCRYPTION | rfc5912::SHA_256_WITH_RSA_ENCRYPTION | rfc5912::ECDSA_WITH_SHA_256 => {
                Some(Sha256::digest(der).to_vec())
            }
            rfc5912::SHA_384_WITH_RSA_ENCRYPTION | rfc5912::ECDSA_WITH_SHA_384 => Some(Sha384::digest(der).to_vec()),
            rfc5912::SHA_512_WITH_RSA_ENCRYPTION | rfc5912::ECDSA_WITH_SHA_512 => Some(Sha512::digest(der).to_vec()),
            _ => None,
        }
    }
}
