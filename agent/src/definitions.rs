//! The definitions that the agents of one process have, each once: a definition comes with every message that has a
//! task of its app, to every agent, and says the same each time. It stays for as long as a task has it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use spec::app::App;

/// Fewer are not looked through for those that nobody has any more.
const KEPT_MIN: usize = 64;

/// All of them, by their JSON.
#[derive(Debug, Default)]
pub struct Definitions(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_json: HashMap<Box<[u8]>, Weak<App>>,
    /// How many were in use when they were last looked through.
    used: usize,
}

impl Definitions {
    /// What a JSON defines; read only if nobody has it.
    pub fn read(&self, json: &[u8]) -> Result<Arc<App>, serde_json::Error> {
        if let Some(app) = self.known().get(json) {
            return Ok(app);
        }
        // Not under the lock: others have other definitions to read.
        let app = Arc::new(serde_json::from_slice(json)?);
        Ok(self.known().put(json.into(), app))
    }

    /// One that was read elsewhere.
    pub fn share(&self, app: Arc<App>) -> Arc<App> {
        match serde_json::to_vec(&app) {
            Ok(json) => self.known().put(json.into(), app),
            Err(_) => app,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn get(&self, json: &[u8]) -> Option<Arc<App>> {
        self.by_json.get(json).and_then(Weak::upgrade)
    }

    /// The first one stays.
    fn put(&mut self, json: Box<[u8]>, app: Arc<App>) -> Arc<App> {
        if let Some(known) = self.get(&json) {
            return known;
        }
        if self.by_json.len() >= KEPT_MIN.max(2 * self.used) {
            self.by_json.retain(|_, app| app.strong_count() > 0);
            self.by_json.shrink_to(KEPT_MIN);
            self.used = self.by_json.len();
        }
        self.by_json.insert(json, Arc::downgrade(&app));
        app
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::environment::tests::app;

    fn of(cmd: usize) -> Vec<u8> {
        serde_json::to_vec(&app(json!({"cmd": cmd.to_string()}))).unwrap()
    }

    #[test]
    fn equal_ones_are_one_and_others_are_not() {
        let definitions = Definitions::default();
        let [one, again, other] = [1, 1, 2].map(|n| definitions.read(&of(n)).unwrap());
        assert!(Arc::ptr_eq(&one, &again));
        assert_eq!((one.cmd.as_deref(), other.cmd.as_deref()), (Some("1"), Some("2")));
        let kept = definitions.share(Arc::new(App::clone(&one)));
        assert!(Arc::ptr_eq(&one, &kept), "what was read elsewhere is the same one");
        assert!(definitions.read(b"{}").is_err());
    }

    #[test]
    fn what_nobody_has_goes() {
        let definitions = Definitions::default();
        let read = |n| definitions.read(&of(n)).unwrap();
        let used: Vec<_> = (0..9).map(read).collect();
        for n in 0..999 {
            assert_eq!(read(n).cmd, Some(n.to_string()));
        }
        let known = definitions.known().by_json.len();
        assert!(known <= KEPT_MIN, "{known}");
        assert!(used.iter().enumerate().all(|(n, app)| Arc::ptr_eq(app, &read(n))));
    }

    #[test]
    fn many_that_are_in_use_all_stay() {
        let definitions = Definitions::default();
        let read = |n| definitions.read(&of(n)).unwrap();
        let used: Vec<_> = (0..5 * KEPT_MIN).map(read).collect();
        assert!(used.iter().enumerate().all(|(n, app)| Arc::ptr_eq(app, &read(n))));
    }
}
