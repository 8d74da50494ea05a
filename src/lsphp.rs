//! Which lsphp will run.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::Serialize;

use crate::fault::{Cause, Fault, Object};

/// Where LiteSpeed's images keep one lsphp a version.
const LSWS: &str = "usr/local/lsws";

/// The listen backlog of `lsphp -b`; nothing changes it (seen).
pub const BACKLOG: u32 = 10;

/// The outcome of the search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Lsphp {
    Found { path: PathBuf },
    NotExecutable { path: PathBuf },
    NotFound { searched: String },
}

impl Lsphp {
    /// Finds lsphp below `root` (`/` in production): as configured, else the highest version of
    /// LiteSpeed's packages, else in `path`.
    pub fn find(root: &Path, configured: Option<&Path>, path: Option<&OsStr>) -> Self {
        if let Some(configured) = configured {
            let searched = configured.display().to_string();
            return inspect(root, configured).unwrap_or(Self::NotFound { searched });
        }
        let installed = highest_version(&root.join(LSWS))
            .map(|name| Path::new("/").join(LSWS).join(name).join("bin/lsphp"));
        let in_path = std::env::split_paths(path.unwrap_or_default())
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join("lsphp"));
        let mut unusable = None;
        for candidate in installed.into_iter().chain(in_path) {
            match inspect(root, &candidate) {
                Some(found @ Self::Found { .. }) => return found,
                Some(other) => unusable = unusable.or(Some(other)),
                None => {}
            }
        }
        let searched = "/usr/local/lsws/lsphp*/bin and PATH".to_owned();
        unusable.unwrap_or(Self::NotFound { searched })
    }

    /// Where it is.
    ///
    /// # Errors
    /// What stands in the way of executing it, with execve's own number.
    pub fn usable(&self) -> Result<&Path, Fault> {
        match self {
            Self::Found { path } => Ok(path),
            Self::NotExecutable { path } => {
                let cause = Cause { text: "it is not an executable file".into(), errno: Some(Errno::EACCES) };
                Err(Fault::new("executing", path, cause, "chmod it, or set CAC_LSPHP"))
            }
            Self::NotFound { searched } => {
                let text = format!("it is not at {searched}").into();
                let cause = Cause { text, errno: Some(Errno::ENOENT) };
                let hint = "install it, or set CAC_LSPHP to where it is";
                Err(Fault::new("finding lsphp", Object::Nothing, cause, hint))
            }
        }
    }
}

/// `None`: nothing there.
fn inspect(root: &Path, path: &Path) -> Option<Lsphp> {
    let below_root = root.join(path.strip_prefix("/").unwrap_or(path));
    let status = std::fs::metadata(below_root).ok()?;
    let path = path.to_owned();
    let runs = status.is_file() && status.permissions().mode() & 0o111 != 0;
    Some(if runs { Lsphp::Found { path } } else { Lsphp::NotExecutable { path } })
}

/// `lsphp83` before `lsphp82`, `lsphp100` before both.
fn highest_version(lsws: &Path) -> Option<String> {
    let entries = std::fs::read_dir(lsws).ok()?;
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some((name.strip_prefix("lsphp")?.parse::<u32>().ok()?, name)))
        .max()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn install(root: &Path, path: &str, mode: u32) {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn found(path: &str) -> Lsphp {
        Lsphp::Found { path: path.into() }
    }

    #[test]
    fn the_highest_version_wins_by_number() {
        let root = tempfile::tempdir().unwrap();
        for version in ["lsphp81", "lsphp100", "lsphp83", "lsphpx"] {
            install(root.path(), &format!("usr/local/lsws/{version}/bin/lsphp"), 0o755);
        }
        assert_eq!(Lsphp::find(root.path(), None, None), found("/usr/local/lsws/lsphp100/bin/lsphp"));
    }

    #[test]
    fn configured_before_installed_before_path() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), "usr/local/bin/lsphp", 0o755);
        let path = Some(OsStr::new("relative:/bin:/usr/local/bin"));
        assert_eq!(Lsphp::find(root.path(), None, path), found("/usr/local/bin/lsphp"));
        install(root.path(), "opt/lsphp", 0o755);
        let configured = Some(Path::new("/opt/lsphp"));
        assert_eq!(Lsphp::find(root.path(), configured, path), found("/opt/lsphp"));
    }

    #[test]
    fn missing_and_not_executable_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let configured = Some(Path::new("/opt/lsphp"));
        assert!(matches!(Lsphp::find(root.path(), configured, None), Lsphp::NotFound { .. }));
        install(root.path(), "opt/lsphp", 0o644);
        assert!(matches!(Lsphp::find(root.path(), configured, None), Lsphp::NotExecutable { .. }));
        let folder = Some(Path::new("/opt"));
        assert!(matches!(Lsphp::find(root.path(), folder, None), Lsphp::NotExecutable { .. }));
    }
}
