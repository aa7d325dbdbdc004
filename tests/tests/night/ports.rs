//! Ports that others have, and ports of containers behind a bridge.

use std::net::TcpListener;

use gantry_tests::{programs, wait_for};
use serde_json::json;
use xtask::http;

use crate::image::ActorImage;
use crate::site::{PORTS, Site};

/// Most of the range is taken by a foreign program; the app finds the rest.
#[test]
fn a_taken_port_is_not_given_again_and_again() -> anyhow::Result<()> {
    let site = Site::new()?;
    let taken: Vec<TcpListener> = (site.port..site.port + PORTS - 4)
        .filter_map(|port| TcpListener::bind(("0.0.0.0", port)).ok())
        .collect();
    let _master = site.master()?;
    let _agent = site.agent("a1", "process")?;
    site.wait_for_agents(1)?;
    let actor = programs()?.join("actor").display().to_string();
    let app = json!({"id": "/web", "cmd": format!("exec {actor} serve"), "cpus": 0.01, "mem": 16,
        "backoffSeconds": 0, "maxLaunchDelaySeconds": 1, "portDefinitions": [{"port": 0}],
        "healthChecks": [{"protocol": "HTTP", "path": "/health", "intervalSeconds": 1, "gracePeriodSeconds": 60}]});
    site.post(&app)?;
    wait_for("a task on a free port", || {
        let app = site.app("/web")?;
        anyhow::ensure!(app["tasksHealthy"] == json!(1), "{}", app["lastTaskFailure"]["message"]);
        Ok(true)
    })?;
    let port = site.tasks()?[0]["ports"][0].as_u64().unwrap_or(0);
    assert!(port >= u64::from(site.port + PORTS - 4), "{port}");
    drop(taken);
    site.remove_all()
}

#[test]
fn containers_behind_a_bridge_are_reached_by_their_host_ports() -> anyhow::Result<()> {
    let image = ActorImage::new("bridge")?;
    let site = Site::new()?;
    let _master = site.master()?;
    let _agent = site.agent("a1", "docker")?;
    site.wait_for_agents(1)?;
    let app = json!({"id": "/web", "args": ["serve"], "cpus": 0.01, "mem": 16, "env": {"ACTOR_PORT": "8080"},
        "taskKillGracePeriodSeconds": 1, "networks": [{"mode": "container/bridge"}],
        "container": {"type": "DOCKER", "docker": {"image": image.0}, "portMappings": [
            {"containerPort": 8080, "hostPort": 0, "name": "http"}, {"containerPort": 9090, "hostPort": 0}]},
        "healthChecks": [{"protocol": "HTTP", "path": "/health", "portIndex": 0, "intervalSeconds": 1}]});
    site.post(&app)?;
    site.wait_for_tasks(1)?;
    let task = site.tasks()?.remove(0);
    let ports: Vec<u64> =
        task["ports"].as_array().into_iter().flatten().filter_map(|port| port.as_u64()).collect();
    assert_eq!(ports.len(), 2, "{task}");
    let mut env = String::new();
    wait_for("the container to answer", || {
        env = http::tcp(&format!("127.0.0.1:{}", ports[0]), "GET", "/env", &[])?.body;
        Ok(true)
    })?;
    let lines = [
        format!("PORT0={}", ports[0]),
        format!("PORT1={}", ports[1]),
        format!("PORT_8080={}", ports[0]),
        format!("PORT_9090={}", ports[1]),
        format!("PORT_HTTP={}", ports[0]),
        format!("PORT={}", ports[0]),
        format!("PORTS={},{}", ports[0], ports[1]),
        "MARATHON_APP_ID=/web".to_owned(),
        "HOST=a1".to_owned(),
    ];
    for line in lines {
        assert!(env.lines().any(|one| one == line), "{line} is not in\n{env}");
    }
    wait_for("the check through the host port", || Ok(site.app("/web")?["tasksHealthy"] == json!(1)))?;
    let addresses = &task["ipAddresses"][0]["ipAddress"];
    assert!(addresses.as_str().is_some_and(|address| address.starts_with("172.")), "{task}");
    site.remove_all()
}
