//! The start of a site: plan, root's effects, the drop, the site user's effects, exec.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use tracing::info;

use crate::address::Address;
use crate::effects;
use crate::failure::Failure;
use crate::fault::{Fault, Object};
use crate::gather::{self, Asker};
use crate::listener::group::{self, Group, Member};
use crate::listener::{Listener, inherited, inode, unix};
use crate::logging;
use crate::plan::{ListenerPlan, OpenControlSocket, OpenListener, Opener, Plan, SocketPlan};
use crate::privileges::{Privileged, Program, SiteUser, Stdin, Target, set_umask, unusable};
use crate::running::{ListenerRecord, RunRecord};
use crate::settings::environment::Environment;
use crate::supervise;
use crate::supervise::control::Specification;
use crate::supervise::pool::Ending;

/// Becomes lsphp, or supervises it until the end, or says why not. Until the drop nothing of the tenant's is
/// executed or followed.
pub fn start() -> Result<Ending, Failure> {
    let (privileged, plan) = begin(Asker::Start)?;
    let path = usable(&plan)?; // before the warnings, which hold the same line
    plan.warnings.iter().for_each(Fault::warn);
    info!("{}", summary(&plan));

    // Before anything slow: whoever connects while the site starts waits instead of being refused.
    let opened = match plan.listener.opened_by {
        Opener::HandedOver => Opened::HandedOver(inherited::take(&Environment::of_this_process())?),
        _ => open_listeners(&privileged, &plan)?,
    };
    let record = record(&plan, path, &opened)?;
    effects::apply_as_root(&privileged, &record)?;
    let open =
        |control: &OpenControlSocket| effects::open_control_socket(&privileged, &control.path, plan.site.uid);
    let control = plan.effects.control.as_ref().map(open).transpose()?;
    let site_user = drop_privileges(privileged, &plan)?;
    effects::apply_as_site_user(&site_user, &plan);
    let stdin = match opened {
        Opened::Nothing => Stdin::Null,
        Opened::Listener(listener) => Stdin::Listener(listener),
        Opened::HandedOver(serving) => Stdin::Listener(Listener { serving, parking: None }),
        Opened::Group(group, first) => match Specification::of(&plan) {
            None => Stdin::Listener(group.hand_over(first)),
            Some(specification) => {
                let home = plan.site.home.clone();
                let events = plan.event_files.clone();
                let opened = supervise::Opened { group, first, control };
                drop(plan); // pid 1 keeps what it needs
                return supervise::run(&site_user, &home, specification, opened, events);
            }
        },
    };
    let program = Program {
        path,
        argv: plan.exec.argv.iter().map(Into::into).collect(),
        environment: plan.exec.environment.iter().collect(),
        address_space: plan.exec.address_space,
        stdin,
        if_missing: "set CAC_LSPHP to an lsphp whose interpreter is there too",
    };
    Err(site_user.exec(&plan.site.home, &program))
}

/// Of the listener.
enum Opened {
    /// lsphp does it.
    Nothing,
    Listener(Listener),
    HandedOver(OwnedFd),
    /// With the first member to serve.
    Group(Group, Member),
}

/// Opens what the plan says. It is the site's afterwards, so that what the site's user opens can join it.
fn open_listeners(privileged: &Privileged, plan: &Plan) -> Result<Opened, Failure> {
    let Some(OpenListener { address, group }) = &plan.effects.listener else { return Ok(Opened::Nothing) };
    let address = match (address, &plan.listener.socket) {
        (Address::Inet(address), _) => address,
        (Address::Unix(path), Some(socket)) => return open_unix(privileged, plan, path, socket),
        (Address::Unix(_), None) => return Ok(Opened::Nothing),
    };
    let opened =
        if *group { open_group(privileged, plan, *address) } else { open_alone(privileged, plan, *address) };
    opened.map_err(|cause| {
        let operation = format!("listening on {address}");
        let hint = "see who else listens there, or correct CAC_LISTEN";
        Failure::system(operation, Object::Nothing, cause, hint)
    })
}

fn open_unix(
    privileged: &Privileged,
    plan: &Plan,
    path: &Path,
    socket: &SocketPlan,
) -> Result<Opened, Failure> {
    let owner = privileged.is_root().then_some(plan.site.uid);
    let serving = unix::open(path, plan.listener.backlog.unwrap_or_default(), socket, owner)?;
    let listener = Listener { serving, parking: None };
    if privileged.is_root() {
        listener.chown(plan.site.uid, plan.site.gid).map_err(|cause| {
            Failure::system("changing the owner of", path, cause, "grant the capability CHOWN")
        })?;
    }
    Ok(Opened::Listener(listener))
}

fn open_group(privileged: &Privileged, plan: &Plan, address: SocketAddr) -> io::Result<Opened> {
    let ListenerPlan { backlog, allowed_clients, .. } = &plan.listener;
    let mut group = Group::open(address, backlog.unwrap_or_default(), allowed_clients.clone())?;
    let first = group.join()?;
    if privileged.is_root() {
        group.chown(&first, plan.site.uid, plan.site.gid)?;
    }
    Ok(Opened::Group(group, first))
}

fn open_alone(privileged: &Privileged, plan: &Plan, address: SocketAddr) -> io::Result<Opened> {
    let listener = group::open_alone(address, plan.listener.backlog.unwrap_or_default())?;
    if privileged.is_root() {
        listener.chown(plan.site.uid, plan.site.gid)?;
    }
    Ok(Opened::Listener(listener))
}

/// What comes first whatever is executed in the end: the plan decided, the log set up as it says, and whether this
/// process may become the site's user.
pub fn begin(asker: Asker) -> Result<(Privileged, Plan), Failure> {
    let privileged = Privileged::take()?;
    let (log, plan) = gather::plan(Path::new("/"), privileged.started_as(), asker, None);
    logging::init(log);
    set_umask()?;
    let plan = plan.map_err(Failure::of_plan)?;
    check_ids(&privileged, &plan)?;
    Ok((privileged, plan))
}

/// What this start leaves for those who look at the site later: this process will be lsphp, or stay above it.
fn record<'a>(plan: &'a Plan, lsphp: &Path, opened: &Opened) -> Result<RunRecord<&'a Plan>, Failure> {
    let unreadable = |cause| Failure::system("reading", Path::new("/proc/self"), cause, "mount /proc");
    let (mut parking, mut handed_over) = (None, None);
    match opened {
        Opened::Nothing | Opened::Listener(_) => {}
        Opened::HandedOver(socket) => handed_over = Some(inode(socket).map_err(unreadable)?),
        Opened::Group(group, _) => parking = Some(group.parking_inode().map_err(unreadable)?),
    }
    let listener = ListenerRecord {
        address: plan.front_end.address.clone(),
        backlog: plan.listener.backlog.unwrap_or_default(),
        uid: plan.site.uid.as_raw(),
        parking,
        handed_over,
    };
    RunRecord::of_this_process(plan, lsphp, listener, plan.event_files.clone()).map_err(unreadable)
}

/// The drop as the plan says it, with its warnings logged.
pub fn drop_privileges(privileged: Privileged, plan: &Plan) -> Result<SiteUser, Failure> {
    let no_new_privs = plan.exec.no_new_privs;
    let target = Target { uid: plan.site.uid, gid: plan.site.gid, no_new_privs };
    let (site_user, warnings) = privileged.become_site_user(target)?;
    warnings.iter().for_each(Fault::warn);
    Ok(site_user)
}

/// lsphp, if it can be executed.
pub fn usable(plan: &Plan) -> Result<&Path, Failure> {
    plan.exec.lsphp.usable().map_err(unusable)
}

/// A non-root start cannot become somebody else: say so before anything is done.
fn check_ids(privileged: &Privileged, plan: &Plan) -> Result<(), Failure> {
    let own = privileged.started_as();
    let (uid, gid) = (plan.site.uid.as_raw(), plan.site.gid.as_raw());
    if privileged.is_root() || (own.uid, own.gid) == (uid, gid) {
        return Ok(());
    }
    let cause = format!("this process is {}:{} and not root", own.uid, own.gid);
    let hint = format!("start it as root, or with --user {uid}:{gid}");
    Err(Failure::refused(format!("becoming {uid}:{gid}"), Object::Nothing, cause, hint))
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
        workers.total(),
        workers.source,
        plan.memory.source,
        opcache.memory_mib,
        opcache.max_files,
        plan.exec.argv.join(" "),
    )
}
