//! Certificates: self-signed, short-lived, trusted only by the pin of their key.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::agreement::{ECDH_P384, PrivateKey};
use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair};
use crypto::secret_file::{self, FileKind, SecretFileError};
use crypto::{Entropy, EntropyError};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use types::{BoundaryId, Hash, Millis, NodeId, Timestamp};
use zeroize::Zeroizing;

const SCALAR: usize = 48;

/// Why a TLS key or certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// No healthy entropy.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The file of the key cannot be used.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The secret is not a P-384 key.
    #[error("the secret does not make a tls key; restore the file from its backup")]
    Key,
    /// The certificate could not be made.
    #[error("cannot make the certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// The certificate's file cannot be used.
    #[error("cannot use the certificate `{path}`: {problem}")]
    CertificateFile {
        /// The file.
        path: String,
        /// Why.
        problem: String,
    },
    /// The bytes are not a certificate.
    #[error("not an x.509 certificate")]
    Malformed,
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469 section 2.4). Shown as hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct SpkiPin(Hash);

impl SpkiPin {
    /// The pin of the key in `certificate`.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`].
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|_| CertificateError::Malformed)?;
        Ok(Self::of_key(&parsed.subject_public_key_info()))
    }

    pub(crate) fn of_key(spki: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, spki).as_ref());
        Self(Hash::new(bytes))
    }
}

impl fmt::Display for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SpkiPin {
    type Err = types::ParseHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A TLS key: ECDSA on P-384, which browsers accept too. Kept as its 48-byte scalar.
pub struct TlsKey {
    scalar: Zeroizing<[u8; SCALAR]>,
    pair: KeyPair,
}

impl TlsKey {
    /// A fresh key with 384 bits of health-tested entropy.
    ///
    /// # Errors
    /// [`CertificateError::Entropy`].
    pub fn generate(entropy: &Entropy) -> Result<Self, CertificateError> {
        // The order of the curve is within 2^-190 of 2^384, so a second try is not to be expected;
        // rejection, not reduction, keeps the key uniform (SP 800-56A appendix of key generation).
        const TRIES: usize = 4;
        for _ in 0..TRIES {
            let mut scalar = Zeroizing::new([0; SCALAR]);
            entropy.fill(&mut *scalar)?;
            if let Ok(key) = Self::from_scalar(scalar) {
                return Ok(key);
            }
        }
        Err(CertificateError::Key)
    }

    fn from_scalar(scalar: Zeroizing<[u8; SCALAR]>) -> Result<Self, CertificateError> {
        let refused = |_| CertificateError::Key;
        let agreement = PrivateKey::from_private_key(&ECDH_P384, &*scalar).map_err(|_| CertificateError::Key)?;
        let public = agreement.compute_public_key().map_err(refused)?;
        let ecdsa =
            EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P384_SHA384_ASN1_SIGNING, &*scalar, public.as_ref())
                .map_err(|_| CertificateError::Key)?;
        let pkcs8 = ecdsa.to_pkcs8v1().map_err(refused)?;
        let pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8.as_ref()))?;
        Ok(Self { scalar, pair })
    }

    /// Keeps the key in a new file with mode 0600.
    ///
    /// # Errors
    /// [`CertificateError::File`], also where the file exists.
    pub fn save(&self, path: &Path) -> Result<(), CertificateError> {
        Ok(secret_file::create(path, FileKind::TLS_KEY, &*self.scalar)?)
    }

    /// Reads what [`Self::save`] wrote.
    ///
    /// # Errors
    /// [`CertificateError::File`] or [`CertificateError::Key`].
    pub fn load(path: &Path) -> Result<Self, CertificateError> {
        Self::from_scalar(secret_file::read_exact(path, FileKind::TLS_KEY)?)
    }

    /// Reads what is kept in the file, or keeps a fresh key there.
    ///
    /// # Errors
    /// As [`Self::load`], [`Self::generate`] and [`Self::save`].
    pub fn load_or_generate(path: &Path, entropy: &Entropy) -> Result<Self, CertificateError> {
        match Self::load(path) {
            Err(CertificateError::File(SecretFileError::Missing { .. })) => {
                let fresh = Self::generate(entropy)?;
                fresh.save(path)?;
                Ok(fresh)
            }
            other => other,
        }
    }

    /// The pin of every certificate of this key: it survives renewal.
    pub fn pin(&self) -> SpkiPin {
        SpkiPin::of_key(&rcgen::PublicKeyData::subject_public_key_info(&self.pair))
    }

    /// A certificate for a participant of the mesh, valid from `not_before` for `validity`.
    ///
    /// # Errors
    /// [`CertificateError::Issue`].
    pub fn issue(
        &self,
        boundary: &BoundaryId,
        node: &NodeId,
        not_before: Timestamp,
        validity: Millis,
    ) -> Result<Certificate, CertificateError> {
        let uri = node_uri(boundary, node).try_into()?;
        self.self_sign(node.as_str(), vec![SanType::URI(uri)], not_before, validity)
    }

    /// A certificate for the operators' listener, under these DNS names or IP addresses.
    ///
    /// # Errors
    /// [`CertificateError::Issue`], also for a name that cannot be in a certificate.
    pub fn issue_web(
        &self,
        names: &[String],
        not_before: Timestamp,
        validity: Millis,
    ) -> Result<Certificate, CertificateError> {
        let alternatives = names
            .iter()
            .map(|name| match name.parse() {
                Ok(address) => Ok(SanType::IpAddress(address)),
                Err(_) => Ok(SanType::DnsName(name.as_str().try_into()?)),
            })
            .collect::<Result<_, CertificateError>>()?;
        let common = names.first().map_or("qecnet", String::as_str);
        self.self_sign(common, alternatives, not_before, validity)
    }

    fn self_sign(
        &self,
        common_name: &str,
        alternatives: Vec<SanType>,
        not_before: Timestamp,
        validity: Millis,
    ) -> Result<Certificate, CertificateError> {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        // X.509 dates end with the year 9999; what lies beyond is as good as that
        const LAST: u64 = 253_370_764_800_000;
        let at = |moment: Timestamp| epoch + std::time::Duration::from_millis(moment.as_millis().min(LAST));
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = alternatives;
        params.not_before = at(not_before);
        params.not_after = at(not_before + validity);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(Certificate(params.self_signed(&self.pair)?.der().clone()))
    }

    pub(crate) fn private_der(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pair.serialize_der()).into()
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsKey(pin {})", self.pin())
    }
}

/// The name under which a participant's certificate claims to be whom. The claim only makes errors
/// clear: what counts is the pin.
pub(crate) fn node_uri(boundary: &BoundaryId, node: &NodeId) -> String {
    format!("qecnet:{boundary}/{node}")
}

/// A certificate, DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate(pub(crate) CertificateDer<'static>);

impl Certificate {
    /// The pin of its key.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`].
    pub fn pin(&self) -> Result<SpkiPin, CertificateError> {
        SpkiPin::of(&self.0)
    }

    /// The DER bytes.
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// Writes it as PEM (RFC 7468), in the place of an earlier one.
    ///
    /// # Errors
    /// [`CertificateError::CertificateFile`].
    pub fn save(&self, path: &Path) -> Result<(), CertificateError> {
        let failed = |problem: std::io::Error| file_error(path, &problem);
        let temporary = path.with_extension("new");
        std::fs::write(&temporary, to_pem(&self.0)).map_err(failed)?;
        std::fs::rename(&temporary, path).map_err(failed)
    }

    /// Reads a PEM certificate.
    ///
    /// # Errors
    /// [`CertificateError::CertificateFile`] or [`CertificateError::Malformed`].
    pub fn load(path: &Path) -> Result<Self, CertificateError> {
        let der = CertificateDer::from_pem_file(path).map_err(|problem| file_error(path, &problem))?;
        let certificate = Self(der);
        certificate.pin()?;
        Ok(certificate)
    }
}

fn file_error(path: &Path, problem: &dyn fmt::Display) -> CertificateError {
    CertificateError::CertificateFile { path: path.display().to_string(), problem: problem.to_string() }
}

fn to_pem(der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in body.as_bytes().chunks(64) {
        out.extend(line.iter().map(|byte| char::from(*byte)));
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

#[cfg(test)]
mod tests {
    use types::{Millis, Timestamp};

    use super::{Certificate, TlsKey};

    #[test]
    fn key_and_certificate_come_back_from_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let (key_path, certificate_path) = (dir.path().join("tls.key"), dir.path().join("tls.crt"));
        let key = TlsKey::generate(&crypto::Entropy::system().unwrap()).unwrap();
        key.save(&key_path).unwrap();
        let loaded = TlsKey::load(&key_path).unwrap();
        assert_eq!(loaded.pin(), key.pin());

        let (boundary, node) = ("b".parse().unwrap(), "n1".parse().unwrap());
        let day = Millis::from_days(1);
        let first = key.issue(&boundary, &node, Timestamp::from_millis(0), day).unwrap();
        first.save(&certificate_path).unwrap();
        assert_eq!(Certificate::load(&certificate_path).unwrap(), first);
        let renewed = loaded.issue(&boundary, &node, Timestamp::from_millis(86_400_000), day).unwrap();
        assert_ne!(renewed, first);
        assert_eq!(renewed.pin().unwrap(), key.pin());
    }
}
