//! What bundles are put together from.

use std::path::Path;

use bundle_format::verity::build_tree;
use bundle_format::{crypt, encode_hex};
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::stack::Stack;
use openssl::symm::Cipher;

use crate::support::{Identity, noise, run, text, write};

pub const SALT: [u8; 32] = [9; 32];
pub const CRYPT_KEY: [u8; 32] = [5; 32];
pub const ROOTFS: usize = 5000;

/// A payload and the manifest that fits it.
#[derive(Clone)]
pub struct Parts {
    pub payload: Vec<u8>,
    pub tree: Vec<u8>,
    pub manifest: String,
}

impl Parts {
    pub fn signed(&self, signature: &[u8]) -> Vec<u8> {
        [
            &self.payload,
            &self.tree,
            signature,
            &(signature.len() as u64).to_be_bytes()[..],
        ]
        .concat()
    }
}

/// The part of the manifest about the image.
pub const IMAGE: &str = "[image.rootfs]\nsha256=DIGEST\nsize=5000\nfilename=rootfs.ext4\n";

pub fn squashfs(fill: &dyn Fn(&Path)) -> Vec<u8> {
    pack(fill, &[])
}

/// With its tables as they are, so that they can be edited.
pub fn unpacked(fill: &dyn Fn(&Path)) -> Vec<u8> {
    pack(fill, &["-noI"])
}

pub fn pack(fill: &dyn Fn(&Path), arguments: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in"), dir.path().join("out"));
    std::fs::create_dir(&input).unwrap();
    write(
        &input.join("manifest.raucm"),
        b"[update]\ncompatible=Golden\n",
    );
    write(&input.join("rootfs.ext4"), &noise(ROOTFS));
    fill(&input);
    let mut all = vec![
        text(&input),
        text(&output),
        "-all-root",
        "-noappend",
        "-no-xattrs",
    ];
    all.extend([
        "-no-progress",
        "-quiet",
        "-all-time",
        "0",
        "-mkfs-time",
        "0",
    ]);
    all.extend(arguments);
    run("mksquashfs", &all);
    std::fs::read(output).unwrap()
}

pub fn verity(payload: &[u8], image: &str) -> Parts {
    let tree = build_tree(&payload, payload.len() as u64, &SALT, &mut |_, _| {}).unwrap();
    let digest = bundle_format::Digest::of(&noise(ROOTFS)).to_string();
    let manifest = format!(
        "[update]\ncompatible=Golden\nversion=1\n\n[bundle]\nformat=verity\nverity-hash={}\n\
         verity-salt={}\nverity-size={}\n\n{}",
        tree.root,
        encode_hex(&SALT),
        tree.bytes.len(),
        image.replace("DIGEST", &digest),
    );
    Parts {
        payload: payload.to_vec(),
        tree: tree.bytes,
        manifest,
    }
}

pub fn encrypted_parts() -> Parts {
    let mut payload = squashfs(&|_| {});
    let key = bundle_format::manifest::CryptKey(CRYPT_KEY);
    crypt::encrypt(&key, &mut payload, 0).unwrap();
    let parts = verity(&payload, IMAGE);
    let format = format!("format=crypt\ncrypt-key={}", encode_hex(&CRYPT_KEY));
    Parts {
        manifest: parts.manifest.replace("format=verity", &format),
        ..parts
    }
}

pub fn envelope(content: &[u8], recipient: &Identity) -> Vec<u8> {
    let mut stack = Stack::new().unwrap();
    stack.push(recipient.certificate.clone()).unwrap();
    let cipher = Cipher::aes_256_cbc();
    let sealed = CmsContentInfo::encrypt(&stack, content, cipher, CMSOptions::BINARY).unwrap();
    sealed.to_der().unwrap()
}

pub fn detached(payload: &[u8], signer: &Identity) -> Vec<u8> {
    let flags = CMSOptions::BINARY | CMSOptions::DETACHED | CMSOptions::NOSMIMECAP;
    let certificate = Some(&*signer.certificate);
    let cms = CmsContentInfo::sign(certificate, Some(&signer.key), None, Some(payload), flags);
    cms.unwrap().to_der().unwrap()
}
