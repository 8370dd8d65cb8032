use super::*;

fn name(s: &str) -> VarName {
    VarName::new(s).unwrap()
}

fn env(entries: &[&str]) -> Env {
    Env::from_entries(entries.iter().map(|e| e.as_bytes().to_vec()).collect())
}

fn text(env: &Env) -> Vec<String> {
    env.entries().map(lossy).collect()
}

#[test]
fn names_that_a_reader_would_take_for_something_else_are_refused() {
    for bad in ["", "a=b", "a\nb", "a\rb", "a\0b", " a", "\ta", "#a"] {
        assert!(VarName::new(bad).is_err(), "{bad:?}");
    }
    for good in [
        "a",
        "a b",
        "BOOT_A_LEFT",
        "serial#",
        ".flags",
        "\u{e4}",
        "a.b-c",
    ] {
        assert_eq!(VarName::new(good).unwrap().as_bytes(), good.as_bytes());
    }
}

#[test]
fn a_value_with_nul_is_refused_and_changes_nothing() {
    let mut e = env(&["a=1"]);
    assert!(matches!(
        e.set(&name("a"), b"x\0y"),
        Err(VarError::NulInValue { .. })
    ));
    assert_eq!(text(&e), ["a=1"]);
}

#[test]
fn a_new_variable_goes_to_its_sorted_place_or_to_the_end() {
    let mut sorted = env(&["a=1", "c=3"]);
    assert_eq!(sorted.set(&name("b"), b"2"), Ok(Change::Created));
    assert_eq!(text(&sorted), ["a=1", "b=2", "c=3"]);
    let mut appended = env(&["c=3", "a=1"]);
    assert_eq!(appended.set(&name("b"), b"2"), Ok(Change::Created));
    assert_eq!(text(&appended), ["c=3", "a=1", "b=2"]);
}

#[test]
fn setting_keeps_the_place_and_equal_values_are_no_change() {
    let mut e = env(&["c=3", "a=1", "b=2"]);
    assert_eq!(e.set(&name("a"), b"1"), Ok(Change::Equal));
    assert_eq!(e.set(&name("a"), b"9"), Ok(Change::Overwritten));
    assert_eq!(text(&e), ["c=3", "a=9", "b=2"]);
    assert_eq!(e.remove(&name("c")), Change::Deleted);
    assert_eq!(e.remove(&name("c")), Change::Equal);
    assert_eq!(text(&e), ["a=9", "b=2"]);
}

#[test]
fn of_a_doubled_variable_the_last_counts_and_setting_leaves_one() {
    let mut e = env(&["a=1", "b=2", "a=3"]);
    assert_eq!(e.get(b"a"), Some(b"3".as_slice()));
    assert!(
        e.warnings(0x4000)
            .contains(&EnvWarning::Duplicate { name: "a".into() })
    );
    assert_eq!(e.set(&name("a"), b"3"), Ok(Change::Overwritten));
    assert_eq!(text(&e), ["b=2", "a=3"]);
}

#[test]
fn entries_that_are_no_variables_stay_verbatim() {
    let mut e = env(&["#comment=1", "bare", "=", "a=1"]);
    assert_eq!(e.get(b"#comment"), None);
    assert_eq!(e.get(b"bare"), None);
    assert_eq!(e.get(b""), None);
    assert_eq!(e.set(&name("a"), b"2"), Ok(Change::Overwritten));
    assert_eq!(e.remove(&name("bare")), Change::Equal);
    assert_eq!(text(&e), ["#comment=1", "bare", "=", "a=2"]);
    let odd = e.warnings(0x4000);
    assert_eq!(
        odd.iter()
            .filter(|w| matches!(w, EnvWarning::NotAVariable { .. }))
            .count(),
        3
    );
}

#[test]
fn flags_and_callbacks_stay_verbatim() {
    let mut e = env(&[".callbacks=x:y", ".flags=foo:bw,bar:xr", "foo=1"]);
    e.set(&name("foo"), b"0").unwrap();
    assert_eq!(text(&e)[1], ".flags=foo:bw,bar:xr");
}

#[test]
fn the_two_views_of_a_backslash() {
    // Measured with U-Boot: stored `x\y` loads as `xy`, stored `x\\y` as `x\y`.
    assert_eq!(View::Uboot.decode(br"x\y"), b"xy");
    assert_eq!(View::Uboot.decode(br"x\\y"), br"x\y");
    assert_eq!(View::Uboot.decode(br"x\"), br"x\");
    assert_eq!(View::Uboot.encode(br"x\y"), br"x\\y");
    assert_eq!(View::Raw.decode(br"x\y"), br"x\y");
    for value in [r"", r"a", r"\", r"\\", r"a\b\\c\"] {
        let stored = View::Uboot.encode(value.as_bytes());
        assert_eq!(View::Uboot.decode(&stored), value.as_bytes());
    }
}

#[test]
fn more_variables_than_u_boots_table_are_pointed_out() {
    let many: Vec<String> = (0..513).map(|i| format!("v{i:03}=x")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let warned = |e: &Env, size| {
        e.warnings(size)
            .iter()
            .any(|w| matches!(w, EnvWarning::TooManyVariables { .. }))
    };
    assert!(warned(&env(&many), 0x10000));
    assert!(!warned(&env(&many[..512]), 0x10000));
    assert!(warned(&env(&many[..200]), 0x400));
}

/// libubootenv's `fw_setenv "" x` makes such an entry; U-Boot then takes nothing of the environment.
#[test]
fn an_entry_without_a_name_is_told_and_no_edit_keeps_it() {
    for (entry, rejected) in [
        ("=x", true),
        (" \t=x", true),
        ("==", true),
        ("=", false),
        ("#=x", false),
        ("   ", false),
        ("x=", false),
    ] {
        let mut env = env(&[entry, "a=1"]);
        assert_eq!(env.is_rejected(), rejected, "{entry:?}");
        let told = env.warnings(0x1000);
        let nameless = |w: &EnvWarning| matches!(w, EnvWarning::Nameless { .. });
        assert_eq!(told.iter().any(nameless), rejected, "{entry:?}: {told:?}");
        assert_eq!(env.set(&name("a"), b"1").unwrap(), Change::Equal);
        assert_eq!(
            text(&env).contains(&entry.to_owned()),
            !rejected,
            "{entry:?}"
        );
    }
    let mut env = env(&["=x", "a=1"]);
    assert_eq!(env.remove(&name("a")), Change::Deleted);
    assert_eq!(text(&env), [""; 0]);
}
