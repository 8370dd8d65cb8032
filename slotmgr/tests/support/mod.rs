//! What the integration tests share: a small machine in memory, and real bundles for it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]
#![allow(dead_code, reason = "each test binary uses a part of this")]

pub mod bus;
pub mod chunks;
pub mod cuts;
pub mod faults;
pub mod folder_cuts;
pub mod grub_model;
pub mod grub_pair_model;
pub mod labs;
pub mod loops;
pub mod nginx;
pub mod nvram;
pub mod rig;
pub mod sdboot_model;
pub mod server;
pub mod table_disk;
pub mod uboot_model;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bundle_format::manifest::Format;
use bundle_format::{Bundle, Limits, Trust, VerifiedBundle};
use bundle_tool::create::{
    CreateRequest, ImageSource, Input, NewManifest, PackOptions, Salt, Signature, create,
};
use bundle_tool::keys::demo_pki;
use bundle_tool::output::Overwrite;
use bundle_tool::rewrite::Target as OutputTarget;
use bundle_tool::sign::KeySource;
use slotmgr::boot::{BootEnv, Tries, grub::Grub};
use slotmgr::install::{
    self, CheckFirst, InstallError, Installed, LocalImage, Machine, Policy, Silent,
};
use slotmgr::slot::{
    Access, BootName, Booted, Evidence, Layout, Running, Slot, SlotId, SlotKind, SlotName,
    SlotOptions, Target,
};
use slotmgr::state::{RECORD_SIZE, Record};
use slotmgr::storage::sim::World;
use slotmgr::storage::{Area, Disks, EnvCopy, RecordCopy};

/// Bytes of a slot of the small machine.
pub const SLOT: usize = 96 * 1024;

/// Bytes of an image of the small machine: not a multiple of the sector or of the write size.
pub const IMAGE: usize = 50_000;

/// Bytes of one write: small, so that an image takes many operations.
pub const WRITE: usize = 4096;

/// An image that compresses badly and differs from that of every other seed in every sector.
pub fn image(seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[1]
    };
    (0..IMAGE).map(|_| next()).collect()
}

/// A verified bundle that brings `content` for class `rootfs` of the machine `board`.
pub fn bundle(content: &[u8], version: &str) -> VerifiedBundle<Arc<Vec<u8>>> {
    let dir = tempfile::tempdir().unwrap();
    let (path, keyring) = bundle_file(dir.path(), content, version);
    verified(&path, &keyring)
}

/// The same as a file, with its keyring.
pub fn bundle_file(
    dir: &Path,
    content: &[u8],
    version: &str,
) -> (std::path::PathBuf, std::path::PathBuf) {
    let image = dir.join(format!("rootfs-{version}.img"));
    fs_err::write(&image, content).unwrap();
    let output = dir.join(format!("update-{version}.raucb"));
    let manifest = NewManifest {
        compatible: "board".to_owned(),
        version: Some(version.to_owned()),
        images: vec![ImageSource {
            class: "rootfs".to_owned(),
            variant: None,
            path: image,
        }],
        ..NewManifest::default()
    };
    create_bundle(dir, Input::Images(manifest), &output)
}

/// A bundle with this manifest and these files (name, content); those that begin with `#!` are programs.
pub fn bundle_with(dir: &Path, manifest: &str, files: &[(&str, &[u8])]) -> (PathBuf, PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    let content = tempfile::tempdir_in(dir).unwrap();
    fs_err::write(content.path().join("manifest.raucm"), manifest).unwrap();
    for (name, bytes) in files {
        let path = content.path().join(name);
        fs_err::write(&path, bytes).unwrap();
        let mode = if bytes.starts_with(b"#!") {
            0o755
        } else {
            0o644
        };
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let output = content.path().with_extension("raucb");
    create_bundle(dir, Input::Directory(content.path().to_owned()), &output)
}

/// A plain bundle with this image for class `rootfs`.
pub fn plain_bundle(dir: &Path, content: &[u8], version: &str) -> (PathBuf, PathBuf) {
    let image = dir.join("plain.img");
    fs_err::write(&image, content).unwrap();
    let manifest = NewManifest {
        compatible: "board".to_owned(),
        version: Some(version.to_owned()),
        images: vec![ImageSource {
            class: "rootfs".to_owned(),
            variant: None,
            path: image,
        }],
        ..NewManifest::default()
    };
    let output = dir.join("plain.raucb");
    create_as(Format::Plain, dir, Input::Images(manifest), &output)
}

/// A crypt bundle with this image for class `rootfs`, for the machine whose key is `signer`'s.
pub fn crypt_bundle(dir: &Path, content: &[u8]) -> (PathBuf, PathBuf) {
    let image = dir.join("crypt.img");
    fs_err::write(&image, content).unwrap();
    let manifest = NewManifest {
        compatible: "board".to_owned(),
        version: Some("9".to_owned()),
        images: vec![ImageSource {
            class: "rootfs".to_owned(),
            variant: None,
            path: image,
        }],
        ..NewManifest::default()
    };
    let output = dir.join("crypt.raucb");
    create_as(Format::Crypt, dir, Input::Images(manifest), &output)
}

fn create_bundle(dir: &Path, input: Input, output: &Path) -> (PathBuf, PathBuf) {
    create_as(Format::Verity, dir, input, output)
}

fn create_as(format: Format, dir: &Path, input: Input, output: &Path) -> (PathBuf, PathBuf) {
    let pki = dir.join("pki");
    if !pki.exists() {
        demo_pki(&pki).unwrap();
    }
    let recipients = match format {
        Format::Crypt => vec![pki.join("signer.cert.pem")],
        _ => Vec::new(),
    };
    let key = KeySource::new(pki.join("signer.cert.pem"), pki.join("signer.key.pem"));
    let request = CreateRequest {
        input,
        output: OutputTarget {
            path: output.to_owned(),
            overwrite: Overwrite::Refuse,
        },
        format,
        signature: Signature::By {
            key: Box::new(key),
            time: 1_700_000_000,
            keyring: None,
            recipients,
        },
        salt: Salt::Is([7; 32]),
        crypt_key: [0; 32],
        pack: PackOptions::default(),
    };
    create(&request, &mut bundle_tool::observer::Silent).unwrap();
    (output.to_owned(), pki.join("keyring.pem"))
}

/// Opens a bundle file as the program does.
pub fn verified(path: &Path, keyring: &Path) -> VerifiedBundle<Arc<Vec<u8>>> {
    let bytes = Arc::new(std::fs::read(path).unwrap());
    let trust = Trust::from_keyring_file(keyring).unwrap();
    Bundle::open(bytes, &Limits::default())
        .unwrap()
        .verify(&trust)
        .unwrap()
}

/// Two slots, A and B.
pub fn layout() -> Layout {
    let slot = |index: usize, boot: &str| Slot {
        name: SlotName::parse(&format!("rootfs.{index}")).unwrap(),
        device: format!("/dev/{boot}").into(),
        kind: SlotKind::Raw,
        boot_name: Some(BootName::parse(boot).unwrap()),
        parent: None,
        access: Access::Writable,
        options: SlotOptions::default(),
    };
    Layout::new(vec![slot(0, "A"), slot(1, "B")]).unwrap()
}

/// Two slots, A and B, with a child each.
pub fn family() -> Layout {
    let mut slots: Vec<Slot> = layout().iter().map(|(_, slot)| slot.clone()).collect();
    for index in 0..2 {
        let child = Slot {
            name: SlotName::parse(&format!("app.{index}")).unwrap(),
            device: format!("/dev/app{index}").into(),
            boot_name: None,
            parent: Some(slots[index].name.clone()),
            ..slots[index].clone()
        };
        slots.push(child);
    }
    Layout::new(slots).unwrap()
}

/// The slot that the bootloader calls so.
pub fn slot_id(layout: &Layout, boot_name: &str) -> SlotId {
    layout.find_called(boot_name).unwrap()
}

/// The slot that the bootloader calls so, running.
pub fn running(layout: &Layout, boot_name: &str) -> Running {
    let evidence = Evidence {
        chosen: Some(boot_name.to_owned()),
        ..Evidence::default()
    };
    layout.booted(&evidence).unwrap()
}

/// The same for what only a running slot has.
pub fn booted(layout: &Layout, boot_name: &str) -> Booted {
    running(layout, boot_name).slot().unwrap()
}

/// A machine that runs `a` in slot A; `b` is in slot B. `variables` stand in the environment.
pub fn world(a: &[u8], b: &[u8], variables: &str) -> World {
    let layout = layout();
    let world = World::new();
    let fill = |content: &[u8]| {
        let mut slot = content.to_vec();
        slot.resize(SLOT, 0xee);
        slot
    };
    world.add(Area::Slot(slot_id(&layout, "A")), fill(a));
    world.add(Area::Slot(slot_id(&layout, "B")), fill(b));
    world.add(Area::BootEnv(EnvCopy::First), environment(variables));
    for copy in [RecordCopy::First, RecordCopy::Second] {
        world.add(Area::Record(copy), vec![0; RECORD_SIZE]);
    }
    world
}

/// An environment block of 1,024 bytes, made by hand; variables are separated by `,`.
pub fn environment(variables: &str) -> Vec<u8> {
    let mut text = String::from("# GRUB Environment Block\n");
    for variable in variables.split(',') {
        text.push_str(variable);
        text.push('\n');
    }
    let mut bytes = text.into_bytes();
    bytes.resize(1024, b'#');
    bytes
}

/// As it leaves the factory: A confirmed, B empty.
pub const FACTORY: &str = "ORDER=A B,A_OK=1,A_TRY=0,A_LEFT=good,B_OK=0,B_TRY=0";

/// As it is in the field: A runs, B holds an older release that is still good.
pub const BOTH_GOOD: &str = "ORDER=A B,A_OK=1,A_TRY=0,A_LEFT=good,B_OK=1,B_TRY=0,B_LEFT=good";

/// What the tests install with.
pub fn policy() -> Policy {
    Policy {
        tries: Tries::new(2).unwrap(),
        check_first: CheckFirst::Never,
        chunk: WRITE,
        transaction: "test".to_owned(),
        now: 1_000,
        boot_id: "boot".to_owned(),
        ..Policy::new("board")
    }
}

/// Runs one installation from the system in `running_slot`.
pub fn install(
    disks: &mut dyn Disks,
    running_slot: &str,
    bundle: &VerifiedBundle<Arc<Vec<u8>>>,
    policy: &Policy,
) -> Result<Installed, InstallError> {
    install_into(&layout(), disks, running_slot, bundle, policy)
}

/// The same with other slots.
pub fn install_into(
    layout: &Layout,
    disks: &mut dyn Disks,
    running_slot: &str,
    bundle: &VerifiedBundle<Arc<Vec<u8>>>,
    policy: &Policy,
) -> Result<Installed, InstallError> {
    let env = Grub::new(layout);
    install_on(layout, &env, disks, running_slot, (bundle, policy))
}

/// The same with another bootloader.
pub fn install_by(
    env: &dyn BootEnv,
    disks: &mut dyn Disks,
    running_slot: &str,
    update: (&VerifiedBundle<Arc<Vec<u8>>>, &Policy),
) -> Result<Installed, InstallError> {
    install_on(&layout(), env, disks, running_slot, update)
}

/// The same with both.
pub fn install_on(
    layout: &Layout,
    env: &dyn BootEnv,
    disks: &mut dyn Disks,
    running_slot: &str,
    (bundle, policy): (&VerifiedBundle<Arc<Vec<u8>>>, &Policy),
) -> Result<Installed, InstallError> {
    on_machine(layout, env, disks, running_slot, |machine| {
        install::install(machine, bundle, policy, &mut Silent)
    })
}

fn on_machine<T>(
    layout: &Layout,
    env: &dyn BootEnv,
    disks: &mut dyn Disks,
    running_slot: &str,
    work: impl FnOnce(&mut Machine<'_>) -> T,
) -> T {
    let mut record = Record::load(disks);
    let booted = running(layout, running_slot);
    work(&mut Machine {
        layout,
        booted,
        env,
        disks,
        record: &mut record,
    })
}

/// Writes one image into `target` from the system in `running_slot`, as `slotmgr write-slot` does.
pub fn write_slot_on(
    layout: &Layout,
    env: &dyn BootEnv,
    disks: &mut dyn Disks,
    (running_slot, target): (&str, &str),
    image: &LocalImage,
) -> Result<Target, InstallError> {
    let target = slot_id(layout, target);
    on_machine(layout, env, disks, running_slot, |machine| {
        install::write_slot(machine, target, image, &policy(), &mut Silent)
    })
}

/// `content` in a file, as `slotmgr write-slot` takes it.
pub fn local_image(dir: &Path, content: &[u8]) -> LocalImage {
    let path = dir.join("new.img");
    fs_err::write(&path, content).unwrap();
    LocalImage::open(&path, None, &mut Silent).unwrap()
}

/// Runs a program that must do its work.
pub fn run(command: &mut std::process::Command) {
    let output = command.output().expect("the program is there");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// `len` bytes that do not compress, of which no two blocks are equal.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
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
