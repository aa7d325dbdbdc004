//! Marathon's `/v2/info` (reference section 1.8): every key of its three config objects, `null` where
//! there is nothing of the kind here.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::forward::{CONNECT_TIMEOUT, READ_TIMEOUT};
use crate::cluster::{Leadership, Options};

/// The release of Marathon whose behaviour this API has; clients choose their dialect by it.
pub(in crate::api) const MARATHON_VERSION: &str = "1.11.0";

/// The whole document.
pub(in crate::api) fn info(options: &Options, cluster_id: Uuid, leadership: &Leadership) -> Value {
    json!({
        "name": "marathon",
        "version": MARATHON_VERSION,
        "buildref": concat!("gantry-", env!("CARGO_PKG_VERSION")),
        "elected": leadership.leading,
        "leader": leadership.leader_http,
        // Mesos' form of a framework id: who registered it, and a number.
        "frameworkId": format!("{cluster_id}-0000"),
        "marathon_config": marathon_config(options),
        "zookeeper_config": zookeeper_config(),
        "http_config": {"http_port": options.http.port(), "https_port": null},
    })
}

fn marathon_config(options: &Options) -> Value {
    let features = &options.features;
    let hostname = options.advertised_http.rsplit_once(':').map_or("", |(host, _)| host);
    json!({
        "access_control_allow_origin": null,
        "checkpoint": true,
        "decline_offer_duration": null,
        "default_network_name": features.default_network_name,
        "env_vars_prefix": null,
        "executor": "//cmd",
        "failover_timeout": null,
        "features": features.enabled,
        "framework_name": "marathon",
        "ha": true,
        "hostname": hostname,
        "launch_token": null,
        "launch_token_refresh_interval": null,
        "leader_proxy_connection_timeout_ms": CONNECT_TIMEOUT.as_millis() as u64,
        "leader_proxy_read_timeout_ms": READ_TIMEOUT.as_millis() as u64,
        "local_port_max": features.service_ports.end(),
        "local_port_min": features.service_ports.start(),
        "master": null,
        "max_instances_per_offer": null,
        "mesos_bridge_name": features.bridge_name,
        "mesos_heartbeat_failure_threshold": null,
        "mesos_heartbeat_interval": null,
        "mesos_leader_ui_url": null,
        "mesos_role": features.default_role,
        "mesos_user": null,
        "new_group_enforce_role": "off",
        "min_revive_offers_interval": null,
        "offer_matching_timeout": null,
        "on_elected_prepare_timeout": null,
        "reconciliation_initial_delay": null,
        "reconciliation_interval": null,
        "scale_apps_initial_delay": null,
        "scale_apps_interval": null,
        "store_cache": null,
        "task_launch_confirm_timeout": options.launch_timeout_millis,
        "task_launch_timeout": options.launch_timeout_millis,
        "task_lost_expunge_initial_delay": null,
        "task_lost_expunge_interval": null,
        "task_reservation_timeout": null,
        "webui_url": null,
        "maintenance_mode": null,
    })
}

fn zookeeper_config() -> Value {
    json!({
        "zk": null,
        "zk_compression": null,
        "zk_compression_threshold": null,
        "zk_connection_timeout": null,
        "zk_max_node_size": null,
        "zk_max_versions": crate::state::VERSIONS_MAX,
        "zk_session_timeout": null,
        "zk_timeout": null,
    })
}
