//! Reading the values of `docker run` options, as Docker's client reads them. Pure.

use bollard::models::{DeviceMapping, Mount, MountTmpfsOptions, MountType, ResourcesUlimits};

/// `key=value`; the key is not empty.
pub(super) fn pair(text: &str) -> Result<(&str, &str), String> {
    text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| "expected key=value".to_owned())
}

/// As Go's `strconv.ParseBool`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// A number of bytes with an optional binary unit (`64m`, `1.5g`, `512kb`, `2GiB`); `-1` is no limit.
pub(super) fn bytes(text: &str) -> Result<i64, String> {
    let wrong = || "expected a size such as 64m".to_owned();
    let text = text.trim();
    if text == "-1" {
        return Ok(-1);
    }
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic() || character == ' ');
    let amount: f64 = digits.parse().map_err(|_| wrong())?;
    let unit = text[digits.len()..].trim().to_ascii_lowercase();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit);
    let power = match unit {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(wrong()),
    };
    let total = amount * 1024_f64.powi(power);
    if total.is_finite() && (0.0..9e18).contains(&total) { Ok(total as i64) } else { Err(wrong()) }
}

/// A decimal number of CPUs, in billionths.
pub(super) fn nano_cpus(text: &str) -> Result<i64, String> {
    let cpus: f64 = text.trim().parse().map_err(|_| "expected a number of CPUs")?;
    if (0.0..1e6).contains(&cpus) { Ok((cpus * 1e9).round() as i64) } else { Err("out of range".to_owned()) }
}

/// `HOST[:CONTAINER[:PERMISSIONS]]`, or `HOST:PERMISSIONS`.
pub(super) fn device(text: &str) -> Result<DeviceMapping, String> {
    let is_mode = |text: &str| !text.is_empty() && text.chars().all(|mode| "rwm".contains(mode));
    let parts: Vec<&str> = text.split(':').collect();
    let (on_host, inside, mode) = match parts[..] {
        [path] => (path, path, "rwm"),
        [path, mode] if is_mode(mode) => (path, path, mode),
        [path, inside] => (path, inside, "rwm"),
        [path, inside, mode] if is_mode(mode) => (path, inside, mode),
        _ => return Err("expected HOST[:CONTAINER[:rwm]]".to_owned()),
    };
    Ok(DeviceMapping {
        path_on_host: Some(on_host.to_owned()),
        path_in_container: Some(inside.to_owned()),
        cgroup_permissions: Some(mode.to_owned()),
    })
}

/// `name=soft[:hard]`; -1 is unlimited.
pub(super) fn ulimit(text: &str) -> Result<ResourcesUlimits, String> {
    let (name, limits) = pair(text)?;
    let number = |text: &str| text.parse::<i64>().map_err(|_| "expected name=soft[:hard]".to_owned());
    let (soft, hard) = match limits.split_once(':') {
        Some((soft, hard)) => (number(soft)?, number(hard)?),
        None => (number(limits)?, number(limits)?),
    };
    Ok(ResourcesUlimits { name: Some(name.to_owned()), soft: Some(soft), hard: Some(hard) })
}

/// `80`, `80/udp`: a port of the container with its protocol.
pub(super) fn port(text: &str) -> Result<String, String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match number.parse::<u16>() {
        Ok(1..) if ["tcp", "udp", "sctp"].contains(&protocol) => Ok(format!("{number}/{protocol}")),
        _ => Err("expected a port such as 80 or 80/udp (no ranges)".to_owned()),
    }
}

/// One published port.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Published {
    /// With its protocol.
    pub(super) container_port: String,
    /// `None`: every address.
    pub(super) host_ip: Option<String>,
    /// Empty: Docker takes a free one.
    pub(super) host_port: String,
}

/// `[[IP:]HOST:]CONTAINER[/PROTOCOL]`.
pub(super) fn publish(text: &str) -> Result<Published, String> {
    let (front, container) = text.rsplit_once(':').unwrap_or(("", text));
    let (ip, host_port) = front.rsplit_once(':').unwrap_or(("", front));
    if !host_port.is_empty() {
        host_port.parse::<u16>().map_err(|_| "expected [IP:]HOST:CONTAINER[/PROTOCOL] (no ranges)")?;
    }
    let ip = ip.trim_start_matches('[').trim_end_matches(']');
    Ok(Published {
        container_port: port(container)?,
        host_ip: (!ip.is_empty()).then(|| ip.to_owned()),
        host_port: host_port.to_owned(),
    })
}

/// `type=bind,source=/a,target=/b,readonly`: the fields that `bind`, `volume` and `tmpfs` share.
pub(super) fn mount(text: &str) -> Result<Mount, String> {
    let mut mount = Mount { typ: Some(MountType::VOLUME), ..Mount::default() };
    for field in text.split(',') {
        let (key, value) = field.split_once('=').unwrap_or((field, "true"));
        match key {
            "type" => mount.typ = Some(mount_type(value)?),
            "source" | "src" => mount.source = Some(value.to_owned()),
            "target" | "destination" | "dst" => mount.target = Some(value.to_owned()),
            "readonly" | "ro" => mount.read_only = Some(boolean(value)?),
            "tmpfs-size" => {
                mount.tmpfs_options.get_or_insert_with(MountTmpfsOptions::default).size_bytes =
                    Some(bytes(value)?);
            }
            _ => return Err(format!("field `{key}` is not supported")),
        }
    }
    if mount.target.is_none() { Err("target is required".to_owned()) } else { Ok(mount) }
}

fn mount_type(text: &str) -> Result<MountType, String> {
    match text {
        "bind" => Ok(MountType::BIND),
        "volume" => Ok(MountType::VOLUME),
        "tmpfs" => Ok(MountType::TMPFS),
        _ => Err("type is bind, volume or tmpfs".to_owned()),
    }
}
