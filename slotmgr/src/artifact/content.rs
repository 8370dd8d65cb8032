//! What an artifact holds: taken out of the bundle, checked on its way, and read back.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bundle_format::squashfs::SquashfsError;
use bundle_format::{Digest, PayloadError, ReadAt, VerifiedBundle};
use sha2::{Digest as _, Sha256};

use super::{Artifact, ArtifactError, ArtifactForm};
use crate::program::Stop;
use crate::writer::{Keep, copy_directory, decompress, digest_of, unpack};

/// Bytes that are copied at once.
const PIECE: usize = 1 << 18;

/// Files that were written, below the artifact's path, and what went into them; the path of a single
/// file is empty.
pub(super) type Files = BTreeMap<PathBuf, Digest>;

/// Writes the artifact to `path`.
pub(super) fn write<R: ReadAt>(
    artifact: &Artifact,
    bundle: &VerifiedBundle<R>,
    path: &Path,
    (stop, tell): (&Stop, &mut dyn FnMut(u64)),
) -> Result<Files, ArtifactError> {
    if artifact.form == ArtifactForm::Directory {
        return directory(artifact, bundle, path, (stop, tell));
    }
    let mut source = Source {
        reader: bundle.image(&artifact.filename)?,
        digest: Sha256::new(),
        done: 0,
        stop,
        tell,
    };
    let written = match artifact.form {
        ArtifactForm::File => file(&mut source, path),
        ArtifactForm::Archive | ArtifactForm::Directory => tree(&mut source, path),
    };
    if stop.is_wanted() {
        return Err(ArtifactError::Stopped);
    }
    let written = written?;
    // Behind the end of an archive.
    io::copy(&mut source, &mut io::sink())?;
    let found = Digest::from_bytes(source.digest.finalize().into());
    if found != artifact.sha256 || source.done != artifact.size {
        return Err(ArtifactError::Differs { found });
    }
    Ok(written)
}

fn file(source: &mut impl Read, path: &Path) -> Result<Files, ArtifactError> {
    let mut options = File::options();
    let mut file = options.write(true).create_new(true).open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; PIECE];
    loop {
        match source.read(&mut buffer)? {
            0 => break,
            count => {
                digest.update(&buffer[..count]);
                io::Write::write_all(&mut file, &buffer[..count])?;
            }
        }
    }
    // The service's umask hides what it makes from everybody else.
    file.set_permissions(Permissions::from_mode(0o644))?;
    let digest = Digest::from_bytes(digest.finalize().into());
    Ok(Files::from([(PathBuf::new(), digest)]))
}

fn directory<R: ReadAt>(
    artifact: &Artifact,
    bundle: &VerifiedBundle<R>,
    path: &Path,
    (stop, tell): (&Stop, &mut dyn FnMut(u64)),
) -> Result<Files, ArtifactError> {
    let files = bundle.files()?;
    let found = files.find(&artifact.filename)?;
    let missing = || SquashfsError::NoSuchFile {
        name: artifact.filename.clone(),
    };
    let inode = found.ok_or_else(missing).map_err(PayloadError::from)?.inode;
    new_root(path)?;
    // An archive has more bytes than the files in it; it may have been packed.
    let mut tell = |done: u64| tell(done.min(artifact.size));
    let copied = copy_directory(&files, inode, path, (stop, &mut tell));
    if stop.is_wanted() {
        return Err(ArtifactError::Stopped);
    }
    Ok(copied?)
}

/// The archive may say something else of its root.
fn new_root(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o755))
}

fn tree(source: &mut impl Read, path: &Path) -> Result<Files, ArtifactError> {
    new_root(path)?;
    let plain = decompress(source)?;
    Ok(unpack(plain, path, Keep::All)?)
}

/// Compares what is on the medium with what was written.
pub(super) fn check(path: &Path, files: &Files, stop: &Stop) -> Result<(), ArtifactError> {
    for (inner, expected) in files {
        let path = match inner.as_os_str().is_empty() {
            true => path.to_owned(),
            false => path.join(inner),
        };
        devio::block::drop_cache(&File::open(&path)?)?;
        if digest_of(&path, stop)? != *expected {
            return Err(ArtifactError::ReadBack { path });
        }
    }
    Ok(())
}

/// The file in the bundle, counted and hashed as it is read.
struct Source<'s, R> {
    reader: R,
    digest: Sha256,
    done: u64,
    stop: &'s Stop,
    tell: &'s mut dyn FnMut(u64),
}

impl<R: Read> Read for Source<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        let count = self.reader.read(buf)?;
        self.digest.update(&buf[..count]);
        self.done += count as u64;
        (self.tell)(self.done);
        Ok(count)
    }
}
