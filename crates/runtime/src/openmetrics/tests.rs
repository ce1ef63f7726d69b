// SPDX-License-Identifier: GPL-2.0-only
//! The server over real connections, and the text that it gives.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use scx_stats::{Meta, StatsMeta};
use scx_stats_derive::Stats;
use serde::{Deserialize, Serialize};

use super::*;
use crate::exit;
use crate::signals::Shutdown;

/// Longer than any step here may take, however busy the machine.
const SOON: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, Default, Serialize, Deserialize, Stats)]
#[stat(desc = "one domain", _om_prefix = "domain_", _om_label = "domain")]
struct Domain {
    #[stat(desc = "CPUs, as a list")]
    cpus: String,
    #[stat(desc = "Load in CPUs")]
    load: f64,
    #[stat(desc = "Moves into it")]
    moved_in: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, Stats)]
#[stat(top, desc = "the whole scheduler")]
struct Figures {
    #[stat(desc = "Rounds so far")]
    round: u64,
    #[stat(desc = "Tasks, at the moment", _om_gauge)]
    nr_tasks: u64,
    #[stat(desc = "CPU time used, ns")]
    used_ns: u64,
    #[stat(desc = "CPU time used, percent")]
    busy_pct: f64,
    #[stat(desc = "Nobody wants it", _om_skip)]
    hidden: u64,
    #[stat(desc = "Each domain")]
    domains: BTreeMap<usize, Domain>,
    #[stat(desc = "Pushes by time, below 2^n us")]
    push_us: BTreeMap<u64, u64>,
}

fn meta() -> Vec<StatsMeta> {
    vec![Figures::meta(), Domain::meta()]
}

fn figures() -> Figures {
    let domain = Domain { cpus: "0-3".to_owned(), load: 1.5, moved_in: 2 };
    Figures {
        round: u64::MAX,
        nr_tasks: 17,
        used_ns: 2_500_000_000,
        busy_pct: 25.0,
        hidden: 1,
        domains: BTreeMap::from([(0, domain)]),
        push_us: BTreeMap::from([(16, 3)]),
    }
}

const EXPECTED: &str = "\
# HELP my_scheduler_busy_ratio CPU time used, percent (here as a ratio)
# TYPE my_scheduler_busy_ratio gauge
# UNIT my_scheduler_busy_ratio ratio
my_scheduler_busy_ratio 0.25
# HELP my_scheduler_domain_load Load in CPUs
# TYPE my_scheduler_domain_load gauge
my_scheduler_domain_load{domain=\"0\"} 1.5
# HELP my_scheduler_domain_moved_in Moves into it
# TYPE my_scheduler_domain_moved_in counter
my_scheduler_domain_moved_in_total{domain=\"0\"} 2
# HELP my_scheduler_domain Each domain
# TYPE my_scheduler_domain info
my_scheduler_domain_info{cpus=\"0-3\",domain=\"0\"} 1
# HELP my_scheduler_nr_tasks Tasks, at the moment
# TYPE my_scheduler_nr_tasks gauge
my_scheduler_nr_tasks 17
# HELP my_scheduler_push_us Pushes by time, below 2^n us
# TYPE my_scheduler_push_us counter
my_scheduler_push_us_total{key=\"16\"} 3
# HELP my_scheduler_round Rounds so far
# TYPE my_scheduler_round counter
my_scheduler_round_total 18446744073709551615
# HELP my_scheduler_used_seconds CPU time used, ns (here in seconds)
# TYPE my_scheduler_used_seconds counter
# UNIT my_scheduler_used_seconds seconds
my_scheduler_used_seconds_total 2.5
# EOF
";

#[test]
fn figures_become_metrics() {
    assert_eq!(text("my-scheduler", &meta(), &figures()).unwrap(), EXPECTED);
}

#[test]
fn descriptions_that_do_not_fit_together_are_refused() {
    for wrong in [vec![], vec![Domain::meta()], vec![Figures::meta()]] {
        assert!(matches!(Exposition::new("x", &wrong), Err(StatsError::Meta(_))));
    }
}

#[test]
fn addresses_default_to_the_loopback_interface() {
    for (text, expected) in [
        ("9101", "127.0.0.1:9101"),
        (":9101", "127.0.0.1:9101"),
        ("localhost:9101", "127.0.0.1:9101"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("[::1]:9101", "[::1]:9101"),
    ] {
        assert_eq!(parse_address(text).unwrap().to_string(), expected, "{text}");
    }
    for text in ["", ":", "localhost", "localhost9101", "70000", "+80", "nowhere:80", "1.2.3.4", "::1:x"] {
        let error = parse_address(text).unwrap_err();
        assert!(error.contains(text) && !error.contains('\n'), "{error}");
    }
}

/// A server with the figures above, and where it is.
fn serving() -> (MetricsServer, SocketAddr) {
    let feed = Feed::new(Shutdown::without_signals().unwrap().waker());
    feed.publish(&figures()).unwrap();
    let socket = MetricsSocket::bind(parse_address("0").unwrap()).unwrap();
    let address = socket.address();
    (socket.serve("my-scheduler", feed, &meta()).unwrap(), address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// What comes back for these bytes, until the server closes.
fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    let mut reply = String::new();
    // A server that refuses before everything is read may reset the connection once its words are out.
    let _ = stream.read_to_string(&mut reply);
    reply
}

const SCRAPE: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n";

#[test]
fn a_scrape_gets_the_metrics() {
    let (_server, address) = serving();
    let reply = ask(address, SCRAPE);
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(head.contains(&format!("Content-Length: {}", body.len())));
    assert_eq!(body, EXPECTED);
    let reply = ask(address, b"HEAD /metrics?now HTTP/1.0\r\n\r\n");
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("\r\n\r\n"), "{reply}");
}

#[test]
fn anything_else_gets_a_clear_answer_and_disturbs_nobody() {
    let (_server, address) = serving();
    let long = [b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 10_000]].concat();
    for (request, status) in [
        (b"GET / HTTP/1.1\r\n\r\n".as_slice(), "404 "),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405 "),
        (b"hello\r\n\r\n", "400 "),
        (b"\x00\xff\xfe\r\n", "400 "),
        (b"GET /metrics SPDY/9\r\n\r\n", "400 "),
        (&long, "431 "),
    ] {
        let reply = ask(address, request);
        let text = String::from_utf8_lossy(&request[..request.len().min(30)]);
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{text:?}: {reply}");
    }
    assert!(ask(address, SCRAPE).ends_with("# EOF\n"));
}

#[test]
fn a_client_that_says_nothing_is_let_go_and_one_that_dawdles_is_told() {
    let (_server, address) = serving();
    let mut silent = connect(address);
    let mut slow = connect(address);
    let begin = Instant::now();
    let mut told = String::new();
    while begin.elapsed() < SOON && slow.write_all(b"G").is_ok() {
        slow.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut buffer = [0u8; 256];
        if let Ok(length @ 1..) = slow.read(&mut buffer) {
            told.push_str(&String::from_utf8_lossy(&buffer[..length]));
            break;
        }
    }
    assert!(told.starts_with("HTTP/1.1 408 "), "{told:?} after {:?}", begin.elapsed());
    assert_eq!(silent.read(&mut [0u8; 8]).unwrap(), 0);
    assert!(begin.elapsed() < SOON);
}

#[test]
fn too_many_clients_are_turned_away_and_the_end_waits_for_nobody() {
    let (server, address) = serving();
    let idle: Vec<TcpStream> =
        (0..<Shared as Service<TcpStream>>::MAX_CLIENTS).map(|_| connect(address)).collect();
    // The acceptor takes them one after the other.
    let mut refused = String::new();
    connect(address).read_to_string(&mut refused).unwrap();
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("too many"), "{refused}");
    let (done, ended) = std::sync::mpsc::channel();
    let begin = Instant::now();
    thread::spawn(move || {
        drop(server);
        done.send(()).unwrap();
    });
    ended.recv_timeout(SOON).expect("the server ends");
    assert!(begin.elapsed() < Duration::from_secs(4), "it did not wait for {} idle clients", idle.len());
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn no_figures_yet_is_no_error_of_the_scrape() {
    let feed = Feed::new(Shutdown::without_signals().unwrap().waker());
    let socket = MetricsSocket::bind(parse_address("0").unwrap()).unwrap();
    let address = socket.address();
    let _server = socket.serve("x", feed, &meta()).unwrap();
    assert!(ask(address, SCRAPE).starts_with("HTTP/1.1 503 "));
}

#[test]
fn a_taken_address_is_one_line_with_its_status() {
    let (_server, address) = serving();
    let error = MetricsSocket::bind(address).unwrap_err();
    assert!(error.to_string().contains(&address.to_string()) && error.to_string().contains("in use"));
    assert_eq!(error.exit_status(), exit::STATS_SOCKET);
    // An address that this machine does not have (a documentation network).
    let error = MetricsSocket::bind("192.0.2.1:9101".parse().unwrap()).unwrap_err();
    assert_eq!(exit::status_of(&error), exit::STATS_SOCKET, "{error}");
}
