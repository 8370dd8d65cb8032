//! Releases as a build server publishes them: bundles with an index, a store, packs and deltas.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Output;

use casync::ChunkSizes;
use casync::chunk::DigestKind;
use casync::chunker::CutRule;
use casync::codec::Packing;
use casync::delta::{BuildOptions, IndexDigest, Side, Totals, build};
use casync::index::Index;
use casync::indexer::Indexer;
use casync::pack::write_pack;
use casync::store::{Chopper, DirStore, Durability};

use super::rig::{Rig, stderr, stdout};
use super::server::{Fault, Request, Server};
use super::{bundle_with, noise};

/// Bytes of an image, and of the slots: more, as on most devices.
pub const IMAGE: usize = 8 << 20;
pub const SLOT: usize = IMAGE + (1 << 20);

/// B runs the first release, as an installation left it; the second one is published.
pub struct Lab {
    pub releases: Releases,
    pub rig: Rig,
    pub first: Release,
    pub second: Release,
}

/// What an update changes: some blocks here and there, and a piece that shifts the rest.
fn changed(image: &[u8]) -> Vec<u8> {
    let mut image = image.to_vec();
    for place in [1 << 20, 5 << 20] {
        image[place..place + 3000].copy_from_slice(&noise(99, 3000));
    }
    let insert = noise(77, 70_000);
    image.splice((3 << 20)..(3 << 20), insert);
    image.truncate(IMAGE);
    image
}

/// The machine and the server's files.
pub fn lab() -> Lab {
    let image = noise(5, IMAGE);
    lab_of(&image, &changed(&image))
}

/// The same with these two images.
pub fn lab_of(image: &[u8], changed: &[u8]) -> Lab {
    let releases = Releases::new();
    let first = releases.publish(image, "1");
    let second = releases.publish(changed, "2");
    let rig = Rig::with_slots(SLOT, &noise(6, IMAGE), &first.keyring);
    let lab = Lab {
        releases,
        rig,
        first,
        second,
    };
    lab.store(&lab.releases.store().display().to_string());
    let path = lab.first.bundle.display().to_string();
    lab.done(&lab.rig.run(&["install", &path]), &lab.first, "slot-b");
    assert_eq!(lab.rig.start(), "B");
    let marked = lab.rig.run_on("B", &["mark", "good"]);
    assert!(marked.status.success(), "{}", stderr(&marked));
    lab
}

impl Lab {
    /// Names the store of chunks in the machine's configuration.
    pub fn store(&self, place: &str) {
        let path = self.rig.path("system.conf");
        let conf = fs_err::read_to_string(&path).unwrap();
        let conf = conf.split("[casync]").next().unwrap().to_owned();
        fs_err::write(path, format!("{conf}[casync]\nstorepath={place}\n")).unwrap();
    }

    /// Publishes everything on a web server.
    pub fn serve(&self, plan: impl Fn(&Request) -> Fault + Send + Sync + 'static) -> Server {
        let server = Server::of(self.releases.dir.path(), plan);
        self.store(&format!("{}/store.castr", server.url));
        server
    }

    /// Installs the second release from it.
    pub fn update(&self, server: &Server, more: &[&str]) -> Output {
        let url = format!("{}/update-2.raucb", server.url);
        self.rig
            .run_on("B", &[&["install", &url, "-v"], more].concat())
    }

    /// It was installed, and is in this slot.
    pub fn done(&self, output: &Output, release: &Release, slot: &str) {
        let said = format!("{}{}", stdout(output), stderr(output));
        assert!(output.status.success(), "{said}");
        let slot = fs_err::read(self.rig.path(slot)).unwrap();
        assert!(slot.starts_with(&release.image), "{said}");
    }

    /// The update is installed into A, and this many bytes came from the store.
    pub fn fetched(&self, server: &Server) -> u64 {
        let before = server.sent() - server.sent_of(".raucb");
        let output = self.update(server, &[]);
        self.done(&output, &self.second, "slot-a");
        server.sent() - server.sent_of(".raucb") - before
    }
}

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
        let (bundle, keyring) = self.bundle(&image, &bytes, version);
        Release {
            image,
            index,
            bundle,
            keyring,
        }
    }

    /// A signed bundle that brings these bytes as the index of `image`: its path, and the keyring's.
    pub fn bundle(&self, image: &[u8], index: &[u8], version: &str) -> (PathBuf, PathBuf) {
        let manifest = format!(
            "[update]\ncompatible=board\nversion={version}\n[bundle]\nformat=verity\n\
             [image.rootfs]\nfilename=rootfs.img.caibx\nsize={}\nsha256={}\n",
            image.len(),
            bundle_format::Digest::of(image)
        );
        let files = [("rootfs.img.caibx", index)];
        let (made, keyring) = bundle_with(self.dir.path(), &manifest, &files);
        let bundle = self.dir.path().join(format!("update-{version}.raucb"));
        fs_err::rename(made, &bundle).unwrap();
        (bundle, keyring)
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
        self.delta_of(&from.image, from, to)
    }

    /// The same, made with other bytes than the index of `from` is of.
    pub fn delta_of(&self, base: &Vec<u8>, from: &Release, to: &Release) -> PathBuf {
        self.built(base, from, to).0
    }

    /// The same, and what it is made of.
    pub fn built(&self, base: &Vec<u8>, from: &Release, to: &Release) -> (PathBuf, Totals) {
        let side = |release: &Release| IndexDigest::of(&release.index).unwrap();
        let name = format!("{}-{}.delta", side(from), side(to));
        let options = BuildOptions {
            level: 3,
            threads: NonZeroUsize::MIN,
        };
        let new = &to.image;
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
        (path, *built.totals())
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
