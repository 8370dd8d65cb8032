//! Certificates as RAUC shows them.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use bundle_format::Signer;
use bundle_format::cms::one_line;
use openssl::pkcs7::Pkcs7;
use openssl::x509::X509;

/// The chain from the signer to what the keyring trusts.
pub(super) fn chain(signers: &[Signer]) -> Result<String> {
    let mut text = "Certificate Chain:\n".to_owned();
    for (number, signer) in signers.iter().enumerate() {
        let certificate = X509::from_pem(signer.pem.as_bytes())?;
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{number:2} Subject: {}",
            one_line(certificate.subject_name())
        );
        let _ = writeln!(text, "   Issuer: {}", one_line(certificate.issuer_name()));
        let _ = writeln!(text, "   SPKI sha256: {}", signer.key.in_pairs());
        let _ = writeln!(text, "   Not Before: {}", certificate.not_before());
        let _ = writeln!(text, "   Not After:  {}", certificate.not_after());
    }
    text.push('\n');
    Ok(text)
}

/// All certificates in a signature, as `openssl x509 -text` shows them.
pub(super) fn dump(signature: &[u8]) -> Result<String> {
    // A CMS over plain data is a PKCS #7 structure, of which OpenSSL's binding shows the inside.
    let parsed = Pkcs7::from_der(signature)?;
    let certificates = parsed
        .signed()
        .and_then(|signed| signed.certificates())
        .context("the signature carries no certificates")?;
    let mut text = String::new();
    for certificate in certificates {
        text.push_str(&String::from_utf8_lossy(&certificate.to_text()?));
        text.push('\n');
    }
    Ok(text)
}
