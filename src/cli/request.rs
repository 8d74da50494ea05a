//! `cac-lsphp request`: one LSAPI request, as curl would show it.

mod output;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;

use crate::address::Address;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::gather;
use crate::identity::{StartedAs, User};
use crate::lsapi::request::Pair;
use crate::lsapi::{self, Body, Deadline, Error, Request, Target};
use crate::paths::PUBLIC_HTML;
use crate::running::RunRecord;

use output::Output;

/// Bytes of a file that are read at once, and sent at once.
const CHUNK: usize = 64 << 10;

#[derive(Debug, Args)]
#[command(after_help = "\
Status line, headers and body go to stdout, what the site writes to stderr to stderr.
Exit code 0: a complete answer, whatever its status. 64: usage. 71: anything else, with one line why.

The document root of a target /mnt/users/USER/DOMAIN/public_html/… or /home/USER/public_html/… ends
with public_html; of any other path it is the script's own directory.

LSAPI has no authentication: keep lsphp's port away from strangers.")]
pub struct RequestArgs {
    /// A script's absolute path with perhaps a ?query, or a URI http(s)://host/path?query
    target: OsString,

    /// lsphp's address: IP:PORT, [IPv6]:PORT or a socket's path [default: the running site's, else CAC_LISTEN's]
    #[arg(long, value_name = "ADDRESS")]
    addr: Option<Address>,

    /// The method [default: GET, or POST with -d]
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<OsString>,

    /// A header `Name: value`; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<OsString>,

    /// The body, sent as it is; @FILE reads it from a file, @- from stdin
    #[arg(short = 'd', long = "data", value_name = "BODY")]
    data: Option<OsString>,

    /// A variable NAME=VALUE for $_SERVER; may be repeated
    #[arg(short = 'e', long = "env", value_name = "NAME=VALUE")]
    environment: Vec<OsString>,

    /// The document root [default for a URI: /home/$user/public_html]
    #[arg(long, value_name = "DIR")]
    root: Option<OsString>,

    /// How long the whole request may take, such as 500ms, 30s or 2m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = super::timeout::parse)]
    timeout: Duration,

    /// Show the body only
    #[arg(long)]
    body_only: bool,
}

/// Sends the request and prints the answer.
pub fn run(arguments: &RequestArgs) -> Exit {
    let (address, request) = match prepare(arguments) {
        Ok(prepared) => prepared,
        Err(error) => return fail(Exit::Usage, &error),
    };
    let sent = open_body(arguments.data.as_deref()).and_then(|mut data| {
        let mut output = Output::new(!arguments.body_only)?;
        let body = match &mut data {
            None => Body::None,
            Some((source, length)) => Body::Reader { source, length: *length },
        };
        Ok(lsapi::send(&address, &request, body, Deadline::after(arguments.timeout), &mut output)?)
    });
    match sent {
        Ok(()) => Exit::Success,
        Err(error) => match error.downcast_ref() {
            // Whoever reads the output has seen enough, as in `cac-lsphp request … | head`.
            Some(Error::Output(source)) if source.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
            Some(Error::Request(_)) => fail(Exit::Usage, &error),
            _ => fail(Exit::System, &error),
        },
    }
}

fn fail(exit: Exit, error: &anyhow::Error) -> Exit {
    super::complain(format_args!("{error:#}"));
    exit
}

fn prepare(arguments: &RequestArgs) -> anyhow::Result<(Address, Request)> {
    let site = site();
    let user = site.as_ref().ok().and_then(|(_, user)| user.as_ref());
    let pages = user.map(|user| user.home().join(PUBLIC_HTML));
    let target = Target::parse(&arguments.target, arguments.root.as_deref(), pages.as_deref());
    let address = match &arguments.addr {
        Some(address) => address.clone(),
        None => site?.0.ok_or_else(|| {
            anyhow!("the site's listener was handed over (LISTEN_FDS), and its address is not known here; give --addr")
        })?,
    };
    let target = target?;
    let default_method = if arguments.data.is_some() { "POST" } else { "GET" };
    let method = arguments.method.as_deref().unwrap_or(OsStr::new(default_method));

    let mut request = target.request(method.as_bytes());
    for entry in &arguments.environment {
        set_variable(&mut request.environment, entry)?;
    }
    for header in &arguments.headers {
        let (name, value) = split(header.as_bytes(), b':')
            .ok_or_else(|| anyhow!("header {header:?} has no colon; write -H 'Name: value'"))?;
        request.headers.push((name.to_vec(), value.trim_ascii().to_vec()));
    }
    add_header(&mut request, "Host", target.authority());
    add_header(&mut request, "User-Agent", concat!("cac-lsphp/", env!("CARGO_PKG_VERSION")).as_bytes());
    add_header(&mut request, "Accept", b"*/*");
    if arguments.data.is_some() {
        add_header(&mut request, "Content-Type", b"application/x-www-form-urlencoded");
    }
    Ok((address, request))
}

/// Where the site listens, if that is known, and whose it is: as it was started, else as it would be.
fn site() -> anyhow::Result<(Option<Address>, Option<User>)> {
    match <RunRecord>::read(Path::new("/")) {
        Ok(RunRecord { listener, plan, .. }) => {
            let known = listener.handed_over.is_none();
            Ok((known.then_some(listener.address), Some(plan.site.user)))
        }
        Err(_) => gather::address(Path::new("/"), StartedAs::of_this_process().uid)
            .map(|(address, user)| (Some(address), user))
            .map_err(|faults| anyhow!("{}; or give --addr", Failure::of_plan(faults))),
    }
}

fn set_variable(environment: &mut Vec<Pair>, entry: &OsStr) -> anyhow::Result<()> {
    let (name, value) = split(entry.as_bytes(), b'=')
        .ok_or_else(|| anyhow!("variable {entry:?} has no value; write -e NAME=VALUE"))?;
    environment.retain(|(known, _)| known != name);
    environment.push((name.to_vec(), value.to_vec()));
    Ok(())
}

/// Adds a header unless the user gave one of that name.
fn add_header(request: &mut Request, name: &str, value: &[u8]) {
    if !request.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name.as_bytes())) {
        request.headers.push((name.into(), value.to_vec()));
    }
}

fn split(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let position = text.iter().position(|&byte| byte == separator)?;
    Some((text.get(..position)?, text.get(position + 1..)?))
}

/// What the body is read from, and its length.
type Data = (Box<dyn BufRead>, u64);

fn open_body(argument: Option<&OsStr>) -> anyhow::Result<Option<Data>> {
    let (name, opened) = match argument.map(OsStr::as_bytes) {
        None => return Ok(None),
        Some(b"@-") => ("stdin".into(), io::stdin().as_fd().try_clone_to_owned().map(File::from)),
        Some([b'@', path @ ..]) => (String::from_utf8_lossy(path), File::open(OsStr::from_bytes(path))),
        Some(literal) => return Ok(Some(in_memory(literal.to_vec()))),
    };
    opened
        .and_then(read_body)
        .map(Some)
        .map_err(|error| anyhow!("read the body from {name}: {error}; name a file that can be read"))
}

/// A regular file is sent as it is read; what has no length before its end is held in memory.
fn read_body(mut file: File) -> io::Result<Data> {
    let metadata = file.metadata()?;
    if metadata.is_file() {
        let length = metadata.len().saturating_sub(file.stream_position()?);
        return Ok((Box::new(BufReader::with_capacity(CHUNK, file)), length));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(in_memory(bytes))
}

fn in_memory(bytes: Vec<u8>) -> Data {
    let length = bytes.len() as u64;
    (Box::new(io::Cursor::new(bytes)), length)
}
