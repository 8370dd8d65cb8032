//! The RAUC bundle as bytes.
