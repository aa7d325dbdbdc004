//! Who depends on whom in the state that a change leads to. Only what the change can reach is looked at:
//! a new cycle must pass through a changed app, since there was none before.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use spec::app::App;
use spec::ids::{AppId, canonical_path};

use super::change::Changed;
use crate::state::State;

/// The apps that will exist.
pub(super) struct Target<'a> {
    state: &'a State,
    put: BTreeMap<&'a str, &'a App>,
    removed: BTreeSet<&'a AppId>,
}

/// An app, or a group that stands for every app below it (reference section 2c). What does not exist
/// is a group without apps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    App(AppId),
    Group(String),
}

impl<'a> Target<'a> {
    pub(super) fn new(state: &'a State, changed: &'a [Changed], removed: &'a [AppId]) -> Self {
        let put = changed.iter().map(|changed| (changed.app.id.as_str(), &*changed.app)).collect();
        Self { state, put, removed: removed.iter().collect() }
    }

    pub(super) fn app(&self, id: &str) -> Option<&App> {
        let kept = || {
            self.state
                .app_at(id)
                .filter(|entry| !self.removed.contains(&entry.app.id))
                .map(|entry| &*entry.app)
        };
        self.put.get(id).copied().or_else(kept)
    }

    /// Height of every app that can be reached from the put ones: 1 plus the height of the highest app it
    /// depends on; none at all where nothing depends on anything. `None` when there is a cycle.
    pub(super) fn heights(&self) -> Option<BTreeMap<AppId, usize>> {
        if self.put.values().all(|app| app.dependencies.is_empty()) {
            return Some(BTreeMap::new());
        }
        let edges = self.reachable();
        let mut dependents: BTreeMap<&Node, Vec<&Node>> = BTreeMap::new();
        let mut missing: BTreeMap<&Node, usize> = BTreeMap::new();
        for (node, dependencies) in &edges {
            missing.insert(node, dependencies.len());
            dependencies.iter().for_each(|on| dependents.entry(on).or_default().push(node));
        }
        let mut ready: Vec<&Node> = edges.keys().filter(|node| missing[node] == 0).collect();
        let mut heights: BTreeMap<&Node, usize> = BTreeMap::new();
        while let Some(node) = ready.pop() {
            let below = edges[node].iter().filter_map(|on| heights.get(on)).max().copied().unwrap_or(0);
            heights.insert(node, below + usize::from(matches!(node, Node::App(_))));
            for dependent in dependents.get(node).into_iter().flatten() {
                let left = missing.entry(dependent).or_default();
                *left = left.saturating_sub(1);
                if *left == 0 {
                    ready.push(dependent);
                }
            }
        }
        (heights.len() == edges.len()).then(|| apps_only(heights))
    }

    fn reachable(&self) -> BTreeMap<Node, Vec<Node>> {
        let mut edges = BTreeMap::new();
        let mut open: Vec<Node> = self.put.values().map(|app| Node::App(app.id.clone())).collect();
        while let Some(node) = open.pop() {
            if let Entry::Vacant(vacant) = edges.entry(node) {
                let dependencies = self.dependencies(vacant.key());
                open.extend(dependencies.iter().cloned());
                vacant.insert(dependencies);
            }
        }
        edges
    }

    fn dependencies(&self, node: &Node) -> Vec<Node> {
        match node {
            Node::Group(path) => self.below(path).cloned().map(Node::App).collect(),
            Node::App(id) => {
                let paths = self.app(id.as_str()).map_or(&[][..], |app| &app.dependencies);
                paths
                    .iter()
                    .filter_map(|path| canonical_path(path).ok())
                    .map(|path| self.node(path))
                    .collect()
            }
        }
    }

    /// Ids of all apps below a group.
    pub(super) fn below<'b>(&'b self, path: &'b str) -> impl Iterator<Item = &'b AppId> {
        let kept = self.state.apps_below(path).map(|entry| &entry.app.id);
        let put = self
            .put
            .values()
            .map(|app| &app.id)
            .filter(|id| id.is_below(path) && self.state.app(id).is_none());
        kept.filter(|id| !self.removed.contains(id)).chain(put)
    }

    fn node(&self, path: String) -> Node {
        match AppId::parse(&path) {
            Ok(id) if self.app(id.as_str()).is_some() => Node::App(id),
            _ => Node::Group(path),
        }
    }
}

fn apps_only(heights: BTreeMap<&Node, usize>) -> BTreeMap<AppId, usize> {
    let app = |(node, height): (&Node, usize)| match node {
        Node::App(id) => Some((id.clone(), height)),
        Node::Group(_) => None,
    };
    heights.into_iter().filter_map(app).collect()
}
