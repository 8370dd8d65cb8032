//! The U-Boot environment: read by everybody, written so that a power cut at any moment leaves
//! either the old or the new one.
//!
//! # The bytes
//!
//! An environment is a block of exactly `CONFIG_ENV_SIZE` bytes.
//!
//! ```text
//! single copy                              one of two copies (CONFIG_ENV_REDUNDANT)
//!
//! 0        4                               0        4     5
//! ┌────────┬───────────────────────────┐   ┌────────┬─────┬─────────────────────┐
//! │ CRC-32 │ data                      │   │ CRC-32 │flags│ data                │
//! └────────┴───────────────────────────┘   └────────┴─────┴─────────────────────┘
//!  u32      size - 4 bytes                  u32      u8    size - 5 bytes
//!
//! data:   n a m e = v a l u e ␀  n a m e 2 = v ␀  ␀  0 0 0 0 0 0 0 … to the end
//!         └──── entry ─────┘     └── entry ──┘    │  └────── padding ──────┘
//!                                                 └ an empty entry is the end
//! ```
//!
//! * The CRC is that of zlib (IEEE), over the **whole** data area with its padding, in the byte order
//!   of the target's CPU. A wrong size in the configuration is therefore a "bad CRC", and nothing in the
//!   bytes says whether there is a flags byte: only the CRC at 4 or at 5 tells
//!   ([`codec`]; [`scan`] uses just that to find an environment).
//! * The flags byte is *not* covered by the CRC. It says which of two valid copies counts
//!   ([`select`]).
//! * Padding is zero here. mkenvimage pads with 0xFF, others leave what was in memory.
//! * An entry is kept verbatim, whether it means something or not. `name=` and a bare `name` make
//!   U-Boot delete the variable, `#…` is a comment. Only an entry with an empty name, for which U-Boot
//!   rejects everything, goes with the next change ([`env`](mod@env)).
//! * **Order**: entries stay where they are. A new variable goes to its sorted place if the entries are
//!   sorted, as U-Boot and libubootenv write them; else to the end, as U-Boot's `fw_setenv` does.
//!   So an edit changes one place, and a file written by U-Boot stays as U-Boot would write it.
//! * **Backslashes**: U-Boot removes one level when it loads (`x\y` becomes `xy`) and adds one
//!   when it saves; the Linux tools do neither. [`env::View`] has both.
//! * **Room**: the sum of all entries with their NULs, plus one. U-Boot's own check before saving does
//!   not count the backslashes it will add. Its table holds about 512 variables, fewer in a
//!   small environment.
//!
//! # Two copies
//!
//! | medium | flags | a new copy gets | afterwards |
//! |---|---|---|---|
//! | NOR, DataFlash | 1 active, 0 obsolete | 1 | the old one's flags byte is programmed to 0 |
//! | NAND, UBI, block device, file | counter | current + 1, 255 → 0 | nothing |
//!
//! One transaction ([`txn`]) is: take the locks of *both* tool families and the devices'; read both
//! copies; edit; write the copy that does **not** count; make it durable; read it back and compare;
//! then mark the old one. Until the new copy is complete its CRC is wrong, so the old one counts:
//!
//! | power fails… | U-Boot reads |
//! |---|---|
//! | before, or while the new copy is written | the old environment |
//! | after it is complete, NOR: before the old one is marked | old or new, both whole |
//! | later | the new environment |
//!
//! One copy that cannot be read (an interrupted UBI update, ECC errors, a short file, a missing
//! device) does not matter, and the next change heals it. If the flags are a pair that no writer
//! leaves, readers may disagree: then both copies are written, one after the other. If *no* copy
//! is valid, nothing is written unless that is asked for in so many words. A single copy on a block
//! device or flash has no such safety, and `doctor` says so; a single copy in a file is replaced
//! by renaming. The one valid copy of a redundant environment is never written over, not even
//! when the other one cannot be written at all.
//!
//! # For other programs
//!
//! [`snapshot::Snapshot`] judges bytes that were read by any means and
//! [`plan`](snapshot::Snapshot::plan)s the writes; a caller with I/O of its own carries the steps out
//! in order. With [`storage::EnvStorage`] the transaction does that itself:
//!
//! ```
//! use uboot_env::{codec::{Endian, Image, Layout}, env::{Env, VarName}, snapshot::Snapshot};
//! use uboot_env::{select::{CopyId, FlagScheme}, snapshot::Shape};
//!
//! let shape = Shape {
//!     layout: Layout::Redundant,
//!     size: 0x1000,
//!     endian: Endian::Little,
//!     scheme: FlagScheme::Incremental,
//! };
//! let mut env = Env::new();
//! env.set(&VarName::new("BOOT_ORDER")?, b"A B")?;
//! let first = Image::render(&env, Some(7), shape.size, shape.endian)?;
//! let erased = vec![0xFF; 0x1000];
//!
//! let snapshot = Snapshot::new(shape, Ok(first), Some(Ok(erased)));
//! let mut wanted = snapshot.env().cloned().unwrap_or_default();
//! wanted.set(&VarName::new("BOOT_ORDER")?, b"B A")?;
//! let plan = snapshot.plan(&wanted)?;
//! assert_eq!(plan.steps.len(), 1);
//! assert_eq!(plan.steps[0].copy, CopyId::Second);
//! assert_eq!(plan.steps[0].image[4], 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The programs
//!
//! `uboot-env print|set|doctor`; under the names `fw_printenv` and `fw_setenv` it takes their options.
//! Where it differs from libubootenv (every point is a test in `tests/peer_libubootenv.rs`):
//!
//! * a missing variable is an error, as in U-Boot's tool, not an empty value;
//! * an empty value deletes, as in U-Boot's tool;
//! * words after the value belong to it, as in U-Boot's tool (`--dialect libubootenv` for pairs);
//! * `-n` needs a name, as in U-Boot's tool; `--noheader` is known, as there;
//! * an unknown option, no variable at all, a script that cannot be read, and a script together with
//!   variables are errors, not remarks or nothing;
//! * a name that no reader would take back as written (empty, `#…`, a leading blank, a line break) is
//!   refused; an entry without a name that is there already is taken out by the next change, since
//!   U-Boot rejects everything because of it;
//! * the closing NUL always has its place: theirs lets the last variable take it;
//! * no default environment is ever printed or written on its own account;
//! * every line of the configuration and of a script is understood, or it is an error;
//! * `.flags` is obeyed and never rewritten.
//!
//! Not done: the encrypted environments of old U-Boot versions (`-a`), and taking the place of the
//! environment from the device tree's nvmem nodes when there is no configuration.

pub mod access;
pub mod cli;
pub mod codec;
pub mod config;
pub mod env;
pub mod limits;
pub mod scan;
pub mod script;
pub mod select;
pub mod snapshot;
pub mod storage;
pub mod txn;
