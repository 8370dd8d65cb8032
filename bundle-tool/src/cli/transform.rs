//! The verbs that make one bundle (or signature, or directory) of another.

use std::path::Path;

use anyhow::{Context as _, Result};
use bundle_format::{Envelope, Limits, Trust};

use super::args::{
    ConvertArgs, EncryptArgs, ExtractArgs, ExtractSignatureArgs, RecipientArgs,
    ReplaceSignatureArgs, ResignArgs, SignArgs,
};
use super::{Environment, UsageError, random_bytes, render};
use crate::convert::{self, ChunkOptions, Chunking, ConvertRequest};
use crate::create::{PackOptions, Signature};
use crate::observer::Observer;
use crate::open::Source;
use crate::output::Overwrite;
use crate::sign::{Identity, KeySource};
use crate::signature::OldSignature;
use crate::unsigned::Signing;
use crate::{encrypt, extract, signature, unsigned};

pub(super) fn sign(
    args: &SignArgs,
    environment: &Environment,
    observer: &mut dyn Observer,
) -> Result<String> {
    let source = args
        .signer
        .source(environment, args.expiry.validity(environment));
    let keyring = args.keyring.as_deref();
    let prepared = Prepared::new(&source, keyring, &args.recipients, environment)?;
    prepared.warn(observer)?;
    let target = args.force.target(&args.output);
    let signed = unsigned::sign(&args.input, &prepared.signing(), &target, observer)
        .with_context(|| format!("cannot sign {}", args.input.display()))?;
    Ok(render::signed(&args.output, &signed))
}

pub(super) fn resign(
    args: &ResignArgs,
    environment: &Environment,
    observer: &mut dyn Observer,
) -> Result<String> {
    let keyring = args.signing_keyring.as_deref();
    let validity = args.check.rules.validity(environment);
    let source = args.signer.source(environment, validity);
    let prepared = Prepared::new(&source, keyring, &args.recipients, environment)?;
    prepared.warn(observer)?;
    let check = args.check.load()?;
    let key = args.check.decrypt.load(environment)?;
    let source = Source {
        path: &args.input,
        limits: &Limits::default(),
        decryption: key.as_ref(),
    };
    let old = OldSignature::from_append(args.append);
    old.warning().iter().for_each(|text| observer.warn(text));
    let target = args.force.target(&args.output);
    let signing = prepared.signing();
    signature::resign(&source, &check.as_check(), &signing, old, &target)
        .with_context(|| format!("cannot sign {} anew", args.input.display()))?;
    Ok(render::wrote("bundle with the new signature", &args.output))
}

pub(super) fn encrypt(args: &EncryptArgs) -> Result<String> {
    let missing = || UsageError("give --to PEM: those who may read the bundle".to_owned());
    let recipients = args.recipients.load()?.ok_or_else(missing)?;
    let check = args.check.load()?;
    let target = args.force.target(&args.output);
    encrypt::encrypt(&args.input, &check.as_check(), &recipients, &target)
        .with_context(|| format!("cannot encrypt {}", args.input.display()))?;
    Ok(render::encrypted(&args.output, recipients.count()))
}

pub(super) fn convert(
    args: &ConvertArgs,
    environment: &Environment,
    observer: &mut dyn Observer,
) -> Result<String> {
    let key = args.check.decrypt.load(environment)?;
    let check = args.check.load()?;
    let keyring = args.signing_keyring.as_deref();
    let validity = args.check.rules.validity(environment);
    let request = ConvertRequest {
        source: Source {
            path: &args.input,
            limits: &Limits::default(),
            decryption: key.as_ref(),
        },
        check: check.as_check(),
        output: args.force.target(&args.output),
        ignored: args.ignore_image.clone(),
        chunking: Chunking::new(ChunkOptions {
            sizes: args.chunk_size,
            digest: args.digest,
            packing: args.compression,
        })?,
        signature: Signature::By {
            key: Box::new(args.signer.source(environment, validity)),
            time: environment.signing_time()?,
            keyring: keyring.map(Trust::from_keyring_file).transpose()?,
            recipients: args.recipients.to.clone(),
        },
        salt: environment.salt(None)?,
        crypt_key: random_bytes()?,
        pack: PackOptions {
            time: environment.source_date_epoch()?,
            ..PackOptions::default()
        },
    };
    let converted = convert::convert(request, observer)
        .with_context(|| format!("cannot convert {}", args.input.display()))?;
    Ok(render::converted(&args.output, &converted))
}

pub(super) fn extract(
    args: &ExtractArgs,
    environment: &Environment,
    observer: &mut dyn Observer,
) -> Result<String> {
    let trust = args.rules.apply(Trust::from_keyring_file(&args.keyring)?);
    let key = args.decrypt.load(environment)?;
    let source = Source {
        path: &args.bundle,
        limits: &Limits::default(),
        decryption: key.as_ref(),
    };
    let count = source
        .verified(&trust)
        .map_err(anyhow::Error::from)
        .and_then(|bundle| {
            Ok(extract::extract(
                &bundle.files()?,
                &args.directory,
                Overwrite::Refuse,
                observer,
            )?)
        })
        .with_context(|| format!("cannot extract {}", args.bundle.display()))?;
    Ok(render::extracted(&args.directory, count))
}

pub(super) fn extract_signature(
    args: &ExtractSignatureArgs,
    environment: &Environment,
) -> Result<String> {
    let check = args.check.load()?;
    let key = args.check.decrypt.load(environment)?;
    let source = Source {
        path: &args.input,
        limits: &Limits::default(),
        decryption: key.as_ref(),
    };
    signature::extract(
        &source,
        &check.as_check(),
        Envelope::None,
        &args.force.target(&args.output),
    )
    .with_context(|| format!("cannot take the signature out of {}", args.input.display()))?;
    Ok(render::wrote("signature", &args.output))
}

pub(super) fn replace_signature(
    args: &ReplaceSignatureArgs,
    environment: &Environment,
) -> Result<String> {
    let check = args.check.load()?;
    let key = args.check.decrypt.load(environment)?;
    let source = Source {
        path: &args.input,
        limits: &Limits::default(),
        decryption: key.as_ref(),
    };
    let target = args.force.target(&args.output);
    signature::replace(&source, &args.signature, &check.as_check(), &target)
        .with_context(|| format!("cannot put a signature into {}", args.input.display()))?;
    Ok(render::wrote("bundle with the new signature", &args.output))
}

/// Everything that signing needs, read before any work is done.
struct Prepared {
    signer: Identity,
    time: i64,
    keyring: Option<Trust>,
    recipients: Option<encrypt::Recipients>,
}

impl Prepared {
    fn new(
        signer: &KeySource,
        keyring: Option<&Path>,
        recipients: &RecipientArgs,
        environment: &Environment,
    ) -> Result<Self> {
        Ok(Self {
            signer: Identity::load(signer)?,
            time: environment.signing_time()?,
            keyring: keyring.map(Trust::from_keyring_file).transpose()?,
            recipients: recipients.load()?,
        })
    }

    fn warn(&self, observer: &mut dyn Observer) -> Result<()> {
        self.signer
            .warnings()?
            .iter()
            .for_each(|text| observer.warn(text));
        Ok(())
    }

    fn signing(&self) -> Signing<'_> {
        Signing {
            signer: &self.signer,
            time: self.time,
            keyring: self.keyring.as_ref(),
            recipients: self.recipients.as_ref(),
        }
    }
}
