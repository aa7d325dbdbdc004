//! How the value of each option is put into the request. Pure.

use std::collections::HashMap;
use std::str::FromStr;

use bollard::models::{
    ContainerCreateBody, DeviceRequest, EndpointIpamConfig, EndpointSettings, HealthConfig,
    HostConfigLogConfig, NetworkingConfig,
};

pub(super) use super::super::create::host;
use super::super::create::is_reserved_label;
use super::super::network::bind;
use super::values;

type Done = Result<(), String>;

/// A text, as it is.
pub(super) fn text(field: &mut Option<String>, value: &str) -> Done {
    *field = Some(value.to_owned());
    Ok(())
}

/// One more entry of a list.
pub(super) fn push(field: &mut Option<Vec<String>>, value: &str) -> Done {
    field.get_or_insert_default().push(value.to_owned());
    Ok(())
}

/// A list that the option sets to one entry.
pub(super) fn list_of_one(field: &mut Option<Vec<String>>, value: &str) -> Done {
    *field = Some(vec![value.to_owned()]);
    Ok(())
}

/// A number.
pub(super) fn parsed<T: FromStr>(field: &mut Option<T>, value: &str) -> Done {
    *field = Some(value.trim().parse().map_err(|_| "not a number that fits")?);
    Ok(())
}

/// A boolean.
pub(super) fn flag(field: &mut Option<bool>, value: &str) -> Done {
    *field = Some(values::boolean(value)?);
    Ok(())
}

/// A number of bytes.
pub(super) fn size(field: &mut Option<i64>, value: &str) -> Done {
    *field = Some(values::bytes(value)?);
    Ok(())
}

/// `key=value`, one more entry of a map.
pub(super) fn pair(field: &mut Option<HashMap<String, String>>, value: &str) -> Done {
    let (key, value) = values::pair(value)?;
    field.get_or_insert_default().insert(key.to_owned(), value.to_owned());
    Ok(())
}

pub(super) fn cpus(body: &mut ContainerCreateBody, value: &str) -> Done {
    host(body).nano_cpus = Some(values::nano_cpus(value)?);
    Ok(())
}

pub(super) fn device(body: &mut ContainerCreateBody, value: &str) -> Done {
    host(body).devices.get_or_insert_default().push(values::device(value)?);
    Ok(())
}

/// Replaces a variable of the same name: the kernel would take both, and programs the first.
pub(super) fn env(body: &mut ContainerCreateBody, value: &str) -> Done {
    let (name, _) = values::pair(value)?;
    let env = body.env.get_or_insert_default();
    env.retain(|entry| entry.split_once('=').is_none_or(|(present, _)| present != name));
    env.push(value.to_owned());
    Ok(())
}

pub(super) fn expose(body: &mut ContainerCreateBody, value: &str) -> Done {
    let port = values::port(value)?;
    let exposed = body.exposed_ports.get_or_insert_default();
    if !exposed.contains(&port) {
        exposed.push(port);
    }
    Ok(())
}

/// `all`, a count, or `device=ID[,ID]`, for the driver that serves GPUs.
pub(super) fn gpus(body: &mut ContainerCreateBody, value: &str) -> Done {
    let mut request =
        DeviceRequest { capabilities: Some(vec![vec!["gpu".to_owned()]]), ..DeviceRequest::default() };
    match value.trim_matches('"').strip_prefix("device=") {
        Some(ids) => request.device_ids = Some(ids.split(',').map(str::to_owned).collect()),
        None if value == "all" => request.count = Some(-1),
        None => parsed(&mut request.count, value)?,
    }
    host(body).device_requests.get_or_insert_default().push(request);
    Ok(())
}

/// The settings of the endpoint in the app's own network. Docker takes them for networks of the user's
/// only, and says so itself otherwise.
fn endpoint(body: &mut ContainerCreateBody) -> &mut EndpointSettings {
    let network = host(body).network_mode.clone().unwrap_or_default();
    let config = body.networking_config.get_or_insert_with(NetworkingConfig::default);
    config.endpoints_config.get_or_insert_default().entry(network).or_default()
}

pub(super) fn alias(body: &mut ContainerCreateBody, value: &str) -> Done {
    push(&mut endpoint(body).aliases, value)
}

pub(super) fn address(
    body: &mut ContainerCreateBody,
    value: &str,
    field: fn(&mut EndpointIpamConfig) -> &mut Option<String>,
) -> Done {
    text(field(endpoint(body).ipam_config.get_or_insert_default()), value)
}

/// A label, unless it is one by which the agent finds its containers again.
pub(super) fn label(body: &mut ContainerCreateBody, value: &str) -> Done {
    let (key, value) = value.split_once('=').unwrap_or((value, ""));
    if is_reserved_label(key) {
        return Err("this label is the agent's".to_owned());
    }
    body.labels.get_or_insert_default().insert(key.to_owned(), value.to_owned());
    Ok(())
}

/// Another driver does not know the default driver's options.
pub(super) fn log_driver(body: &mut ContainerCreateBody, value: &str) -> Done {
    let log = host(body).log_config.get_or_insert_default();
    if log.typ.as_deref() != Some(value) {
        *log = HostConfigLogConfig { typ: Some(value.to_owned()), config: None };
    }
    Ok(())
}

pub(super) fn log_option(body: &mut ContainerCreateBody, value: &str) -> Done {
    pair(&mut host(body).log_config.get_or_insert_default().config, value)
}

pub(super) fn mount(body: &mut ContainerCreateBody, value: &str) -> Done {
    host(body).mounts.get_or_insert_default().push(values::mount(value)?);
    Ok(())
}

pub(super) fn no_healthcheck(body: &mut ContainerCreateBody, value: &str) -> Done {
    if values::boolean(value)? {
        let test = Some(vec!["NONE".to_owned()]);
        body.healthcheck = Some(HealthConfig { test, ..HealthConfig::default() });
    }
    Ok(())
}

/// Publishes a port beside the app's own mappings; the leader knows nothing of it.
pub(super) fn publish(body: &mut ContainerCreateBody, value: &str) -> Done {
    let published = values::publish(value)?;
    expose(body, &published.container_port)?;
    let bindings = host(body).port_bindings.get_or_insert_default();
    bind(bindings, published.container_port, published.host_ip, published.host_port);
    Ok(())
}

/// As Docker's client: a seccomp profile would be a file beside it, `systempaths` is two other fields.
pub(super) fn security_option(body: &mut ContainerCreateBody, value: &str) -> Done {
    match value.split_once('=').or_else(|| value.split_once(':')) {
        Some(("seccomp", profile)) if profile != "unconfined" && profile != "builtin" => {
            Err("a seccomp profile in a file is not supported; `unconfined` is".to_owned())
        }
        Some(("systempaths", "unconfined")) => {
            host(body).masked_paths = Some(Vec::new());
            host(body).readonly_paths = Some(Vec::new());
            Ok(())
        }
        _ => push(&mut host(body).security_opt, value),
    }
}

pub(super) fn tmpfs(body: &mut ContainerCreateBody, value: &str) -> Done {
    let (path, options) = value.split_once(':').unwrap_or((value, ""));
    host(body).tmpfs.get_or_insert_default().insert(path.to_owned(), options.to_owned());
    Ok(())
}

pub(super) fn ulimit(body: &mut ContainerCreateBody, value: &str) -> Done {
    host(body).ulimits.get_or_insert_default().push(values::ulimit(value)?);
    Ok(())
}

/// `source:target[:mode]` is a bind or a named volume; a path alone is an anonymous volume.
pub(super) fn volume(body: &mut ContainerCreateBody, value: &str) -> Done {
    if value.contains(':') { push(&mut host(body).binds, value) } else { push(&mut body.volumes, value) }
}
