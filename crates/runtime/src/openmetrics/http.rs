// SPDX-License-Identifier: GPL-2.0-only
//! As much of HTTP/1.1 as a scrape needs: one GET or HEAD of `/metrics` a connection, and a clear answer to anything else.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::stats::acceptor::Connection;

/// Longest request, headers included.
const MAX_REQUEST_BYTES: usize = 8 << 10;
/// Most headers of a request.
const MAX_HEADERS: usize = 64;
/// How long a client may take to send its request.
const PATIENCE: Duration = Duration::from_secs(5);
/// The only resource.
const PATH: &str = "/metrics";
const TEXT: &str = "text/plain; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a client is told.
#[derive(Debug)]
pub(super) struct Reply {
    status: u16,
    reason: &'static str,
    content_type: &'static str,
    body: String,
}

impl Reply {
    /// Metrics.
    pub(super) fn metrics(body: String) -> Self {
        Self { status: 200, reason: "OK", content_type: OPENMETRICS, body }
    }

    /// A line for people.
    pub(super) fn text(status: u16, reason: &'static str, body: &str) -> Self {
        Self { status, reason, content_type: TEXT, body: body.to_owned() }
    }

    /// Sends it, without the body for a HEAD.
    pub(super) fn send(&self, stream: &mut TcpStream, with_body: bool) -> io::Result<()> {
        let Self { status, reason, content_type, body } = self;
        let allow = if *status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
        let retry = if *status == 503 { "Retry-After: 1\r\n" } else { "" };
        let mut message = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{allow}{retry}\
             Connection: close\r\n\r\n",
            body.len()
        );
        if with_body {
            message.push_str(body);
        }
        stream.write_all(message.as_bytes())
    }
}

/// What is wanted, or why not.
enum Request {
    Metrics {
        with_body: bool,
    },
    Refused(Reply),
    /// The client went away, or said nothing for too long.
    Gone,
}

/// Answers one client and closes; `metrics` is called only for a request that wants them.
///
/// # Errors
/// When the client is gone.
pub(super) fn answer(mut stream: TcpStream, metrics: impl FnOnce() -> Reply) -> io::Result<()> {
    match read(&mut stream, PATIENCE)? {
        Request::Metrics { with_body } => metrics().send(&mut stream, with_body)?,
        Request::Refused(reply) => reply.send(&mut stream, true)?,
        Request::Gone => {}
    }
    // The acceptor still holds the stream, so dropping this handle alone would leave the client waiting.
    stream.end()
}

/// Reads one request, as long as it keeps to the limits. The time limit is on the whole of it: a client that sends a byte now
/// and then gains nothing.
fn read(stream: &mut TcpStream, patience: Duration) -> io::Result<Request> {
    let end = Instant::now() + patience;
    let mut bytes = Vec::new();
    let mut buffer = [0u8; 1024];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(late(&bytes));
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(Request::Gone),
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(late(&bytes));
            }
            Err(error) => return Err(error),
        }
        if let Some(request) = parse(&bytes) {
            return Ok(request);
        }
        if bytes.len() >= MAX_REQUEST_BYTES {
            let body = format!("a request may have {MAX_REQUEST_BYTES} bytes\n");
            return Ok(Request::Refused(Reply::text(431, "Request Header Fields Too Large", &body)));
        }
    }
}

fn late(bytes: &[u8]) -> Request {
    if bytes.is_empty() {
        return Request::Gone;
    }
    let body = format!("the request did not end in {} s\n", PATIENCE.as_secs());
    Request::Refused(Reply::text(408, "Request Timeout", &body))
}

/// The request in these bytes; None while it has not ended.
fn parse(bytes: &[u8]) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => {}
        Err(error) => {
            let body = format!("malformed request: {error}\n");
            return Some(Request::Refused(Reply::text(400, "Bad Request", &body)));
        }
    }
    let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default();
    let with_body = match request.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => {
            return Some(Request::Refused(Reply::text(405, "Method Not Allowed", "there is GET and HEAD\n")));
        }
    };
    Some(if path == PATH {
        Request::Metrics { with_body }
    } else {
        Request::Refused(Reply::text(404, "Not Found", &format!("there is {PATH}\n")))
    })
}
