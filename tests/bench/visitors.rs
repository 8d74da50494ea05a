//! A web site's visitors: asks a front end for a page over HTTP and notes how long each answer took.
//!
//!     visitors ADDRESS HOST PATH steady CLIENTS SECONDS
//!     visitors ADDRESS HOST PATH bursts CLIENTS ROUNDS PAUSE_MS
//!
//! Steady clients keep their connection and ask again as soon as they are answered; who waits at the end is waited
//! for, because the longest wait is what is looked for. A burst is so many clients at once, each on a connection of
//! its own. Prints a line for each answer: when it was there, since the start, and how long it took, in nanoseconds,
//! and 1 where it was the page, which must be `served` with its Content-Length, or 0 for anything else.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);
const PAGE: &[u8] = b"\r\n\r\nserved";

#[derive(Clone, Copy)]
struct Page<'a> {
    address: &'a str,
    host: &'a str,
    path: &'a str,
}

struct Answer {
    /// Since the start.
    at: Duration,
    took: Duration,
    served: bool,
}

struct Visitor<'a> {
    page: Page<'a>,
    connection: Option<TcpStream>,
}

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    let (page, answers) = match words[..] {
        [address, host, path, "steady", clients, seconds] => {
            let page = Page { address, host, path };
            (page, steady(page, number(clients)?, Duration::from_secs(number(seconds)?)))
        }
        [address, host, path, "bursts", clients, rounds, pause] => {
            let page = Page { address, host, path };
            let pause = Duration::from_millis(number(pause)?);
            (page, bursts(page, number(clients)?, number(rounds)?, pause))
        }
        _ => return Err("ADDRESS HOST PATH steady CLIENTS SECONDS, or bursts CLIENTS ROUNDS PAUSE_MS".into()),
    };
    let answers =
        answers.map_err(|error| format!("{}{} at {}: {error}", page.host, page.path, page.address))?;
    let lines: Vec<_> = answers.iter().map(Answer::line).collect();
    io::stdout().write_all(lines.concat().as_bytes()).map_err(|error| format!("stdout: {error}"))
}

fn steady(page: Page, clients: u64, window: Duration) -> io::Result<Vec<Answer>> {
    let start = Instant::now();
    together(clients, |_| {
        let mut visitor = Visitor { page, connection: None };
        let mut answers = Vec::new();
        while start.elapsed() < window {
            answers.push(visitor.ask(start)?);
        }
        Ok(answers)
    })
}

fn bursts(page: Page, clients: u64, rounds: u64, pause: Duration) -> io::Result<Vec<Answer>> {
    let start = Instant::now();
    let mut answers = Vec::new();
    for _ in 0..rounds {
        answers.extend(together(clients, |barrier| {
            barrier.wait();
            Ok(vec![Visitor { page, connection: None }.ask(start)?])
        })?);
        thread::sleep(pause);
    }
    Ok(answers)
}

/// So many clients at the same time; all of their answers.
fn together<F>(clients: u64, client: F) -> io::Result<Vec<Answer>>
where
    F: Fn(&Barrier) -> io::Result<Vec<Answer>> + Sync,
{
    let barrier = Barrier::new(usize::try_from(clients).map_err(io::Error::other)?);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(|| client(&barrier))).collect();
        let mut answers = Vec::new();
        for thread in threads {
            answers.extend(thread.join().map_err(|_| io::Error::other("a client panicked"))??);
        }
        Ok(answers)
    })
}

impl Answer {
    fn line(&self) -> String {
        format!("{} {} {}\n", self.at.as_nanos(), self.took.as_nanos(), u8::from(self.served))
    }
}

impl Visitor<'_> {
    fn ask(&mut self, start: Instant) -> io::Result<Answer> {
        let asked = Instant::now();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = TcpStream::connect(self.page.address)?;
                connection.set_nodelay(true)?;
                connection.set_read_timeout(Some(PATIENCE))?;
                connection
            }
        };
        let Page { host, path, .. } = self.page;
        write!(connection, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
        let answer = read(&mut connection)?;
        let took = asked.elapsed();
        let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        let served = head.starts_with("http/1.1 200") && answer.ends_with(PAGE);
        // An error page may have more to come.
        if served && !head.contains("connection: close") {
            self.connection = Some(connection);
        }
        Ok(Answer { at: start.elapsed(), took, served })
    }
}

/// Up to the end of the page, or what there is of anything else.
fn read(connection: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.ends_with(PAGE) {
        match connection.read(&mut buffer)? {
            0 => break,
            length => answer.extend_from_slice(&buffer[..length]),
        }
        if !b"HTTP/1.1 200".starts_with(&answer[..answer.len().min(12)]) {
            break;
        }
    }
    Ok(answer)
}
