//! One bundle (or signature, or directory) made of another.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bundle_format::Envelope;
use bundle_format::Trust;
use bundle_tool::cli::Environment;
use bundle_tool::encrypt::{Recipients, encrypt as encrypt_bundle};
use bundle_tool::observer::Observer as _;
use bundle_tool::open::Check;
use bundle_tool::output::Overwrite;
use bundle_tool::sign::Identity;
use bundle_tool::signature::OldSignature;
use bundle_tool::unsigned::Signing;
use bundle_tool::{extract as extraction, signature};

use crate::arguments::{
    EncryptArguments, ExtractArguments, ReplaceSignatureArguments, ResignArguments,
};
use crate::bundle::new;
use crate::config::Config;
use crate::report::Output;

pub(crate) fn resign(
    arguments: &ResignArguments,
    environment: &Environment,
    output: &mut Output,
) -> Result<()> {
    let global = &arguments.global;
    let key = global.signer(environment)?;
    // As in RAUC: not from system.conf, and even with --no-verify.
    if global.keyring.is_none() && arguments.signature.signing_keyring.is_none() {
        bail!("a keyring is needed to check the new signature: give --keyring");
    }
    let config = Config::load(&global.without_key(), environment)?;
    let old = match (arguments.no_verify, arguments.no_check_time) {
        (true, _) => None,
        (false, true) => Some(config.trust_at_any_time()?),
        (false, false) => Some(config.trust()?),
    };
    let keyring = config.trust_for_new(arguments.signature.signing_keyring.as_deref())?;
    let signer = Identity::load(&key)?;
    let old_signature = OldSignature::from_append(arguments.append);
    for text in signer
        .warnings()?
        .iter()
        .map(String::as_str)
        .chain(old_signature.warning())
    {
        output.warn(text);
    }
    let signing = Signing {
        signer: &signer,
        time: environment.signing_time()?,
        keyring: keyring.as_ref(),
        recipients: None,
    };
    let target = new(&arguments.outbundle)?;
    let format = config.manifest(&arguments.inbundle)?.bundle.format.name();
    output.line(&format!("Reading bundle in '{format}' format"));
    output.line(&format!("Creating bundle in '{format}' format"));
    let source = config.source(&arguments.inbundle);
    let check = check(old.as_ref());
    signature::resign(&source, &check, &signing, old_signature, &target)
        .with_context(|| format!("cannot sign {} anew", arguments.inbundle.display()))
}

pub(crate) fn encrypt(
    arguments: &EncryptArguments,
    environment: &Environment,
    output: &mut Output,
) -> Result<()> {
    if arguments.to.is_empty() {
        bail!("nobody is named who may read the bundle: give --to");
    }
    let config = Config::load(&arguments.global, environment)?;
    let trust = config.trust()?;
    let recipients = Recipients::load(&arguments.to)?;
    let target = new(&arguments.outbundle)?;
    config.manifest(&arguments.inbundle)?;
    encrypt_bundle(
        &arguments.inbundle,
        &Check::Trust(&trust),
        &recipients,
        &target,
    )
    .with_context(|| format!("cannot encrypt {}", arguments.inbundle.display()))?;
    output.message(&format!("encrypted for {} recipients", recipients.count()));
    output.line(&format!(
        "Encrypted bundle written to {}",
        arguments.outbundle.display()
    ));
    Ok(())
}

pub(crate) fn replace_signature(
    arguments: &ReplaceSignatureArguments,
    environment: &Environment,
    output: &mut Output,
) -> Result<()> {
    let config = Config::load(&arguments.global, environment)?;
    let target = new(&arguments.outbundle)?;
    let source = config.source(&arguments.inbundle);
    let keyring = arguments.signing_keyring.as_deref();
    let new_trust = if arguments.no_verify {
        None
    } else {
        source.verified(&config.trust()?)?;
        config.trust_for_new(keyring)?
    };
    let format = config.manifest(&arguments.inbundle)?.bundle.format.name();
    output.line(&format!("Reading bundle in '{format}' format"));
    signature::replace(
        &source,
        &arguments.inputsig,
        &check(new_trust.as_ref()),
        &target,
    )
    .with_context(|| {
        format!(
            "cannot put a signature into {}",
            arguments.inbundle.display()
        )
    })
}

pub(crate) fn extract_signature(
    arguments: &ExtractArguments,
    environment: &Environment,
    output: &mut Output,
) -> Result<()> {
    let (config, trust) = opened(arguments, environment)?;
    let target = new(&arguments.output)?;
    let source = config.source(&arguments.bundlename);
    config.manifest(&arguments.bundlename)?;
    // RAUC takes the signature out of its envelope, so that it can be looked at.
    signature::extract(&source, &Check::Trust(&trust), Envelope::Opened, &target)
        .with_context(|| cannot_take_out(&arguments.bundlename))?;
    output.step("wrote the signature");
    Ok(())
}

pub(crate) fn extract(
    arguments: &ExtractArguments,
    environment: &Environment,
    output: &mut Output,
) -> Result<()> {
    let (config, trust) = opened(arguments, environment)?;
    config.manifest(&arguments.bundlename)?;
    let bundle = config.source(&arguments.bundlename).verified(&trust)?;
    bundle
        .verify_payload(&mut |_, _| {})
        .and_then(|()| bundle.files())
        .map_err(anyhow::Error::from)
        .and_then(|files| {
            Ok(extraction::extract(
                &files,
                &arguments.output,
                Overwrite::Replace,
                output,
            )?)
        })
        .with_context(|| format!("cannot extract {}", arguments.bundlename.display()))?;
    Ok(())
}

fn opened(arguments: &ExtractArguments, environment: &Environment) -> Result<(Config, Trust)> {
    let config = Config::load(&arguments.global, environment)?;
    let trust = config.trust()?;
    Ok((config, trust))
}

fn cannot_take_out(bundle: &Path) -> String {
    format!("cannot take the signature out of {}", bundle.display())
}

/// Without trust, nothing is checked.
pub(crate) fn check(trust: Option<&Trust>) -> Check<'_> {
    trust.map_or(Check::None, Check::Trust)
}
