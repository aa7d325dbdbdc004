//! An image of the actor.

use gantry_tests::programs;
use xtask::{docker, http};

/// An image that holds the actor, removed when dropped.
pub struct ActorImage(pub String);

impl ActorImage {
    pub fn new(name: &str) -> anyhow::Result<Self> {
        if let Err(why) = docker::answers() {
            anyhow::bail!("no Docker Engine answers ({why}): run the tests with `cargo xtask test`");
        }
        let image = format!("gantry-night/{name}-{}:latest", std::process::id());
        docker::image(&image, &programs()?.join("actor"))?;
        Ok(Self(image))
    }
}

impl Drop for ActorImage {
    fn drop(&mut self) {
        docker::remove_image(&self.0);
    }
}

/// The same image from one Engine to another.
pub fn copy(image: &ActorImage, to: &std::path::Path) -> anyhow::Result<()> {
    let saved = std::process::Command::new("docker")
        .args(["-H", &format!("unix://{}", docker::socket().display()), "save", &image.0])
        .output()?;
    anyhow::ensure!(saved.status.success(), "docker save: {}", String::from_utf8_lossy(&saved.stderr));
    let answer = http::unix(to, "POST", "/images/load?quiet=1", "application/x-tar", &saved.stdout)?;
    anyhow::ensure!(answer.status == 200, "{}", answer.body);
    Ok(())
}
