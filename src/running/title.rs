//! What a worker shows as its command line: `lsphp:` and the last 45 bytes of its script's path from just
//! before a script runs until its request has been shut down, else `lsphp` (seen).
//!
//! The site can write anything there. It is cut and escaped here, so that nobody downstream has to think of it.
//! Read here, not by the procfs crate, which reads a command line to its end, and that may be 2 MiB.

use std::path::Path;

use crate::kernel_file;

/// More than a title of lsphp's has.
const LONGEST: u64 = 256;

const BUSY: &[u8] = b"lsphp:";
const IDLE: &[u8] = b"lsphp";

/// The script that the process with the directory `process` in `/proc` runs; `None`: none, or it is gone.
pub fn script(process: &Path) -> Option<String> {
    busy_with(&kernel_file::read_start(&process.join("cmdline"), LONGEST).ok()?)
}

/// Whether the process with the directory `process` in `/proc` bears a worker's title. A command has arguments.
pub fn is_workers(process: &Path) -> bool {
    kernel_file::read_start(&process.join("cmdline"), LONGEST).is_ok_and(|title| is_busy_or_idle(&title))
}

fn is_busy_or_idle(title: &[u8]) -> bool {
    let mut arguments = title.split(|byte| *byte == 0);
    let (name, next) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    name.starts_with(BUSY) || (name.trim_ascii_end() == IDLE && next.is_empty())
}

/// Printable text for one line, whatever the bytes.
fn busy_with(title: &[u8]) -> Option<String> {
    let script = title.split(|byte| *byte == 0).next()?.strip_prefix(BUSY)?;
    Some(String::from_utf8_lossy(script).trim_end().escape_debug().to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_busy_worker_has_a_script() {
        for (title, script) in [
            (&b"lsphp:/home/alice/public_html/index.php"[..], Some("/home/alice/public_html/index.php")),
            (b"lsphp:ublic_html/wp-cron.php   \0\0USER=alice", Some("ublic_html/wp-cron.php")),
            (b"lsphp:", Some("")),
            (b"lsphp", None),
            (b"lsphp      ", None),
            (b"", None),
            (b"sendmail: lsphp:/x", None),
            (
                b"lsphp:/a\n\x1b]0;x\x07\xc2\x9b2J\xff\xe2\x80\xae",
                Some("/a\\n\\u{1b}]0;x\\u{7}\\u{9b}2J\u{fffd}\\u{202e}"),
            ),
        ] {
            assert_eq!(busy_with(title).as_deref(), script, "{title:?}");
        }
    }

    #[test]
    fn a_command_is_no_worker() {
        for worker in [&b"lsphp\0"[..], b"lsphp", b"lsphp    \0\0USER=alice", b"lsphp:/a.php\0"] {
            assert!(is_busy_or_idle(worker), "{worker:?}");
        }
        for other in [&b"lsphp\0artisan\0queue:work\0"[..], b"/usr/bin/lsphp\0a.php\0", b"sh\0", b""] {
            assert!(!is_busy_or_idle(other), "{other:?}");
        }
    }

    #[test]
    fn a_title_is_read_as_far_as_it_matters_and_no_link_is_followed() {
        let process = tempfile::tempdir().unwrap();
        let path = process.path().join("cmdline");
        std::fs::write(&path, [BUSY, &[b'x'; 1 << 20]].concat()).unwrap();
        assert_eq!(script(process.path()).unwrap().len() as u64, LONGEST - BUSY.len() as u64);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/proc/self/cmdline", &path).unwrap();
        assert_eq!(script(process.path()), None);
    }

    proptest! {
        #[test]
        fn any_title_is_one_short_printable_line(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            if let Some(script) = busy_with(&[BUSY, &bytes].concat()) {
                prop_assert!(!script.contains(char::is_control));
                prop_assert!(script.len() <= 10 * 256);
            }
        }
    }
}
