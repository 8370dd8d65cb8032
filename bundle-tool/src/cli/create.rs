//! `create`: from arguments to a request.

use anyhow::Result;
use bundle_format::Trust;

use super::environment::random_bytes;
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
        time: environment.source_date_epoch()?,
        arguments: Vec::new(),
    };
    Ok(CreateRequest {
        input,
        output: args.force.target(output),
        format: args.format,
        signature: signature(args, environment)?,
        salt: environment.salt(args.salt)?,
        crypt_key: random_bytes()?,
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
    let keyring = args.keyring.as_deref();
    let keyring = keyring.map(Trust::from_keyring_file).transpose()?;
    Ok(Signature::By {
        key: Box::new(KeySource {
            certificate: cert.clone(),
            key: key.clone(),
            intermediates: args.intermediate.clone(),
            passphrase: environment.key_passphrase.clone(),
            token: environment.token.clone(),
            validity: args.expiry.validity(environment),
        }),
        time: environment.signing_time()?,
        keyring,
        recipients: args.recipients.to.clone(),
    })
}

fn usage<T>(text: &str) -> Result<T> {
    Err(UsageError(text.to_owned()).into())
}
