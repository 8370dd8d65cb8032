//! Links in memory that lead to what is used: RAUC's `/run/rauc/slots/active/CLASS`, to the device of
//! the slot of each class that runs, and `/run/rauc/artifacts/REPOSITORY`.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use crate::config::Repository;
use crate::slot::{Layout, Role, Running, role};

/// Makes the links below `root`, anew.
///
/// # Errors
/// What the kernel says.
pub(super) fn write(
    root: &Path,
    (layout, running): (&Layout, Running),
    repositories: &[Repository],
) -> io::Result<()> {
    let active = root.join("slots/active");
    open_to_all(&active)?;
    for (id, slot) in layout.iter() {
        if role(layout, running, id) != Role::Inactive {
            lead(&active, slot.name.class(), &slot.device)?;
        }
    }
    let artifacts = root.join("artifacts");
    open_to_all(&artifacts)?;
    for repository in repositories {
        lead(&artifacts, &repository.name, &repository.path)?;
    }
    Ok(())
}

/// A directory that everybody may look into, whatever the service's umask says.
fn open_to_all(path: &Path) -> io::Result<()> {
    fs_err::create_dir_all(path)?;
    for part in path.ancestors().take(2) {
        fs_err::set_permissions(part, Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Whoever looks finds the old link or the new one.
fn lead(directory: &Path, name: &str, target: &Path) -> io::Result<()> {
    let new = directory.join(format!(".{name}.new"));
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, &new)?;
    std::fs::rename(new, directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SystemConf;
    use crate::slot::Evidence;

    #[test]
    fn of_what_runs_and_of_every_repository() {
        let dir = tempfile::tempdir().unwrap();
        let conf = "[system]\ncompatible=x\nbootloader=noop\n[artifacts.apps]\npath=/srv/apps\ntype=files\n\
                    [slot.rootfs.0]\ndevice=/dev/a\nbootname=A\n[slot.rootfs.1]\ndevice=/dev/b\nbootname=B\n\
                    [slot.app.0]\ndevice=/dev/c\nparent=rootfs.0\n[slot.app.1]\ndevice=/dev/d\nparent=rootfs.1\n";
        let conf = SystemConf::parse(conf.as_bytes(), "system.conf", Path::new("/")).unwrap();
        let found = |name: &str| std::fs::read_link(dir.path().join(name)).ok();
        for (booted, root, app) in [("A", "/dev/a", "/dev/c"), ("B", "/dev/b", "/dev/d")] {
            let evidence = Evidence {
                chosen: Some(booted.into()),
                ..Evidence::default()
            };
            let running = conf.layout.booted(&evidence).unwrap();
            write(dir.path(), (&conf.layout, running), &conf.repositories).unwrap();
            assert_eq!(found("slots/active/rootfs"), Some(root.into()));
            assert_eq!(found("slots/active/app"), Some(app.into()));
            assert_eq!(found("artifacts/apps"), Some("/srv/apps".into()));
        }
    }
}
