//! Rules about containers: what each engine needs and refuses (reference section 2.5).

use super::{Findings, Subject};
use crate::app::model::*;
use crate::app::raw::{RawContainer, RawDocker};

pub(super) fn container(subject: Subject<'_>, found: &mut Findings) {
    let Some(container) = &subject.app.container else {
        return;
    };
    match container.kind {
        ContainerType::Docker => docker_engine(subject, container, found),
        ContainerType::Mesos => {
            container.docker.iter().for_each(|docker| mesos_image(subject, docker, found));
        }
    }
    container.linux_info.iter().for_each(|info| linux_info(info, found));
}

fn docker_engine(subject: Subject<'_>, container: &RawContainer, found: &mut Findings) {
    found.need(container.docker.is_some(), "/container/docker", "not defined");
    let pull_config = container.docker.as_ref().is_some_and(|docker| docker.image.pull_config.is_some());
    let message = "pullConfig is not supported with Docker containerizer";
    found.need(!pull_config, "/container/docker/pullConfig", message);
    found.need(container.linux_info.is_none(), "/container/linuxInfo", "must be empty");
    let networks = subject.app.networks().iter().filter(|network| network.mode == NetworkMode::Container);
    let message = "may only specify a single container network when using the Docker container engine";
    found.need(networks.count() <= 1, "/", message);
}

fn mesos_image(subject: Subject<'_>, docker: &RawDocker, found: &mut Findings) {
    let Some(config) = &docker.image.pull_config else {
        return;
    };
    let at = "/container/docker/pullConfig";
    subject.feature("secrets", at, found);
    let known = subject.app.secrets.as_ref().is_some_and(|secrets| secrets.contains_key(&config.secret));
    found.need(known, at, "pullConfig.secret must refer to an existing secret");
}

fn linux_info(info: &LinuxInfo, found: &mut Findings) {
    if let Some(seccomp) = &info.seccomp {
        let at = "/container/linuxInfo/seccomp";
        let (profile, unconfined) = (seccomp.profile_name.is_some(), seccomp.unconfined);
        let message = "Seccomp unconfined can NOT be true when Profile is defined";
        found.need(!(profile && unconfined), at, message);
        let message = "Seccomp unconfined must be true when Profile is NOT defined";
        found.need(profile || unconfined, at, message);
    }
    if let Some(ipc) = &info.ipc_info {
        let shared = ipc.mode == IpcMode::ShareParent && ipc.shm_size.is_some();
        let message = "ipcInfo shmSize can NOT be set when mode is SHARE_PARENT";
        found.need(!shared, "/container/linuxInfo/ipcInfo", message);
    }
}
