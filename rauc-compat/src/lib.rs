//! rauc-compat
