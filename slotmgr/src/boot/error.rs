//! Why the bootloader's memory could not be read or changed.

use std::io;

use super::Standing;
use super::program::ProgramError;
use crate::slot::SlotName;
use crate::storage::OpenError;

/// Why the bootloader's memory could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Not to be opened.
    #[error("while opening the boot environment")]
    Open(#[source] OpenError),
    /// Reading, writing, or the barrier failed.
    #[error("while {doing} the boot environment")]
    Io {
        /// reading, writing, syncing, reading back.
        doing: &'static str,
        /// What the device said.
        #[source]
        source: io::Error,
    },
    /// It is not an environment of this bootloader.
    #[error("the boot environment is damaged")]
    Damaged(#[source] grub_env::BlockError),
    /// A name or value that cannot stand in the environment.
    #[error("the boot environment cannot hold {what}")]
    Value {
        /// Variable and value.
        what: String,
        /// Why not.
        #[source]
        source: grub_env::BadVariable,
    },
    /// The change would not be one sector.
    #[error(
        "the boot environment has too much in it: slotmgr's variables must fit into its first 512 \
         bytes, since only one sector is written as a whole when the power fails. Nothing was \
         changed; remove other variables (`grub-env list`, `grub-env unset`)"
    )]
    NotAtomic,
    /// Neither of the paired files can be used.
    #[error(
        "the paired files of GRUB's boot state cannot be used. Nothing was changed; \
         `grub-env pair show` tells what is wrong with each"
    )]
    Pair(#[source] grub_env::paired::PairError),
    /// A file of the paired scheme that is not one sector long.
    #[error(
        "a file of GRUB's paired boot state has {size} bytes instead of 512. Nothing was changed; \
         `grub-env pair create` makes it anew"
    )]
    PairLength {
        /// Its bytes.
        size: u64,
    },
    /// GRUB's paired scheme always names a slot to start.
    #[error(
        "slot {slot} is the only one that GRUB could start: it cannot be marked bad. Nothing was \
         changed; make another slot active first"
    )]
    OnlySlot {
        /// Its boot name.
        slot: String,
    },
    /// No copy of U-Boot's environment can be used, or the variables do not fit.
    #[error("the U-Boot environment cannot be used. Nothing was changed")]
    NoPlan(#[source] uboot_env::snapshot::PlanError),
    /// A single copy that is larger than one sector.
    #[error(
        "the U-Boot environment is a single copy of {size} bytes: a power cut while it is written \
         would destroy it. Nothing was changed; use two copies (CONFIG_ENV_REDUNDANT), or one of \
         512 bytes that begins at a multiple of 512"
    )]
    SingleCopy {
        /// Bytes of the copy.
        size: u64,
    },
    /// A name or value that U-Boot cannot store.
    #[error("the boot environment cannot hold {what}")]
    Variable {
        /// Variable and value.
        what: String,
        /// Why not.
        #[source]
        source: uboot_env::env::VarError,
    },
    /// What was written is not what is read.
    #[error(
        "the boot environment reads back differently from what was written to it: its storage is \
         not reliable"
    )]
    ReadBack,
    /// The running slot would not be started any more.
    #[error(
        "the running slot {slot} is {standing} for the bootloader, so that nothing could be \
         started if the power failed during the installation. Let it be confirmed first \
         (`slotmgr trial`, or `slotmgr mark good booted`)"
    )]
    RunningSlotNotGood {
        /// The running slot.
        slot: SlotName,
        /// As the bootloader sees it.
        standing: Standing,
    },
    /// A bootloader's own program.
    #[error("the bootloader's program did not do what it was asked for")]
    Program(#[source] ProgramError),
    /// `bootloader=noop`.
    #[error(
        "bootloader=noop remembers nothing: which slot is started, and whether it is good, cannot \
         be told"
    )]
    NoMemory,
    /// A variable of the firmware.
    #[error("while {doing} {name} of the firmware")]
    Variables {
        /// reading, writing, removing.
        doing: &'static str,
        /// The variable.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No entry of the firmware's boot manager.
    #[error(
        "the firmware has no active boot entry that is called {name}, and system.conf does not \
         say what would be in one. Nothing was changed; give the slot an `efi-loader` (and \
         `efi-cmdline`), or make the entry with `efibootmgr --create-only --label {name} ...`"
    )]
    NoEntry {
        /// The boot name.
        name: String,
    },
    /// A lost entry that cannot be made anew.
    #[error(
        "the firmware has lost the boot entry that is called {name}, and it cannot be made anew, \
         since the slot's partition is not to be found. Nothing was changed"
    )]
    EntryPlace {
        /// The boot name.
        name: String,
        /// Why not.
        #[source]
        source: super::efi::place::PlaceError,
    },
    /// A file of systemd-boot's.
    #[error("while {doing} {}", path.display())]
    EntryFile {
        /// reading, writing, renaming, adding.
        doing: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An entry of systemd-boot that cannot be worked with.
    #[error("systemd-boot's entry {file} {why}. Nothing was changed")]
    Entry {
        /// Its name.
        file: String,
        /// What is wrong with it.
        why: super::systemd_boot::entry::BadEntry,
    },
    /// systemd-boot does not start the first entry.
    #[error(
        "which entry systemd-boot starts is set by {by}, so that slotmgr cannot choose a slot. \
         Nothing was changed; remove it"
    )]
    DefaultEntry {
        /// By what.
        by: String,
    },
    /// An entry is gone, and there is no copy of it.
    #[error(
        "systemd-boot has no entry for {name}, and there is no spare copy to make it anew \
         (slotmgr/{name}.conf, in the folder of loader.conf). Nothing was changed"
    )]
    NoSpareEntry {
        /// The boot name.
        name: String,
    },
    /// No partition of a slot's name.
    #[error("the partition table has no partition that is called {name}. Nothing was changed")]
    NoPartition {
        /// The boot name.
        name: String,
    },
    /// Two partitions of a slot's name.
    #[error(
        "the partition table has more than one partition that is called {name}, so that it cannot be \
         told which is the slot's. Nothing was changed; give the other one another name"
    )]
    TwoPartitions {
        /// The boot name.
        name: String,
    },
    /// `autoboot.txt`, or what the firmware says of itself.
    #[error("the Raspberry Pi's boot configuration cannot be used: {0}. Nothing was changed")]
    Tryboot(&'static str),
    /// What the next restart has to be told.
    #[error("cannot ask for the restart with `tryboot` (in {})", path.display())]
    RebootParameter {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The partition table.
    #[error(transparent)]
    Gpt(#[from] crate::partition::gpt::GptError),
    /// A slot without a boot name.
    #[error("slot {0} has no boot name: the bootloader does not know it")]
    NoBootName(SlotName),
}
