use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn three() -> NonZeroU8 {
    NonZeroU8::new(3).unwrap()
}

fn files() -> [Vec<u8>; 3] {
    initial(name("A"), Some(name("B"))).unwrap()
}

fn apply(files: &mut [Vec<u8>; 3], update: Option<Update>) {
    if let Some(update) = update {
        files[usize::from(update.which == Which::Second)] = update.bytes;
    }
}

fn pair(files: &[Vec<u8>; 3]) -> Pair {
    Pair::parse(&files[0], &files[1])
}

fn start(files: &mut [Vec<u8>; 3]) -> (String, Why) {
    let boot = decide(&pair(files), &files[2], &name("D"));
    if let Some(bytes) = boot.counted {
        files[2] = bytes;
    }
    (boot.slot.as_str().to_owned(), boot.why)
}

fn arm(files: &mut [Vec<u8>; 3]) {
    let update = pair(files).change(name("B"), Some(name("A")), TrialChange::Begin(three()));
    apply(files, update.unwrap());
}

#[test]
fn the_life_of_an_update() {
    let mut f = files();
    assert_eq!(start(&mut f), ("A".into(), Why::Good));
    arm(&mut f);
    for _ in 0..3 {
        assert_eq!(start(&mut f), ("B".into(), Why::Trial));
    }
    assert_eq!(start(&mut f), ("A".into(), Why::UsedUp));
    // A new trial counts from the beginning, without anybody writing GRUB's file.
    arm(&mut f);
    assert_eq!(start(&mut f), ("B".into(), Why::Trial));
    let kept = pair(&f).change(name("B"), None, TrialChange::Keep).unwrap();
    apply(&mut f, kept);
    let trial = pair(&f).in_force().unwrap().1.state.trial.unwrap();
    assert_eq!(Count::parse(&f[2]).unwrap().used_of(trial), 1);
    let good = pair(&f)
        .change(name("B"), Some(name("A")), TrialChange::None)
        .unwrap();
    apply(&mut f, good);
    assert_eq!(start(&mut f), ("B".into(), Why::Good));
}

#[test]
fn saying_the_same_writes_nothing() {
    let f = files();
    assert_eq!(
        pair(&f)
            .change(name("A"), Some(name("B")), TrialChange::None)
            .unwrap(),
        None
    );
    assert_eq!(
        pair(&f)
            .change(name("A"), Some(name("B")), TrialChange::Keep)
            .unwrap(),
        None
    );
}

#[test]
fn the_copy_in_force_is_never_written() {
    let mut f = files();
    for _ in 0..6 {
        let (in_force, record) = pair(&f).in_force().map(|(w, r)| (w, r.clone())).unwrap();
        let update = pair(&f)
            .change(name("B"), None, TrialChange::Begin(three()))
            .unwrap()
            .unwrap();
        assert_eq!(update.which, in_force.other());
        assert_eq!(update.bytes.len(), LEN);
        apply(&mut f, Some(update));
        assert_eq!(pair(&f).in_force().unwrap().1.seq, record.seq + 1);
    }
}

/// Even torn at any byte, from either end: old or new.
#[test]
fn every_cut_gives_old_or_new() {
    let old = files();
    let update = pair(&old).change(name("B"), Some(name("A")), TrialChange::Begin(three()));
    let update = update.unwrap().unwrap();
    let mut new = old.clone();
    apply(&mut new, Some(update.clone()));
    let want: Vec<Boot> = [&old, &new]
        .map(|f| decide(&pair(f), &f[2], &name("D")))
        .into();
    let index = usize::from(update.which == Which::Second);
    for at in 0..=LEN {
        for (head, tail) in [(&update.bytes, &old[index]), (&old[index], &update.bytes)] {
            let mut torn = old.clone();
            torn[index] = [&head[..at], &tail[at..]].concat();
            assert!(
                want.contains(&decide(&pair(&torn), &torn[2], &name("D"))),
                "{at}"
            );
        }
        let mut lost = old.clone();
        lost[index].truncate(at);
        assert!(
            want.contains(&decide(&pair(&lost), &lost[2], &name("D"))),
            "{at}"
        );
    }
}

#[test]
fn damage() {
    let good = files();
    let broken = Pair::parse(&good[0], b"");
    assert_eq!(broken.in_force().unwrap().0, Which::First);
    let update = broken
        .change(name("B"), None, TrialChange::None)
        .unwrap()
        .unwrap();
    assert_eq!(update.which, Which::Second, "the bad copy is healed");
    let none = Pair::parse(b"", &[b'#'; 512]);
    assert_eq!(none.in_force(), None);
    assert_eq!(
        none.change(name("B"), None, TrialChange::None),
        Err(PairError::NoCopy)
    );
    assert_eq!(decide(&none, &good[2], &name("D")).why, Why::Default);

    let mut f = files();
    arm(&mut f);
    f[2] = vec![0; 512];
    assert_eq!(
        start(&mut f),
        ("A".into(), Why::Uncounted),
        "never a try without a count"
    );
}

#[test]
fn the_numbers_end_with_an_error() {
    let state = State {
        primary: name("A"),
        fallback: None,
        trial: None,
    };
    let bytes = Record {
        seq: LAST_SEQ,
        state,
    }
    .to_bytes()
    .unwrap();
    let pair = Pair::parse(&bytes, b"");
    assert_eq!(
        pair.change(name("B"), None, TrialChange::None),
        Err(PairError::Exhausted)
    );
}

#[test]
fn names_and_directories_that_could_be_script_are_refused() {
    for bad in ["", "none", "a b", "a;b", "$x", "a\"", "ä", &"x".repeat(33)] {
        assert!(Name::new(bad).is_err(), "{bad}");
    }
    for bad in ["", "a b", "/x;reboot", "\"", "a\nb", "`"] {
        assert!(GrubCfg::new(bad, name("A")).is_err(), "{bad}");
    }
    GrubCfg::new("($root)/slots", name("A")).unwrap();
}

/// The longest names fit.
#[test]
fn it_always_fits() {
    let long = Name::new(&"x".repeat(32)).unwrap();
    let files = initial(long.clone(), Some(long)).unwrap();
    assert!(files.iter().all(|f| f.len() == LEN));
}

/// A write that tore within its sector, from either side, and then another one over it that tears
/// too: what counts afterwards was written as a whole.
#[test]
fn two_torn_writes_make_no_third_state() {
    // Behind it all files have the same bytes.
    const USED: usize = 170;
    let mix = |front: &[u8], back: &[u8], at: usize| [&front[..at], &back[at..]].concat();
    let before = files();
    let old = pair(&before).in_force().unwrap().1.clone();
    let mut armed = before.clone();
    arm(&mut armed);
    let mut tried = 0_u32;
    for first in 0..USED {
        for torn in [
            mix(&armed[0], &before[0], first),
            mix(&before[0], &armed[0], first),
        ] {
            let found = [torn, before[1].clone(), before[2].clone()];
            if pair(&found).in_force().unwrap().0 == Which::First {
                assert_eq!(pair(&found).in_force(), pair(&armed).in_force());
                continue;
            }
            let update = pair(&found).change(name("A"), None, TrialChange::None);
            let update = update.unwrap().unwrap();
            let new = Record::parse(&update.bytes).unwrap();
            for second in 0..USED {
                for again in [
                    mix(&update.bytes, &found[0], second),
                    mix(&found[0], &update.bytes, second),
                ] {
                    let pair = Pair::parse(&again, &found[1]);
                    let record = pair.in_force().unwrap().1;
                    assert!(
                        *record == old || *record == new,
                        "torn at {first}, then at {second}: {record:?}"
                    );
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 50_000, "{tried}");
}
