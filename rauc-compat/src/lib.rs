//! The `rauc` command line as a thin face over `bundle-tool` and `slotmgr`: RAUC's arguments,
//! output formats and exit codes, and no logic of its own.
//!
//! Nothing is here yet. `rauc bundle`, `info`, `extract`, `resign` and their like come with the
//! issue about bundles, `rauc install`, `status`, `mark-*` and `service` with the one about the
//! device; until then there is no program of that name.
