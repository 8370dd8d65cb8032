//! What the tests of this room share.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bundle_format::Trust;
use bundle_format::manifest::Format;
use bundle_tool::create::{
    CreateError, CreateRequest, Created, ImageSource, Input, NewManifest, PackOptions, Salt,
    Signature, create,
};
use bundle_tool::keys::{DemoPki, demo_pki};
use bundle_tool::observer::Silent;
use bundle_tool::output::Overwrite;
use bundle_tool::rewrite::Target;
use bundle_tool::sign::{Identity, KeySource};

/// 2026-01-01.
pub const TIME: i64 = 1_767_225_600;

/// A directory with keys and images.
pub struct Workshop {
    pub dir: tempfile::TempDir,
    pub pki: DemoPki,
    pub rootfs: Vec<u8>,
    pub boot: Vec<u8>,
}

impl Workshop {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = demo_pki(&dir.path().join("pki")).unwrap();
        let mut rootfs = noise(1_500_000);
        rootfs.extend_from_slice(&vec![0; 700_000]);
        rootfs.extend_from_slice(b"the end");
        let boot = noise(1000);
        write(&dir.path().join("rootfs.ext4"), &rootfs);
        write(&dir.path().join("boot.vfat"), &boot);
        Self {
            dir,
            pki,
            rootfs,
            boot,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn key(&self) -> KeySource {
        KeySource::new(self.pki.signer_cert.clone(), self.pki.signer_key.clone())
    }

    pub fn request(&self, output: &str) -> CreateRequest {
        let image = |class: &str, name: &str| ImageSource {
            class: class.to_owned(),
            variant: None,
            path: self.path(name),
        };
        let new = NewManifest {
            compatible: "Test Board".to_owned(),
            version: Some("2026.01-1".to_owned()),
            description: Some("a test".to_owned()),
            build: Some("42".to_owned()),
            images: vec![image("rootfs", "rootfs.ext4"), image("boot", "boot.vfat")],
        };
        CreateRequest {
            input: Input::Images(new),
            output: self.target(output),
            format: Format::Verity,
            signature: self.signature(),
            salt: Salt::Is([0x5a; 32]),
            crypt_key: [0x3c; 32],
            pack: PackOptions {
                time: Some(1_700_000_000),
                ..PackOptions::default()
            },
        }
    }

    pub fn target(&self, name: &str) -> Target {
        Target {
            path: self.path(name),
            overwrite: Overwrite::Refuse,
        }
    }

    pub fn signature(&self) -> Signature {
        Signature::By {
            key: Box::new(self.key()),
            time: TIME,
            keyring: Some(self.trust()),
            recipients: Vec::new(),
        }
    }

    pub fn trust(&self) -> Trust {
        Trust::from_keyring_file(&self.pki.keyring).unwrap()
    }

    pub fn identity(&self) -> Identity {
        Identity::load(&self.key()).unwrap()
    }

    pub fn create(&self, request: &CreateRequest) -> Result<Created, CreateError> {
        create(request, &mut Silent)
    }

    /// A bundle with both images.
    pub fn bundle(&self, name: &str) -> PathBuf {
        let request = self.request(name);
        self.create(&request).unwrap();
        request.output.path
    }
}

pub fn write(path: &Path, bytes: &[u8]) {
    std::fs::File::create(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, bytes))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Bytes that do not compress and are the same every time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x1234_5678_9abc_def0u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Runs a program that has to be installed and has to succeed.
pub fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Output {
    let output = try_run(program, args);
    assert!(
        output.status.success(),
        "{program} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a program that has to be installed.
pub fn try_run<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Output {
    Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}"))
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Changes who signs, or checks, in a request.
pub fn change(
    request: &mut CreateRequest,
    with: impl FnOnce(&mut KeySource, &mut i64, &mut Option<Trust>),
) {
    match &mut request.signature {
        Signature::By {
            key, time, keyring, ..
        } => with(key, time, keyring),
        Signature::Later => panic!("nobody signs"),
    }
}

/// An error with everything that caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
