//! bundle-tool
