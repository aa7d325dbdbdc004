//! How an exit becomes an ending: state and message. Pure.

use spec::protocol::TaskState;

use crate::runtime::Exit;

/// Longest message that is kept: it travels with every report of the task.
const MESSAGE_CHARS_MAX: usize = 1024;
/// Exit codes above this are 128 plus a signal's number, by the shell's convention.
const SIGNAL_BASE: i32 = 128;
/// Largest signal number on Linux.
const SIGNAL_MAX: i32 = 64;

/// The state and message of a task that ended. `asked`: it had been told to.
pub fn ending(exit: &Exit, asked: bool) -> (TaskState, String) {
    if asked {
        return (TaskState::Killed, cut(&format!("Killed on request: {}", how(exit))));
    }
    let finished = exit.code == Some(0) && !exit.out_of_memory;
    (if finished { TaskState::Finished } else { TaskState::Failed }, cut(&how(exit)))
}

/// What the runtime says, if it says anything.
fn how(exit: &Exit) -> String {
    match exit.code {
        _ if exit.out_of_memory => "Memory limit exceeded".to_owned(),
        _ if !exit.message.trim().is_empty() => exit.message.trim().to_owned(),
        None => "Ended with an unknown exit status".to_owned(),
        Some(code) if (SIGNAL_BASE + 1..=SIGNAL_BASE + SIGNAL_MAX).contains(&code) => {
            format!("Command exited with status {code} (signal {})", code - SIGNAL_BASE)
        }
        Some(code) => format!("Command exited with status {code}"),
    }
}

/// The message, at most as long as is kept.
pub fn cut(message: &str) -> String {
    message.chars().take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_exit() {
        let exit = |code, out_of_memory, message: &str| Exit {
            code,
            out_of_memory,
            message: message.into(),
            at: None,
        };
        let (finished, failed, killed) = (TaskState::Finished, TaskState::Failed, TaskState::Killed);
        for (exit, asked, state, message) in [
            (exit(Some(0), false, ""), false, finished, "Command exited with status 0"),
            (exit(Some(1), false, ""), false, failed, "Command exited with status 1"),
            (exit(Some(137), false, ""), false, failed, "Command exited with status 137 (signal 9)"),
            (exit(Some(255), false, ""), false, failed, "Command exited with status 255"),
            (exit(Some(127), false, "no such file"), false, failed, "no such file"),
            (exit(Some(0), true, ""), false, failed, "Memory limit exceeded"),
            (exit(None, false, ""), false, failed, "Ended with an unknown exit status"),
            (exit(Some(0), false, ""), true, killed, "Killed on request: Command exited with status 0"),
        ] {
            assert_eq!(ending(&exit, asked), (state, message.to_owned()));
        }
        assert_eq!(ending(&exit(Some(1), false, &"x".repeat(9999)), false).1.len(), MESSAGE_CHARS_MAX);
    }
}
