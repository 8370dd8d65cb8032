//! New bundles: `bundle` and `convert`.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bundle_format::Manifest;
use bundle_format::limits::MAX_KEYFILE_SIZE;
use bundle_format::manifest::MANIFEST_FILE;
use bundle_tool::cli::{Environment, random_bytes};
use bundle_tool::convert::{ChunkOptions, Chunking, ConvertRequest};
use bundle_tool::create::{self, CreateRequest, Input, PackOptions, Signature};
use bundle_tool::output::Overwrite;
use bundle_tool::rewrite::Target;

use crate::arguments::{BundleArguments, ConvertArguments};
use crate::config::Config;
use crate::report::Output;
use crate::rewrite::check;

pub(crate) fn create(
    arguments: &BundleArguments,
    environment: &Environment,
    output: &mut Output,
) -> Result<()> {
    let global = &arguments.global;
    let key = global.signer(environment)?;
    if !arguments.inputdir.is_dir() {
        bail!("{} is not a directory", arguments.inputdir.display());
    }
    let target = new(&arguments.bundlename)?;
    let format = manifest(&arguments.inputdir)?.bundle.format;
    let keyring = Config::load(&global.without_key(), environment)?
        .trust_for_new(arguments.signature.signing_keyring.as_deref())?;
    if keyring.is_none() {
        output.message("no keyring is given: the new bundle is checked with its own certificate");
    }
    let request = CreateRequest {
        input: Input::Directory(arguments.inputdir.clone()),
        output: target,
        format,
        signature: Signature::By {
            key: Box::new(key),
            time: environment.signing_time()?,
            keyring,
            recipients: Vec::new(),
        },
        salt: environment.salt(None)?,
        crypt_key: random_bytes()?,
        pack: pack(arguments.mksquashfs_args.as_deref(), environment)?,
    };
    output.line(&format!("Creating bundle in '{}' format", format.name()));
    create::create(&request, output)
        .with_context(|| format!("cannot create {}", arguments.bundlename.display()))?;
    Ok(())
}

pub(crate) fn convert(
    arguments: &ConvertArguments,
    environment: &Environment,
    output: &mut Output,
) -> Result<()> {
    let global = &arguments.global;
    let key = global.signer(environment)?;
    let config = Config::load(&global.without_key(), environment)?;
    // As in RAUC: a keyring is needed even if the old signature is not checked.
    let trust = config.trust()?;
    let signing = arguments.signature.signing_keyring.as_deref();
    let target = new(&arguments.outbundle)?;
    let manifest = config.manifest(&arguments.inbundle)?;
    let casync = words("--casync-args", arguments.casync_args.as_deref())?;
    let request = ConvertRequest {
        source: config.source(&arguments.inbundle),
        check: check((!arguments.no_verify).then_some(&trust)),
        output: target,
        ignored: arguments.ignore_image.clone(),
        chunking: Chunking::new(ChunkOptions::from_words(&casync)?)?,
        signature: Signature::By {
            key: Box::new(key),
            time: environment.signing_time()?,
            keyring: config.trust_for_new(signing)?,
            recipients: Vec::new(),
        },
        salt: environment.salt(None)?,
        crypt_key: random_bytes()?,
        pack: pack(arguments.mksquashfs_args.as_deref(), environment)?,
    };
    let format = manifest.bundle.format.name();
    output.line(&format!("Creating bundle in '{format}' format"));
    bundle_tool::convert::convert(request, output)
        .with_context(|| format!("cannot convert {}", arguments.inbundle.display()))?;
    output.line(&format!(
        "Bundle written to {}",
        arguments.outbundle.display()
    ));
    Ok(())
}

/// A file that must not exist yet.
pub(crate) fn new(path: &Path) -> Result<Target> {
    if path.symlink_metadata().is_ok() {
        bail!(
            "{} exists already; remove it or give another name",
            path.display()
        );
    }
    Ok(Target {
        path: path.to_owned(),
        overwrite: Overwrite::Refuse,
    })
}

/// How the payload is packed.
fn pack(arguments: Option<&str>, environment: &Environment) -> Result<PackOptions> {
    Ok(PackOptions {
        compressor: None,
        time: environment.source_date_epoch()?,
        arguments: words("--mksquashfs-args", arguments)?,
    })
}

/// The words of an option that holds several, split as a shell would.
fn words(option: &str, text: Option<&str>) -> Result<Vec<String>> {
    shlex::split(text.unwrap_or_default())
        .with_context(|| format!("{option} ends inside of a quotation"))
}

/// The manifest of an input directory, for the format that it asks for.
fn manifest(directory: &Path) -> Result<Manifest> {
    let path = directory.join(MANIFEST_FILE);
    let mut bytes = Vec::new();
    fs_err::File::open(&path)?
        .take(MAX_KEYFILE_SIZE as u64 + 1)
        .read_to_end(&mut bytes)?;
    Manifest::parse(&bytes).with_context(|| format!("{} is not valid", path.display()))
}
