//! Two copies: without a valid one nothing may be written, and the one in use is never written
//! first.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uboot_env::codec::{Endian, Layout};
use uboot_env::env::{Env, VarName};
use uboot_env::select::{CopyId, FlagScheme};
use uboot_env::snapshot::{Shape, Snapshot};

fuzz_target!(|data: &[u8]| {
    // The first two bytes say whether the CRC of each copy is made to fit.
    let [mend_first, mend_second, rest @ ..] = data else { return };
    let (first, second) = rest.split_at(rest.len() / 2);
    let mend = |bytes: &[u8], mend: u8| {
        let mut copy = bytes.to_vec();
        if copy.len() > 5 && mend & 1 == 1 {
            let crc = crc32fast::hash(&copy[5..]);
            copy[..4].copy_from_slice(&crc.to_le_bytes());
        }
        copy
    };
    let copies = [mend(first, *mend_first), mend(second, *mend_second)];
    for scheme in [FlagScheme::Incremental, FlagScheme::Boolean] {
        let shape = Shape {
            layout: Layout::Redundant,
            size: copies[0].len() as u64,
            endian: Endian::Little,
            scheme,
        };
        let [one, two] = copies.clone();
        let snapshot = Snapshot::new(shape, Ok(one), Some(Ok(two)));
        let mut wanted = snapshot.env().cloned().unwrap_or_else(Env::new);
        if let Ok(name) = VarName::new("fuzz") {
            let _ = wanted.set(&name, b"1");
        }
        let plan = snapshot.plan(&wanted);
        if snapshot.env().is_none() {
            assert!(plan.is_err(), "a write without a valid copy");
        } else if let (Ok(plan), Some(image)) = (plan, snapshot.image())
            && let Some(step) = plan.steps.first()
            && let Some(Ok(target)) = snapshot.copy(step.copy)
        {
            let in_use = [CopyId::First, CopyId::Second]
                .iter()
                .all(|id| matches!(snapshot.copy(*id), Some(Ok(_))));
            assert!(!in_use || !std::ptr::eq(target, image), "the copy in use is written first");
        }
    }
});
