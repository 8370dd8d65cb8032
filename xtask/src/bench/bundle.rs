//! Making, checking and taking apart a bundle, beside `rauc`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::race::Contestant;
use super::{Bench, word};
use crate::command::logged;

/// What both programs build from.
fn manifest(format: &str) -> String {
    format!(
        "[update]\ncompatible=bench\nversion=1\n\n[bundle]\nformat={format}\n\n\
         [image.rootfs]\nfilename=rootfs.img\n"
    )
}

/// Runs all contests about bundles.
///
/// # Errors
/// A program fails.
pub fn measure(bench: &Bench<'_>, place: &Path) -> Result<()> {
    bench.prepare(place)?;
    let paths = Paths::new(bench, place)?;
    paths.create()?;
    paths.check_verity()?;
    paths.check_plain()?;
    paths.extract()
}

struct Paths<'a> {
    bench: &'a Bench<'a>,
    input: PathBuf,
    keyring: PathBuf,
    signer: [PathBuf; 2],
    theirs: PathBuf,
    ours: PathBuf,
    plain: PathBuf,
}

impl<'a> Paths<'a> {
    fn new(bench: &'a Bench<'a>, place: &Path) -> Result<Self> {
        let input = place.join("input");
        fs_err::create_dir_all(&input)?;
        fs_err::hard_link(place.join("rootfs.img"), input.join("rootfs.img"))?;
        let pki = place.join("pki");
        Ok(Self {
            bench,
            input,
            keyring: pki.join("keyring.pem"),
            signer: [pki.join("signer.cert.pem"), pki.join("signer.key.pem")],
            theirs: place.join("theirs.raucb"),
            ours: place.join("ours.raucb"),
            plain: place.join("plain.raucb"),
        })
    }

    fn tool(&self, name: &str, arguments: &[&str]) -> Contestant {
        Contestant::new(name, self.bench.program("bundle-tool"), arguments)
    }

    fn create(&self) -> Result<()> {
        fs_err::write(self.input.join("manifest.raucm"), manifest("verity"))?;
        let [cert, key] = [word(&self.signer[0])?, word(&self.signer[1])?];
        let input = word(&self.input)?;
        let arguments = |verb, output| [verb, "--cert", cert, "--key", key, input, output];
        let rauc = arguments("bundle", word(&self.theirs)?);
        let ours = arguments("create", word(&self.ours)?);
        let megabytes = self.bench.amount.megabytes;
        self.bench.race(
            &format!("create a verity bundle from {megabytes} MiB"),
            &[
                Contestant::new("rauc bundle", "rauc", &rauc).makes(&self.theirs),
                self.tool("bundle-tool create", &ours).makes(&self.ours),
            ],
        )
    }

    /// `rauc` checks the blocks of such a bundle in the kernel only, while they are read: what
    /// there is to compare with is the hash alone.
    fn check_verity(&self) -> Result<()> {
        let (bundle, keyring) = (word(&self.ours)?, word(&self.keyring)?);
        let verify = self.bench.program("bundle-tool");
        let verify = word(&verify)?;
        let hash = ["dgst", "-sha256", bundle];
        let whole = ["verify", "--keyring", keyring, bundle];
        let payload = ["verify", "--payload-only", "--keyring", keyring, bundle];
        let one_core = [&["-c", "0", verify][..], &payload].concat();
        self.bench.race(
            "check a verity bundle",
            &[
                Contestant::new("openssl dgst -sha256 (one core)", "openssl", &hash),
                self.tool("bundle-tool verify --payload-only", &payload),
                Contestant::new("the same on one core", "taskset", &one_core),
                self.tool("bundle-tool verify (and every image)", &whole),
            ],
        )
    }

    fn check_plain(&self) -> Result<()> {
        fs_err::write(self.input.join("manifest.raucm"), manifest("plain"))?;
        let (bundle, keyring) = (word(&self.plain)?, word(&self.keyring)?);
        let [cert, key] = [word(&self.signer[0])?, word(&self.signer[1])?];
        let mut make = Command::new("rauc");
        make.args(["bundle", "--cert", cert, "--key", key]);
        make.arg(&self.input).arg(&self.plain);
        logged(&mut make, &self.bench.log())?;
        let rauc = ["--keyring", keyring, "info", bundle];
        let ours = ["verify", "--payload-only", "--keyring", keyring, bundle];
        self.bench.race(
            "check a plain bundle",
            &[
                Contestant::new("rauc info", "rauc", &rauc),
                self.tool("bundle-tool verify --payload-only", &ours),
            ],
        )
    }

    fn extract(&self) -> Result<()> {
        let (bundle, keyring) = (word(&self.theirs)?, word(&self.keyring)?);
        let [theirs, ours] =
            ["out.theirs", "out.ours"].map(|name| self.theirs.with_file_name(name));
        let rauc = ["--keyring", keyring, "extract", bundle, word(&theirs)?];
        let tool = ["extract", "--keyring", keyring, bundle, word(&ours)?];
        self.bench.race(
            "extract a verity bundle",
            &[
                Contestant::new("rauc extract", "rauc", &rauc).makes(&theirs),
                self.tool("bundle-tool extract", &tool).makes(&ours),
            ],
        )
    }
}
