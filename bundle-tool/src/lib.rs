//! Builds, signs and inspects update bundles: the host half.
//!
//! The program `bundle-tool` is a thin face over these modules; tests of other rooms use them
//! directly. Time, randomness and environment variables come in as arguments.

pub mod cli;
pub mod create;
pub mod info;
pub mod keys;
pub mod observer;
pub mod output;
pub mod sign;
pub mod verify;
