// SPDX-License-Identifier: GPL-2.0-only
//! The debug dump in a scheduler's log, cut down to what a report of a failed run has room for.

#[cfg(test)]
mod tests;

/// Lines quoted from where the stalled task begins: its state, its queue, its affinity, what the scheduler says of it.
const QUOTED_LINES: usize = 7;

/// For a stall: the state of the CPU that the task waits on and of the task, in one line. `None` when the log holds no dump
/// that shows the task.
pub fn about_stalled(log: &str) -> Option<String> {
    let task = log.lines().find_map(stalled_task)?;
    let lines: Vec<&str> = log.lines().map(message).collect();
    let at = lines.iter().position(|line| is_entry_of(line, task))?;
    let cpu = lines[..at].iter().rposition(|line| line.starts_with("CPU "))?;
    // The CPU's second line says what it runs.
    let header = lines[cpu..at].iter().take(2);
    let quoted = header.chain(lines[at..].iter().filter(|line| !line.trim().is_empty()).take(QUOTED_LINES));
    Some(quoted.map(|line| line.trim()).collect::<Vec<_>>().join(" | "))
}

/// `NAME[PID]` in a line like `runnable task stall (NAME[PID] failed to run for 43.404s)`.
fn stalled_task(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("runnable task stall (")?;
    Some(rest.split_once(" failed to run for")?.0)
}

/// The line without its time and level.
fn message(line: &str) -> &str {
    line.split_once(" ERROR ").map_or(line, |(_, rest)| rest)
}

/// The first line about a task: ` *R NAME[PID] -42748ms`.
fn is_entry_of(line: &str, task: &str) -> bool {
    let mut words = line.trim_start_matches([' ', '*']).splitn(2, ' ');
    words.next().is_some_and(|state| state.len() == 1)
        && words
            .next()
            .and_then(|rest| rest.trim_start().strip_prefix(task))
            .is_some_and(|rest| rest.starts_with(' '))
}
