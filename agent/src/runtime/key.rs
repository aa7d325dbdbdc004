//! One short name per task for everything that a task is called on the machine: its container, its
//! cgroup, its directories.

use spec::ids::TaskId;

/// Longest key. With the prefix of a container's name it stays within 128, the limit of Docker's own
/// tools for names, and far within the 255 of a file name.
pub const MAX_LEN: usize = 120;

/// The task id itself, as long as it is short; otherwise its head cut off before the instance's uuid,
/// which alone tells tasks apart. Holds only letters, digits, `.`, `_` and `-`.
pub fn task_key(task: &TaskId) -> String {
    let text = task.to_string();
    if text.len() <= MAX_LEN {
        return text;
    }
    let tail = format!(".instance-{}._app.{}", task.instance.uuid, task.incarnation);
    let head: String = text.chars().take(MAX_LEN - tail.len()).collect();
    head + &tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ids_are_cut_before_what_tells_them_apart() {
        let uuid = "67e55044-10b1-11ea-9a9f-362b9e155667";
        let short: TaskId = format!("a_b.instance-{uuid}._app.1").parse().unwrap();
        assert_eq!(task_key(&short), short.to_string());

        let long: TaskId = format!("{}.instance-{uuid}._app.4294967295", "a".repeat(300)).parse().unwrap();
        let key = task_key(&long);
        assert_eq!(key.len(), MAX_LEN);
        assert!(key.starts_with("aaa") && key.ends_with(&format!(".instance-{uuid}._app.4294967295")));
    }
}
