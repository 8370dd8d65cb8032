//! What a process that waits keeps in memory.

use std::io;
use std::ops::Range;

use nix::sys::mman::{MmapAdvise, madvise};

/// Where the kernel lists what is mapped (proc_pid_maps(5)).
const MAPS: &str = "/proc/self/maps";

/// Takes the pages of this program's own code out of the process. They stay in the page cache, from where
/// they come back one by one when they are needed; but as long as a process has them mapped, the kernel
/// takes them for code in use and keeps them when memory is short. For services that start, which takes
/// much code, and then wait for days.
///
/// # Errors
/// The kernel does not tell where the code is, or refuses.
pub fn let_go_of_code() -> io::Result<()> {
    let here = let_go_of_code as *const () as usize;
    let code = code_around(here, &std::fs::read_to_string(MAPS)?)
        .ok_or_else(|| io::Error::other(format!("{MAPS} does not show the program's code")))?;
    let start = std::ptr::NonNull::new(code.start as *mut libc::c_void)
        .ok_or_else(|| io::Error::other("code at address 0"))?;
    // SAFETY: `code` is a mapping of a file that may be read and executed but not written, so that each of
    // its pages comes back from the file as it was. It is the one that this very function is in, which
    // nothing unmaps while the function runs.
    unsafe { madvise(start, code.len(), MmapAdvise::MADV_DONTNEED) }?;
    Ok(())
}

/// The mapping of code from a file in `maps` that has the address `here`.
fn code_around(here: usize, maps: &str) -> Option<Range<usize>> {
    maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let range = address(start)?..address(end)?;
        let is_code = fields.next() == Some("r-xp");
        // Offset, device, inode, path: what is no file has no inode.
        let inode = fields.nth(2)?;
        (is_code && inode != "0" && range.contains(&here)).then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "\
        55d000-55e000 r--p 00000000 fe:00 1234  /usr/bin/slotmgr\n\
        55e000-560000 r-xp 00001000 fe:00 1234  /usr/bin/slotmgr\n\
        560000-561000 rw-p 00003000 fe:00 1234  /usr/bin/slotmgr\n\
        700000-701000 r-xp 00000000 00:00 0     [vdso]\n\
        800000-801000 rwxp 00000000 fe:00 1234  /usr/bin/slotmgr\n";

    #[test]
    fn only_code_that_comes_back_from_a_file_is_let_go_of() {
        assert_eq!(code_around(0x55_e010, SHOWN), Some(0x55_e000..0x56_0000));
        for other in [0x55_d000, 0x56_0000, 0x70_0000, 0x80_0000, 0x90_0000] {
            assert_eq!(code_around(other, SHOWN), None, "{other:x}");
        }
        assert_eq!(code_around(0, "nonsense\n-\n0-1\n"), None);
    }

    #[test]
    fn there_is_less_of_it_in_memory_afterwards() {
        let resident = || {
            let here = format!("{:x}-", code().start);
            let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let mapping = smaps.split_once(&here).unwrap().1;
            let rss = mapping.lines().find_map(|line| line.strip_prefix("Rss:"));
            let kib = rss.unwrap().trim().trim_end_matches(" kB").to_owned();
            kib.parse::<u64>().unwrap()
        };
        let before = resident();
        let_go_of_code().unwrap();
        let after = resident();
        assert!(after < before, "{after} KiB after {before} KiB");
    }

    fn code() -> Range<usize> {
        let here = let_go_of_code as *const () as usize;
        code_around(here, &std::fs::read_to_string(MAPS).unwrap()).unwrap()
    }
}
