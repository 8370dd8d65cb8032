//! Releases as a build server publishes them: bundles with an index, a store, packs and deltas.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use casync::ChunkSizes;
use casync::chunk::DigestKind;
use casync::chunker::CutRule;
use casync::codec::Packing;
use casync::delta::{BuildOptions, IndexDigest, Side, build};
use casync::index::Index;
use casync::indexer::Indexer;
use casync::pack::write_pack;
use casync::store::{Chopper, DirStore, Durability};

use super::bundle_with;

/// A build server's directory: `store.castr`, and bundles beside it.
pub struct Releases {
    pub dir: tempfile::TempDir,
}

/// One of them.
pub struct Release {
    pub image: Vec<u8>,
    pub index: Index,
    pub bundle: PathBuf,
    pub keyring: PathBuf,
}

impl Releases {
    pub fn new() -> Releases {
        Releases {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store.castr")
    }

    /// Publishes the chunks and the bundle of `image`.
    pub fn publish(&self, image: &[u8], version: &str) -> Release {
        fs_err::create_dir_all(self.store()).unwrap();
        let store = DirStore::new(self.store(), 1, Durability::AtSync);
        let chopper = Chopper::new(&store, Packing::Zstd { level: 3 });
        let rule = CutRule::new(ChunkSizes::default()).unwrap();
        let indexer = Indexer::new(rule, DigestKind::default());
        let image = image.to_vec();
        let index = indexer.index_and_visit(&image, &|_, chunk| {
            chopper.put(chunk).map_err(std::io::Error::other)?;
            Ok(())
        });
        let index = index.unwrap();
        let mut bytes = Vec::new();
        index.write_to(&mut bytes).unwrap();
        let manifest = format!(
            "[update]\ncompatible=board\nversion={version}\n[bundle]\nformat=verity\n\
             [image.rootfs]\nfilename=rootfs.img.caibx\nsize={}\nsha256={}\n",
            image.len(),
            bundle_format::Digest::of(&image)
        );
        let files = [("rootfs.img.caibx", &bytes[..])];
        let (made, keyring) = bundle_with(self.dir.path(), &manifest, &files);
        let bundle = self.dir.path().join(format!("update-{version}.raucb"));
        fs_err::rename(made, &bundle).unwrap();
        Release {
            image,
            index,
            bundle,
            keyring,
        }
    }

    /// Publishes the pack of a release; gives its path.
    pub fn pack(&self, release: &Release) -> PathBuf {
        let digest = IndexDigest::of(&release.index).unwrap();
        let path = self.store().join(format!("{digest}.pack"));
        let store = DirStore::new(self.store(), 1, Durability::AtSync);
        let file = fs_err::File::create(&path).unwrap();
        write_pack(&release.index, &store, file).unwrap();
        path
    }

    /// Publishes a delta; gives its path.
    pub fn delta(&self, from: &Release, to: &Release) -> PathBuf {
        let side = |release: &Release| IndexDigest::of(&release.index).unwrap();
        let name = format!("{}-{}.delta", side(from), side(to));
        let options = BuildOptions {
            level: 3,
            threads: NonZeroUsize::MIN,
        };
        let (base, new) = (&from.image, &to.image);
        let built = build(
            Side {
                index: &from.index,
                image: base,
            },
            Side {
                index: &to.index,
                image: new,
            },
            &options,
        );
        let path = self.store().join(name);
        let file = fs_err::File::create(&path).unwrap();
        let built = built.unwrap();
        built.write_to(file, &from.index, &to.index).unwrap();
        path
    }
}

/// Flips a bit in the middle of a file.
pub fn damage(path: &Path) {
    let mut bytes = fs_err::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs_err::remove_file(path).unwrap();
    fs_err::write(path, bytes).unwrap();
}
