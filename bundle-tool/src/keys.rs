//! A small PKI to try things with: one root, one signer. Not for products, and it says so.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};

use crate::output::Overwrite;

/// Size of the keys, in bits.
const KEY_BITS: u32 = 2048;

/// From 2020 on, so that a device whose clock was never set right accepts the demo.
const NOT_BEFORE: &str = "200101000000Z";

/// Until 2050.
const NOT_AFTER: &str = "491231235959Z";

/// What every certificate of the demo says about itself.
const UNIT: &str = "DEMO, NOT FOR PRODUCTS";

const README: &str = "\
DEMO KEYS. NOT FOR PRODUCTS.

The private keys in this directory protect nothing: whoever has a copy can sign
updates for every device that trusts keyring.pem.

  ca.cert.pem      root certificate
  ca.key.pem       its private key
  signer.cert.pem  certificate that signs bundles, issued by the root
  signer.key.pem   its private key
  keyring.pem      what goes onto a device: the root certificate

Sign a bundle:   bundle-tool create --cert signer.cert.pem --key signer.key.pem …
Verify it:       bundle-tool verify --keyring keyring.pem update.raucb
";

/// Why the keys cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// There is something in the directory.
    #[error("{path} is not empty; --force replaces the keys in it", path = path.display())]
    NotEmpty {
        /// Which.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// OpenSSL fails.
    #[error("OpenSSL cannot make the keys")]
    OpenSsl(#[from] ErrorStack),
}

/// Where the files of the demo PKI are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoPki {
    /// Root certificate.
    pub ca_cert: PathBuf,
    /// Its key.
    pub ca_key: PathBuf,
    /// Certificate that signs bundles.
    pub signer_cert: PathBuf,
    /// Its key.
    pub signer_key: PathBuf,
    /// What a device trusts.
    pub keyring: PathBuf,
}

impl DemoPki {
    /// Where the files are in `dir`.
    pub fn at(dir: &Path) -> Self {
        Self {
            ca_cert: dir.join("ca.cert.pem"),
            ca_key: dir.join("ca.key.pem"),
            signer_cert: dir.join("signer.cert.pem"),
            signer_key: dir.join("signer.key.pem"),
            keyring: dir.join("keyring.pem"),
        }
    }
}

/// Makes the demo PKI in `dir`, which is created if it is missing and has to be empty otherwise.
///
/// # Errors
/// The directory is not empty or cannot be written to.
pub fn demo_pki(dir: &Path) -> Result<DemoPki, KeysError> {
    demo_pki_in(dir, Overwrite::Refuse)
}

/// Like [`demo_pki`]; with [`Overwrite::Replace`], files of the same names are replaced.
///
/// # Errors
/// The directory is not empty or cannot be written to.
pub fn demo_pki_in(dir: &Path, overwrite: Overwrite) -> Result<DemoPki, KeysError> {
    let write_error = |source| KeysError::Write {
        path: dir.to_owned(),
        source,
    };
    std::fs::create_dir_all(dir).map_err(write_error)?;
    let empty = dir.read_dir().map_err(write_error)?.next().is_none();
    if overwrite == Overwrite::Refuse && !empty {
        return Err(KeysError::NotEmpty {
            path: dir.to_owned(),
        });
    }
    let ca = Issued::make("Demo root CA", None)?;
    let signer = Issued::make("Demo bundle signer", Some(&ca))?;
    let pki = DemoPki::at(dir);
    for (key, path) in [(&ca.key, &pki.ca_key), (&signer.key, &pki.signer_key)] {
        write(path, &key.private_key_to_pem_pkcs8()?, 0o600)?;
    }
    let ca_pem = ca.certificate.to_pem()?;
    write(&pki.ca_cert, &ca_pem, 0o644)?;
    write(&pki.keyring, &ca_pem, 0o644)?;
    write(&pki.signer_cert, &signer.certificate.to_pem()?, 0o644)?;
    write(&dir.join("README.txt"), README.as_bytes(), 0o644)?;
    Ok(pki)
}

struct Issued {
    certificate: X509,
    key: PKey<Private>,
}

impl Issued {
    fn make(name: &str, issuer: Option<&Self>) -> Result<Self, ErrorStack> {
        let key = PKey::from_rsa(Rsa::generate(KEY_BITS)?)?;
        let subject = subject(name)?;
        let mut builder = X509Builder::new()?;
        builder.set_version(2)?;
        let mut serial = BigNum::new()?;
        serial.rand(127, MsbOption::ONE, false)?;
        builder.set_serial_number(&*serial.to_asn1_integer()?)?;
        builder.set_subject_name(&subject)?;
        let issuer_name = issuer.map(|issuer| issuer.certificate.subject_name());
        builder.set_issuer_name(issuer_name.unwrap_or(&subject))?;
        builder.set_not_before(&*Asn1Time::from_str_x509(NOT_BEFORE)?)?;
        builder.set_not_after(&*Asn1Time::from_str_x509(NOT_AFTER)?)?;
        builder.set_pubkey(&key)?;
        add_extensions(&mut builder, issuer)?;
        let signing_key = issuer.map_or(&key, |issuer| &issuer.key);
        builder.sign(signing_key, MessageDigest::sha256())?;
        Ok(Self {
            certificate: builder.build(),
            key,
        })
    }
}

fn add_extensions(builder: &mut X509Builder, issuer: Option<&Issued>) -> Result<(), ErrorStack> {
    let authority = issuer.map(|issuer| &*issuer.certificate);
    match issuer {
        None => {
            builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
            let usage = KeyUsage::new()
                .critical()
                .key_cert_sign()
                .crl_sign()
                .build()?;
            builder.append_extension(usage)?;
        }
        Some(_) => {
            builder.append_extension(BasicConstraints::new().critical().build()?)?;
            builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
            // What devices check for by default, and what `check-purpose=codesign` wants.
            let usage = ExtendedKeyUsage::new()
                .email_protection()
                .code_signing()
                .build()?;
            builder.append_extension(usage)?;
        }
    }
    let subject_id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(authority, None))?;
    builder.append_extension(subject_id)?;
    if authority.is_some() {
        let context = builder.x509v3_context(authority, None);
        let authority_id = AuthorityKeyIdentifier::new().keyid(true).build(&context)?;
        builder.append_extension(authority_id)?;
    }
    Ok(())
}

fn subject(name: &str) -> Result<X509Name, ErrorStack> {
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_text("O", "slotmgr demo")?;
    subject.append_entry_by_text("OU", UNIT)?;
    subject.append_entry_by_text("CN", name)?;
    Ok(subject.build())
}

/// Writes a file anew: an old one with wider permissions must not pass them on to a key.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeysError> {
    let write = || {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = std::fs::OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?
            .write_all(bytes)
    };
    write().map_err(|source| KeysError::Write {
        path: path.to_owned(),
        source,
    })
}
