//! Who the site is: types that cannot hold root, a path or a line break; and who this process is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::as_text::serde_as_text;
use crate::paths::{HOMES, SITE_LINKS};

/// The site as the panel names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    pub user: User,
    pub uid: Uid,
    pub gid: Gid,
    /// Without a domain no link is made below `/mnt/users`.
    pub domain: Option<Domain>,
    pub home: PathBuf,
}

impl Site {
    pub fn new(user: User, uid: Uid, gid: Gid, domain: Option<Domain>) -> Self {
        let home = user.home();
        Self { user, uid, gid, domain, home }
    }

    /// `/mnt/users/<user>/<domain>`.
    pub fn link(&self) -> Option<PathBuf> {
        let domain = self.domain.as_ref()?;
        Some(Path::new(SITE_LINKS).join(self.user.as_str()).join(domain.as_str()))
    }
}

macro_rules! non_root_id {
    ($name:ident, $what:literal) => {
        #[doc = concat!("A ", $what, " id that is neither root nor -1, which the kernel reads as \"leave unchanged\" (CVE-2019-14287).")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
        pub struct $name(u32);

        impl $name {
            pub fn new(id: u32) -> Option<Self> {
                (id != 0 && id != u32::MAX).then_some(Self(id))
            }

            pub fn as_raw(self) -> u32 {
                self.0
            }
        }

        /// nix's, for system calls.
        impl From<$name> for nix::unistd::$name {
            fn from(id: $name) -> Self {
                Self::from_raw(id.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let id = u32::deserialize(deserializer)?;
                Self::new(id).ok_or_else(|| D::Error::custom(concat!("not a site's ", $what, " id")))
            }
        }

        impl FromStr for $name {
            type Err = ();

            /// Decimal digits and nothing else: no sign, no blank, no wrap-around.
            fn from_str(text: &str) -> Result<Self, ()> {
                if !text.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(());
                }
                text.parse().ok().and_then(Self::new).ok_or(())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

non_root_id!(Uid, "user");
non_root_id!(Gid, "group");

/// A user name: `[A-Za-z_][A-Za-z0-9_.-]{0,31}`, so never a path, an option or `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User(String);

impl User {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `/home/<user>`.
    pub fn home(&self) -> PathBuf {
        Path::new(HOMES).join(&self.0)
    }
}

impl FromStr for User {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (first, rest) = text.as_bytes().split_first().ok_or(())?;
        let starts_well = first.is_ascii_alphabetic() || *first == b'_';
        let goes_on_well = rest.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte));
        (starts_well && goes_on_well && rest.len() <= 31).then(|| Self(text.to_owned())).ok_or(())
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host name, or a wildcard as panels write it: `*.example.com`, `_wildcard.example.com`.
///
/// Labels may hold underscores: no DNS host name does, but virtual hosts of customers do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain(String);

impl Domain {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let host = text.strip_prefix("*.").unwrap_or(text);
        let fits = text.len() <= 253; // RFC 1035, 2.3.4, without the root's dot
        (fits && host.split('.').all(is_label)).then(|| Self(text.to_owned())).ok_or(())
    }
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

serde_as_text!(User, Domain);

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The ids that the process was started with; a non-root start takes them where none are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartedAs {
    pub uid: u32,
    pub gid: u32,
}

impl StartedAs {
    /// Effective ids: what this process may do is decided by them.
    pub fn of_this_process() -> Self {
        Self { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for (text, id) in [("1", 1), ("61045", 61045), ("0061045", 61045), ("4294967294", u32::MAX - 1)] {
            assert_eq!(text.parse::<Uid>().map(Uid::as_raw), Ok(id), "{text}");
        }
        for text in ["0", "000", "-1", "+1", "", " 1", "1 ", "4294967295", "4294967296", "1e3", "0x10", "¹"]
        {
            assert!(text.parse::<Uid>().is_err(), "{text:?}");
            assert!(text.parse::<Gid>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn users() {
        for text in ["alice", "_a", "A.b-c_9", &"a".repeat(32)] {
            assert!(text.parse::<User>().is_ok(), "{text:?}");
        }
        let too_long = "a".repeat(33);
        for text in ["", ".", "..", "../x", "a/b", "-a", "9a", "a b", "a\n", "a\0", "á", "a:b", &too_long] {
            assert!(text.parse::<User>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn domains() {
        let longest = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
        for text in
            ["example.com", "*.example.com", "_wildcard.example.com", "localhost", "x_y.a-b.de", &longest]
        {
            assert!(text.parse::<Domain>().is_ok(), "{text:?}");
        }
        let too_long = format!("{longest}e");
        let long_label = "a".repeat(64);
        for text in [
            "",
            ".",
            "..",
            "../../etc",
            "a/b",
            "a..b",
            ".a",
            "a.",
            "*",
            "*.",
            "*.*.a",
            "a.*.b",
            "-a.b",
            "a-.b",
            "a b",
            "a\nb",
            "ä.de",
            &too_long,
            &long_label,
        ] {
            assert!(text.parse::<Domain>().is_err(), "{text:?}");
        }
    }
}
