//! The U-Boot environment.
//!
//! Nothing is here yet.
