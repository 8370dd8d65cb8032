//! Votes of applications, kept in memory (`/run`): a vote holds for the boot in which it is given.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Longest vote that is read, in bytes.
const MAX_VOTE: usize = 4096;

/// What an application says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vote {
    /// It works.
    Ok,
    /// It does not, and why.
    Bad(String),
}

fn place(run: &Path, name: &str) -> PathBuf {
    run.join("votes").join(name)
}

/// Notes a vote; a later one replaces it.
///
/// # Errors
/// When `run` cannot be written.
pub fn cast(run: &Path, name: &str, boot_id: &str, vote: &Vote) -> io::Result<()> {
    let text = match vote {
        Vote::Ok => format!("{boot_id}\nok\n"),
        Vote::Bad(why) => format!("{boot_id}\nbad {}\n", why.replace('\n', " ")),
    };
    let text: String = text.chars().take(MAX_VOTE / 4).collect();
    write_whole(&place(run, name), text.as_bytes())
}

/// The vote of this boot; anything else counts as none.
pub(super) fn read(run: &Path, name: &str, boot_id: &str) -> Option<Vote> {
    let text = std::fs::read_to_string(place(run, name)).ok()?;
    let (boot, vote) = text.split_once('\n')?;
    match vote
        .trim_end()
        .split_once(' ')
        .unwrap_or((vote.trim_end(), ""))
    {
        _ if boot != boot_id => None,
        ("ok", "") => Some(Vote::Ok),
        ("bad", why) => Some(Vote::Bad(why.to_owned())),
        _ => None,
    }
}

/// Puts a file in place by renaming: a reader sees the old or the new text. For memory only, so
/// nothing is synced.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)?;
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    File::create(&part)?.write_all(bytes)?;
    std::fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_vote_of_this_boot_counts() {
        let dir = tempfile::tempdir().unwrap();
        let seen = |boot: &str| read(dir.path(), "app", boot);
        assert_eq!(seen("b1"), None);
        cast(dir.path(), "app", "b1", &Vote::Ok).unwrap();
        assert_eq!((seen("b1"), seen("b2")), (Some(Vote::Ok), None));
        let bad = Vote::Bad("no disk".into());
        cast(dir.path(), "app", "b1", &Vote::Bad("no\ndisk".into())).unwrap();
        assert_eq!(seen("b1"), Some(bad));
        for damaged in ["", "b1", "b1\nokay\n", "b1\nok x\n"] {
            fs_err::write(place(dir.path(), "app"), damaged).unwrap();
            assert_eq!(seen("b1"), None, "{damaged:?}");
        }
    }
}
