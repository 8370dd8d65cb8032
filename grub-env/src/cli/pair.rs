//! `grub-env pair`: the three files of the paired scheme.

use std::io::{self, Write};
use std::path::Path;

use super::args::PairVerb;
use super::render::{self, Format};
use crate::block::{Block, BlockError};
use crate::file::{FileError, create, read_file};
use crate::paired::{
    BadCfg, Count, FILES, GrubCfg, LEN, Name, Pair, PairError, Which, decide, initial,
};

#[derive(Debug, thiserror::Error)]
pub enum PairFault {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Cfg(#[from] BadCfg),
    #[error(transparent)]
    Pair(#[from] PairError),
    #[error("a file that was made is no block")]
    Block(#[from] BlockError),
    #[error("cannot write the answer")]
    Output(#[from] io::Error),
}

pub fn run(
    directory: &Path,
    verb: &PairVerb,
    format: Format,
    out: &mut Vec<u8>,
) -> Result<(), PairFault> {
    match verb {
        PairVerb::Create { primary, fallback } => {
            for file in make(directory, primary, fallback.as_ref())? {
                render::created(out, &directory.join(file), LEN, format)?;
            }
        }
        PairVerb::Show(default) => {
            let [first, second, counter] = read(directory)?;
            let pair = Pair::parse(&first, &second);
            render::pair(out, &pair, &decide(&pair, &counter, default), format)?;
        }
        PairVerb::Cfg { directory, default } => {
            write!(out, "{}", GrubCfg::new(directory, default.clone())?)?;
        }
    }
    Ok(())
}

/// All three; one that is missing or cut off has no bytes.
fn read(directory: &Path) -> Result<[Vec<u8>; 3], FileError> {
    let mut files = <[Vec<u8>; 3]>::default();
    for (bytes, file) in files.iter_mut().zip(FILES) {
        *bytes = match read_file(&directory.join(file)) {
            Err(FileError::Missing { .. } | FileError::Block { .. }) => Vec::new(),
            other => other?,
        };
    }
    Ok(files)
}

/// Makes what is missing or does not count, and tells what it made. Beside a copy in force the
/// other one becomes an empty block: that cannot come to count by a mistake.
fn make(
    directory: &Path,
    primary: &Name,
    fallback: Option<&Name>,
) -> Result<Vec<&'static str>, PairFault> {
    let [first, second, counter] = read(directory)?;
    let pair = Pair::parse(&first, &second);
    let [new_first, new_second, new_counter] = initial(primary.clone(), fallback.cloned())?;
    let in_force = pair.in_force().map(|(which, _)| which);
    let mut made = Vec::new();
    for (which, old, new) in [
        (Which::First, &first, new_first),
        (Which::Second, &second, new_second),
    ] {
        let fit = old.len() == LEN && pair.copy(which).is_ok();
        if fit || in_force == Some(which) {
            continue;
        }
        let block = match in_force {
            Some(_) => Block::new(),
            None => Block::parse(&new)?,
        };
        create(&directory.join(which.file()), &block, LEN)?;
        made.push(which.file());
    }
    if counter.len() != LEN || Count::parse(&counter).is_none() {
        let [.., file] = FILES;
        create(&directory.join(file), &Block::parse(&new_counter)?, LEN)?;
        made.push(file);
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn said(directory: &Path, verb: &PairVerb) -> String {
        let mut out = Vec::new();
        run(directory, verb, Format::Text, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_new_pair_and_one_that_lost_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let create = PairVerb::Create {
            primary: name("A"),
            fallback: None,
        };
        assert_eq!(said(dir.path(), &create).lines().count(), 3);
        let show = PairVerb::Show(name("D"));
        let before = said(dir.path(), &show);
        assert_eq!(
            before,
            "ab1: A confirmed, no fallback\nab2, in force: A confirmed, no fallback\n\
             GRUB starts A next (good).\n"
        );
        assert_eq!(said(dir.path(), &create), "", "all of it is there");

        let lost = dir.path().join("ab2");
        std::fs::remove_file(&lost).unwrap();
        let other = PairVerb::Create {
            primary: name("B"),
            fallback: None,
        };
        let missing = said(dir.path(), &show);
        assert!(
            missing.contains("ab2: does not count: there is nothing in it"),
            "{missing}"
        );
        assert_eq!(said(dir.path(), &other).lines().count(), 1);
        let after = said(dir.path(), &show);
        assert!(after.starts_with("ab1, in force: A confirmed"), "{after}");
        let empty = "\nab2: does not count: it is empty, to be written by the next change\n";
        assert!(after.contains(empty), "{after}");
        assert!(after.ends_with("GRUB starts A next (good).\n"), "{after}");
    }

    #[test]
    fn a_broken_counter_is_made_anew_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let create = PairVerb::Create {
            primary: name("A"),
            fallback: Some(name("B")),
        };
        said(dir.path(), &create);
        std::fs::File::create(dir.path().join("ab3")).unwrap();
        let made = said(dir.path(), &create);
        assert!(made.contains("ab3: created with 512 bytes"), "{made}");
        assert_eq!(made.lines().count(), 1);
    }
}
