//! The progress of a change while it is waited for: a bar per app on a terminal, lines off it.

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::wait::Look;

/// A bar per app on a terminal; lines off it.
pub struct Bars {
    all: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
    last: BTreeMap<String, String>,
    terminal: bool,
}

impl Bars {
    /// Bars for these apps.
    pub fn new(apps: &[String]) -> Self {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let width = apps.iter().map(String::len).max().unwrap_or(0);
        let style = ProgressStyle::with_template(&format!("{{prefix:{width}}} [{{bar:24.green}}] {{msg}}"))
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = |app: &String| {
            let bar = all.add(ProgressBar::new(1).with_style(style.clone()).with_prefix(app.clone()));
            (app.clone(), bar)
        };
        let bars = if terminal { apps.iter().map(bar).collect() } else { BTreeMap::new() };
        Self { all, bars, last: BTreeMap::new(), terminal }
    }

    /// Shows what a look found.
    pub fn show(&mut self, look: &Look) {
        for (id, app) in &look.apps {
            let line = status(app.as_ref(), look.waiting.get(id));
            if let Some(bar) = self.bars.get(id) {
                let count = |field: &str| app.as_ref().and_then(|app| app[field].as_u64()).unwrap_or(0);
                bar.set_length(count("instances").max(1));
                bar.set_position(count("tasksRunning"));
                bar.set_message(line);
            } else if self.last.get(id) != Some(&line) {
                eprintln!("{id}: {line}");
                self.last.insert(id.clone(), line);
            }
        }
    }

    /// Takes the bars away.
    pub fn clear(&self) {
        if self.terminal {
            let _ = self.all.clear();
        }
    }
}

/// `2/5 running, 1 staged, 2 healthy; waits: 1 of 1 agents: InsufficientCpus`.
fn status(app: Option<&Value>, waits: Option<&String>) -> String {
    let Some(app) = app else { return "ending its tasks".to_owned() };
    let count = |field: &str| app[field].as_u64().unwrap_or(0);
    let mut line = format!("{}/{} running", count("tasksRunning"), count("instances"));
    if count("tasksStaged") > 0 {
        line.push_str(&format!(", {} staged", count("tasksStaged")));
    }
    if app["healthChecks"].as_array().is_some_and(|checks| !checks.is_empty()) {
        line.push_str(&format!(", {} healthy", count("tasksHealthy")));
    }
    if let Some(waits) = waits {
        line.push_str(&format!("; waits: {waits}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    #[test]
    fn status_says_what_counts() {
        let app = value!({"instances": 5, "tasksRunning": 2, "tasksStaged": 1, "tasksHealthy": 2, "healthChecks": [{}]});
        let waits = "1 of 1 agents: InsufficientCpus".to_owned();
        assert_eq!(
            status(Some(&app), Some(&waits)),
            "2/5 running, 1 staged, 2 healthy; waits: 1 of 1 agents: InsufficientCpus"
        );
    }
}
