use super::*;

fn both(text: &str) -> Vec<(String, Option<String>)> {
    read(text, Dialect::Both)
}

fn read(text: &str, dialect: Dialect) -> Vec<(String, Option<String>)> {
    let text_of = |v: Vec<u8>| String::from_utf8(v).unwrap();
    let list = parse(text.as_bytes(), dialect).unwrap();
    list.into_iter()
        .map(|a| (a.name.to_string(), a.value.map(text_of)))
        .collect()
}

fn set(name: &str, value: &str) -> (String, Option<String>) {
    (name.into(), Some(value.into()))
}

#[test]
fn both_dialects_are_read() {
    let text = "# c\n\nnetdev   eth0\nkernel=40=0\r\nvar1\nvar2=\n\tvar3  The quick fox \nlast=1";
    let want = [
        set("netdev", "eth0"),
        set("kernel", "40=0"),
        ("var1".into(), None),
        ("var2".into(), None),
        set("var3", "The quick fox "),
        set("last", "1"),
    ];
    assert_eq!(both(text), want);
}

#[test]
fn an_equals_sign_inside_a_value_after_a_blank_belongs_to_the_value() {
    assert_eq!(
        both("bootargs root=/dev/x"),
        [set("bootargs", "root=/dev/x")]
    );
    // libubootenv makes a variable with a blank in its name of it.
    assert_eq!(
        read("bootargs root=/dev/x", Dialect::Libubootenv),
        [set("bootargs root", "/dev/x")]
    );
}

/// libubootenv cuts at 2047 bytes and takes the rest for a variable of its own.
#[test]
fn long_lines_stay_whole() {
    let long = format!("{}evil=1", "x".repeat(2042));
    assert_eq!(both(&format!("a={long}\n")), [set("a", &long)]);
}

#[test]
fn unclear_and_impossible_lines_are_errors_with_their_line() {
    let what = |text: &str, dialect| parse(text.as_bytes(), dialect).unwrap_err();
    let e = what("a=1\nb = 2\n", Dialect::Both);
    assert_eq!((e.line, e.what), (2, ScriptProblem::Unclear));
    let e = what("=1", Dialect::Both);
    assert_eq!((e.line, e.what), (1, VarError::EmptyName.into()));
    let e = what("a=1\nbare\n", Dialect::Libubootenv);
    assert_eq!((e.line, e.what), (2, ScriptProblem::NoEquals));
    assert!(matches!(
        what("a=x\0y", Dialect::Both).what,
        ScriptProblem::Var(_)
    ));
}

proptest::proptest! {
    #[test]
    fn no_script_panics(text in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        drop(parse(&text, Dialect::Both));
        drop(parse(&text, Dialect::Libubootenv));
    }
}
