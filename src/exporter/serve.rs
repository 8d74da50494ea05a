//! HTTP: `/metrics` for Prometheus, and `/` that says what this is.
//!
//! Sites are looked at when somebody asks, at most once a second however many do, and one look at a time: in a thread
//! of its own, so that clients are answered whatever it meets. A client has a deadline for everything that it does.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;

use super::cli::PROC;
use super::look::look;
use super::metrics;
use super::state::Memory;

/// Clients that are spoken to at once; the others wait in the listener's queue.
const MOST_CLIENTS: usize = 16;

/// For a client to say what it wants, and to take all of the answer.
const REQUEST_TIME: Duration = Duration::from_secs(5);
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// For the sites to be looked at. Prometheus itself gives up after 10 s.
const LOOK_TIME: Duration = Duration::from_secs(9);

/// Bytes of a request's head; hyper takes no less.
const LONGEST_HEAD: usize = 8192;

/// A look answers whoever asks within this time.
const FRESH: Duration = Duration::from_secs(1);

/// Between two times that the state is saved.
const SAVE_EVERY: Duration = Duration::from_secs(60);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

const ABOUT: &str = "\
cac-lsphp-exporter: every cac-lsphp site of this machine.

/metrics   OpenMetrics, for Prometheus
";

/// What looks at the sites, and what was seen last.
pub struct Exporter {
    memory: Memory,
    state: Option<PathBuf>,
    saved: Instant,
    last: Option<(Instant, Bytes)>,
}

impl Exporter {
    /// With what `state` has of earlier runs.
    ///
    /// # Errors
    /// That is no state of ours, or cannot be read.
    pub fn new(state: Option<&Path>) -> io::Result<Self> {
        let memory = match state.map(Memory::load).transpose() {
            // The first start.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Memory::default(),
            memory => memory?.unwrap_or_default(),
        };
        Ok(Self { memory, state: state.map(Path::to_owned), saved: Instant::now(), last: None })
    }

    fn metrics(&mut self) -> Result<Bytes, String> {
        if let Some((seen, text)) = &self.last
            && seen.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let start = Instant::now();
        let look =
            look(Path::new(PROC), &mut self.memory).map_err(|error| format!("reading {PROC}: {error}"))?;
        let text = metrics::render(look, start.elapsed()).map_err(|error| error.to_string())?;
        let text = Bytes::from(text);
        self.last = Some((Instant::now(), text.clone()));
        if self.saved.elapsed() >= SAVE_EVERY {
            self.save();
        }
        Ok(text)
    }

    /// A state that cannot be written is no reason not to go on: the next one may be.
    fn save(&mut self) {
        self.saved = Instant::now();
        let Some(path) = &self.state else { return };
        if let Err(error) = self.memory.save(path) {
            super::cli::complain(format_args!(
                "writing {}: {error}; let it write there, or what workers needed is not kept over a restart",
                path.display()
            ));
        }
    }
}

/// Serves on `address` until SIGTERM or SIGINT.
///
/// # Errors
/// The address cannot be listened on.
pub fn serve(address: SocketAddr, exporter: Exporter) -> io::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
    let exporter = Arc::new(Mutex::new(exporter));
    let served = runtime.block_on(listen(address, &exporter));
    // Whatever a look is waiting for, it is not waited for.
    runtime.shutdown_background();
    if served.is_ok()
        && let Ok(mut exporter) = exporter.try_lock()
    {
        exporter.save();
    }
    served
}

async fn listen(address: SocketAddr, exporter: &Arc<Mutex<Exporter>>) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    super::cli::complain(format_args!("serving http://{}/metrics", listener.local_addr()?));
    // Whether that can be done is to be known now, and not when it is needed.
    exporter.lock().await.save();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let places = Arc::new(Semaphore::new(MOST_CLIENTS));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            (place, accepted) = accepted => match accepted {
                Ok((client, _)) => {
                    let exporter = Arc::clone(exporter);
                    tokio::spawn(async move {
                        speak(client, exporter).await;
                        drop(place);
                    });
                }
                // Out of descriptors, or a client that has gone: neither is better at once.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
        }
    }
}

/// One request of one client.
async fn speak(client: TcpStream, exporter: Arc<Mutex<Exporter>>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&exporter)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .max_buf_size(LONGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(client), service);
    // What goes wrong is the client's, which sees it.
    let _ = timeout(ANSWER_TIME, connection).await;
}

async fn answer(
    request: Request<Incoming>,
    exporter: Arc<Mutex<Exporter>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = say(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refused);
    }
    Ok(match request.uri().path() {
        "/" => say(StatusCode::OK, ABOUT),
        "/metrics" => match timeout(LOOK_TIME, metrics_of(exporter)).await {
            Ok(Ok(text)) => response(StatusCode::OK, OPENMETRICS, text),
            Ok(Err(error)) => say(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            Err(_) => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "the look at the sites takes longer than 9 s; see what keeps the machine busy\n",
            ),
        },
        _ => say(StatusCode::NOT_FOUND, "there is / and /metrics\n"),
    })
}

/// Who has to wait does so here, without a thread.
async fn metrics_of(exporter: Arc<Mutex<Exporter>>) -> Result<Bytes, String> {
    let mut exporter = exporter.lock_owned().await;
    let look = tokio::task::spawn_blocking(move || exporter.metrics());
    look.await.map_err(|error| error.to_string())?
}

fn say(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, PLAIN, text)
}

fn response(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
