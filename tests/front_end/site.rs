//! One virtual host: a URI becomes a static file, or a request to the site's PHP.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use cac_lsphp::address::Address;
use cac_lsphp::lsapi;
use tiny_http::Request;

use crate::client::Client;
use crate::{Answer, header};

const DEADLINE: Duration = Duration::from_secs(300);

pub struct Site {
    pub document_root: PathBuf,
    pub index_files: Vec<String>,
    pub php: ExternalApplication,
}

/// What a path names.
enum Target {
    /// A file to be sent as it is.
    File(PathBuf),
    /// A script below the document root, and what follows it in the path.
    Script {
        name: String,
        path_info: String,
    },
    /// A directory that was named without its slash.
    Directory,
    Nothing,
}

impl Site {
    pub fn answer(&self, request: &mut Request) -> Answer {
        let url = request.url().to_owned();
        let (raw, query) = url.split_once('?').unwrap_or((&url, ""));
        let Some(path) = decode(raw).filter(|path| path.split('/').all(|part| part != "..")) else {
            return Answer::text(400, "that is no path\n");
        };
        match self.target(&path) {
            Target::File(file) => match fs::read(&file) {
                Ok(body) => Answer { status: 200, headers: vec![content_type(&file)], body },
                Err(error) => Answer::text(403, format!("{error}\n")),
            },
            Target::Script { name, path_info } => self.run(request, &name, &path_info, query),
            Target::Directory => {
                let headers = vec![(b"Location".to_vec(), format!("{raw}/").into())];
                Answer { status: 301, headers, body: vec![] }
            }
            Target::Nothing => Answer::text(404, "nothing here\n"),
        }
    }

    fn target(&self, path: &str) -> Target {
        let file = self.document_root.join(path.trim_start_matches('/'));
        if file.is_dir() {
            if !path.ends_with('/') {
                return Target::Directory;
            }
            let index = self.index_files.iter().map(|index| format!("{path}{index}"));
            let mut found = index.filter(|index| self.document_root.join(&index[1..]).is_file());
            return found.next().map_or(Target::Nothing, |index| self.target(&index));
        }
        if let Some((name, path_info)) = split_script(path)
            && self.document_root.join(&name[1..]).is_file()
        {
            return Target::Script { name: name.to_owned(), path_info: path_info.to_owned() };
        }
        match file.is_file() {
            true => Target::File(file),
            false if self.document_root.join("index.php").is_file() => {
                Target::Script { name: "/index.php".to_owned(), path_info: String::new() }
            }
            false => Target::Nothing,
        }
    }

    fn run(&self, request: &mut Request, name: &str, path_info: &str, query: &str) -> Answer {
        let root = self.document_root.display().to_string();
        let method = request.method().as_str().to_owned();
        let mut to_php = lsapi::Request::new(method, format!("{root}{name}"), name);
        to_php.query_string = query.into();
        let host = header(request, "Host").unwrap_or_default();
        let variables = [
            ("DOCUMENT_ROOT", root),
            ("REQUEST_URI", request.url().to_owned()),
            ("SERVER_PROTOCOL", "HTTP/1.1".to_owned()),
            ("SERVER_NAME", host.split(':').next().unwrap_or_default().to_owned()),
            ("SERVER_PORT", host.split_once(':').map_or("80", |(_, port)| port).to_owned()),
            ("REMOTE_ADDR", request.remote_addr().map(|peer| peer.ip().to_string()).unwrap_or_default()),
            ("PATH_INFO", path_info.to_owned()),
        ];
        let given = variables.into_iter().filter(|(_, value)| !value.is_empty());
        to_php.environment = given.map(|(name, value)| (name.into(), value.into())).collect();
        let headers = request.headers().iter().filter(|header| !header.field.equiv("Content-Length"));
        to_php.headers =
            headers.map(|h| (h.field.as_str().as_str().into(), h.value.as_str().into())).collect();
        let mut body = Vec::new();
        if let Err(error) = request.as_reader().read_to_end(&mut body) {
            return Answer::text(400, format!("{error}\n"));
        }
        self.php.answer(&to_php, &body)
    }
}

/// The site's lsphp, over at most `maxConns` connections that stay open.
pub struct ExternalApplication {
    idle: Mutex<Vec<Client>>,
    returned: Condvar,
}

impl ExternalApplication {
    pub fn new(address: Address, max_conns: usize) -> Self {
        let clients = (0..max_conns).map(|_| Client::new(address.clone())).collect();
        ExternalApplication { idle: Mutex::new(clients), returned: Condvar::new() }
    }

    fn answer(&self, request: &lsapi::Request, body: &[u8]) -> Answer {
        let mut client = self.take();
        let body = (!body.is_empty()).then_some(body);
        let result = client.fetch(request, body, DEADLINE);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        self.returned.notify_one();
        match result {
            Ok(response) => {
                let headers = response.headers.iter().filter_map(|line| split_header(line));
                Answer { status: response.status, headers: headers.collect(), body: response.body }
            }
            Err(error) => {
                eprintln!("request to lsphp: {error}");
                Answer::text(503, "the site does not answer\n")
            }
        }
    }

    /// The connection that was used last, so that the others' workers can leave.
    fn take(&self) -> Client {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut idle =
            self.returned.wait_while(idle, |idle| idle.is_empty()).unwrap_or_else(PoisonError::into_inner);
        idle.pop().expect("it was waited for")
    }
}

/// The script in a path, and what follows it.
fn split_script(path: &str) -> Option<(&str, &str)> {
    let end = path.find(".php/").map(|dot| dot + 4);
    end.map(|end| path.split_at(end)).or_else(|| path.ends_with(".php").then_some((path, "")))
}

fn split_header(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((line[..colon].to_vec(), line[colon + 1..].trim_ascii().to_vec()))
}

fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok().filter(|path| path.starts_with('/') && !path.contains('\0'))
}

fn content_type(file: &Path) -> (Vec<u8>, Vec<u8>) {
    let name = match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html",
        Some("css") => "text/css",
        Some("js") => "application/javascript",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    (b"Content-Type".to_vec(), name.into())
}
