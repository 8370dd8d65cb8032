//! `create`: from arguments to a request.

use anyhow::{Context as _, Result};

use super::{CreateArgs, Environment, UsageError};
use crate::create::{CreateRequest, Input, NewManifest, PackOptions, Signature};
use crate::sign::KeySource;

pub(super) fn request(args: &CreateArgs, environment: &Environment) -> Result<CreateRequest> {
    let (input, output) = match (args.paths.as_slice(), &args.compatible) {
        ([output], Some(compatible)) => {
            let new = NewManifest {
                compatible: compatible.clone(),
                version: args.version.clone(),
                description: args.description.clone(),
                build: args.build.clone(),
                images: args.image.clone(),
            };
            (Input::Images(new), output)
        }
        ([directory, output], None) => (Input::Directory(directory.clone()), output),
        ([_], None) => {
            return usage("give INPUT_DIR and OUTPUT, or --compatible, --image and OUTPUT");
        }
        _ => return usage("with --image, give only OUTPUT and no INPUT_DIR"),
    };
    let pack = PackOptions {
        compressor: args.compressor.clone(),
        time: source_date_epoch(environment)?,
        arguments: Vec::new(),
    };
    Ok(CreateRequest {
        input,
        output: args.force.target(output),
        format: args.format,
        signature: signature(args, environment)?,
        salt: args.salt.map_or_else(random, Ok)?,
        crypt_key: random()?,
        pack,
    })
}

fn signature(args: &CreateArgs, environment: &Environment) -> Result<Signature> {
    let (Some(cert), Some(key)) = (&args.cert, &args.key) else {
        return if args.unsigned {
            Ok(Signature::Later)
        } else {
            usage("give --cert and --key, or --unsigned")
        };
    };
    Ok(Signature::By {
        key: Box::new(KeySource {
            certificate: cert.clone(),
            key: key.clone(),
            intermediates: args.intermediate.clone(),
            passphrase: environment.key_passphrase.clone(),
            token: environment.token.clone(),
            valid_at: args.expiry.now(environment),
        }),
        time: signing_time(environment)?,
        keyring: args.keyring.clone(),
        purpose: bundle_format::cms::Purpose::default(),
        recipients: args.recipients.to.clone(),
    })
}

fn usage<T>(text: &str) -> Result<T> {
    Err(UsageError(text.to_owned()).into())
}

/// `SOURCE_DATE_EPOCH`, or now.
pub(super) fn signing_time(environment: &Environment) -> Result<i64> {
    Ok(source_date_epoch(environment)?.map_or(environment.now, i64::from))
}

fn source_date_epoch(environment: &Environment) -> Result<Option<u32>> {
    let Some(text) = &environment.source_date_epoch else {
        return Ok(None);
    };
    let epoch = text.parse().with_context(|| {
        format!("SOURCE_DATE_EPOCH is '{text}', which is not a number of seconds since 1970")
    })?;
    Ok(Some(epoch))
}

fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    openssl::rand::rand_bytes(&mut bytes).context("no random numbers")?;
    Ok(bytes)
}
