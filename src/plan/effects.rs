//! What start does to the system, in order, as a list that `plan` prints and `run` walks.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use super::listener::{ListenerPlan, Opener};
use super::php_ini::{self, IniPlan};
use crate::address::Address;
use crate::identity::{Gid, Site, Uid, User};
use crate::paths::{
    CONTROL_SOCKET, ERROR_LOG, FILE_CACHE_INI, NORMALISER, OPCACHE_SCRIPT, PING_SCRIPT, PRELOAD_SCRIPT,
    PUBLIC_HTML, RUN_RECORD, RUNTIME_DIRECTORY, SITE_DIRECTORIES,
};
use crate::settings::Options;

/// The steps before and after the drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effects {
    /// The first of all, where cac-lsphp opens it.
    pub listener: Option<OpenListener>,
    pub root: Vec<RootEffect>,
    /// The last before the drop, for a supervisor.
    pub control: Option<OpenControlSocket>,
    pub site_user: Vec<SiteUserEffect>,
}

/// What is handed on over the drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "effect", rename = "open_listener")]
pub struct OpenListener {
    pub address: Address,
    /// With a parking listener beside it, for whoever gets no answer.
    pub group: bool,
}

/// Where `cac-lsphp reload` speaks to pid 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "effect", rename = "open_control_socket")]
pub struct OpenControlSocket {
    pub path: PathBuf,
}

/// What needs root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum RootEffect {
    /// The directories below `/run`, root's own.
    MakeRuntimeDirectories { path: PathBuf },
    /// With the ends of the link, if that leads to the home by then.
    WriteNormaliser { path: PathBuf, link: Option<PathBuf>, home: PathBuf },
    /// `own` is the site's own preload script.
    WritePreload { path: PathBuf, own: Option<String> },
    /// What `healthcheck --deep` asks for.
    WritePing { path: PathBuf },
    /// What `opcache` asks for.
    WriteOpcacheScript { path: PathBuf },
    /// The site's PHP settings.
    WriteIni { path: PathBuf },
    /// `run.json`.
    WriteRunRecord { path: PathBuf },
    /// Entries in /etc/passwd and /etc/group.
    AddAccount { user: User, uid: Uid, gid: Gid, home: PathBuf },
    /// Makes the home, or makes the site the owner of its top where that is root; then of directories in it that
    /// exist, never of what is in them.
    PrepareHome {
        path: PathBuf,
        directories: &'static [&'static str],
        uid: Uid,
        gid: Gid,
        take_ownership: bool,
    },
    /// How the front end's paths reach the home.
    LinkSite { link: PathBuf, target: PathBuf },
    /// Makes the file cache, or gives an empty one of root's to the site, and names it to PHP in `ini` if nobody
    /// else may write there.
    PrepareFileCache { path: PathBuf, ini: PathBuf, uid: Uid, gid: Gid },
}

/// What the site user does itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum SiteUserEffect {
    /// One that root has not found there.
    MakeDirectory { path: PathBuf },
    /// Empty.
    MakeErrorLog { path: PathBuf },
    /// Looks whether the site's own ini keeps PHP from the normaliser.
    LookAtUserIni { path: PathBuf },
    /// Makes it where root might not, and looks whether PHP can write there.
    MakeFileCache { path: PathBuf },
}

impl Effects {
    /// `link` is the site's, where one is made.
    pub fn decide(
        site: &Site,
        link: Option<PathBuf>,
        options: &Options,
        listener: &ListenerPlan,
        ini: &IniPlan,
    ) -> Self {
        let opens = listener.opened_by == Opener::CacLsphp;
        Self {
            listener: opens.then(|| OpenListener {
                address: options.listen.clone(),
                group: options.supervise || listener.allowed_clients.is_some(),
            }),
            root: root_effects(site, link, options, ini),
            control: options.supervise.then(|| OpenControlSocket { path: CONTROL_SOCKET.into() }),
            site_user: site_user_effects(&site.home, options),
        }
    }
}

fn root_effects(site: &Site, link: Option<PathBuf>, options: &Options, ini: &IniPlan) -> Vec<RootEffect> {
    let (home, uid, gid) = (site.home.clone(), site.uid, site.gid);
    let mut effects = vec![
        RootEffect::MakeRuntimeDirectories { path: RUNTIME_DIRECTORY.into() },
        RootEffect::WritePreload {
            path: PRELOAD_SCRIPT.into(),
            own: options.directives.get(php_ini::PRELOAD_DIRECTIVE).cloned(),
        },
        RootEffect::WritePing { path: PING_SCRIPT.into() },
        RootEffect::WriteOpcacheScript { path: OPCACHE_SCRIPT.into() },
        RootEffect::WriteIni { path: PathBuf::from(&ini.path) },
        RootEffect::WriteRunRecord { path: RUN_RECORD.into() },
        RootEffect::AddAccount { user: site.user.clone(), uid, gid, home: home.clone() },
        RootEffect::PrepareHome {
            path: home.clone(),
            directories: &SITE_DIRECTORIES,
            uid,
            gid,
            take_ownership: options.take_ownership,
        },
    ];
    effects.extend(link.clone().map(|link| RootEffect::LinkSite { link, target: home.clone() }));
    effects.push(RootEffect::WriteNormaliser { path: NORMALISER.into(), link, home });
    effects.extend(options.warm_start.file_cache.clone().map(|path| RootEffect::PrepareFileCache {
        path,
        ini: FILE_CACHE_INI.into(),
        uid,
        gid,
    }));
    effects
}

fn site_user_effects(home: &Path, options: &Options) -> Vec<SiteUserEffect> {
    let mut effects: Vec<_> = SITE_DIRECTORIES
        .iter()
        .map(|below| SiteUserEffect::MakeDirectory { path: home.join(below) })
        .collect();
    effects.push(SiteUserEffect::MakeErrorLog { path: home.join(ERROR_LOG) });
    effects.push(SiteUserEffect::LookAtUserIni { path: home.join(PUBLIC_HTML).join(".user.ini") });
    effects.extend(options.warm_start.file_cache.clone().map(|path| SiteUserEffect::MakeFileCache { path }));
    effects
}

/// One row of the printed list.
#[derive(Serialize)]
struct Row<E> {
    r#as: &'static str,
    #[serde(flatten)]
    effect: E,
}

/// What no effect stands for.
#[derive(Serialize)]
struct Transition {
    effect: &'static str,
}

impl Serialize for Effects {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let drop = Transition { effect: "drop_privileges" };
        let end = Transition { effect: if self.control.is_some() { "supervise" } else { "exec" } };
        let mut rows = serializer.serialize_seq(None)?;
        let root = "root";
        self.listener.iter().try_for_each(|effect| rows.serialize_element(&Row { r#as: root, effect }))?;
        self.root.iter().try_for_each(|effect| rows.serialize_element(&Row { r#as: root, effect }))?;
        self.control.iter().try_for_each(|effect| rows.serialize_element(&Row { r#as: root, effect }))?;
        rows.serialize_element(&Row { r#as: root, effect: drop })?;
        let user = "site_user";
        self.site_user.iter().try_for_each(|effect| rows.serialize_element(&Row { r#as: user, effect }))?;
        rows.serialize_element(&Row { r#as: user, effect: end })?;
        rows.end()
    }
}

impl fmt::Display for OpenListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beside = if self.group { ", and beside it one for whoever gets no answer" } else { "" };
        write!(f, "listen on {}{beside}", self.address)
    }
}

impl fmt::Display for OpenControlSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listen on {} for reloads", self.path.display())
    }
}

/// A line, or one for each of its steps.
impl fmt::Display for RootEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeRuntimeDirectories { path } => write!(f, "make {} and its php.d", path.display()),
            Self::WriteNormaliser { path, .. }
            | Self::WritePreload { path, .. }
            | Self::WritePing { path }
            | Self::WriteOpcacheScript { path }
            | Self::WriteIni { path }
            | Self::WriteRunRecord { path } => write!(f, "write {}", path.display()),
            Self::AddAccount { user, uid, gid, .. } => {
                write!(f, "name {user} {uid}:{gid} in /etc/passwd and /etc/group if missing")
            }
            Self::PrepareHome { path, directories, uid, gid, take_ownership } => {
                let condition = if *take_ownership { "whoever owns it" } else { "if it is root's" };
                writeln!(f, "make {}; chown it to {uid}:{gid}, {condition}", path.display())?;
                write!(f, "chown its {} too, if they are root's", directories.join(", "))
            }
            Self::LinkSite { link, target } => write!(f, "link {} to {}", link.display(), target.display()),
            Self::PrepareFileCache { path, ini, uid, gid } => {
                writeln!(f, "make {}; chown it to {uid}:{gid}, if it is root's and empty", path.display())?;
                write!(f, "name it to PHP in {} if only the site may write there", ini.display())
            }
        }
    }
}

impl fmt::Display for SiteUserEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDirectory { path } => write!(f, "make {} if missing", path.display()),
            Self::MakeErrorLog { path } => write!(f, "make an empty {} if missing", path.display()),
            Self::LookAtUserIni { path } => {
                write!(f, "look at open_basedir in {}", path.display())
            }
            Self::MakeFileCache { path } => {
                write!(f, "make {} if missing, and see whether PHP can write there", path.display())
            }
        }
    }
}
