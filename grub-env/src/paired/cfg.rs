//! The text for `grub.cfg`.

use std::fmt;

use super::{COUNTER, FILES, FIRST_SEQ, LAST_SEQ, MAX_TRIES, NONE, Name, VARIABLES};

/// The directory cannot stand in a script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{directory:?} cannot stand in grub.cfg: letters, digits and / . _ - $ {{ }} ( ) , can, \
     for example ($root)/slots"
)]
pub struct BadCfg {
    directory: String,
}

/// What the script has to know. Its [`Display`](fmt::Display) is the script.
///
/// It needs GRUB's modules `loadenv` and `test`, and GRUB must be able to write to the directory's
/// file system (FAT, ext4, XFS on a plain partition). It sets `ab_slot` to the slot to boot and
/// `ab_why` to one of `good`, `trial`, `used-up`, `uncounted`, `default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrubCfg {
    directory: String,
    default: Name,
}

impl GrubCfg {
    /// For files in `directory` (as GRUB names it), and a slot to boot when neither copy is
    /// valid.
    ///
    /// # Errors
    /// [`BadCfg`] for a directory with bytes that mean something to GRUB's script.
    pub fn new(directory: &str, default: Name) -> Result<Self, BadCfg> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"/._-${}(),".contains(&b);
        if directory.is_empty() || !directory.bytes().all(fits) {
            return Err(BadCfg {
                directory: directory.to_owned(),
            });
        }
        Ok(Self {
            directory: directory.to_owned(),
            default,
        })
    }

    /// Loads one copy and keeps its variables under names of their own.
    fn load_copy(f: &mut fmt::Formatter<'_>, copy: usize, file: &str) -> fmt::Result {
        for name in VARIABLES {
            writeln!(f, "unset {name}")?;
        }
        writeln!(
            f,
            "load_env --skip-sig --file \"$ab_dir/{file}\" {}",
            VARIABLES.join(" ")
        )?;
        for name in VARIABLES {
            writeln!(f, "set {name}_{copy}=\"${name}\"")?;
        }
        writeln!(
            f,
            "set ab_valid_{copy}=no\n\
             if [ -n \"$ab_primary\" -a -n \"$ab_seq\" -a \"$ab_seq\" = \"$ab_end\" ]; then\n\
             \x20 if [ \"$ab_seq\" -ge {FIRST_SEQ} -a \"$ab_seq\" -le {LAST_SEQ} ]; then\n\
             \x20   set ab_valid_{copy}=yes\n\
             \x20 fi\n\
             fi"
        )
    }

    fn take_copy(f: &mut fmt::Formatter<'_>, copy: usize) -> fmt::Result {
        writeln!(f, "if [ \"$ab_pick\" = {copy} ]; then")?;
        for name in VARIABLES {
            writeln!(f, "  set {name}=\"${name}_{copy}\"")?;
        }
        writeln!(f, "fi")
    }

    fn count(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, _, file] = FILES;
        let [counted, used] = COUNTER;
        let load = format!("load_env --skip-sig --file \"$ab_dir/{file}\" {counted} {used}");
        writeln!(f, "  unset {counted}\n  unset {used}\n  {load}")?;
        writeln!(f, "  set ab_next=broken")?;
        writeln!(f, "  if [ -n \"${counted}\" -a -n \"${used}\" ]; then")?;
        writeln!(
            f,
            "    if [ \"${counted}\" != \"$ab_trial\" ]; then set {used}=0; fi"
        )?;
        writeln!(
            f,
            "    if [ \"${used}\" -ge \"$ab_tries\" ]; then set ab_next=used-up"
        )?;
        // GRUB's script cannot add.
        for n in 0..MAX_TRIES {
            writeln!(
                f,
                "    elif [ \"${used}\" = {n} ]; then set ab_next={}",
                n + 1
            )?;
        }
        writeln!(f, "    fi\n  fi")?;
        writeln!(
            f,
            "  if [ \"$ab_next\" = used-up ]; then\n    set ab_why=used-up"
        )?;
        writeln!(f, "  elif [ \"$ab_next\" != broken ]; then")?;
        writeln!(
            f,
            "    set {counted}=\"$ab_trial\"\n    set {used}=\"$ab_next\""
        )?;
        writeln!(f, "    save_env --file \"$ab_dir/{file}\" {counted} {used}")?;
        // Only what can be read back was counted.
        writeln!(f, "    unset {counted}\n    unset {used}\n    {load}")?;
        writeln!(
            f,
            "    if [ \"${counted}\" = \"$ab_trial\" -a \"${used}\" = \"$ab_next\" ]; then\n\
             \x20     set ab_why=trial\n\
             \x20   fi\n\
             \x20 fi"
        )
    }
}

impl fmt::Display for GrubCfg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Made by slotmgr's grub-env. Takes the slot to boot from {0} and {1}, which Linux writes in\n\
             # turn, and counts tries in {2}, which only GRUB writes. Sets ab_slot and ab_why.",
            FILES[0], FILES[1], FILES[2]
        )?;
        writeln!(f, "set ab_dir=\"{}\"", self.directory)?;
        for (copy, file) in [(1, FILES[0]), (2, FILES[1])] {
            Self::load_copy(f, copy, file)?;
        }
        writeln!(
            f,
            "set ab_pick={NONE}\n\
             if [ \"$ab_valid_1\" = yes ]; then set ab_pick=1; fi\n\
             if [ \"$ab_valid_2\" = yes ]; then\n\
             \x20 if [ \"$ab_pick\" = {NONE} ]; then set ab_pick=2\n\
             \x20 elif [ \"$ab_seq_2\" -gt \"$ab_seq_1\" ]; then set ab_pick=2\n\
             \x20 fi\n\
             fi"
        )?;
        Self::take_copy(f, 1)?;
        Self::take_copy(f, 2)?;
        writeln!(f, "set ab_slot=\"$ab_primary\"\nset ab_why=good")?;
        writeln!(f, "if [ \"$ab_pick\" = {NONE} ]; then")?;
        writeln!(
            f,
            "  set ab_slot=\"{}\"\n  set ab_why=default",
            self.default
        )?;
        writeln!(
            f,
            "elif [ \"$ab_trial\" != {NONE} ]; then\n  set ab_why=uncounted"
        )?;
        Self::count(f)?;
        writeln!(
            f,
            "  if [ \"$ab_why\" != trial -a \"$ab_fallback\" != {NONE} ]; then\n\
             \x20   set ab_slot=\"$ab_fallback\"\n\
             \x20 fi\n\
             fi"
        )
    }
}
