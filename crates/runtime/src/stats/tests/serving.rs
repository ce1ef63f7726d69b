// SPDX-License-Identifier: GPL-2.0-only
//! Requests and replies.

use std::io::Read;
use std::time::Instant;

use serde_json::json;

use super::*;

const TOP: &[u8] = b"{\"req\":\"stats\",\"args\":{\"target\":\"top\"}}\n";

/// Ends the server; a server that does not end fails the test instead of hanging it.
fn end(server: StatsServer) {
    let (done, ended) = std::sync::mpsc::channel();
    thread::spawn(move || {
        drop(server);
        done.send(()).unwrap();
    });
    ended.recv_timeout(SOON).expect("the server ends");
}

#[test]
fn the_protocol_crates_client_gets_fresh_figures() {
    let (_directory, path) = place();
    let _scheduler = Scheduler::start(&path);
    let mut client = client(&path);
    let first = top(&mut client).unwrap();
    assert_eq!(first.domains["0"].load, 1.5);
    thread::sleep(Duration::from_millis(20));
    assert!(top(&mut client).unwrap().round > first.round);
}

#[test]
fn replies_have_the_documented_form() {
    let (_directory, path) = place();
    let (_server, feed, _shutdown) = busy(&path);
    feed.publish(&figures(3)).unwrap();
    let expected = json!({"errno": 0, "args": {"resp": {"round": 3, "domains": {"0": {"load": 1.5}}}}});
    assert_eq!(raw(&mut connect(&path), TOP), expected);
    // "top" is the default target.
    assert_eq!(raw(&mut connect(&path), b"{\"req\":\"stats\"}\n"), expected);
}

#[test]
fn the_description_covers_nested_structures() {
    let (_directory, path) = place();
    let (_server, _feed, _shutdown) = busy(&path);
    let meta: BTreeMap<String, StatsMeta> = client(&path).request("stats_meta", vec![]).unwrap();
    assert_eq!(meta.keys().collect::<Vec<_>>(), ["Domain", "Figures"]);
    assert!(meta["Figures"].fields.contains_key("round"));

    let text = describe(&super::meta()).unwrap();
    assert!(text.contains("rounds so far") && text.contains("load in CPUs"), "{text}");
}

#[test]
fn descriptions_that_do_not_fit_together_are_refused() {
    assert!(matches!(describe(&[Figures::meta()]), Err(StatsError::Meta(_))));
    let (_directory, path) = place();
    let feed = Feed::new(Shutdown::without_signals().unwrap().waker());
    let socket = StatsSocket::bind(&path).unwrap();
    let error = socket.serve(feed, &[Domain::meta()]).unwrap_err();
    assert_eq!(error.exit_status(), 1, "{error}");
    assert!(!path.exists());
}

#[test]
fn a_busy_loop_costs_a_client_little_time() {
    let (_directory, path) = place();
    let (_server, feed, _shutdown) = busy(&path);
    let mut client = client(&path);
    // Nothing was ever published: a refusal, not a wait without end.
    let start = Instant::now();
    assert_eq!(top(&mut client).unwrap_err(), 11);
    assert!(feed.requested());
    // From then on the last figures.
    feed.publish(&figures(1)).unwrap();
    thread::sleep(Duration::from_millis(20));
    assert!(!feed.requested());
    for _ in 0..2 {
        assert_eq!(top(&mut client).unwrap().round, 1);
    }
    assert!(feed.requested());
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[test]
fn many_clients_of_a_busy_loop_do_not_queue_up() {
    let (_directory, path) = place();
    let (_server, feed, _shutdown) = busy(&path);
    feed.publish(&figures(1)).unwrap();
    thread::sleep(Duration::from_millis(20));
    let start = Instant::now();
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let path = path.clone();
            thread::spawn(move || top(&mut client(&path)).unwrap().round)
        })
        .collect();
    assert!(clients.into_iter().all(|client| client.join().unwrap() == 1));
    // One after the other they would take 40 times a quarter of a second.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_client_in_a_tight_loop_does_not_drive_the_scheduler() {
    let (_directory, path) = place();
    let _scheduler = Scheduler::start(&path);
    let mut client = client(&path);
    let start = Instant::now();
    let (mut asked, mut last) = (0, 0);
    while start.elapsed() < Duration::from_millis(200) {
        last = top(&mut client).unwrap().round;
        asked += 1;
    }
    let most = start.elapsed().as_millis() as u64 / 10 + 1;
    assert!(last <= most && asked >= last, "{last} rounds for {asked} requests, at most {most} wanted");
}

#[test]
fn malformed_requests_are_refused_and_disturb_nobody() {
    let (_directory, path) = place();
    let (_server, feed, _shutdown) = busy(&path);
    feed.publish(&figures(1)).unwrap();
    let mut stream = connect(&path);
    let bad: [&[u8]; 9] = [
        b"\n",
        b"hello\n",
        b"{}\n",
        b"{\"req\":\"stats\"\n",
        b"\xff\xfe\x00\n",
        b"[1,2]\n",
        b"{\"req\":\"stats\",\"args\":{\"target\":\"bottom\"}}\n",
        b"{\"req\":\"stats\",\"args\":{\"target\":7}}\n",
        b"{\"req\":\"reboot\"}\n",
    ];
    for request in bad {
        let reply = raw(&mut stream, request);
        assert_eq!(reply["errno"], 22, "{reply}");
        assert!(reply["args"]["resp"].is_string(), "{reply}");
    }
    // The same connection still works, and so does another.
    assert_eq!(raw(&mut stream, TOP)["errno"], 0);
    assert_eq!(top(&mut client(&path)).unwrap().round, 1);
}

#[test]
fn a_line_without_end_is_cut_off() {
    let (_directory, path) = place();
    let (_server, feed, _shutdown) = busy(&path);
    feed.publish(&figures(1)).unwrap();
    let mut stream = connect(&path);
    let reply = raw(&mut stream, &vec![b'x'; 64 << 10]);
    assert_eq!(reply["errno"], 90, "{reply}");
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(top(&mut client(&path)).unwrap().round, 1);
}

#[test]
fn requests_in_pieces_and_in_bundles_are_answered_in_order() {
    let (_directory, path) = place();
    let (_server, feed, _shutdown) = busy(&path);
    feed.publish(&figures(1)).unwrap();
    let stream = connect(&path);
    let mut writer = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines();
    let (start, end) = TOP.split_at(9);
    writer.write_all(start).unwrap();
    thread::sleep(Duration::from_millis(20));
    writer.write_all(end).unwrap();
    assert!(lines.next().unwrap().unwrap().contains("\"errno\":0"));
    writer.write_all(&[b"{}\n", TOP].concat()).unwrap();
    assert!(lines.next().unwrap().unwrap().contains("\"errno\":22"));
    assert!(lines.next().unwrap().unwrap().contains("\"errno\":0"));
}

#[test]
fn too_many_clients_are_turned_away_and_let_in_later() {
    let (_directory, path) = place();
    let (_server, _feed, _shutdown) = busy(&path);
    let mut present: Vec<_> = (0..64).map(|_| connect(&path)).collect();
    for stream in &mut present {
        assert_eq!(raw(stream, b"{\"req\":\"stats_meta\"}\n")["errno"], 0);
    }
    let mut line = String::new();
    BufReader::new(connect(&path)).read_line(&mut line).unwrap();
    assert!(line.contains("\"errno\":16"), "{line}");
    present.pop();
    let end = Instant::now() + SOON;
    while !is_let_in(&path) {
        assert!(Instant::now() < end, "the free place is not given away");
    }
}

/// Whether a new client is served. One that is turned away may find the connection closed before it has written its
/// request, or while it reads.
fn is_let_in(path: &Path) -> bool {
    let mut stream = connect(path);
    let mut line = String::new();
    let sent = stream.write_all(b"{\"req\":\"stats_meta\"}\n");
    sent.is_ok() && BufReader::new(stream).read_line(&mut line).is_ok() && line.contains("\"errno\":0")
}

#[test]
fn the_end_disconnects_everybody_at_once() {
    let (_directory, path) = place();
    let (server, _feed, _shutdown) = busy(&path);
    let silent: Vec<_> = (0..5).map(|_| connect(&path)).collect();
    let mut waiting = connect(&path);
    waiting.write_all(TOP).unwrap();
    thread::sleep(Duration::from_millis(20));
    let start = Instant::now();
    end(server);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
    }
    assert!(!path.exists());
    UnixStream::connect(&path).unwrap_err();
}

#[test]
fn a_client_that_does_not_read_does_not_hold_the_end_up() {
    let (_directory, path) = place();
    let (server, feed, _shutdown) = busy(&path);
    let many: BTreeMap<String, Domain> = (0..20_000).map(|n| (n.to_string(), Domain::default())).collect();
    feed.publish(&Figures { round: 1, domains: many }).unwrap();
    let mut greedy = connect(&path);
    for _ in 0..20 {
        greedy.write_all(TOP).unwrap();
    }
    thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    end(server);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}
