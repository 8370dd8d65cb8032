//! Every cap of this crate, in one place. All are checked before memory is taken.

/// Smallest environment that can hold anything: CRC, flags, one NUL.
pub const MIN_ENV_SIZE: u64 = 6;

/// Largest environment accepted from a configuration. U-Boot boards use 4 KiB to 256 KiB.
pub const MAX_ENV_SIZE: u64 = 4 * 1024 * 1024;

/// Longest configuration file read (`fw_env.config` or YAML).
pub const MAX_CONFIG_BYTES: u64 = 64 * 1024;

/// Longest script or default environment file read.
pub const MAX_SCRIPT_BYTES: u64 = 4 * 1024 * 1024;

/// Longest sysfs attribute read.
pub const MAX_SYSFS_BYTES: u64 = 4096;

/// Most UBI volumes looked at while resolving a volume name.
pub const MAX_UBI_VOLUMES: usize = 4096;

/// Most pieces that one environment scan passes over since they cannot be read.
pub const MAX_UNREADABLE_PIECES: usize = 4096;

/// Largest environment that a scan can find.
pub const MAX_SCAN_ENV_SIZE: usize = 1024 * 1024;

/// Most environments that one scan reports.
pub const MAX_SCAN_HITS: usize = 64;

/// What storage of every kind writes as a whole, in bytes: a power cut leaves it old or new.
pub const SECTOR: u64 = 512;
