//! What to request: a script's path or a URI → the CGI variables that a front end would send.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::request::{Pair, Request};

/// A script, and how it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    document_root: Vec<u8>,
    /// The script's path below the document root, decoded.
    script_name: Vec<u8>,
    /// What follows the script in a URI's path, decoded.
    path_info: Vec<u8>,
    query: Vec<u8>,
    request_uri: Vec<u8>,
    is_https: bool,
    /// Host and perhaps port, as in the `Host` header.
    authority: Vec<u8>,
}

/// A target that says too little or nothing at all.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error(
        "target {0:?} is neither a script's absolute path nor a URI; give /path/to/script.php or http://host/path"
    )]
    NeitherPathNorUri(String),
    #[error("target {0:?} has no host; give http://host/path")]
    NoHost(String),
    #[error("a URI needs to know its document root; add --root DIR, or set `user` in the environment")]
    NoRoot,
    #[error("the script is not below the document root {0:?}; give another --root")]
    OutsideRoot(String),
}

impl Target {
    /// Reads `text`. `root` is the document root if it is given, `site` the site's if that is known.
    pub fn parse(text: &OsStr, root: Option<&OsStr>, site: Option<&Path>) -> Result<Self, TargetError> {
        let bytes = text.as_bytes();
        if bytes.starts_with(b"/") {
            return Target::from_path(bytes, root.map(OsStr::as_bytes));
        }
        let root = root.or(site.map(Path::as_os_str)).ok_or(TargetError::NoRoot)?.as_bytes();
        let uri = [(&b"http://"[..], false), (b"https://", true)]
            .iter()
            .find_map(|(scheme, is_https)| Some((bytes.strip_prefix(*scheme)?, *is_https)));
        match uri {
            Some((rest, is_https)) => Target::from_uri(text, rest, is_https, root),
            None => Err(TargetError::NeitherPathNorUri(text.to_string_lossy().into_owned())),
        }
    }

    fn from_path(text: &[u8], root: Option<&[u8]>) -> Result<Self, TargetError> {
        let (path, query) = split_at(text, b'?');
        let document_root = match root {
            Some(root) => without_end_slash(root).to_vec(),
            None => site_root(path).unwrap_or_else(|| parent(path)).to_vec(),
        };
        let script_name = path.strip_prefix(&document_root[..]).filter(|name| name.starts_with(b"/"));
        let Some(script_name) = script_name else {
            return Err(TargetError::OutsideRoot(String::from_utf8_lossy(&document_root).into_owned()));
        };
        let mut request_uri = percent_encode(script_name);
        if text.len() > path.len() {
            request_uri.push(b'?');
            request_uri.extend_from_slice(query);
        }
        Ok(Target {
            script_name: script_name.to_vec(),
            path_info: Vec::new(),
            query: query.to_vec(),
            request_uri,
            is_https: false,
            authority: b"localhost".to_vec(),
            document_root,
        })
    }

    fn from_uri(whole: &OsStr, rest: &[u8], is_https: bool, root: &[u8]) -> Result<Self, TargetError> {
        let (rest, _fragment) = split_at(rest, b'#');
        let authority_end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
        let (authority, request_uri) = rest.split_at(authority_end);
        if authority.is_empty() {
            return Err(TargetError::NoHost(whole.to_string_lossy().into_owned()));
        }
        let slash: &[u8] = if request_uri.starts_with(b"/") { b"" } else { b"/" };
        let request_uri = [slash, request_uri].concat();
        let (path, query) = split_at(&request_uri, b'?');
        let (script_name, path_info) = split_script(&percent_decode(path));
        Ok(Target {
            document_root: without_end_slash(root).to_vec(),
            script_name,
            path_info,
            query: query.to_vec(),
            is_https,
            authority: authority.to_vec(),
            request_uri,
        })
    }

    /// The same, as it is rewritten to the application's one script.
    pub fn of_front_controller(&self) -> Self {
        Target { script_name: b"/index.php".to_vec(), path_info: Vec::new(), ..self.clone() }
    }

    /// The request that a front end makes of it, without headers.
    pub fn request(&self, method: &[u8]) -> Request {
        let mut request = Request::new(method, self.script_filename(), &self.script_name[..]);
        request.query_string = self.query.clone();
        request.environment = self.variables();
        request
    }

    fn script_filename(&self) -> Vec<u8> {
        [&self.document_root[..], &self.script_name].concat()
    }

    /// The value for the `Host` header.
    pub fn authority(&self) -> &[u8] {
        &self.authority
    }

    /// The CGI variables (RFC 3875 section 4.1) that are not part of every LSAPI request.
    fn variables(&self) -> Vec<Pair> {
        let (host, port) = split_port(&self.authority);
        let port = port.unwrap_or(if self.is_https { b"443" } else { b"80" });
        let optional = [
            self.is_https.then_some((&b"HTTPS"[..], &b"on"[..])),
            (!self.path_info.is_empty()).then_some((b"PATH_INFO", &self.path_info)),
        ];
        let always: [(&[u8], &[u8]); 10] = [
            (b"GATEWAY_INTERFACE", b"CGI/1.1"),
            (b"SERVER_SOFTWARE", b"LiteSpeed"),
            (b"SERVER_PROTOCOL", b"HTTP/1.1"),
            (b"SERVER_NAME", host),
            (b"SERVER_PORT", port),
            (b"SERVER_ADDR", b"127.0.0.1"),
            (b"REMOTE_ADDR", b"127.0.0.1"),
            (b"REMOTE_PORT", b"0"),
            (b"DOCUMENT_ROOT", &self.document_root),
            (b"REQUEST_URI", &self.request_uri),
        ];
        let all = always.into_iter().chain(optional.into_iter().flatten());
        all.map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
    }
}

/// The document root of a script in a site: `/mnt/users/<user>/<domain>/public_html` as the front
/// end sees it, or `/home/<user>/public_html`.
fn site_root(path: &[u8]) -> Option<&[u8]> {
    let parts: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    let depth = match parts[..] {
        [b"", b"mnt", b"users", _, _, b"public_html", _, ..] => 6,
        [b"", b"home", _, b"public_html", _, ..] => 4,
        _ => return None,
    };
    let length = parts.iter().take(depth).map(|part| part.len() + 1).sum::<usize>() - 1;
    path.get(..length)
}

fn parent(path: &[u8]) -> &[u8] {
    let length = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    path.get(..length).unwrap_or_default()
}

fn without_end_slash(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

/// The script in a path, and what follows it: `/a.php/b` is `/a.php` with path info `/b`, and a
/// directory stands for its `index.php`.
fn split_script(path: &[u8]) -> (Vec<u8>, Vec<u8>) {
    const MARK: &[u8] = b".php/";
    if let Some(position) = path.windows(MARK.len()).position(|part| part == MARK) {
        let (script, info) = path.split_at(position + MARK.len() - 1);
        (script.to_vec(), info.to_vec())
    } else if path.ends_with(b"/") {
        ([path, b"index.php"].concat(), Vec::new())
    } else {
        (path.to_vec(), Vec::new())
    }
}

fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    match authority.iter().rposition(|&byte| byte == b':').and_then(|at| authority.split_at_checked(at)) {
        Some((host, [_colon, port @ ..])) if !port.is_empty() && port.iter().all(u8::is_ascii_digit) => {
            (host, Some(port))
        }
        _ => (authority, None),
    }
}

/// The parts before and after the first `separator`, which may be missing.
fn split_at(text: &[u8], separator: u8) -> (&[u8], &[u8]) {
    let mut parts = text.splitn(2, |&byte| byte == separator);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

fn percent_encode(path: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(path.len());
    for &byte in path {
        // RFC 3986 section 3.3: pchar without what is already an escape.
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            encoded.push(byte);
        } else {
            encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    encoded
}

fn percent_decode(mut text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    while let [first, rest @ ..] = text {
        let escape = match (first, rest) {
            (b'%', [high, low, after @ ..]) => hex(*high).zip(hex(*low)).map(|(h, l)| (h << 4 | l, after)),
            _ => None,
        };
        let (byte, after) = escape.unwrap_or((*first, rest));
        decoded.push(byte);
        text = after;
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests;
