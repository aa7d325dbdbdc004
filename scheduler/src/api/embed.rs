//! What the `embed` parameters ask for (reference section 1.1). Pure.

use super::call::Query;

/// Parts of an `AppInfo` beside the definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AppParts {
    pub tasks: bool,
    pub counts: bool,
    pub deployments: bool,
    pub readiness: bool,
    pub last_task_failure: bool,
    pub task_stats: bool,
}

impl AppParts {
    /// What a list always shows.
    pub const LIST: Self = Self { counts: true, deployments: true, ..Self::NONE };
    /// What a single app, and the members of a `/*`, always show.
    pub const SINGLE: Self = Self { tasks: true, last_task_failure: true, ..Self::LIST };
    /// Nothing: what apps inside groups begin with.
    pub const NONE: Self = Self {
        tasks: false,
        counts: false,
        deployments: false,
        readiness: false,
        last_task_failure: false,
        task_stats: false,
    };

    /// `self` and what the query asks for. Unknown values are ignored; `apps.`, `app.`, `group.apps.` and
    /// no prefix mean the same.
    pub fn with(self, query: &Query) -> Self {
        query.all("embed").fold(self, |parts, value| parts.with_value(strip_prefix(value)))
    }

    fn with_value(mut self, value: &str) -> Self {
        match value {
            // That tasks bring the deployments along is a side effect that clients rely on.
            "tasks" => (self.tasks, self.deployments) = (true, true),
            "counts" => self.counts = true,
            "deployments" => self.deployments = true,
            "readiness" => self.readiness = true,
            "lastTaskFailure" => self.last_task_failure = true,
            "taskStats" => self.task_stats = true,
            "failures" => {
                (self.last_task_failure, self.tasks, self.deployments) = (true, true, true);
            }
            _ => {}
        }
        self
    }
}

fn strip_prefix(value: &str) -> &str {
    ["group.apps.", "apps.", "app."].iter().find_map(|prefix| value.strip_prefix(prefix)).unwrap_or(value)
}

/// What a group shows of what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupParts {
    pub groups: bool,
    pub apps: bool,
    pub app_parts: AppParts,
}

impl GroupParts {
    /// Everything when nothing is asked for, otherwise only what is.
    pub fn of(query: &Query) -> Self {
        let asked = |name: &str| query.all("embed").any(|value| value == name);
        let any = query.one("embed").is_some();
        Self {
            groups: !any || asked("group.groups"),
            apps: !any || asked("group.apps"),
            app_parts: AppParts::NONE.with(query),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_rule_5_embeds_repeat_and_prefixes_do_not_matter() {
        for text in ["embed=apps.tasks&embed=apps.counts", "embed=app.tasks&embed=counts&embed=nonsense"] {
            let parts = AppParts::NONE.with(&Query::parse(text));
            let expected = AppParts { tasks: true, counts: true, deployments: true, ..AppParts::NONE };
            assert_eq!(parts, expected, "{text}");
        }
        assert_eq!(AppParts::LIST.with(&Query::default()), AppParts::LIST);
    }

    #[test]
    fn a_group_shows_all_unless_told_otherwise() {
        let all = GroupParts::of(&Query::default());
        assert!(all.groups && all.apps && all.app_parts == AppParts::NONE);
        let some = GroupParts::of(&Query::parse("embed=group.apps&embed=group.apps.counts"));
        assert!(!some.groups && some.apps && some.app_parts.counts);
    }
}
