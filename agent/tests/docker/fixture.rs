//! An agent of a test's own: its runtime, an image to run, its sandboxes; all removed with it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder,
};
use futures_util::TryStreamExt;
use gantry_agent::runtime::docker::Docker;
use gantry_agent::runtime::{Launch, Runtime, Status};
use serde_json::{Value, json};
use spec::ids::TaskId;

use crate::common::{self, launch, silent, task};

pub fn api() -> bollard::Docker {
    bollard::Docker::connect_with_socket_defaults()
        .expect("these tests need a Docker daemon at /var/run/docker.sock: start one, and run them as root")
}

/// The image of the tests: this program, also as `/bin/sh`. Removed with the last test that uses it.
pub struct Image {
    pub name: String,
}

impl Image {
    async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Image>> = Mutex::new(Weak::new());
        static BUILD: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _one_builds = BUILD.lock().await;
        if let Some(image) = SHARED.lock().unwrap().upgrade() {
            return image;
        }
        let image = Arc::new(Self::build().await);
        *SHARED.lock().unwrap() = Arc::downgrade(&image);
        image
    }

    async fn build() -> Self {
        let tag = format!("{}-{}", std::process::id(), fastrand::u32(..));
        let options =
            CreateImageOptionsBuilder::default().from_src("-").repo("runtimes-test").tag(&tag).build();
        let body = bollard::body_full(tar_of_this_program().into());
        api()
            .create_image(Some(options), Some(body), None)
            .try_for_each(|_| async { Ok(()) })
            .await
            .expect("an image of this program; is the Docker daemon running?");
        Self { name: format!("runtimes-test:{tag}") }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let name = self.name.clone();
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let options = RemoveImageOptionsBuilder::default().force(true).build();
            runtime.block_on(api().remove_image(&name, Some(options), None)).map(drop)
        });
        removal.join().unwrap().expect("the image is removed");
    }
}

fn tar_of_this_program() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.sparse(false);
    tar.append_path_with_name(common::this_program(), "workload").unwrap();
    for directory in ["bin/", "tmp/", "etc/"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o777);
        header.set_size(0);
        tar.append_data(&mut header, directory, std::io::empty()).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Link);
    header.set_mode(0o755);
    header.set_size(0);
    tar.append_link(&mut header, "bin/sh", "workload").unwrap();
    tar.into_inner().unwrap()
}

/// One test's agent: its runtime, its sandboxes. Its containers go with it.
pub struct Fixture {
    pub docker: Arc<Docker>,
    pub owner: String,
    pub image: Arc<Image>,
    pub directory: tempfile::TempDir,
}

impl Fixture {
    pub async fn new() -> Self {
        let image = Image::shared().await;
        let owner = format!("runtimes-test-{}", fastrand::u64(..));
        let docker = Arc::new(Docker::connect(None, &owner).await.expect("a Docker daemon"));
        Self { docker, owner, image, directory: tempfile::tempdir().unwrap() }
    }

    pub fn sandbox(&self, task: &TaskId) -> PathBuf {
        let path = self.directory.path().join(task.to_string());
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// A launch of the test image doing these steps.
    pub fn workload(&self, task: &TaskId, steps: &str, more: Value) -> Launch {
        let mut fields = json!({
            "args": std::iter::once("/workload").chain(steps.split_whitespace()).collect::<Vec<_>>(),
            "container": container(&self.image.name, json!({})),
        });
        for (key, value) in more.as_object().unwrap() {
            fields[key] = value.clone();
        }
        launch(task, self.sandbox(task), fields)
    }

    pub async fn run(&self, name: &str, steps: &str, more: Value) -> TaskId {
        let task = task(name);
        let found =
            self.docker.launch(&self.workload(&task, steps, more), silent()).await.expect("it starts");
        assert_eq!((&found.task, found.status), (&task, Status::Running));
        task
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let owner = self.owner.clone();
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(remove_all(&owner));
        });
        removal.join().unwrap();
    }
}

async fn remove_all(owner: &str) {
    let filters = std::collections::HashMap::from([("label", vec![format!("gantry.owner={owner}")])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    for container in api().list_containers(Some(options)).await.unwrap() {
        let force = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let _gone_already = api().remove_container(&container.id.unwrap(), Some(force)).await;
    }
}

pub fn container(image: &str, docker: Value) -> Value {
    let mut fields = json!({"image": image, "forcePullImage": false, "privileged": false, "parameters": []});
    for (key, value) in docker.as_object().unwrap() {
        fields[key] = value.clone();
    }
    json!({"type": "DOCKER", "volumes": [], "docker": fields})
}
