//! Slots: their names, how they belong together, which one runs, which one is written next.
//!
//! Nothing here does I/O. Which slot may be written is a type: [`Booted`] and [`Target`] cannot
//! be mixed up, and a `Target` comes only out of [`Layout::targets`], which never hands out the
//! running slot.

mod evidence;
mod kind;
mod layout;
mod name;
mod select;
mod state;

pub use evidence::{Evidence, parameter, parse_cmdline};
pub use kind::{FirmwareEntry, InstallSame, Mounted, Region, Resize, SlotKind, SlotOptions};
pub use layout::{
    Access, Booted, BootedError, Layout, LayoutError, OUTSIDE, Running, Slot, SlotId,
};
pub use name::{BootName, NameError, SlotName};
pub use select::{History, SelectError, Target, TargetGroup};
pub use state::{Role, role};
