//! What a site that starts again need not compile again.

use std::path::{Component, Path, PathBuf};

use super::AllGiven;
use super::reader::{Reader, printable};
use super::variable;
use crate::fault::Fault;
use crate::paths::{ERROR_LOG, PUBLIC_HTML, RUNTIME_DIRECTORY, SITE_LINKS};

/// Asked for one after the other, within one deadline: more are no warm-up.
const MOST_PAGES: usize = 32;

/// Where compiled code is kept, and what fills it before visitors do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WarmStart {
    /// Absolute, without `..`.
    pub file_cache: Option<PathBuf>,
    /// Each begins with a slash and is plain ASCII.
    pub warm_up: Vec<String>,
}

impl WarmStart {
    pub fn read(reader: &mut Reader) -> Self {
        Self {
            file_cache: reader.text(&variable::OPCACHE_FILE_CACHE, directory),
            warm_up: reader.text(&variable::WARM_UP, pages).unwrap_or_default(),
        }
    }

    /// What contradicts the site or other settings.
    pub fn faults(&self, home: &Path, supervise: bool, given: &AllGiven) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let (Some(directory), Some(given)) = (&self.file_cache, given.get(&variable::OPCACHE_FILE_CACHE))
            && let Some(cause) = in_the_way(directory, home)
        {
            let hint = "name a directory of its own, such as .opcache in the home";
            faults.push(Fault::new("reading", &given.source, cause, hint));
        }
        if let (Some(given), false) = (given.get(&variable::WARM_UP), supervise) {
            let cause = "without CAC_SUPERVISE=1 no lsphp takes over from another";
            faults.push(Fault::new("reading", &given.source, cause, "unset it, or set CAC_SUPERVISE=1"));
        }
        faults
    }
}

/// Why the directory cannot be closed to all but the site, or would be open to visitors.
fn in_the_way(directory: &Path, home: &Path) -> Option<String> {
    let document_root = home.join(PUBLIC_HTML);
    let places = [document_root.as_path(), Path::new(RUNTIME_DIRECTORY), Path::new(SITE_LINKS)];
    let within = places.into_iter().find(|place| directory.starts_with(place));
    if let Some(place) = within {
        return Some(format!("it is in {}", place.display()));
    }
    let log = home.join(ERROR_LOG);
    let around = places.into_iter().chain([log.as_path()]).find(|place| place.starts_with(directory));
    around.map(|place| format!("{} is in it", place.display()))
}

fn directory(text: &str) -> Option<PathBuf> {
    let path = Path::new(printable(text)?);
    let is_plain = path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
    is_plain.then(|| path.components().collect())
}

fn pages(text: &str) -> Option<Vec<String>> {
    let is_page = |page: &str| {
        page.starts_with('/') && page.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
    };
    let pages: Vec<_> = text.split(',').map(|page| page.trim().to_owned()).collect();
    (pages.len() <= MOST_PAGES && pages.iter().all(|page| is_page(page))).then_some(pages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Settings, StartedAs, read};

    fn alice(more: &[(&str, &str)]) -> Result<Settings, Vec<Fault>> {
        let environment = [&[("user", "alice"), ("uid", "61045")], more].concat();
        read(&environment.into_iter().collect(), None, StartedAs { uid: 0, gid: 0 }).1
    }

    #[test]
    fn a_directory_of_its_own_is_named() {
        for (given, directory) in [
            ("/home/alice/.opcache", "/home/alice/.opcache"),
            ("/cache", "/cache"),
            ("/var//cache/./alice/", "/var/cache/alice"),
            ("/home/alice/public_html.cache", "/home/alice/public_html.cache"),
            ("/home/alice/logs/opcache", "/home/alice/logs/opcache"),
        ] {
            let warm_start = alice(&[("CAC_OPCACHE_FILE_CACHE", given)]).unwrap().options.warm_start;
            assert_eq!(warm_start.file_cache.as_deref(), Some(Path::new(directory)));
            assert_eq!(warm_start.file_cache.unwrap().as_os_str(), directory);
        }
        for given in [
            "cache",
            "./cache",
            "/home/alice/x/../public_html",
            "/home/alice/public_html",
            "/home/alice/public_html/wp-content/cache",
            "/mnt/users/alice/example.com/.opcache",
            "/run/cac-lsphp/cache",
            "/run",
            "/home/alice",
            "/home",
            "/",
            "/home/alice/logs",
            "/home/alice/logs/php-fpm",
            "/cache\n",
        ] {
            let faults = alice(&[("CAC_OPCACHE_FILE_CACHE", given)]).unwrap_err();
            let names: Vec<_> = faults.iter().filter_map(Fault::variable).collect();
            assert_eq!(names, ["CAC_OPCACHE_FILE_CACHE"], "{given:?}");
        }
    }

    #[test]
    fn pages_are_warmed_up_where_one_lsphp_follows_another() {
        let pages = |given: &str| {
            let settings = alice(&[("CAC_SUPERVISE", "1"), ("CAC_WARM_UP", given)]);
            settings.map(|settings| settings.options.warm_start.warm_up)
        };
        assert_eq!(pages("/").unwrap(), ["/"]);
        assert_eq!(pages(" /, /shop/?a=1&b ,/%C3%A9.php").unwrap(), ["/", "/shop/?a=1&b", "/%C3%A9.php"]);
        let many = |count| vec!["/"; count].join(",");
        assert_eq!(pages(&many(32)).unwrap().len(), 32);
        for wrong in ["shop", "/,", "/a b", "/é", "/#top", "/\u{7f}", "http://x/", &*many(33)] {
            let faults = pages(wrong).unwrap_err();
            assert_eq!(faults[0].variable(), Some("CAC_WARM_UP"), "{wrong}");
        }
        let faults = alice(&[("CAC_WARM_UP", "/"), ("CAC_OPCACHE_FILE_CACHE", "/cache")]).unwrap_err();
        assert!(matches!(&faults[..], [fault] if fault.hint.contains("CAC_SUPERVISE=1")), "{faults:?}");
    }
}
