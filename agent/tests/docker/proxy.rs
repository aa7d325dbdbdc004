//! The Engine's socket under another name, that can be cut off.

use std::path::Path;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// Passes connections on until it is stopped or dropped; then all of them are cut.
pub struct Proxy {
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub fn start(socket: &Path) -> Self {
        let _left_by_the_last = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut engine = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    let _cut = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
                });
            }
        });
        Self { task }
    }

    pub fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop();
    }
}
