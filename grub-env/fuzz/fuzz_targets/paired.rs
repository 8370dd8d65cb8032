//! Two files and a counter, whatever is in them: somebody is started.
#![no_main]

use grub_env::paired::{Name, Pair, decide};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let third = data.len() / 3;
    let (first, rest) = data.split_at(third);
    let (second, counter) = rest.split_at(third);
    let pair = Pair::parse(first, second);
    let default = Name::new("A").expect("a good name");
    let boot = decide(&pair, counter, &default);
    // Without a record in force there is nothing but the default to start.
    assert!(pair.in_force().is_some() || boot.slot == default);
});
