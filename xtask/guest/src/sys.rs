// SPDX-License-Identifier: GPL-2.0-only
//! The system calls that the standard library and nix do not wrap here: the only unsafe code of the guest.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use nix::unistd::{ForkResult, Pid};

/// Scheduling policy of tasks that are sched_ext's whatever mode it is in; libc has no name for it yet.
pub const SCHED_EXT: i32 = 7;

fn check(code: libc::c_int) -> io::Result<()> {
    if code == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Puts a terminal into raw mode, so that records pass as written (no echo, no carriage returns).
pub fn make_raw(terminal: &File) -> io::Result<()> {
    let fd = terminal.as_raw_fd();
    // SAFETY: an all-zero termios is a valid value of this plain C struct.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: fd is open for the call and settings is a valid, exclusive termios.
    check(unsafe { libc::tcgetattr(fd, &mut settings) })?;
    // SAFETY: settings is a valid, exclusive termios.
    unsafe { libc::cfmakeraw(&mut settings) };
    // SAFETY: fd is open for the call and settings is initialised.
    check(unsafe { libc::tcsetattr(fd, libc::TCSANOW, &settings) })
}

/// Waits until one of `fds` can be read, at most `timeout`. True when one can.
pub fn wait_readable(fds: &[BorrowedFd<'_>], timeout: Duration) -> bool {
    let mut polled: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the pointer and the length describe the live vector.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, milliseconds) > 0 }
}

/// Makes the calling process real-time (lowest priority of `SCHED_FIFO`), so that the harness measures on time
/// whatever the scheduler under test does. Children start as ordinary tasks again.
pub fn become_real_time() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: parameters is a valid sched_param and 0 names the caller.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &parameters) })
}

/// Sets the nice value of the calling process.
pub fn set_nice(nice: i32) -> io::Result<()> {
    renice(Pid::from_raw(0), nice)
}

/// Sets the nice value of `pid` (0: the caller).
pub fn renice(pid: Pid, nice: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS as _, pid.as_raw().cast_unsigned(), nice) })
}

/// Gives the calling process a scheduling policy (`SCHED_IDLE`, `SCHED_FIFO`) with this priority.
pub fn set_policy(policy: i32, priority: i32) -> io::Result<()> {
    set_policy_of(Pid::from_raw(0), policy, priority)
}

/// Gives `pid` (0: the caller) a scheduling policy with this priority.
pub fn set_policy_of(pid: Pid, policy: i32, priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: parameters is a valid sched_param.
    check(unsafe { libc::sched_setscheduler(pid.as_raw(), policy, &parameters) })
}

/// CPU time that the calling thread has had.
pub fn thread_cpu_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(Duration::ZERO, Duration::from)
}

/// Time on the clock by which schedulers date their figures (`CLOCK_MONOTONIC`), in ns.
pub fn monotonic_ns() -> io::Result<u64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    u64::try_from(Duration::from(now).as_nanos()).map_err(io::Error::other)
}

/// Sleeps while the low 32 bits of a counter are those of `seen`, until somebody calls [`wake_waiters`]; may also return without
/// a reason.
pub fn wait_while(counter: &AtomicU64, seen: u64) {
    // SAFETY: the address is that of a live, aligned word; the kernel only reads it.
    unsafe { libc::syscall(libc::SYS_futex, low_half(counter), libc::FUTEX_WAIT, seen as u32, 0usize) };
}

/// Wakes everybody who waits for a change of this counter, in whatever process.
pub fn wake_waiters(counter: &AtomicU64) {
    // SAFETY: the address is that of a live, aligned word; the kernel takes it as a name.
    unsafe { libc::syscall(libc::SYS_futex, low_half(counter), libc::FUTEX_WAKE, i32::MAX) };
}

/// The futex word of a counter.
fn low_half(counter: &AtomicU64) -> *const u32 {
    let offset = if cfg!(target_endian = "big") { 1 } else { 0 };
    counter.as_ptr().cast::<u32>().cast_const().wrapping_add(offset)
}

/// Brings the loopback interface up.
pub fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: an all-zero ifreq is a valid value of this plain C struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the socket is open for the call and the request is a valid ifreq with a NUL-terminated name.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) })
}

/// BPF objects that the kernel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpfObjects {
    /// Programs.
    pub programs: usize,
    /// Maps.
    pub maps: usize,
}

/// Counts the kernel's BPF objects.
pub fn bpf_objects() -> io::Result<BpfObjects> {
    // Commands of bpf(2), from the kernel's uapi header.
    const BPF_PROG_GET_NEXT_ID: i32 = 11;
    const BPF_MAP_GET_NEXT_ID: i32 = 12;
    Ok(BpfObjects { programs: count_ids(BPF_PROG_GET_NEXT_ID)?, maps: count_ids(BPF_MAP_GET_NEXT_ID)? })
}

fn count_ids(command: i32) -> io::Result<usize> {
    /// The member of `union bpf_attr` that the commands for ids use.
    #[repr(C)]
    #[derive(Default)]
    struct Ids {
        start_id: u32,
        next_id: u32,
        open_flags: u32,
    }
    let mut ids = Ids::default();
    for count in 0.. {
        // SAFETY: ids is a live, exclusive struct of the layout and size that the call is told.
        let code = unsafe { libc::syscall(libc::SYS_bpf, command, &mut ids, size_of::<Ids>()) };
        if code == -1 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::ENOENT) { Ok(count) } else { Err(error) };
        }
        ids.start_id = ids.next_id;
    }
    unreachable!("the range has no end")
}

/// Names the calling process (15 bytes at most) and lets it die with its parent.
pub fn name_and_follow_parent(name: &str) {
    let mut bytes = [0u8; 16];
    for (to, from) in bytes.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    // SAFETY: bytes is a NUL-terminated buffer of the 16 bytes that PR_SET_NAME reads.
    unsafe { libc::prctl(libc::PR_SET_NAME, bytes.as_ptr()) };
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Runs `child` in a new process, which ends with status 0 afterwards. The guest's processes have one thread each.
pub fn fork(child: impl FnOnce()) -> io::Result<Pid> {
    // SAFETY: no guest process that forks has a second thread, so no lock can be held by a thread that is gone.
    match unsafe { nix::unistd::fork() }.map_err(io::Error::from)? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            child();
            exit_now(0)
        }
    }
}

/// Ends the process without running exit handlers: what a forked child must do.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Counters that processes share across fork: one per worker, a cache line apart.
pub struct SharedCounters {
    base: *const CounterLine,
    len: usize,
}

#[repr(C, align(64))]
struct CounterLine(AtomicU64);

impl SharedCounters {
    /// `len` counters, all 0, in memory that children share.
    pub fn new(len: usize) -> io::Result<Self> {
        let bytes = len.max(1) * size_of::<CounterLine>();
        // SAFETY: a fresh anonymous mapping; no address is asked for and no file is involved.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { base: base.cast(), len })
    }

    /// Counter number `index`.
    ///
    /// # Panics
    /// `index` is not below the length.
    pub fn get(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.len, "counter {index} of {}", self.len);
        // SAFETY: the mapping holds len zero-initialised lines, page aligned, lives as long as self, and atomics may
        // be shared between processes.
        unsafe { &(*self.base.add(index)).0 }
    }
}

impl Drop for SharedCounters {
    fn drop(&mut self) {
        // SAFETY: base and the length are those of the mapping made in new; no reference outlives self.
        unsafe { libc::munmap(self.base.cast_mut().cast(), self.len.max(1) * size_of::<CounterLine>()) };
    }
}
