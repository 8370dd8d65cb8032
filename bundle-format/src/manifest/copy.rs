//! The copy of the manifest inside the payload.
//!
//! What was signed rules, and nobody acts upon the copy. A bundle in which the two contradict each
//! other was put together of parts all the same: `rauc extract` and people who look into the
//! payload see another update than the one that is installed.

use super::{Image, Manifest};

impl Manifest {
    /// In what `copy` contradicts this manifest; `None` if both speak of the same update.
    ///
    /// The copy is written before the hash tree exists, and some writers lose keys in it: only what
    /// says which update this is and what is installed counts.
    pub(crate) fn contradiction(&self, copy: &Self) -> Option<String> {
        if self.update.compatible != copy.update.compatible {
            return Some("compatible".to_owned());
        }
        if self.update.version != copy.update.version {
            return Some("version".to_owned());
        }
        let mut pairs = self.images.iter().zip(&copy.images);
        if let Some((image, _)) = pairs.find(|(image, copy)| !image.installs_the_same(copy)) {
            return Some(format!("image {}", image.label()));
        }
        (self.images.len() != copy.images.len()).then(|| "the number of images".to_owned())
    }
}

impl Image {
    fn installs_the_same(&self, other: &Self) -> bool {
        self.label() == other.label()
            && self.filename == other.filename
            && self.sha256 == other.sha256
            && self.size.unwrap_or(0) == other.size.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_and_what_does_not() {
        let text = "[update]\ncompatible=a\nversion=1\n[image.rootfs]\nfilename=x.img\nsize=7\n";
        let signed = Manifest::parse(text.as_bytes()).unwrap();
        let against = |from: &str, to: &str| {
            let copy = Manifest::parse(text.replace(from, to).as_bytes()).unwrap();
            signed.contradiction(&copy)
        };
        assert_eq!(against("", ""), None);
        assert_eq!(against("[update]\n", "[update]\nbuild=5\n"), None);
        assert_eq!(against("=a", "=b").unwrap(), "compatible");
        assert_eq!(against("=1", "=2").unwrap(), "version");
        for (from, to) in [("rootfs", "boot"), ("x.img", "y.img"), ("size=7", "size=8")] {
            assert_eq!(against(from, to).unwrap(), "image rootfs");
        }
        let more = against("[image.rootfs]", "[image.b]\nfilename=b\n[image.rootfs]");
        assert_eq!(more.unwrap(), "image rootfs");
        let more = against("size=7\n", "size=7\n[image.b]\nfilename=b\n");
        assert_eq!(more.unwrap(), "the number of images");
    }
}
