//! The three parameter-server documents that people posted to Marathon, image and host path swapped for
//! ones that exist here and nothing else changed: accepted, run, and each task resolves its scheduler's
//! name from inside its container, through the resolver it was given.

use std::path::Path;

use anyhow::Context;
use gantry_tests::{Bed, ProbeImage, call, get, remove_all, wait_for, wait_until_running};
use serde_json::Value;
use xtask::cluster::Cluster;

const SEEDS: [&str; 3] = ["sw2vscheduler", "sw2vserver", "sw2vworker"];

/// A seed document with its image and host path replaced in the text, so that nothing else can change.
fn document(name: &str, image: &str, host_path: &Path) -> anyhow::Result<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let text = text.replace("registry.aliyuncs.com/xlvector/sw2v", image);
    let text =
        text.replace("\"hostPath\": \"/mnt/dcos\"", &format!("\"hostPath\": \"{}\"", host_path.display()));
    Ok(serde_json::from_str(&text)?)
}

fn logs(cluster: &Cluster, app: &str) -> anyhow::Result<String> {
    let output = cluster.clusterctl(&["logs", app]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn seed_documents_run_and_find_their_scheduler() -> anyhow::Result<()> {
    let image = ProbeImage::new("seeds")?;
    let mut bed = Bed::new("docker")?;
    let host_path = bed.dir.path().join("dcos");
    std::fs::create_dir(&host_path)?;
    // The documents ask for 6 cores and 1.9 GB in all; two cores must not decide whether they are accepted.
    let cluster = bed.start()?;
    for (name, tasks) in SEEDS.into_iter().zip([1, 1, 4]) {
        let mut body = document(name, &image.0, &host_path)?;
        let (status, answer) = call(&cluster, "POST", "/v2/apps", &body)?;
        assert_eq!(status, 201, "{name}: {answer}");
        assert_eq!(answer["networks"], serde_json::json!([{"mode": "host"}]), "{name}");
        assert!(answer["container"]["docker"]["network"].is_null(), "deprecated fields are never echoed");
        // Six whole cores are more than a small machine has: what was posted is accepted as it stands, and
        // run with a smaller share.
        body["cpus"] = serde_json::json!(0.1);
        let (status, answer) = call(&cluster, "PUT", &format!("/v2/apps/{name}?force=true"), &body)?;
        assert_eq!(status, 200, "{name}: {answer}");
        wait_until_running(&cluster, name, tasks)?;
    }
    for name in SEEDS {
        wait_for(&format!("{name} to resolve its scheduler"), || {
            let tasks = get(&cluster, &format!("/v2/apps/{name}/tasks"))?;
            let count = tasks["tasks"].as_array().map_or(0, Vec::len);
            let said = logs(&cluster, name)?;
            let resolved = said.matches("resolved sw2vscheduler.marathon.mesos to 127.0.0.1 by").count();
            let given = said.matches("DMLC_PS_ROOT_URI=sw2vscheduler.marathon.mesos").count();
            Ok(count > 0 && resolved == count && given == count)
        })?;
    }
    let said = logs(&cluster, "sw2vscheduler")?;
    assert!(said.contains("PORT_18001=") && said.contains("MARATHON_APP_ID=/sw2vscheduler"), "{said}");
    remove_all(&cluster)
}
