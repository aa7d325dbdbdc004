//! A name answers as soon as its task runs and stops when it does not.

use gantry_tests::{Bed, call, get, remove_all, wait_for, wait_until_running};
use serde_json::json;
use xtask::name;

#[test]
fn names_follow_tasks() -> anyhow::Result<()> {
    let mut bed = Bed::new("process")?;
    let cluster = bed.start()?;
    let app = json!({"id": "/shop/prod/api", "cmd": "sleep 100000", "cpus": 0.01, "mem": 16,
        "portDefinitions": [{"port": 0, "name": "http"}]});
    assert!(name::address(cluster.dns, "api-prod-shop.marathon.mesos").is_err(), "not before it runs");
    assert_eq!(call(&cluster, "POST", "/v2/apps", &app)?.0, 201);
    wait_until_running(&cluster, "shop/prod/api", 1)?;
    let tasks = get(&cluster, "/v2/apps/shop/prod/api/tasks")?;
    let port = tasks["tasks"][0]["ports"][0].as_u64();
    for owner in
        ["api-prod-shop.marathon.mesos", "api.prod.shop.marathon.mesos", "API-prod-shop.Marathon.mesos"]
    {
        assert_eq!(name::address(cluster.dns, owner)?.to_string(), "127.0.0.1", "{owner}");
    }
    for owner in ["_api-prod-shop._tcp.marathon.mesos", "_http._api-prod-shop._tcp.marathon.mesos"] {
        assert_eq!(Some(u64::from(name::port(cluster.dns, owner)?)), port, "{owner}");
    }
    remove_all(&cluster)?;
    wait_for("the name to stop", || Ok(name::address(cluster.dns, "api-prod-shop.marathon.mesos").is_err()))
}

#[test]
fn a_process_gets_the_resolver_of_its_agent() -> anyhow::Result<()> {
    let mut bed = Bed::new("process")?;
    let cluster = bed.start()?;
    let probe = gantry_tests::programs()?.join("probe").display().to_string();
    let app = json!({"id": "/self", "cmd": format!("exec {probe}"), "cpus": 0.01, "mem": 16,
        "env": {"DMLC_PS_ROOT_URI": "self.marathon.mesos"}});
    assert_eq!(call(&cluster, "POST", "/v2/apps", &app)?.0, 201);
    wait_until_running(&cluster, "self", 1)?;
    wait_for("the process to resolve its own name", || {
        let output = cluster.clusterctl(&["logs", "/self"]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).contains("resolved self.marathon.mesos to 127.0.0.1"))
    })?;
    remove_all(&cluster)
}
