//! Development tasks, and the three things that the machine tests share with them: installing
//! Debian packages ([`debian`]), running programs with their output in a log ([`command`]) and
//! showing people how far a long step is ([`progress`]).
//!
//! Everything here builds with the Rust toolchain alone, since it is what installs the rest.

pub mod bench;
pub mod command;
pub mod debian;
pub mod fuzz;
pub mod packages;
pub mod progress;
pub mod suite;
