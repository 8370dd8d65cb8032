//! Proving that nobody has a file open for writing.
//!
//! Source: `fcntl(2)`, "Leases".

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Why it is not proven.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody has it open for writing: another program, or this one.
    #[error("another program has the file open for writing")]
    Writer,
    /// The kernel or the file system gives no leases to us.
    #[error("the kernel does not tell whether somebody has the file open for writing")]
    Io(#[source] io::Error),
}

/// Takes a read lease on a file that was opened for reading, and drops it again: the kernel gives one
/// only if no open file can write.
///
/// # Errors
/// [`LeaseError::Writer`] if one can. Leases on somebody else's file need `CAP_LEASE`.
pub fn prove_no_writer(file: &File) -> Result<(), LeaseError> {
    match take_and_drop(file, libc::F_RDLCK) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(LeaseError::Writer),
        taken => taken.map_err(LeaseError::Io),
    }
}

/// Whether somebody else has the file open in any way, mapped it, or uses it as a disk: the kernel gives
/// a write lease only to the one who has it open alone.
///
/// # Errors
/// The kernel or the file system gives no leases to us.
pub fn is_open_elsewhere(file: &File) -> io::Result<bool> {
    match take_and_drop(file, libc::F_WRLCK) {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) => Err(error),
    }
}

fn take_and_drop(file: &File, lease: libc::c_int) -> io::Result<()> {
    // SAFETY: F_SETLEASE takes an int by value and touches no memory of ours (fcntl(2)).
    let set = |lease: libc::c_int| match unsafe {
        libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, lease)
    } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    };
    set(lease)?;
    set(libc::F_UNLCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_found_and_readers_are_not_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let writer = File::create(&path).unwrap();
        let file = File::open(&path).unwrap();
        assert!(matches!(prove_no_writer(&file), Err(LeaseError::Writer)));
        drop(writer);
        let _reader = File::open(&path).unwrap();
        prove_no_writer(&file).unwrap();
        // The lease is gone again: a writer does not wait for anybody.
        let _writer = File::options().write(true).open(&path).unwrap();
    }

    #[test]
    fn a_reader_is_found_where_nobody_else_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        drop(File::create(&path).unwrap());
        let file = File::open(&path).unwrap();
        assert!(!is_open_elsewhere(&file).unwrap());
        let reader = File::open(&path).unwrap();
        assert!(is_open_elsewhere(&file).unwrap());
        drop(reader);
        assert!(!is_open_elsewhere(&file).unwrap());
    }
}
