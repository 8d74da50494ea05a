//! The start of a site: plan, root's effects, the drop, the site user's effects, exec.

use std::convert::Infallible;
use std::path::Path;

use tracing::{error, info, warn};

use crate::decision;
use crate::effects::{self, EffectError};
use crate::exit::Exit;
use crate::logging;
use crate::lsphp::{self, Lsphp};
use crate::plan::Plan;
use crate::privileges::{DropError, ExecError, Privileged, Program, SiteUser, Target, set_umask};
use crate::running::{ListenerRecord, RunRecord};

/// Why the site does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{}", .0.join("\n"))]
    Refused(Vec<String>),
    #[error("{0}")]
    Lsphp(String, Exit),
    #[error(transparent)]
    Effect(#[from] EffectError),
    #[error(transparent)]
    Drop(#[from] DropError),
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl StartError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) => Exit::Refused,
            Self::Lsphp(_, exit) => *exit,
            Self::Effect(error) => error.exit(),
            Self::Drop(_) => Exit::Privileges,
            Self::Exec(ExecError::NotFound { .. }) => Exit::NotFound,
            Self::Exec(ExecError::NotExecutable { .. }) => Exit::NotExecutable,
            Self::Exec(ExecError::Preparation { .. }) => Exit::System,
        }
    }

    /// Logs one line, or one a fault.
    pub fn report(&self) {
        match self {
            Self::Refused(faults) => faults.iter().for_each(|fault| error!("{fault}")),
            error => error!("{error}"),
        }
    }
}

/// Becomes lsphp, or says why not. Until the drop nothing of the tenant's is executed or followed.
pub fn start() -> Result<Infallible, StartError> {
    let (privileged, plan) = begin()?;
    let path = usable(&plan.exec.lsphp)?; // before the warnings, which hold the same line
    plan.warnings.iter().for_each(|warning| warn!("{warning}"));
    check_ids(&privileged, &plan)?;
    info!("{}", summary(&plan));

    effects::apply_as_root(&privileged, &record(&plan, path)?)?;
    let site_user = drop_privileges(privileged, &plan)?;
    effects::apply_as_site_user(&site_user, &plan);
    let program = Program {
        path,
        argv: plan.exec.argv.iter().map(Into::into).collect(),
        environment: plan.exec.environment.iter().collect(),
        address_space: plan.exec.address_space,
        keep_stdin: false,
        if_missing: "set CAC_LSPHP to an lsphp whose interpreter is there too",
    };
    Err(site_user.exec(Path::new(&plan.site.home), &program).into())
}

/// What comes first whatever is executed in the end: the plan decided, the log set up as it says.
pub fn begin() -> Result<(Privileged, Plan), StartError> {
    let privileged = Privileged::take()?;
    let decision = decision::decide(Path::new("/"), privileged.started_as(), None);
    logging::init(decision.log);
    set_umask()?;
    Ok((privileged, decision.plan.map_err(StartError::Refused)?))
}

/// What this start leaves for those who look at the site later: this process will be lsphp, which opens
/// its listener itself.
fn record<'a>(plan: &'a Plan, lsphp: &Path) -> Result<RunRecord<&'a Plan>, EffectError> {
    let listener = ListenerRecord {
        address: plan.front_end.address.clone(),
        backlog: lsphp::BACKLOG,
        uid: plan.site.uid.as_raw(),
    };
    RunRecord::of_this_process(plan, lsphp, listener, plan.event_files.clone())
        .map_err(|cause| EffectError::failed("reading", Path::new("/proc/self"), cause, "mount /proc"))
}

/// The drop as the plan says it, with its warnings logged.
pub fn drop_privileges(privileged: Privileged, plan: &Plan) -> Result<SiteUser, DropError> {
    let no_new_privs = plan.exec.no_new_privs;
    let target = Target { uid: plan.site.uid, gid: plan.site.gid, no_new_privs };
    let (site_user, warnings) = privileged.become_site_user(target)?;
    warnings.iter().for_each(|warning| warn!("{warning}"));
    Ok(site_user)
}

fn usable(lsphp: &Lsphp) -> Result<&Path, StartError> {
    let exit = match lsphp {
        Lsphp::Found { path } => return Ok(path),
        Lsphp::NotExecutable { .. } => Exit::NotExecutable,
        Lsphp::NotFound { .. } => Exit::NotFound,
    };
    Err(StartError::Lsphp(lsphp.warning().unwrap_or_default(), exit))
}

/// A non-root start cannot become somebody else: say so before anything is done.
pub fn check_ids(privileged: &Privileged, plan: &Plan) -> Result<(), StartError> {
    let own = privileged.started_as();
    let (uid, gid) = (plan.site.uid.as_raw(), plan.site.gid.as_raw());
    if privileged.is_root() || (own.uid, own.gid) == (uid, gid) {
        return Ok(());
    }
    Err(StartError::Refused(vec![format!(
        "becoming {uid}:{gid}: this process is {}:{} and not root; start it as root or with --user {uid}:{gid}",
        own.uid, own.gid
    )]))
}

/// One line that tells an operator what was decided and why.
fn summary(plan: &Plan) -> String {
    let (site, workers, opcache) = (&plan.site, &plan.workers, &plan.opcache);
    let domain = site.domain.as_ref().map_or("no domain", |domain| domain.as_str());
    format!(
        "starting {} ({}:{}, {domain}): {} workers [{}], memory {}, opcache {} MiB and {} files, {}",
        site.user,
        site.uid,
        site.gid,
        plan.front_end.max_conns,
        workers.source,
        plan.memory.source,
        opcache.memory_mib,
        opcache.max_files,
        plan.exec.argv.join(" "),
    )
}
