//! Shapes of volumes (reference section 2.7). A volume is a union: the kinds are tried in order, and
//! when none fits the last one, a host volume, gets the blame beside those that were plainly meant.

use serde_json::{Map, Value};

use super::grammar::*;
use super::node::{Faults, Node};
use crate::app::model::*;

type Read = fn(Node<'_>) -> Option<Volume>;

/// Each kind by the field that only it has, in the order in which Marathon tries them.
const KINDS: &[(&str, Read)] = &[("persistent", persistent), ("external", external), ("secret", secret)];
const MODES: &[(&str, VolumeMode)] = &[("RO", VolumeMode::Ro), ("RW", VolumeMode::Rw)];
const DISK_TYPES: &[(&str, PersistentVolumeType)] = &[
    ("root", PersistentVolumeType::Root),
    ("path", PersistentVolumeType::Path),
    ("mount", PersistentVolumeType::Mount),
];

pub(super) fn volume(node: Node<'_>) -> Option<Volume> {
    for (_, read) in KINDS.iter().filter(|(field, _)| node.value().get(*field).is_some_and(|v| !v.is_null()))
    {
        let trial = Faults::default();
        let volume = read(node.trial(&trial));
        match trial.into_list() {
            faults if faults.is_empty() => return volume,
            faults => faults.into_iter().for_each(|fault| node.blame(fault)),
        }
    }
    host(node)
}

fn mode(node: Node<'_>) -> Option<VolumeMode> {
    node.choice(MODES)
}

fn host(node: Node<'_>) -> Option<Volume> {
    let volume = node.object()?;
    let container_path = volume.required("containerPath", non_empty);
    let host_path = volume.required("hostPath", non_empty);
    let mode = volume.required("mode", mode);
    Some(Volume::Host { container_path: container_path?, host_path: host_path?, mode: mode? })
}

fn secret(node: Node<'_>) -> Option<Volume> {
    let volume = node.object()?;
    let container_path = volume.required("containerPath", non_empty);
    let secret = volume.required("secret", non_empty);
    Some(Volume::Secret { container_path: container_path?, secret: secret? })
}

fn persistent(node: Node<'_>) -> Option<Volume> {
    let volume = node.object()?;
    let container_path = volume.required("containerPath", non_empty);
    let mode = volume.required("mode", mode);
    let persistent = volume.required("persistent", persistent_info);
    Some(Volume::Persistent { container_path: container_path?, mode: mode?, persistent: persistent? })
}

/// The type is root, or mount when there is a profile (reference section 2.7).
fn persistent_info(node: Node<'_>) -> Option<PersistentVolume> {
    let info = node.object()?;
    let size = info.required("size", Node::long);
    let max_size = info.optional("maxSize", Node::long);
    let profile_name = info.optional("profileName", non_empty);
    let constraints = info.optional("constraints", |node| node.set(texts)).unwrap_or_default();
    let default =
        if profile_name.is_some() { PersistentVolumeType::Mount } else { PersistentVolumeType::Root };
    let kind = Some(info.optional("type", |node| node.choice(DISK_TYPES)).unwrap_or(default));
    Some(PersistentVolume { kind, size: size?, max_size, profile_name, constraints })
}

fn external(node: Node<'_>) -> Option<Volume> {
    let volume = node.object()?;
    let container_path = volume.required("containerPath", non_empty);
    let mode = volume.required("mode", mode);
    let external = volume.required("external", external_info);
    Some(Volume::External { container_path: container_path?, mode: mode?, external: external? })
}

fn external_info(node: Node<'_>) -> Option<ExternalVolume> {
    let info = node.object()?;
    let size = info.optional("size", count);
    let name = info.optional("name", Node::text);
    let provider = info.optional("provider", Node::text);
    let shared = info.optional("shared", Node::flag);
    let options = match provider.as_deref() {
        Some("csi") => info.required("options", csi_options)?,
        _ => info.optional("options", text_options).unwrap_or_default(),
    };
    Some(ExternalVolume { size, name, provider, options, shared })
}

fn text_options(node: Node<'_>) -> Option<Map<String, Value>> {
    let options = labels(node)?;
    Some(options.into_iter().map(|(key, value)| (key, Value::String(value))).collect())
}

/// CSI options are nested; their shape is checked and they are kept as they came, without nulls.
fn csi_options(node: Node<'_>) -> Option<Map<String, Value>> {
    let given = node.value().as_object().cloned().unwrap_or_default();
    let options = node.object()?;
    let plugin = options.required("pluginName", non_empty);
    let capability = options.required("capability", csi_capability);
    for name in ["nodeStageSecret", "nodePublishSecret", "volumeContext"] {
        options.optional(name, labels);
    }
    plugin.and(capability)?;
    Some(without_nulls(given))
}

fn without_nulls(fields: Map<String, Value>) -> Map<String, Value> {
    let given = fields.into_iter().filter(|(_, value)| !value.is_null());
    let clean = given.map(|(name, value)| match value {
        Value::Object(fields) => (name, Value::Object(without_nulls(fields))),
        other => (name, other),
    });
    clean.collect()
}

fn csi_capability(node: Node<'_>) -> Option<()> {
    let capability = node.object()?;
    let access_mode = capability.required("accessMode", non_empty);
    let access_type = capability.required("accessType", |node| node.choice(&[("block", ()), ("mount", ())]));
    capability.optional("fsType", Node::text);
    capability.optional("mountFlags", texts);
    access_mode?;
    access_type
}
