//! `create`: from arguments to a request.

use anyhow::{Context as _, Result};

use super::{CreateArgs, Environment, UsageError, overwrite};
use crate::create::{CreateRequest, Input, NewManifest, PackOptions};
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
            (Input::Images(new), output.clone())
        }
        ([directory, output], None) => (Input::Directory(directory.clone()), output.clone()),
        ([_], None) => {
            return usage("give INPUT_DIR and OUTPUT, or --compatible, --image and OUTPUT");
        }
        _ => return usage("with --image, give only OUTPUT and no INPUT_DIR"),
    };
    let epoch = source_date_epoch(environment)?;
    Ok(CreateRequest {
        input,
        output,
        overwrite: overwrite(args.force),
        format: args.format,
        signer: KeySource {
            certificate: args.cert.clone(),
            key: args.key.clone(),
            intermediates: args.intermediate.clone(),
            passphrase: environment.key_passphrase.clone(),
        },
        signing_time: epoch.map_or(environment.now, i64::from),
        salt: args.salt.map_or_else(random_salt, Ok)?,
        pack: PackOptions {
            compressor: args.compressor.clone(),
            time: epoch,
            arguments: Vec::new(),
        },
        keyring: args.keyring.clone(),
        purpose: bundle_format::cms::Purpose::default(),
    })
}

fn usage<T>(text: &str) -> Result<T> {
    Err(UsageError(text.to_owned()).into())
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

fn random_salt() -> Result<[u8; 32]> {
    let mut salt = [0; 32];
    openssl::rand::rand_bytes(&mut salt).context("no random numbers for the salt")?;
    Ok(salt)
}
