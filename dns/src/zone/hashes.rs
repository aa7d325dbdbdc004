//! Tasks by the hash in their canonical name. Hashes are in no order that anybody works in, so every task that
//! comes is put between others, in a copy of them: here a task is plain numbers, and a digest stands for its app.

use imbl::{OrdMap, OrdSet};
use spec::ids::{AppId, InstanceId, TaskId};
use uuid::Uuid;

use crate::names::TaskHash;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Hashes {
    tasks: OrdSet<Hashed>,
    /// Apps by their digests: nearly always one.
    apps: OrdMap<u32, OrdSet<AppId>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hashed {
    hash: TaskHash,
    uuid: Uuid,
    incarnation: u32,
    app: u32,
}

impl Hashed {
    fn of(hash: TaskHash, task: &TaskId) -> Self {
        Self { hash, uuid: task.instance.uuid, incarnation: task.incarnation, app: digest(task.app()) }
    }
}

impl Hashes {
    /// There is such a task.
    pub(super) fn put(&mut self, hash: TaskHash, task: &TaskId) {
        self.tasks.insert(Hashed::of(hash, task));
    }

    /// There is no such task any more.
    pub(super) fn remove(&mut self, hash: TaskHash, task: &TaskId) {
        self.tasks.remove(&Hashed::of(hash, task));
    }

    /// The app has its first task.
    pub(super) fn put_app(&mut self, app: &AppId) {
        self.apps.entry(digest(app)).or_default().insert(app.clone());
    }

    /// The app's last task is gone.
    pub(super) fn remove_app(&mut self, app: &AppId) {
        let Some(apps) = self.apps.get_mut(&digest(app)) else { return };
        apps.remove(app);
        if apps.is_empty() {
            self.apps.remove(&digest(app));
        }
    }

    /// The tasks that may have this hash. Where two apps have one digest some of them are of neither.
    pub(super) fn of(&self, hash: TaskHash) -> impl Iterator<Item = TaskId> + '_ {
        let least = Hashed { hash, uuid: Uuid::nil(), incarnation: 0, app: 0 };
        let found = self.tasks.range(least..).take_while(move |hashed| hashed.hash == hash);
        found.flat_map(|hashed| {
            let Hashed { uuid, incarnation, app, .. } = *hashed;
            let id =
                move |app: &AppId| TaskId { instance: InstanceId { app: app.clone(), uuid }, incarnation };
            self.apps.get(&app).into_iter().flatten().map(id)
        })
    }
}

/// FNV-1a of its text: cheap, and seldom the same for two apps.
fn digest(app: &AppId) -> u32 {
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    app.as_str().bytes().fold(0x811c_9dc5, mix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_of_one_digest_are_told_apart_by_who_asks() {
        let [one, other] = ["/a941088", "/a1003172"].map(|text| AppId::parse(text).unwrap());
        assert_eq!(digest(&one), digest(&other));
        let task = |app: &AppId| TaskId {
            instance: InstanceId { app: app.clone(), uuid: Uuid::from_u128(7) },
            incarnation: 1,
        };
        let hash = *b"ybndr";
        let mut hashes = Hashes::default();
        for app in [&one, &other] {
            hashes.put_app(app);
            hashes.put(hash, &task(app));
        }
        hashes.remove_app(&other);
        assert_eq!(hashes.of(hash).collect::<Vec<_>>(), [task(&one)]);
        assert_eq!(hashes.of(*b"ybndf").count(), 0);
        hashes.remove_app(&one);
        hashes.remove(hash, &task(&one));
        assert_eq!(hashes, Hashes::default());
    }
}
