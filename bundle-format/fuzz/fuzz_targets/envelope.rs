//! Envelopes, as they are opened with a key on a token. The token is one that opens everything, so that
//! what comes behind its answer is reached.
#![no_main]

use std::sync::{Arc, LazyLock};

use bundle_format::cms::{
    DecryptionKey, HeldKind, HolderError, KeyHolder, RsaPadding, Secret, recipients,
};
use bundle_format::{Bundle, Limits};
use libfuzzer_sys::fuzz_target;

struct Agreeable(HeldKind);

impl KeyHolder for Agreeable {
    fn kind(&self) -> HeldKind {
        self.0
    }

    fn decrypt(&self, _: &RsaPadding, encrypted: &[u8]) -> Result<Option<Secret>, HolderError> {
        // The first byte chooses: nothing, or a key of some length.
        let len = usize::from(encrypted.first().copied().unwrap_or(0) % 40);
        Ok((len > 0).then(|| vec![7; len].into()))
    }

    fn agree(&self, point: &[u8]) -> Result<Option<Secret>, HolderError> {
        Ok((!point.is_empty()).then(|| vec![7; 32].into()))
    }
}

static KEYS: LazyLock<[DecryptionKey; 2]> = LazyLock::new(|| {
    [HeldKind::Rsa, HeldKind::Ec].map(|kind| DecryptionKey::held_by(Arc::new(Agreeable(kind))))
});

fuzz_target!(|data: &[u8]| {
    let bytes = [&[0; 4096], data, &(data.len() as u64).to_be_bytes()].concat();
    let _ = recipients(data, 4096);
    for key in &*KEYS {
        let Ok(bundle) = Bundle::open(bytes.as_slice(), &Limits::default()) else { return };
        let _ = bundle.decrypt(key);
    }
});
