//! The site's files, looked at as the site's user; a link of the site's is not followed.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access};

use super::{Finding, Symptom};
use crate::effects::user_ini_value;
use crate::kernel_file;
use crate::paths::{NORMALISER, PUBLIC_HTML};
use crate::running::RunRecord;
use crate::status::StatusPlan;

/// What decides here stands at the beginning of any file that a panel or a plugin writes.
const MOST: u64 = 64 << 10;

/// Less than this, and PHP's sessions, uploads and logs are about to fail.
const LEAST_ROOM: u64 = 16 << 20;

pub fn examine(run: &RunRecord<StatusPlan>) -> Vec<Finding> {
    let home = &run.plan.site.home;
    let directives = &run.plan.ini.directives;
    let user_ini = home.join(PUBLIC_HTML).join(".user.ini");
    let mut findings = Vec::new();
    findings.extend(replaced(&user_ini));
    let shut_out = crate::effects::look_at_user_ini(&user_ini, directives).err();
    findings.extend(shut_out.map(|fault| Symptom::NORMALISER_SHUT_OUT.found(fault.to_string())));
    let gid = run.plan.site.gid.as_raw();
    findings.extend([home.clone(), home.join(PUBLIC_HTML)].iter().find_map(|path| closed(path, gid)));
    findings.extend(directives.get("error_log").and_then(|log| unwritable(Path::new(log))));
    findings.extend(volume(home));
    findings
}

/// An `auto_prepend_file` of the site's own takes the place of ours, unless it includes that.
fn replaced(user_ini: &Path) -> Option<Finding> {
    let text = read(user_ini)?;
    // An empty value or `none` prepends nothing, which replaces ours too.
    let prepended = user_ini_value(&text, "auto_prepend_file")?;
    // Where PHP is when it runs a script there.
    let file = user_ini.parent()?.join(prepended);
    let includes_ours = || read(&file).is_some_and(|text| text.contains(NORMALISER));
    (prepended != NORMALISER && !includes_ours()).then(|| {
        Symptom::NORMALISER_REPLACED.found(format!(
            "{} prepends {}, so scripts see the front end's paths below /mnt/users: begin that file with include '{NORMALISER}';",
            user_ini.display(),
            prepended.escape_debug()
        ))
    })
}

fn read(path: &Path) -> Option<String> {
    if !path.symlink_metadata().ok()?.is_file() {
        return None;
    }
    Some(String::from_utf8_lossy(&kernel_file::read_start(path, MOST).ok()?).into_owned())
}

/// A directory that neither everybody nor a group beside the site's may enter.
fn closed(path: &Path, site_gid: u32) -> Option<Finding> {
    let metadata = path.symlink_metadata().ok().filter(std::fs::Metadata::is_dir)?;
    let front_end_may =
        metadata.mode() & 0o001 != 0 || (metadata.mode() & 0o010 != 0 && metadata.gid() != site_gid);
    (!front_end_may).then(|| {
        Symptom::DOCUMENT_ROOT.found(format!(
            "the front end may not enter {} (mode {:o}): chmod o+x, or give it to the front end's group",
            path.display(),
            metadata.mode() & 0o7777
        ))
    })
}

fn unwritable(log: &Path) -> Option<Finding> {
    let cause = match log.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => "it is not there".to_owned(),
        Err(error) => error.to_string(),
        Ok(metadata) if metadata.is_file() => access(log, AccessFlags::W_OK).err()?.desc().to_owned(),
        // A link or a pipe is the site's own way.
        Ok(_) => return None,
    };
    Some(Symptom::ERROR_LOG.found(format!(
        "{}: {cause}, so PHP's errors go to the container's log: make it with mode 0644, owned by the site's user",
        log.display()
    )))
}

fn volume(home: &Path) -> Option<Finding> {
    let file_system = statvfs(home).ok()?;
    let home = home.display();
    if file_system.flags().contains(FsFlags::ST_RDONLY) {
        return Some(Symptom::VOLUME.found(format!(
            "{home} is read-only: mount it writable (docker run -v without :ro), or send uploads and logs elsewhere"
        )));
    }
    // Wide enough on every target, not on all the same.
    #[allow(clippy::useless_conversion)]
    let (blocks, size): (u64, u64) =
        (file_system.blocks_available().into(), file_system.fragment_size().into());
    let room = blocks.saturating_mul(size);
    if room < LEAST_ROOM {
        return Some(
            Symptom::VOLUME
                .found(format!("{home} has {} MiB left: free some, or enlarge the volume", room >> 20)),
        );
    }
    (file_system.files() > 0 && file_system.files_available() == 0).then(|| {
        Symptom::VOLUME.found(format!(
            "{home} has no room for another file: remove some, such as old sessions and caches"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_prepend_file_is_read_as_php_does() {
        for (user_ini, value) in [
            (
                "; Wordfence WAF\nauto_prepend_file = '/home/alice/public_html/wordfence-waf.php'\n; END",
                Some("/home/alice/public_html/wordfence-waf.php"),
            ),
            ("auto_prepend_file=\"/a b.php\" ; x", Some("/a b.php")),
            ("auto_prepend_file=/a.php ; x\nauto_prepend_file=/b.php", Some("/b.php")),
            ("auto_prepend_file=", Some("")),
            (";auto_prepend_file=/a.php", None),
            ("memory_limit=1G", None),
        ] {
            assert_eq!(user_ini_value(user_ini, "auto_prepend_file"), value, "{user_ini}");
        }
    }

    #[test]
    fn a_prepend_file_that_includes_ours_is_no_fault() {
        let site = tempfile::tempdir().unwrap();
        let (ini, waf) = (site.path().join(".user.ini"), site.path().join("waf.php"));
        assert_eq!(replaced(&ini), None);
        fs::write(&ini, format!("auto_prepend_file='{}'\n", waf.display())).unwrap();
        assert!(replaced(&ini).unwrap().message.contains("begin that file with include '/run/cac-lsphp/"));
        fs::write(&waf, "<?php include '/run/cac-lsphp/cac-lsphp-normalize.php'; waf();").unwrap();
        assert_eq!(replaced(&ini), None);
        fs::write(&ini, "auto_prepend_file = waf.php\n").unwrap();
        assert_eq!(replaced(&ini), None, "beside the .user.ini");
        fs::write(&ini, "auto_prepend_file=/x\x1b]0;y\n").unwrap();
        assert!(!replaced(&ini).unwrap().message.contains('\x1b'));
        fs::remove_file(&ini).unwrap();
        symlink(&waf, &ini).unwrap();
        assert_eq!(replaced(&ini), None, "a link is not followed");
    }

    #[test]
    fn the_front_end_needs_to_get_through() {
        let directory = tempfile::tempdir().unwrap();
        let gid = fs::metadata(directory.path()).unwrap().gid();
        for (mode, site_gid, fault) in [
            (0o711, gid, false),
            (0o750, gid, true),
            (0o750, gid + 1, false),
            (0o700, gid + 1, true),
            (0o744, gid, true),
        ] {
            fs::set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(closed(directory.path(), site_gid).is_some(), fault, "{mode:o} {site_gid}");
        }
        assert_eq!(closed(Path::new("/nonexistent"), gid), None);
    }

    #[test]
    fn a_log_that_is_missing_is_a_fault_and_a_link_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("error.log");
        assert!(unwritable(&log).unwrap().message.contains("it is not there"));
        symlink("/nonexistent", &log).unwrap();
        assert_eq!(unwritable(&log), None);
        fs::remove_file(&log).unwrap();
        fs::write(&log, "").unwrap();
        assert_eq!(unwritable(&log), None);
    }
}
