//! The manual pages under `docs/man/` are made from the argument definitions, and do not drift.
//!
//! `UPDATE_PAGES=1 cargo test -p slotmgr --test manual_pages` writes them anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

use std::path::{Path, PathBuf};

use clap::CommandFactory;
use slotmgr::cli::args::Options;

fn pages(command: &clap::Command, name: &str, into: &mut Vec<(String, Vec<u8>)>) {
    let page = clap_mangen::Man::new(command.clone())
        .date("")
        .source("slotmgr")
        .manual("slotmgr manual");
    let mut bytes = Vec::new();
    page.render(&mut bytes).unwrap();
    into.push((format!("{name}.1"), bytes));
    for verb in command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help")
    {
        pages(verb, &format!("{name}-{}", verb.get_name()), into);
    }
}

#[test]
fn they_say_what_the_program_says() {
    let directory: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man");
    let mut all = Vec::new();
    for (name, mut command) in [
        ("slotmgr", Options::command()),
        ("bundle-tool", bundle_tool::cli::Args::command()),
        ("grub-env", grub_env::cli::command()),
        ("uboot-env", uboot_env::cli::command()),
    ] {
        command.build();
        pages(&command, name, &mut all);
    }
    assert!(all.len() > 20);
    for (name, page) in all {
        let path = directory.join(&name);
        if std::env::var_os("UPDATE_PAGES").is_some() {
            fs_err::write(&path, &page).unwrap();
        }
        let stored = fs_err::read(&path).unwrap_or_default();
        assert!(
            stored == page,
            "docs/man/{name} is not what the program says; run UPDATE_PAGES=1 cargo test -p \
             slotmgr --test manual_pages and look at the difference"
        );
    }
}
