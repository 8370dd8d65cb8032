//! devio
