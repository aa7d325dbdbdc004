//! Getting images onto the machine: one pull for all who wait for it, bounded in time, with progress.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::{credentials, errors, reference};
use crate::runtime::{Progress, RuntimeError};

/// A pull that says nothing for this long is given up; Docker reports several times a second.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// The longest that a pull may take, also one that trickles.
const PULL_MAX: Duration = Duration::from_secs(3600);

/// The images of one Engine.
#[derive(Debug)]
pub(super) struct Images {
    api: bollard::Docker,
    config: Option<PathBuf>,
    running: Mutex<HashMap<String, Weak<Pull>>>,
}

/// A pull under way. It ends with the last who waits for it.
#[derive(Debug)]
struct Pull {
    state: watch::Receiver<State>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Clone, Debug)]
enum State {
    Working(String),
    Done(Result<(), Refusal>),
}

/// Why an image did not come; kept apart from `RuntimeError`, since several may be told.
#[derive(Clone, Debug)]
enum Refusal {
    Failed(String),
    Unavailable(String),
}

impl From<Refusal> for RuntimeError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Failed(text) => Self::Failed(text),
            Refusal::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

impl Refusal {
    /// Docker's own words often leave out which image it was.
    fn of(image: &str, error: RuntimeError) -> Self {
        let text = |error: &dyn std::fmt::Display| format!("cannot pull image {image}: {error}");
        match error {
            RuntimeError::Unavailable(reason) => Self::Unavailable(text(&reason)),
            RuntimeError::Failed(reason) => Self::Failed(text(&reason)),
            other => Self::Failed(text(&other)),
        }
    }
}

impl Images {
    /// `config` is the directory of Docker's client configuration.
    pub(super) fn new(api: bollard::Docker, config: Option<PathBuf>) -> Self {
        Self { api, config, running: Mutex::new(HashMap::new()) }
    }

    /// Pulls an image, or waits for the pull of it that is already under way.
    pub(super) async fn pull(&self, image: &str, progress: &Progress) -> Result<(), RuntimeError> {
        let image = reference::with_tag(image);
        progress(&format!("pulling image {image}"));
        let pull = self.join(&image);
        let mut state = pull.state.clone();
        loop {
            let now = state.borrow_and_update().clone();
            match now {
                State::Done(result) => return result.map_err(RuntimeError::from),
                State::Working(text) => progress(&text),
            }
            if state.changed().await.is_err() {
                return Err(RuntimeError::Failed(format!("the pull of {image} was abandoned")));
            }
        }
    }

    /// `forcePullImage`: pulls though the image may be here.
    ///
    /// When that fails, so does the launch, with Docker's message, as under Mesos. One exception: a
    /// reference that names no registry, of an image that is here. It may well have been built on this
    /// machine, there is nobody to ask for it, and a first app out of a tutorial that says
    /// `forcePullImage` must run; the local image is used then and the task's message says so.
    pub(super) async fn refresh(&self, image: &str, progress: &Progress) -> Result<(), RuntimeError> {
        let Err(error) = self.pull(image, progress).await else {
            return Ok(());
        };
        if reference::registry(image).is_some() || self.api.inspect_image(image).await.is_err() {
            return Err(error);
        }
        tracing::warn!(image, %error, "pull failed, using the local image");
        progress(&format!("using the local image: {error}"));
        Ok(())
    }

    fn join(&self, image: &str) -> Arc<Pull> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, pull| pull.strong_count() > 0);
        let present = running.get(image).and_then(Weak::upgrade);
        match present.filter(|pull| matches!(*pull.state.borrow(), State::Working(_))) {
            Some(pull) => pull,
            None => {
                let pull = Arc::new(self.begin(image.to_owned()));
                running.insert(image.to_owned(), Arc::downgrade(&pull));
                pull
            }
        }
    }

    fn begin(&self, image: String) -> Pull {
        let (report, state) = watch::channel(State::Working(format!("pulling image {image}")));
        let (api, config) = (self.api.clone(), self.config.clone());
        let task = tokio::spawn(async move {
            let result = run(&api, config, &image, &report).await.map_err(|error| Refusal::of(&image, error));
            report.send_replace(State::Done(result));
        });
        Pull { state, _task: AbortOnDropHandle::new(task) }
    }
}

async fn run(
    api: &bollard::Docker,
    config: Option<PathBuf>,
    image: &str,
    report: &watch::Sender<State>,
) -> Result<(), RuntimeError> {
    let deadline = Instant::now() + PULL_MAX;
    let credentials = credentials::find(config.as_deref(), reference::registry(image)).await;
    let options = CreateImageOptionsBuilder::default().from_image(image).build();
    let mut lines = api.create_image(Some(options), None, credentials);
    let mut layers = Layers::default();
    loop {
        let line = timeout_at(deadline, timeout(SILENCE_MAX, lines.next())).await;
        let line = line.map_err(|_| too_slow(PULL_MAX))?.map_err(|_| too_slow(SILENCE_MAX))?;
        match line {
            None => return Ok(()),
            Some(line) => layers.hear(line.map_err(errors::failure)?),
        }
        report.send_replace(State::Working(layers.sentence(image)));
    }
}

fn too_slow(limit: Duration) -> RuntimeError {
    RuntimeError::Failed(format!("it did not come within {} s, given up", limit.as_secs()))
}

/// How far each layer of a pull is.
#[derive(Debug, Default)]
struct Layers {
    layers: BTreeMap<String, Layer>,
}

#[derive(Debug, Default)]
struct Layer {
    current: i64,
    total: i64,
    done: bool,
}

impl Layers {
    /// The first line's id is the tag, not a layer; it has no "layer" words and counts as none.
    fn hear(&mut self, line: CreateImageInfo) {
        let (Some(id), Some(status)) = (line.id, line.status) else {
            return;
        };
        let is_layer = status.starts_with("Pulling fs layer") || status.starts_with("Already exists");
        if !is_layer && !self.layers.contains_key(&id) {
            return;
        }
        let layer = self.layers.entry(id).or_default();
        layer.done |= status.starts_with("Pull complete") || status.starts_with("Already exists");
        if let (true, Some(detail)) = (status.starts_with("Downloading"), line.progress_detail) {
            layer.current = detail.current.unwrap_or(layer.current);
            layer.total = detail.total.unwrap_or(layer.total);
        }
    }

    fn sentence(&self, image: &str) -> String {
        if self.layers.is_empty() {
            return format!("pulling image {image}");
        }
        let done = self.layers.values().filter(|layer| layer.done).count();
        let sum = |field: fn(&Layer) -> i64| self.layers.values().map(field).sum::<i64>() >> 20;
        format!(
            "pulling image {image}: {done} of {} layers, {} of {} MiB",
            self.layers.len(),
            sum(|layer| if layer.done { layer.total } else { layer.current }),
            sum(|layer| layer.total),
        )
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    fn line(id: &str, status: &str, detail: Option<(i64, i64)>) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: detail
                .map(|(current, total)| ProgressDetail { current: Some(current), total: Some(total) }),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn a_refusal_names_the_image() {
        let refusal = Refusal::of("shop/web:7", RuntimeError::Failed("manifest unknown".to_owned()));
        assert_eq!(RuntimeError::from(refusal).to_string(), "cannot pull image shop/web:7: manifest unknown");
    }

    #[test]
    fn progress_counts_layers_and_bytes() {
        let mut layers = Layers::default();
        layers.hear(line("1.25", "Pulling from library/nginx", None));
        assert_eq!(layers.sentence("nginx"), "pulling image nginx");
        layers.hear(line("aa", "Pulling fs layer", None));
        layers.hear(line("bb", "Already exists", None));
        layers.hear(line("aa", "Downloading", Some((2 << 20, 8 << 20))));
        assert_eq!(layers.sentence("nginx"), "pulling image nginx: 1 of 2 layers, 2 of 8 MiB");
        layers.hear(line("aa", "Pull complete", None));
        assert_eq!(layers.sentence("nginx"), "pulling image nginx: 2 of 2 layers, 8 of 8 MiB");
    }
}
