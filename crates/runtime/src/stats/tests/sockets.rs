// SPDX-License-Identifier: GPL-2.0-only
//! The socket file.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::Barrier;

use super::*;

#[test]
fn directories_are_made_and_the_file_goes_at_the_end() {
    let (_directory, path) = place();
    let socket = StatsSocket::bind(&path).unwrap();
    assert_eq!(socket.path(), path);
    assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    drop(socket);
    assert!(!path.exists());
    assert!(path.parent().unwrap().is_dir());
}

#[test]
fn a_live_socket_is_never_taken() {
    let (_directory, path) = place();
    let _scheduler = Scheduler::start(&path);
    let before = fs::symlink_metadata(&path).unwrap().ino();
    let error = StatsSocket::bind(&path).unwrap_err();
    assert!(matches!(error, StatsError::InUse { .. }), "{error}");
    assert_eq!(error.exit_status(), 73);
    let line = error.to_string();
    assert!(line.contains(path.to_str().unwrap()) && !line.contains('\n'), "{line}");
    assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), before);
    assert!(top(&mut client(&path)).is_ok());
}

#[test]
fn a_bound_socket_is_live_before_it_is_served_and_when_it_is_overwhelmed() {
    let (_directory, path) = place();
    let _bound = StatsSocket::bind(&path).unwrap();
    // Fill the queue of connections nobody accepts; connecting would block from there on.
    let mut pending = Vec::new();
    for _ in 0..5000 {
        let stream = nix::sys::socket::socket(
            nix::sys::socket::AddressFamily::Unix,
            nix::sys::socket::SockType::Stream,
            nix::sys::socket::SockFlag::SOCK_NONBLOCK,
            None,
        );
        let Ok(stream) = stream else { break };
        let address = nix::sys::socket::UnixAddr::new(&path).unwrap();
        if nix::sys::socket::connect(std::os::fd::AsRawFd::as_raw_fd(&stream), &address).is_err() {
            break;
        }
        pending.push(stream);
    }
    assert!(!pending.is_empty());
    assert!(matches!(StatsSocket::bind(&path), Err(StatsError::InUse { .. })));
}

#[test]
fn a_stale_socket_is_replaced() {
    let (_directory, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _scheduler = Scheduler::start(&path);
    assert!(top(&mut client(&path)).is_ok());
}

#[test]
fn other_things_in_the_way_are_left_alone() {
    let (_directory, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "precious").unwrap();
    let error = StatsSocket::bind(&path).unwrap_err();
    assert!(matches!(error, StatsError::NotASocket { .. }), "{error}");
    assert_eq!(error.exit_status(), 73);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    let datagram = path.with_extension("datagram");
    let _log = UnixDatagram::bind(&datagram).unwrap();
    assert!(matches!(StatsSocket::bind(&datagram), Err(StatsError::NotASocket { .. })));
    assert!(datagram.exists());
}

#[test]
fn impossible_places_are_one_line_of_status_73() {
    let (directory, path) = place();
    fs::write(directory.path().join("file"), "").unwrap();
    let below_file = directory.path().join("file/stats.sock");
    let too_long = path.with_file_name("x".repeat(200));
    for place in
        [below_file.as_path(), too_long.as_path(), Path::new("/proc/nowhere/stats.sock"), Path::new("/")]
    {
        let error = StatsSocket::bind(place).unwrap_err();
        assert_eq!(error.exit_status(), 73, "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn a_replaced_socket_is_not_removed() {
    let (_directory, path) = place();
    let first = StatsSocket::bind(&path).unwrap();
    fs::rename(&path, path.with_extension("old")).unwrap();
    let _second = StatsSocket::bind(&path).unwrap();
    drop(first);
    assert!(path.exists());
}

#[test]
fn of_many_that_start_together_one_wins() {
    const STARTERS: usize = 6;
    let (_directory, path) = place();
    for round in 0..60 {
        if round % 2 == 1 {
            drop(UnixListener::bind(&path).unwrap());
        }
        let barrier = Barrier::new(STARTERS);
        let results: Vec<_> = thread::scope(|scope| {
            let start = || {
                barrier.wait();
                StatsSocket::bind(&path)
            };
            let starters: Vec<_> = (0..STARTERS).map(|_| scope.spawn(start)).collect();
            starters.into_iter().map(|starter| starter.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        let told = |result: &Result<_, StatsError>| matches!(result, Ok(_) | Err(StatsError::InUse { .. }));
        assert!(results.iter().all(told), "{results:?}");
        assert!(UnixStream::connect(&path).is_ok());
    }
}
