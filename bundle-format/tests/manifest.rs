//! The manifest: what is read, what is refused, and that nothing is lost by writing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use bundle_format::Manifest;
use bundle_format::manifest::{
    BundleSection, CryptKey, Format, Handler, Hooks, Image, ImageHook, ImageType, Meta, Update,
    VeritySpec,
};
use proptest::prelude::*;

const FULL: &str = "\
[update]
compatible=FooCorp Super BarBazzer
version=2015.04-1
description=some text; with semicolons
build=2015.04.1/2015-04-09T18:30:04
min-rauc-version=1.14

[bundle]
format=crypt
crypt-key=0101010101010101010101010101010101010101010101010101010101010101
verity-hash=3fcb193cb4fd475aa174efa1f1e979b2d649bf7f8224cc97f4413b5ee141a4e9
verity-salt=0202020202020202020202020202020202020202020202020202020202020202
verity-size=4096

[handler]
filename=custom_handler.sh
args=--verbose

[hooks]
filename=hook.sh
hooks=install-check;

[image.rootfs]
type=raw
sha256=b14c1457dc10469418b4154fef29a90e1ffb4dddd308bf0f2456d436963ef5b3
size=419430400
filename=rootfs.bin
hooks=pre-install;post-install;
adaptive=block-hash-index;

[image.appfs.beta.2]
sha256=ecf4c031d01cb9bfa9aa5ecfce93efcf9149544bdbf91178d2c2d9d1d24076ca
size=10
filename=appfs.tar.xz
convert=tar-extract;keep;
converted=appfs.extracted;appfs.tar.xz;

[image.containers/web]
sha256=ecf4c031d01cb9bfa9aa5ecfce93efcf9149544bdbf91178d2c2d9d1d24076ca
size=10
filename=web.tar

[image.data]
type=emptyfs

[meta.foocorp]
release-type=beta
channel_1=a b

[rollout]
percent=10
";

#[test]
fn everything_is_read_and_written_as_it_was() {
    let manifest = Manifest::parse(FULL.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(manifest.to_bytes()).unwrap(), FULL);
    assert_eq!(
        manifest.update.build.as_deref(),
        Some("2015.04.1/2015-04-09T18:30:04")
    );
    assert_eq!(manifest.bundle.verity.as_ref().unwrap().size, 4096);
    assert!(manifest.hooks.as_ref().unwrap().install_check);
    let [rootfs, appfs, web, data] = manifest.images.as_slice() else {
        panic!("four images")
    };
    assert_eq!(rootfs.kind(), Some(ImageType::Raw));
    assert_eq!(
        rootfs.hooks,
        [ImageHook::PreInstall, ImageHook::PostInstall]
    );
    assert_eq!(
        (appfs.class.as_str(), appfs.variant.as_deref()),
        ("appfs", Some("beta.2"))
    );
    assert_eq!(appfs.kind(), Some(ImageType::Tar));
    assert_eq!(
        (web.class.as_str(), web.artifact.as_deref()),
        ("containers", Some("web"))
    );
    assert_eq!(
        (data.kind(), &data.filename),
        (Some(ImageType::EmptyFs), &None)
    );
    assert_eq!(
        format!("{:?}", manifest.bundle.crypt_key),
        "Some(CryptKey(…))"
    );
}

#[test]
fn what_rauc_tolerates_is_tolerated() {
    for text in [
        "[update]\ncompatible=a\n",
        "# c\n\n[update]\r\ncompatible = a\r\nversion=\n",
        "[update]\ncompatible=a\n[image.r]\nfilename=a.img\nsize=5\nversion=1\ndescription=x\nbuild=y\n",
        "[update]\ncompatible=a\n[image.r]\nhooks=install\n[hooks]\nfilename=h\n",
        "[update]\nversion=1\n[meta.x]\n[update]\ncompatible=a\n",
    ] {
        let manifest = Manifest::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert!(manifest.bundle.format_assumed && manifest.bundle.format == Format::Plain);
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let hash = "a".repeat(64);
    let table = [
        (
            "[bundle]\nformat=zip\n",
            "4: value 'zip' of key 'format' is none of plain, verity, crypt",
        ),
        (
            "[bundle]\nformat=verity\nverity-hash=HASH\n",
            "3: [bundle] needs the key 'verity-salt'",
        ),
        (
            "[bundle]\nformat=verity\nverity-hash=HASH\nverity-salt=HASH\nverity-size=0\n",
            "7: value '0' of key 'verity-size' must not be 0",
        ),
        (
            "[bundle]\nformat=verity\nverity-hash=HASH\nverity-salt=HASH\nverity-size=4097\n",
            "7: value '4097' of key 'verity-size' is not a multiple of 4096",
        ),
        (
            "[bundle]\nformat=plain\nverity-hash=HASH\nverity-salt=HASH\nverity-size=4096\n",
            "3: [bundle] says plain, so it must not have verity keys",
        ),
        (
            "[bundle]\nformat=verity\ncrypt-key=HASH\n",
            "3: [bundle] has a crypt-key, but its format is not crypt",
        ),
        (
            "[image.]\nfilename=a\n",
            "3: section [image.] has an empty name",
        ),
        (
            "[image.a.]\nfilename=a\n",
            "3: section [image.a.] has an empty name",
        ),
        (
            "[image.a/../b]\nfilename=a\n",
            "3: section [image.a/../b] names an artifact with a path",
        ),
        (
            "[image.a]\nfilename=..\n",
            "4: value '..' of key 'filename' is not a file name",
        ),
        (
            "[image.a]\nfilename=x/y\n",
            "4: value 'x/y' of key 'filename' has a '/'",
        ),
        (
            "[image.a]\nsize=1\n",
            "3: [image.a] needs the key 'filename'",
        ),
        (
            "[image.a]\nfilename=a\nsize=-1\n",
            "5: value '-1' of key 'size' is not a whole number",
        ),
        (
            "[image.a]\nfilename=a\nsize=99999999999999999999\n",
            "is too large a number",
        ),
        (
            "[image.a]\nfilename=a\nsha256=xyz\n",
            "5: value 'xyz' of key 'sha256' needs 64 hex",
        ),
        (
            "[image.a]\nfilename=a\ntype=qcow2\n",
            "5: value 'qcow2' of key 'type' is not a known",
        ),
        (
            "[image.a]\nfilename=a\ntype=emptyfs\n",
            "3: [image.a] is of type emptyfs, so it must not",
        ),
        (
            "[image.a]\nfilename=a\nhooks=sometimes\n",
            "has the unknown hook 'sometimes'",
        ),
        (
            "[image.a]\nfilename=a\nconverted=../b;\n",
            "of key 'converted' has a '/'",
        ),
        (
            "[image.a]\nfilename=a\nfilename=b\n",
            "5: key 'filename' appears twice in [image.a]",
        ),
        (
            "[hooks]\nfilename=h\nhooks=never;\n",
            "has the unknown hook 'never'",
        ),
        ("[hooks]\n", "3: [hooks] needs the key 'filename'"),
        (
            "[handler]\nfilename=a\nargv=b\n",
            "5: unknown key 'argv' in [handler]",
        ),
        (
            "[meta.a b]\nx=y\n",
            "3: section [meta.a b] may use only letters",
        ),
        ("[meta.a]\nx=\n", "4: value '' of key 'x' must not be empty"),
        (
            "[image.a]\nfilename=a.img\ntype=\n",
            "5: value '' of key 'type' must not be empty",
        ),
        (
            "[meta.a]\nx y=z\n",
            "4: section [meta.a] has a key with something other",
        ),
        ("[slot.a]\n", "3: unknown section [slot.a]"),
    ];
    for (text, expected) in table {
        let text = format!("[update]\ncompatible=a\n{}", text.replace("HASH", &hash));
        let error = Manifest::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("manifest.raucm:"), "{error}");
        assert!(
            error.contains(expected),
            "{text}\ngave: {error}\nnot:  {expected}"
        );
    }
}

/// What RAUC's own tests say about the key: a proper version, above 1.13, and not above our own.
#[test]
fn the_oldest_rauc_that_may_install_it() {
    let parse = |version: &str| {
        let text = format!("[update]\ncompatible=a\nmin-rauc-version={version}\n");
        Manifest::parse(text.as_bytes()).map_err(|error| error.to_string())
    };
    for wrong in ["new", "bad_version", "1.14.0.1", "1.14-", "v1.14"] {
        let error = parse(wrong).unwrap_err();
        assert!(error.starts_with("manifest.raucm:3: "), "{error}");
        assert!(error.contains("is not a version number"), "{error}");
    }
    for old in ["1.13", "1.13.0", "1.13-rc.1", "0", "1"] {
        assert!(
            parse(old).unwrap_err().contains("must be above 1.13"),
            "{old}"
        );
    }
    for enough in [
        "1.13.1",
        "1.14-dev",
        "1.14",
        "1.15.2",
        "1.15.2-rc.1",
        "1.15.2+build.3",
    ] {
        assert_eq!(
            parse(enough).unwrap().check_min_rauc_version(),
            Ok(()),
            "{enough}"
        );
    }
    for newer in ["1.15.3", "1.16-dev", "2", "1000-rc.1+21000101"] {
        let refused = parse(newer).unwrap().check_min_rauc_version();
        let expected = format!(
            "min-rauc-version={newer}: the bundle needs a newer RAUC than 1.15.2, which this \
             program stands for"
        );
        assert_eq!(refused.unwrap_err().to_string(), expected);
    }
    let without = Manifest::parse(b"[update]\ncompatible=a\n").unwrap();
    assert_eq!(without.check_min_rauc_version(), Ok(()));
}

#[test]
fn the_number_of_images_is_capped() {
    let mut text = "[update]\ncompatible=a\n".to_owned();
    for index in 0..1025 {
        text.push_str(&format!("[image.x{index}]\nfilename=a\n"));
    }
    let error = Manifest::parse(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(error, "manifest: more than 1024 images");
}

fn value() -> impl Strategy<Value = String> {
    "[ a-zA-Z0-9;=\\\\#äß\\[\\]]{0,10}[a-z]"
}

prop_compose! {
    fn image()(
        class in "[a-z]{1,8}",
        variant in proptest::option::of("[a-z.]{0,4}[a-z]"),
        filename in "[a-z]{1,8}\\.(img|ext4|tar\\.xz)",
        digest: [u8; 32],
        size: u64,
        hooks in proptest::sample::subsequence(
            vec![ImageHook::PreInstall, ImageHook::Install, ImageHook::PostInstall], 0..=3),
        adaptive in proptest::collection::vec(value(), 0..3),
    ) -> Image {
        Image {
            class, variant, filename: Some(filename),
            sha256: Some(bundle_format::Digest::from_bytes(digest)), size: Some(size),
            hooks, adaptive, ..Image::default()
        }
    }
}

prop_compose! {
    fn manifest()(
        compatible in value(),
        version in proptest::option::of(value()),
        images in proptest::collection::vec(image(), 0..4),
        entries in proptest::collection::vec(("[a-z]{1,5}", value()), 0..3),
        root: [u8; 32],
        key: [u8; 32],
        format in proptest::sample::select(vec![Format::Plain, Format::Verity, Format::Crypt]),
    ) -> Manifest {
        let mut names = std::collections::HashSet::new();
        let mut keys = std::collections::HashSet::new();
        let entries: Vec<_> = entries.into_iter().filter(|(k, _)| keys.insert(k.clone())).collect();
        let verity = VeritySpec {
            root: bundle_format::Digest::from_bytes(root), salt: key, size: 8192,
        };
        Manifest {
            update: Update { compatible, version, ..Update::default() },
            bundle: BundleSection {
                format,
                format_assumed: false,
                verity: (format != Format::Plain).then_some(verity),
                crypt_key: (format == Format::Crypt).then_some(CryptKey(key)),
            },
            handler: Some(Handler { filename: "h".to_owned(), args: None }),
            hooks: Some(Hooks { filename: "k".to_owned(), install_check: true }),
            images: images.into_iter().filter(|image| names.insert(image.label())).collect(),
            meta: vec![Meta { label: "x".to_owned(), entries: entries.clone() }],
            rollout: entries,
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(manifest in manifest()) {
        let bytes = manifest.to_bytes();
        let read = Manifest::parse(&bytes);
        prop_assert_eq!(read.as_ref(), Ok(&manifest), "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_text_panics(text in "(\\[(update|bundle|image\\.[a-z./]{0,4}|hooks|meta\\.x)\\]\n|[a-z0-9-]{1,12}=[^\n]{0,10}\n){0,12}") {
        let _ = Manifest::parse(text.as_bytes());
    }
}
