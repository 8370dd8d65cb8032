//! The manual pages of `rauc` under `docs/man/` are made from the argument definitions.
//!
//! `UPDATE_PAGES=1 cargo test -p rauc-compat --test manual_pages` writes them anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first surprise"
)]

use std::path::Path;

use clap::CommandFactory as _;

#[test]
fn they_say_what_the_program_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man");
    let mut command = rauc_compat::arguments::Arguments::command();
    command.build();
    let verbs = command.get_subcommands().map(|verb| {
        let name = format!("rauc-{}.1", verb.get_name());
        (name, verb.clone())
    });
    let all: Vec<_> = verbs
        .chain([("rauc.1".to_owned(), command.clone())])
        .collect();
    for (name, command) in all {
        let page = clap_mangen::Man::new(command)
            .date("")
            .source("slotmgr")
            .manual("slotmgr manual");
        let mut bytes = Vec::new();
        page.render(&mut bytes).unwrap();
        let path = directory.join(&name);
        if std::env::var_os("UPDATE_PAGES").is_some() {
            fs_err::write(&path, &bytes).unwrap();
        }
        assert!(
            fs_err::read(&path).unwrap_or_default() == bytes,
            "docs/man/{name} is not what the program says; run UPDATE_PAGES=1 cargo test -p \
             rauc-compat --test manual_pages and look at the difference"
        );
    }
}
