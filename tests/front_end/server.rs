//! Stands in for OpenLiteSpeed where its image cannot be pulled: reads the same configuration, speaks
//! HTTP on one side and LSAPI on the other.
//!
//!     front_end HTTPD_CONFIG [ADDRESS]
//!
//! It knows what the examples use and no more: virtual hosts by name, static files, index files, PHP
//! through external applications of type lsapi, and WordPress's fallback to index.php.

#[path = "../support/client.rs"]
mod client;
mod config;
mod site;

use std::path::Path;
use std::sync::Arc;

use config::Configuration;
use tiny_http::{Header, Request, Response, Server, StatusCode};

/// Requests that are served or wait for a worker; more wait in the listener's backlog.
const THREADS: usize = 64;

/// An answer, before it is HTTP.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(status: u16, text: impl Into<Vec<u8>>) -> Self {
        let headers = vec![(b"Content-Type".to_vec(), b"text/plain".to_vec())];
        Answer { status, headers, body: text.into() }
    }
}

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("which configuration? give the path of httpd_config.conf")?;
    let address = arguments.next().unwrap_or_else(|| "0.0.0.0:80".to_owned());
    let configuration = Arc::new(Configuration::load(Path::new(&path))?);
    let server = Arc::new(Server::http(&address).map_err(|error| format!("{address}: {error}"))?);
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (server, configuration) = (Arc::clone(&server), Arc::clone(&configuration));
            std::thread::spawn(move || {
                while let Ok(request) = server.recv() {
                    serve(&configuration, request);
                }
            })
        })
        .collect();
    eprintln!("serving {path} at {address}");
    threads
        .into_iter()
        .try_for_each(std::thread::JoinHandle::join)
        .map_err(|_| "a thread panicked".to_owned())
}

fn serve(configuration: &Configuration, mut request: Request) {
    let host = header(&request, "Host").unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    let answer = match configuration.site(name) {
        Some(site) => site.answer(&mut request),
        None => Answer::text(404, format!("no virtual host {name:?}\n")),
    };
    let (method, url, status) = (request.method().clone(), request.url().to_owned(), answer.status);
    let headers =
        answer.headers.iter().filter_map(|(name, value)| Header::from_bytes(&name[..], &value[..]).ok());
    let length = answer.body.len();
    let response = Response::new(StatusCode(status), headers.collect(), &answer.body[..], Some(length), None)
        .with_chunked_threshold(usize::MAX);
    let sent = request.respond(response);
    eprintln!(
        "{name} {method} {url} {status} {length}{}",
        sent.err().map_or_else(String::new, |e| format!(" {e}"))
    );
}

/// A request's header.
pub fn header(request: &Request, name: &'static str) -> Option<String> {
    let found = request.headers().iter().find(|header| header.field.equiv(name));
    found.map(|header| header.value.to_string())
}
