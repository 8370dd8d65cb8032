//! An environment image as bytes: header, CRC, data area.

use crate::env::Env;
use crate::limits::{MAX_ENV_SIZE, MIN_ENV_SIZE};
use thiserror::Error;

/// Whether the image has a flags byte. Nothing in the bytes says so: only the CRC at one or the
/// other length fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One copy: CRC, data.
    Single,
    /// One of two copies (`CONFIG_ENV_REDUNDANT`): CRC, flags, data.
    Redundant,
}

impl Layout {
    /// Offset of the data area in the image.
    #[must_use]
    pub const fn data_offset(self) -> usize {
        match self {
            Self::Single => 4,
            Self::Redundant => FLAGS_OFFSET + 1,
        }
    }

    /// Bytes of the data area of an image of `size` bytes.
    #[must_use]
    pub fn capacity(self, size: u64) -> u64 {
        size.saturating_sub(self.data_offset() as u64)
    }
}

/// Offset of the flags byte in a redundant image.
pub const FLAGS_OFFSET: usize = 4;

/// Byte order of the CRC: that of the CPU that U-Boot runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endian {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl Endian {
    /// The byte order of this machine, right when run on the device itself.
    #[must_use]
    pub const fn native() -> Self {
        if cfg!(target_endian = "big") {
            Self::Big
        } else {
            Self::Little
        }
    }

    /// The other one.
    #[must_use]
    pub const fn swapped(self) -> Self {
        match self {
            Self::Little => Self::Big,
            Self::Big => Self::Little,
        }
    }

    pub(crate) fn decode(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    fn encode(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }
}

/// Why bytes are no environment image.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImageError {
    /// Smaller than the smallest, or larger than the largest supported environment.
    #[error(
        "an environment of {size} bytes is outside the supported {MIN_ENV_SIZE} to {MAX_ENV_SIZE}"
    )]
    Size {
        /// The size given.
        size: u64,
    },
    /// The CRC does not fit: a torn write, another size, another layout, or no environment.
    #[error("bad CRC: stored {stored:08x}, computed {computed:08x} over {len} bytes")]
    Crc {
        /// As stored in the header.
        stored: u32,
        /// Over the data area.
        computed: u32,
        /// Length of the data area.
        len: usize,
    },
    /// The variables do not fit into the image.
    #[error("the variables need {need} bytes, the environment has room for {room}")]
    TooBig {
        /// With all NULs.
        need: u64,
        /// Of the data area.
        room: u64,
    },
}

/// How the data area ends. The CRC of both is right; they differ in who can read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Two NULs, as all readers expect.
    Terminated,
    /// The area is full and the closing NUL is missing (libubootenv lets that happen). U-Boot
    /// reads it, U-Boot's `fw_printenv` refuses it.
    Unterminated,
}

/// One environment image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The CRC, as stored and as computed.
    pub crc: u32,
    /// Value of the flags byte; `None` in a single-copy image.
    pub flags: Option<u8>,
    /// The variables.
    pub env: Env,
    /// How the data area ends.
    pub ending: Ending,
}

impl Image {
    /// Parses an image; `bytes` must be exactly as long as `CONFIG_ENV_SIZE` says, since the CRC
    /// covers the padding too.
    ///
    /// # Errors
    /// [`ImageError::Size`] or [`ImageError::Crc`].
    pub fn parse(bytes: &[u8], layout: Layout, endian: Endian) -> Result<Self, ImageError> {
        check_size(bytes.len() as u64)?;
        let size = ImageError::Size {
            size: bytes.len() as u64,
        };
        let (header, data) = bytes
            .split_at_checked(layout.data_offset())
            .ok_or(size.clone())?;
        let stored = endian.decode(*header.first_chunk::<4>().ok_or(size)?);
        let computed = crc32fast::hash(data);
        if stored != computed {
            return Err(ImageError::Crc {
                stored,
                computed,
                len: data.len(),
            });
        }
        let flags = match layout {
            Layout::Single => None,
            Layout::Redundant => header.get(FLAGS_OFFSET).copied(),
        };
        let (env, ending) = parse_data(data);
        Ok(Self {
            crc: stored,
            flags,
            env,
            ending,
        })
    }

    /// The image as bytes: `size` long, padded with zeros, CRC over the whole data area.
    /// A flags byte is written if there is one.
    ///
    /// # Errors
    /// [`ImageError::TooBig`] or [`ImageError::Size`].
    pub fn render(
        env: &Env,
        flags: Option<u8>,
        size: u64,
        endian: Endian,
    ) -> Result<Vec<u8>, ImageError> {
        check_size(size)?;
        let len = usize::try_from(size).map_err(|_| ImageError::Size { size })?;
        let layout = if flags.is_some() {
            Layout::Redundant
        } else {
            Layout::Single
        };
        let (need, room) = (env.stored_len(), layout.capacity(size));
        if need > room {
            return Err(ImageError::TooBig { need, room });
        }
        let mut data = Vec::with_capacity(len);
        for entry in env.entries() {
            data.extend_from_slice(entry);
            data.push(0);
        }
        data.resize(len - layout.data_offset(), 0);
        let mut out = Vec::with_capacity(len);
        out.extend_from_slice(&endian.encode(crc32fast::hash(&data)));
        out.extend(flags);
        out.append(&mut data);
        Ok(out)
    }
}

/// Refuses sizes that cannot be an environment.
pub(crate) fn check_size(size: u64) -> Result<(), ImageError> {
    if (MIN_ENV_SIZE..=MAX_ENV_SIZE).contains(&size) {
        Ok(())
    } else {
        Err(ImageError::Size { size })
    }
}

/// Splits a data area into its entries. What follows the closing NUL is padding, of any value.
fn parse_data(data: &[u8]) -> (Env, Ending) {
    let mut entries = Vec::new();
    let mut rest = data;
    loop {
        match rest.iter().position(|&b| b == 0) {
            Some(0) => return (Env::from_entries(entries), Ending::Terminated),
            Some(end) => {
                let (entry, tail) = rest.split_at(end);
                entries.push(entry.to_vec());
                rest = tail.get(1..).unwrap_or_default();
            }
            None => {
                if !rest.is_empty() {
                    entries.push(rest.to_vec());
                }
                return (Env::from_entries(entries), Ending::Unterminated);
            }
        }
    }
}

#[cfg(test)]
mod tests;
