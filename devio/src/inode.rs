//! Taking the immutable flag off a file: efivarfs sets it on variables that the kernel does not
//! know.
//!
//! Source: `ioctl_iflags(2)`, `include/uapi/linux/fs.h`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::request::{FS_IOC_GETFLAGS, FS_IOC_SETFLAGS};

mod raw {
    nix::ioctl_read_bad!(get, super::FS_IOC_GETFLAGS, u32);
    nix::ioctl_write_ptr_bad!(set, super::FS_IOC_SETFLAGS, u32);
}

const IMMUTABLE: u32 = 0x0000_0010;

/// Takes the flag off, if it is there. A file system without such flags is fine.
///
/// # Errors
/// What the kernel says; taking it off needs `CAP_LINUX_IMMUTABLE`.
pub fn clear_immutable(file: &File) -> io::Result<()> {
    let mut flags = 0_u32;
    // SAFETY: FS_IOC_GETFLAGS writes one 32-bit int through the pointer, whatever size its number
    // encodes (ioctl_iflags(2)); `flags` is one and outlives the call.
    match unsafe { raw::get(file.as_raw_fd(), &raw mut flags) } {
        Ok(_) => {}
        Err(nix::Error::ENOTTY | nix::Error::EOPNOTSUPP | nix::Error::EINVAL) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    }
    if flags & IMMUTABLE == 0 {
        return Ok(());
    }
    flags &= !IMMUTABLE;
    // SAFETY: FS_IOC_SETFLAGS reads one 32-bit int through the pointer, whatever size its number
    // encodes; `flags` is one and outlives the call.
    unsafe { raw::set(file.as_raw_fd(), &raw const flags) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_the_flag_or_without_flags_is_fine() {
        clear_immutable(&tempfile::tempfile().unwrap()).unwrap();
        clear_immutable(&File::open("/proc/version").unwrap()).unwrap();
    }
}
