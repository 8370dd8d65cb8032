//! uboot-env
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
