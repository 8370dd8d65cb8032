use super::*;

fn env(entries: &[&str]) -> Env {
    Env::from_entries(entries.iter().map(|e| e.as_bytes().to_vec()).collect())
}

fn may(e: &Env, name: &str, value: Option<&str>) -> bool {
    check(
        e,
        None,
        &VarName::new(name).unwrap(),
        value.map(str::as_bytes),
    )
    .is_ok()
}

#[test]
fn access_letters_are_obeyed() {
    let e = env(&[
        ".flags=ro:sr,once:so,free:sa,wr:bw,def:sc",
        "ro=1",
        "once=1",
        "def=1",
    ]);
    assert!(!may(&e, "ro", Some("2")) && !may(&e, "ro", None));
    assert!(!may(&e, "once", Some("2")) && !may(&e, "once", None));
    assert!(!may(&e, "def", Some("2")));
    assert!(may(&e, "ro", Some("1")), "an equal value is no change");
    assert!(may(&e, "free", Some("2")) && may(&e, "wr", Some("1")) && may(&e, "other", Some("x")));
    let fresh = env(&[".flags=ro:sr,once:so"]);
    assert!(may(&fresh, "once", Some("1")) && !may(&fresh, "ro", Some("1")));
}

#[test]
fn types_are_checked() {
    let e = env(&[".flags=d:d,x:x,b:b,i:i,m:m"]);
    let cases = [
        ("d", "-12", "1a"),
        ("x", "0x1F", "0xg"),
        ("x", "ff", "0x"),
        ("b", "yes", "maybe"),
        ("i", "10.0.0.1", "10.0.0.256"),
        ("m", "00:11:22:aa:bb:cc", "00:11:22:aa:bb"),
    ];
    for (name, good, bad) in cases {
        assert!(may(&e, name, Some(good)), "{name}={good}");
        assert!(!may(&e, name, Some(bad)), "{name}={bad}");
        assert!(may(&e, name, None));
    }
}

#[test]
fn a_writelist_lets_only_its_own_through() {
    let list = [Rule::new(b"a", b"da")];
    let e = Env::new();
    let try_it = |n: &str, v: &str| {
        check(
            &e,
            Some(&list),
            &VarName::new(n).unwrap(),
            Some(v.as_bytes()),
        )
    };
    assert_eq!(try_it("a", "1"), Ok(()));
    assert!(matches!(try_it("a", "x"), Err(AccessError::Type { .. })));
    assert!(matches!(
        try_it("b", "1"),
        Err(AccessError::NotListed { .. })
    ));
}
