//! The copy of the manifest inside the payload.
//!
//! What was signed rules, and nobody acts upon the copy. A bundle in which the two contradict each
//! other was put together of parts all the same: `rauc extract` and people who look into the
//! payload see another update than the one that is installed.

use super::{Image, Manifest};

impl Manifest {
    /// In what `copy` contradicts this manifest; `None` if both can speak of the same update.
    ///
    /// The copy may say less: it is written before images are hashed and the tree is built, and
    /// some writers lose keys in it.
    pub(crate) fn contradiction(&self, copy: &Self) -> Option<String> {
        if self.update.compatible != copy.update.compatible {
            return Some("compatible".to_owned());
        }
        if differ(self.update.version.as_ref(), copy.update.version.as_ref()) {
            return Some("version".to_owned());
        }
        let other = copy.images.iter().find(|other| {
            let mut ours = self.images.iter();
            !ours.any(|image| image.label() == other.label() && !image.contradicts(other))
        });
        other.map(|image| format!("image {}", image.label()))
    }
}

impl Image {
    fn contradicts(&self, copy: &Self) -> bool {
        differ(self.filename.as_ref(), copy.filename.as_ref())
            || differ(self.sha256, copy.sha256)
            || differ(self.size, copy.size)
    }
}

/// Whether both say something, and not the same.
fn differ<T: PartialEq>(signed: Option<T>, copy: Option<T>) -> bool {
    matches!((signed, copy), (Some(signed), Some(copy)) if signed != copy)
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
        for (from, to) in [("x.img", "y.img"), ("size=7", "size=8")] {
            assert_eq!(against(from, to).unwrap(), "image rootfs");
        }
        assert_eq!(against("rootfs", "boot").unwrap(), "image boot");
        let more = against("size=7\n", "size=7\n[image.b]\nfilename=b\n");
        assert_eq!(more.unwrap(), "image b");
        // A copy that says less is what builders write before they have hashed anything.
        for less in [
            "size=7\n",
            "version=1\n",
            "[image.rootfs]\nfilename=x.img\nsize=7\n",
        ] {
            assert_eq!(against(less, ""), None);
        }
    }
}
