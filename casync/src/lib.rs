//! The casync formats: chunker, `.caibx`/`.caidx` index, chunk codec and assembly plan.
//!
//! Nothing is here yet. Deltas come with the issue that brings them; a bundle is written whole until then.
