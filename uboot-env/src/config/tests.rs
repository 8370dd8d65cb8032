use super::*;

fn one(text: &str) -> EnvConfig {
    let mut envs = parse("t", text.as_bytes()).unwrap();
    assert_eq!(envs.len(), 1);
    envs.remove(0)
}

fn bad(text: &str) -> (usize, Problem) {
    let e = parse("t", text.as_bytes()).unwrap_err();
    (e.line, e.what)
}

#[test]
fn a_usual_file() {
    let env = one("# comment\n/dev/mmcblk0 0x3f8000 0x4000\n\n/dev/mmcblk0 0x3fc000 4000 # note\n");
    assert_eq!(env.layout(), Layout::Redundant);
    assert_eq!((env.size, env.first.offset), (0x4000, 0x3f8000));
    let second = env.second.unwrap();
    assert_eq!((second.offset, second.line), (0x3fc000, 4));
    assert_eq!(env.hints.len(), 0);
}

#[test]
fn all_six_fields() {
    let env = one("/dev/mtd1 0x0 0x10000 0x20000 0x4 1\n");
    assert_eq!(env.layout(), Layout::Single);
    assert_eq!(env.first.sector_size, Some(0x20000));
    assert_eq!(env.first.sectors, Some(4));
    assert_eq!(env.first.lock, FlashLock::Ignore);
}

#[test]
fn offsets_have_any_base_and_may_count_from_the_end() {
    for (text, want) in [
        ("-0x8000", -0x8000),
        ("1024", 1024),
        ("010", 8),
        ("0X10", 16),
        ("0", 0),
    ] {
        assert_eq!(
            one(&format!("/dev/x {text} 0x2000")).first.offset,
            want,
            "{text}"
        );
    }
    assert_eq!(one("/dev/x 010 0x2000").hints.len(), 1);
}

#[test]
fn sizes_are_always_hexadecimal_and_a_decimal_looking_one_is_remarked_on() {
    let env = one("/dev/x 0 16384");
    assert_eq!(env.size, 0x16384);
    assert!(env.hints[0].text.contains("0x4000"), "{}", env.hints[0]);
    assert_eq!(one("/dev/x 0 4000").hints.len(), 0);
}

/// Both peers skip such lines and go on with one copy, or none.
#[test]
fn a_line_that_is_not_understood_is_an_error_with_its_place() {
    let good = "/dev/x 0x0 0x4000\n";
    let cases: [(&str, Problem); 6] = [
        ("/dev/x 0x4000", Problem::TooFewFields { have: 2 }),
        ("/dev/x", Problem::TooFewFields { have: 1 }),
        (
            "/dev/x 0x4000 0x40q0",
            Problem::Number {
                field: "environment size",
                text: "0x40q0".into(),
            },
        ),
        (
            "/dev/x 0x4000, 0x4000",
            Problem::Number {
                field: "offset",
                text: "0x4000,".into(),
            },
        ),
        (
            "/dev/x 0x4000 -0x4000",
            Problem::Number {
                field: "environment size",
                text: "-0x4000".into(),
            },
        ),
        ("/dev/x 1 2 3 4 0 7", Problem::TooManyFields),
    ];
    for (line, problem) in cases {
        assert_eq!(bad(&format!("{good}{line}\n")), (2, problem), "{line}");
    }
}

#[test]
fn copies_that_cannot_be_a_pair_are_refused() {
    assert_eq!(
        bad("/dev/x 0 0x4000\n/dev/x 0x4000 0x2000"),
        (
            2,
            Problem::UnequalSizes {
                first: 0x4000,
                second: 0x2000
            }
        )
    );
    assert_eq!(
        bad("/dev/x 0 0x4000\n/dev/x 0x2000 0x4000"),
        (2, Problem::Overlap)
    );
    assert_eq!(
        bad("/dev/x -0x4000 0x4000\n/dev/x -0x2000 0x4000"),
        (2, Problem::Overlap)
    );
    assert_eq!(
        bad("/dev/ubi0_0 0 0x4000\n/dev/ubi0_0 0x4000 0x4000"),
        (2, Problem::Overlap)
    );
    assert_eq!(
        bad("/dev/x 0 100\n/dev/y 0 100\n/dev/z 0 100"),
        (3, Problem::ThirdCopy)
    );
}

#[test]
fn sizes_and_sectors_are_checked() {
    assert!(matches!(bad("/dev/x 0 0"), (1, Problem::Size(_))));
    assert!(matches!(
        bad("/dev/x 0 ffffffffffffffff"),
        (1, Problem::Size(_))
    ));
    assert!(matches!(
        bad("/dev/x 0x100 0x4000 0x1000"),
        (1, Problem::Unaligned { .. })
    ));
    assert!(matches!(
        bad("/dev/x 0 0x4000 0x1000 3"),
        (1, Problem::DoesNotFit { .. })
    ));
    let huge = "/dev/x 0 0x4000 ffffffffffffffff ffffffffffffffff";
    assert!(matches!(bad(huge), (1, Problem::DoesNotFit { .. })));
    assert_eq!(bad(""), (0, Problem::Empty));
    assert_eq!(bad("# only\n\n"), (0, Problem::Empty));
    assert_eq!(parse("t", b"\xff\xfe").unwrap_err().what, Problem::NotText);
}

const YAML: &str = "\
# two environments
uboot:
  size: 0x4000
  lockfile: /var/lock/fw_printenv.lock
  devices:
    - path: /dev/mmcblk0boot0
      offset: 0x3f8000   # primary
      sectorsize: 0x100
      disablelock: yes
    - path: \"/dev/mmcblk0boot1\"
      offset: 0x3f8000
appvar:
  size : 0x4000
  devices:
  - path: /dev/mmcblk1
    offset: -0xc000
  writelist:
    - foo:sw
    - bar:dw
";

#[test]
fn yaml_with_two_namespaces() {
    let envs = parse("t", YAML.as_bytes()).unwrap();
    assert_eq!(envs.len(), 2);
    let (uboot, app) = (&envs[0], &envs[1]);
    assert_eq!(uboot.namespace.as_deref(), Some("uboot"));
    assert_eq!((uboot.size, uboot.layout()), (0x4000, Layout::Redundant));
    assert_eq!(uboot.first.lock, FlashLock::Ignore);
    assert_eq!(uboot.first.sector_size, Some(0x100));
    assert_eq!(
        uboot.second.as_ref().unwrap().path,
        PathBuf::from("/dev/mmcblk0boot1")
    );
    assert_eq!((app.layout(), app.first.offset), (Layout::Single, -0xc000));
    assert_eq!(app.writelist.as_ref().unwrap().len(), 2);
    let chosen = select("t", envs.clone(), Some("appvar")).unwrap();
    assert_eq!(&chosen, app);
    assert_eq!(&select("t", envs.clone(), None).unwrap(), uboot);
    assert!(matches!(
        select("t", envs, Some("no")).unwrap_err().what,
        Problem::Namespace { .. }
    ));
}

/// The example of libubootenv's own documentation has a key that its parser rejects; it then reads
/// the file as `fw_env.config` and reports nothing of use.
#[test]
fn the_documented_unlock_key_is_explained() {
    let (line, what) = bad("uboot:\n  size: 0x10\n  devices:\n    - path: x\n      unlock: yes\n");
    assert_eq!(line, 5);
    assert!(what.to_string().contains("disablelock"), "{what}");
}

#[test]
fn yaml_mistakes_have_their_line() {
    let cases = [
        ("a:\n  size: 0x40\n", 1, "`devices:` is missing"),
        ("a:\n  devices:\n    - path: x\n", 1, "`size:` is missing"),
        ("a:\n  size: 0x40\n  size: 0x40\n", 3, "twice"),
        ("a:\n  sise: 0x40\n", 2, "unknown key"),
        ("a:\n  size: many\n", 2, "no number"),
        (
            "a:\n  size: 0x40\n  devices:\n    - offset: 0\n",
            4,
            "`path:` is missing",
        ),
        ("a:\n  size: 0x40\n  devices: x\n", 3, "expected"),
        ("a:\n  size: [1]\n", 2, "expected"),
        ("a:\n\tsize: 1\n", 2, "tabs"),
        (
            "a:\n  size: 0x40\n  devices:\n    - path: x\n      disablelock: true\n",
            5,
            "disablelock",
        ),
        ("a:\n  size: 64\n  writelist:\n    - foo\n", 4, "list item"),
        (
            "a:\n  size: 64\n  devices:\n    - path: x\nb\n",
            5,
            "namespace",
        ),
        ("a:\n  size: 64\n    lockfile: x\n", 2, "expected"),
        (
            "a:\n  size: 64\n  devices:\n    - path: x\na:\n  size: 64\n",
            5,
            "twice",
        ),
    ];
    for (text, line, part) in cases {
        let (at, what) = bad(text);
        assert_eq!(at, line, "{text}: {what}");
        assert!(what.to_string().contains(part), "{text}: {what}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[ -~\n\t]{0,200}", yamlish in "(a:|  size: 0x10|  devices:|  - path: x|    offset: -1|#|\n| ){0,20}") {
        drop(parse("t", text.as_bytes()));
        drop(parse("t", format!("a:\n{text}").as_bytes()));
        drop(parse("t", yamlish.as_bytes()));
    }
}

#[test]
fn the_device_tree_names_a_namespace_of_yaml_only() {
    let dir = tempfile::tempdir().unwrap();
    let property = dir.path().join("u-boot,env-config");
    std::fs::File::create_new(&property)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"second\0"))
        .unwrap();
    let yaml = b"first:\n  size: 0x1000\n  devices:\n    - path: /a\n      offset: 0\n\
                 second:\n  size: 0x1000\n  devices:\n    - path: /b\n      offset: 0\n";
    let named = super::parse("test", yaml).unwrap();
    let found = super::namespace_of_device_tree(&named, &property);
    assert_eq!(found.as_deref(), Some("second"));
    let gone = super::namespace_of_device_tree(&named, &dir.path().join("gone"));
    assert_eq!(gone, None);
    let legacy = super::parse("test", b"/dev/x 0x0 0x1000\n").unwrap();
    assert_eq!(super::namespace_of_device_tree(&legacy, &property), None);
}
