//! uboot-env
pub mod codec;
pub mod env;
pub mod limits;
pub mod select;
