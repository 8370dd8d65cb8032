//! Builds, signs and inspects update bundles: the host half.
//!
//! The program `bundle-tool` is a thin face over these modules; tests of other rooms use them
//! directly. Time, randomness and environment variables come in as arguments.

pub mod chunks;
pub mod cli;
pub mod convert;
pub mod create;
pub mod delta;
pub mod encrypt;
pub mod extract;
pub mod image;
pub mod info;
pub mod keys;
pub mod observer;
pub mod open;
pub mod output;
pub mod rewrite;
pub mod self_check;
pub mod sign;
pub mod signature;
pub mod unsigned;
pub mod verify;
