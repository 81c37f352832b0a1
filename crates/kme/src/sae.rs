//! Credentials of SAEs: a private authority of one KME, which makes certificates that name their SAE by URI.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use crypto::secret_file::{self, FileKind, SecretFileError};
use crypto::{Entropy, EntropyError};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use types::{Hash, Millis, Timestamp};
use zeroize::Zeroizing;

use crate::directory::SAE_URI;
use crate::id::{KmeId, SaeId};
use crate::server::fingerprint;

const KEY_KIND: FileKind = FileKind::new("sae authority key");
const KEY_FILE: &str = "authority.key";
const CERTIFICATE_FILE: &str = "authority.crt";
const SCALAR: usize = 32;
/// How long the authority lives.
const AUTHORITY_LIFE: Millis = Millis::from_days(3_650);

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// No healthy entropy.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The file of the authority's key cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// A file cannot be written or read.
    #[error("cannot use `{path}`: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// There are credentials of that name.
    #[error("`{0}` exists: move it away first, or choose another name")]
    Exists(PathBuf),
    /// A certificate could not be made.
    #[error("cannot make the certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// The bytes make no key.
    #[error("the secret makes no key: restore the file from its backup")]
    Key,
}

/// The authority of one KME's SAEs. ECDSA on P-256, which every TLS library of encryptors knows.
pub struct SaeAuthority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// Files that a SAE needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM (PKCS #8), mode 0600.
    pub key: PathBuf,
    /// The certificate of the authority, PEM: what it knows its KME by.
    pub authority: PathBuf,
}

impl SaeAuthority {
    /// Opens the authority in `directory`, and makes it first where there is none.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn open_or_create(
        directory: &Path,
        kme: &KmeId,
        entropy: &Entropy,
        now: Timestamp,
    ) -> Result<Self, CredentialError> {
        let (key_file, certificate_file) = (directory.join(KEY_FILE), directory.join(CERTIFICATE_FILE));
        if !key_file.exists() {
            std::fs::create_dir_all(directory).map_err(|error| file_error(directory, &error))?;
            let scalar = fresh_scalar(entropy)?;
            let pair = key_pair(&scalar)?;
            let mut params = authority_params(kme);
            params.serial_number = Some(serial(entropy)?);
            (params.not_before, params.not_after) = dates(now, AUTHORITY_LIFE);
            // The certificate first: a crash in between leaves no key without one.
            write(&certificate_file, params.self_signed(&pair)?.pem().as_bytes(), 0o644, true)?;
            secret_file::create(&key_file, KEY_KIND, &*scalar)?;
        }
        let pair = key_pair(&secret_file::read_exact(&key_file, KEY_KIND)?)?;
        CertificateDer::from_pem_file(&certificate_file).map_err(|error| file_error(&certificate_file, &error))?;
        Ok(Self { directory: directory.to_owned(), issuer: Issuer::new(authority_params(kme), pair) })
    }

    /// The certificate of the authority.
    pub fn certificate(&self) -> PathBuf {
        self.directory.join(CERTIFICATE_FILE)
    }

    /// Makes credentials of the SAE `id` as `NAME.crt` and `NAME.key`.
    ///
    /// # Errors
    /// [`CredentialError`]; [`CredentialError::Exists`] where there are some.
    pub fn add(
        &self,
        id: &SaeId,
        entropy: &Entropy,
        now: Timestamp,
        life: Millis,
    ) -> Result<Credential, CredentialError> {
        let uri = SanType::URI(format!("{SAE_URI}{id}").try_into()?);
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        self.issue(id.as_str(), (vec![uri], usage), entropy, (now, life), false)
    }

    /// Makes the certificate of the KME itself, under these DNS names or IP addresses, as `kme.crt` and `kme.key`
    /// in `directory`; renews it where there is one.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn issue_server(
        &self,
        kme: &KmeId,
        names: &[String],
        entropy: &Entropy,
        now: Timestamp,
        life: Millis,
    ) -> Result<Credential, CredentialError> {
        let mut alternatives = vec![SanType::URI(format!("qecnet:kme/{kme}").try_into()?)];
        for name in names {
            alternatives.push(match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
        }
        self.issue("kme", (alternatives, ExtendedKeyUsagePurpose::ServerAuth), entropy, (now, life), true)
    }

    /// The certificate of the authority as PEM.
    ///
    /// # Errors
    /// [`CredentialError::File`].
    pub fn certificate_text(&self) -> Result<String, CredentialError> {
        let path = self.certificate();
        std::fs::read_to_string(&path).map_err(|error| file_error(&path, &error))
    }

    fn issue(
        &self,
        name: &str,
        (alternatives, usage): (Vec<SanType>, ExtendedKeyUsagePurpose),
        entropy: &Entropy,
        (now, life): (Timestamp, Millis),
        replace: bool,
    ) -> Result<Credential, CredentialError> {
        let stem = file_stem(name);
        let file = |suffix: &str| self.directory.join(format!("{stem}{suffix}"));
        let credential = Credential { certificate: file(".crt"), key: file(".key"), authority: self.certificate() };
        if !replace
            && (credential.key.exists()
                || [CERTIFICATE_FILE, "kme.crt"].iter().any(|own| credential.certificate.ends_with(own)))
        {
            return Err(CredentialError::Exists(credential.key));
        }
        let pair = key_pair(&fresh_scalar(entropy)?)?;
        let mut params = leaf_params(name, usage, entropy)?;
        params.subject_alt_names = alternatives;
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = dates(now, life);
        let certificate = params.signed_by(&pair, &self.issuer)?;
        write(&credential.key, Zeroizing::new(pair.serialize_pem()).as_bytes(), 0o600, replace)?;
        write(&credential.certificate, certificate.pem().as_bytes(), 0o644, true)?;
        Ok(credential)
    }
}

/// Makes credentials of the SAE `id` that no authority signs: its KME knows the certificate by its fingerprint.
/// Writes `NAME.crt` and `NAME.key` (mode 0600) into `directory`, and `authority`, the PEM by which the SAE knows
/// its KME, as `NAME.kme.crt`. Where there are credentials of that name, they are kept and used.
///
/// Returns the fingerprint too: SHA-256 of the certificate, DER.
///
/// # Errors
/// [`CredentialError`].
pub fn create(
    directory: &Path,
    id: &SaeId,
    authority: &str,
    entropy: &Entropy,
    (now, life): (Timestamp, Millis),
) -> Result<(Credential, Hash), CredentialError> {
    let credential = prepare(directory, id, authority)?;
    // The certificate last: where it is, all is.
    if credential.certificate.exists() {
        let fingerprint = fingerprint_of(&credential.certificate)?;
        return Ok((credential, fingerprint));
    }
    let pair = key_pair(&fresh_scalar(entropy)?)?;
    let mut params = leaf_params(id.as_str(), ExtendedKeyUsagePurpose::ClientAuth, entropy)?;
    params.subject_alt_names = vec![SanType::URI(format!("{SAE_URI}{id}").try_into()?)];
    (params.not_before, params.not_after) = dates(now, life);
    let certificate = params.self_signed(&pair)?;
    write(&credential.key, Zeroizing::new(pair.serialize_pem()).as_bytes(), 0o600, true)?;
    write(&credential.certificate, certificate.pem().as_bytes(), 0o644, true)?;
    Ok((credential, fingerprint(certificate.der())))
}

/// As [`create`], for a SAE that has a `certificate` (PEM): nothing but its KME's is written.
///
/// # Errors
/// [`CredentialError`].
pub fn keep(
    directory: &Path,
    id: &SaeId,
    authority: &str,
    certificate: &Path,
) -> Result<(Credential, Hash), CredentialError> {
    let credential = Credential { certificate: certificate.to_owned(), ..prepare(directory, id, authority)? };
    let fingerprint = fingerprint_of(certificate)?;
    Ok((credential, fingerprint))
}

fn prepare(directory: &Path, id: &SaeId, authority: &str) -> Result<Credential, CredentialError> {
    std::fs::create_dir_all(directory).map_err(|error| file_error(directory, &error))?;
    let stem = file_stem(id.as_str());
    let file = |suffix: &str| directory.join(format!("{stem}{suffix}"));
    let credential = Credential { certificate: file(".crt"), key: file(".key"), authority: file(".kme.crt") };
    write(&credential.authority, authority.as_bytes(), 0o644, true)?;
    Ok(credential)
}

fn fingerprint_of(path: &Path) -> Result<Hash, CredentialError> {
    let certificate = CertificateDer::from_pem_file(path).map_err(|error| file_error(path, &error))?;
    Ok(fingerprint(&certificate))
}

/// A name may hold a character that means something to a file system.
fn file_stem(name: &str) -> String {
    let stem: String = name.chars().map(|c| if c == ':' || c == '~' { '_' } else { c }).collect();
    stem.trim_start_matches('.').to_owned()
}

fn leaf_params(
    name: &str,
    usage: ExtendedKeyUsagePurpose,
    entropy: &Entropy,
) -> Result<CertificateParams, CredentialError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.serial_number = Some(serial(entropy)?);
    Ok(params)
}

/// What the authority's certificate and what it signs must agree on.
fn authority_params(kme: &KmeId) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("SAEs of KME {kme}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn dates(now: Timestamp, life: Millis) -> (time::OffsetDateTime, time::OffsetDateTime) {
    // X.509 dates end with the year 9999; what lies beyond is as good as that.
    const LAST: u64 = 253_370_764_800_000;
    let at = |moment: Timestamp| {
        time::OffsetDateTime::UNIX_EPOCH + std::time::Duration::from_millis(moment.as_millis().min(LAST))
    };
    // Some minutes early, for clocks that are behind.
    (at(now - Millis::from_secs(300)), at(now + life))
}

fn serial(entropy: &Entropy) -> Result<SerialNumber, CredentialError> {
    let mut bytes: [u8; 16] = entropy.array()?;
    // Positive, and not zero (RFC 5280 section 4.1.2.2).
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn fresh_scalar(entropy: &Entropy) -> Result<Zeroizing<[u8; SCALAR]>, CredentialError> {
    // The order of P-256 is within 2^-32 of 2^256; rejection keeps the key uniform (FIPS 186-5 appendix A.2.2).
    const TRIES: usize = 4;
    for _ in 0..TRIES {
        let mut scalar = Zeroizing::new([0; SCALAR]);
        entropy.fill(&mut *scalar)?;
        if PrivateKey::from_private_key(&ECDH_P256, &*scalar).is_ok() {
            return Ok(scalar);
        }
    }
    Err(CredentialError::Key)
}

fn key_pair(scalar: &Zeroizing<[u8; SCALAR]>) -> Result<KeyPair, CredentialError> {
    let agreement = PrivateKey::from_private_key(&ECDH_P256, &**scalar).map_err(|_| CredentialError::Key)?;
    let public = agreement.compute_public_key().map_err(|_| CredentialError::Key)?;
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &**scalar, public.as_ref());
    let pkcs8 = pair.map_err(|_| CredentialError::Key)?.to_pkcs8v1().map_err(|_| CredentialError::Key)?;
    Ok(KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8.as_ref()))?)
}

fn file_error(path: &Path, problem: &dyn std::fmt::Display) -> CredentialError {
    CredentialError::File { path: path.to_owned(), problem: problem.to_string() }
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &[u8], mode: u32, replace: bool) -> Result<(), CredentialError> {
    let error = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => CredentialError::Exists(path.to_owned()),
        _ => file_error(path, &error),
    };
    let temporary = path.with_extension("new");
    // What a crash of an earlier attempt left.
    let _ = std::fs::remove_file(&temporary);
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary).map_err(error)?;
    file.write_all(text).and_then(|()| file.sync_all()).map_err(error)?;
    if replace {
        std::fs::rename(&temporary, path).map_err(error)
    } else {
        let linked = std::fs::hard_link(&temporary, path);
        let _ = std::fs::remove_file(&temporary);
        linked.map_err(error)
    }
}
