//! The verbs as people and scripts run them, against a real cluster of processes: exit codes, what goes to
//! which output, and that JSON is JSON.

use std::process::Stdio;

use crate::bed::{Bed, Run};
use serde_json::json;

const GOOD: &str = r#"{"id":"/t/good","cmd":"echo up; exec sleep 1000","cpus":0.01,"mem":16,"instances":2}"#;
const FAILS: &str =
    r#"{"id":"/t/fails","cmd":"echo begins; echo no config >&2; exit 7","cpus":0.01,"mem":16}"#;
const HUGE: &str = r#"{"id":"/t/huge","cmd":"sleep 1000","cpus":512,"mem":16}"#;
const IMAGE: &str =
    r#"{"id":"/t/image","container":{"type":"DOCKER","docker":{"image":"x"}},"cpus":0.01,"mem":16}"#;
const TWO: &str = r#"[
    {"id":"/t/back","cmd":"sleep 1000","cpus":0.01,"mem":16,"dependencies":["/t/front"]},
    {"id":"/t/front","cmd":"sleep 1000","cpus":0.01,"mem":16}]"#;

/// Deploys a document from standard input.
fn deploy(bed: &Bed, more: &[&str], document: &str) -> Run {
    bed.run(&[&["deploy", "-"], more].concat(), document)
}

#[test]
fn deploying_ends_as_the_app_does() {
    let bed = Bed::new();
    deploy(&bed, &[], GOOD).must(0, &["ok /t/good", "is complete"], &["/t/good: 2/2 running"]);
    deploy(&bed, &[], GOOD).must(0, &["nothing to do"], &[]);
    deploy(&bed, &["--detach"], TWO).must(0, &["ok /t/back, /t/front", "accepted"], &[]);
    deploy(&bed, &["--timeout", "30s"], TWO).must(0, &["ok"], &[]);

    let failed = ["Command exited with status 7", "stdout: begins", "stderr: no config", "TASK_FAILED"];
    deploy(&bed, &[], FAILS).must(1, &[], &failed);

    let short = ["not complete after 1 s", "not enough cpus on 2 of 2 agents", "needs 512.0 cpus"];
    deploy(&bed, &["--timeout", "1s"], HUGE).must(1, &[], &short);
    let other = HUGE.replace("512", "513");
    deploy(&bed, &["--timeout", "1s"], &other).must(1, &[], &["locked", "--force cancels it"]);
    deploy(&bed, &["--timeout", "1s"], HUGE).must(1, &[], &["not complete after 1 s"]);
    bed.run(&["queue"], "").must(0, &["/t/huge", "needs 512.0 cpus"], &[]);
    deploy(&bed, &["--timeout", "1s", "--force"], &other).must(1, &[], &["needs 513.0 cpus"]);

    let reason = ["constraint not met", "no Docker on this agent"];
    deploy(&bed, &["--timeout", "1s"], IMAGE).must(1, &[], &reason);
}

#[test]
fn what_cannot_be_deployed_is_said_in_one_line() {
    let bed = Bed::new();
    for (document, complaint) in [
        ("{\"id\":", "is not JSON"),
        ("[]", "neither an app nor an array"),
        ("{}", "needs an `id`"),
        (r#"{"id":"/t/a","cmd":"x","instances":-1}"#, "/instances"),
        (r#"{"id":"/t/a","containers":[]}"#, "pods are not supported"),
    ] {
        let run = deploy(&bed, &[], document).must(1, &[], &["error:", complaint]);
        assert_eq!((run.out.as_str(), run.err.lines().count()), ("", 1), "{run}");
    }
    bed.run(&["deploy", "."], "").must(1, &[], &["Is a directory"]);
    bed.run(&["deploy", "/nowhere.json"], "").must(1, &[], &["cannot open /nowhere.json"]);
    bed.run(&["deploy"], "").must(2, &[], &["<FILE>"]);
}

#[test]
fn apps_change_and_go() {
    let bed = Bed::new();
    deploy(&bed, &[], GOOD).must(0, &[], &[]);
    bed.run(&["scale", "/t/good", "3"], "").must(0, &["is complete"], &[]);
    bed.run(&["scale", "/t/good", "3"], "").must(0, &["nothing to do"], &[]);
    let before = bed.tasks("/t/good");
    assert_eq!(before.len(), 3);
    bed.run(&["restart", "t/good"], "").must(0, &["is complete"], &[]);
    let after = bed.tasks("/t/good");
    assert!(after.len() == 3 && before.iter().all(|task| !after.contains(task)), "{before:?} {after:?}");

    bed.run(&["kill", &after[0], "--scale"], "").must(0, &["one instance less"], &[]);
    let gone = after[0].replace("._app.1", "._app.77");
    bed.run(&["kill", &gone], "").must(1, &[], &["there is no task"]);
    bed.run(&["kill", &gone, "-o", "json"], "").must(1, &[], &["there is no task"]);
    for verb in [&["scale", "/t/none", "2"][..], &["restart", "/t/none"], &["remove", "/t/none"]] {
        bed.run(verb, "").must(1, &[], &["error: App '/t/none' does not exist"]);
    }
    bed.run(&["tasks", "/t/none"], "").must(1, &[], &["does not exist"]);

    bed.run(&["remove", "/t/good"], "").must(0, &["is complete"], &[]);
    bed.run(&["apps"], "").must(0, &["no apps"], &[]);
    bed.run(&["tasks"], "").must(0, &["no tasks"], &[]);
    // What it wrote is kept for a while, although no master knows the task any more.
    bed.run(&["logs", &after[1]], "").must(0, &["up"], &[]);
}

#[test]
fn logs_of_several_tasks_are_told_apart() {
    let bed = Bed::new();
    deploy(&bed, &[], GOOD).must(0, &[], &[]);
    let run = bed.run(&["logs", "/t/good"], "").must(0, &[], &[]);
    assert_eq!(run.out.lines().filter(|line| line.ends_with(" | up")).count(), 2, "{run}");
    let run = bed.run(&["logs", "/t/good", "--output", "json", "--tail", "1"], "").must(0, &[], &[]);
    for line in run.out.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["line"], &line["file"]), (&json!("up"), &json!("stdout")));
    }
    deploy(&bed, &[], FAILS).must(1, &[], &[]);
    bed.run(&["logs", "/t/fails"], "").must(0, &["begins"], &["no config"]);
    bed.run(&["logs", "/t/none"], "").must(1, &[], &["does not exist"]);
    let unknown = bed.tasks("/t/good")[0].replace("._app.1", "._app.77");
    bed.run(&["logs", &unknown], "").must(1, &[], &["does not exist"]);
}

#[test]
fn json_is_json_and_nothing_else() {
    let bed = Bed::new();
    let done = deploy(&bed, &["--output", "json"], GOOD).must(0, &[], &[]).json();
    assert_eq!((&done["result"], &done["apps"]), (&json!("complete"), &json!(["/t/good"])));
    let waits = deploy(&bed, &["-o", "json", "--timeout", "1s"], HUGE).must(1, &[], &[]).json();
    assert_eq!(waits["result"], "timed out");
    for (verb, count) in [("apps", 2), ("tasks", 2), ("agents", 2), ("deployments", 1), ("queue", 1)] {
        let list = bed.run(&[verb, "--output", "json"], "").must(0, &[], &[]).json();
        assert_eq!(list.as_array().map(Vec::len), Some(count), "{verb}: {list}");
    }
    let id = waits["deploymentId"].as_str().unwrap();
    let undone = bed.run(&["deployments", "--cancel", id, "-o", "json"], "").must(0, &[], &[]).json();
    assert!(undone["deploymentId"].is_string(), "{undone}");
    let task = &bed.tasks("/t/good")[0];
    assert!(bed.run(&["kill", task, "-o", "json"], "").must(0, &[], &[]).json().is_object());
    for verb in [&["scale", "/t/good", "1"][..], &["restart", "/t/good"], &["remove", "/t/good"]] {
        let done = bed.run(&[verb, &["-o", "json"]].concat(), "").must(0, &[], &[]).json();
        assert!(done["deploymentId"].is_string(), "{done}");
    }
}

#[test]
fn ctrl_c_leaves_the_deployment_going() {
    let bed = Bed::new();
    let mut command = bed.command(&["deploy", "-"]);
    let file = bed.dir.path().join("huge.json");
    std::fs::write(&file, HUGE).unwrap();
    command.stdin(std::fs::File::open(&file).unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let started =
        || bed.run(&["deployments", "-o", "json"], "").json().as_array().is_some_and(|all| !all.is_empty());
    while !started() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    xtask::stop::signal(child.id(), libc::SIGINT);
    Run::of(&["deploy"], child).must(130, &[], &["what was accepted goes on"]);
    assert!(started(), "the deployment is gone");
}

#[test]
fn events_can_be_chosen() {
    let bed = Bed::new();
    let mut command = bed.command(&["events", "--type", "deployment_success", "--output", "json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The stream has to be open before the event; deploying again and again needs no guess how long that is.
    for number in 0..5 {
        let document = GOOD.replace("/t/good", &format!("/t/good{number}"));
        deploy(&bed, &[], &document).must(0, &[], &[]);
    }
    xtask::stop::signal(child.id(), libc::SIGINT);
    let run = Run::of(&["events"], child).must(130, &[], &[]);
    let kinds: Vec<serde_json::Value> =
        run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        !kinds.is_empty() && kinds.iter().all(|event| event["eventType"] == "deployment_success"),
        "{run}"
    );
}
