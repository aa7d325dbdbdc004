//! Several masters, some of which are dead, hang, or have no leader: who is asked next, and what is never
//! asked twice.

use std::net::TcpListener;

use serde_json::json;

use crate::bed::{Bed, Run, clusterctl};
use crate::fake::{Fake, answer, broken};

const APP: &str = r#"{"id":"/t/a","cmd":"exec sleep 1000","cpus":0.01,"mem":16}"#;
/// Nobody listens there.
const DEAD: &str = "http://127.0.0.1:1";

fn apps(fakes: &[&str]) -> Run {
    Run::alone(&["apps", "--master", &fakes.join(",")])
}

fn kill(fakes: &[&str]) -> Run {
    Run::alone(&[
        "kill",
        "t.instance-0f4a3c5e-0000-0000-0000-000000000000._app.1",
        "--master",
        &fakes.join(","),
    ])
}

fn good(_: usize, line: &str, _: &str) -> String {
    match line {
        "GET /ping" => answer("200 OK", "", "pong"),
        "GET /v2/apps" => answer("200 OK", "", r#"{"apps":[]}"#),
        line if line.starts_with("POST /v2/tasks/delete") => answer("200 OK", "", r#"{"tasks":[{}]}"#),
        _ => answer("500 Internal Server Error", "", "{}"),
    }
}

fn leaderless() -> String {
    answer("503 Service Unavailable", "Retry-After: 1\r\n", r#"{"message":"Nobody leads"}"#)
}

#[test]
fn dead_masters_are_passed_over() {
    let bed = Bed::new();
    let live = format!("http://{}", bed.cluster.http);
    let masters = format!("{DEAD},{live},http://127.0.0.1:2");
    let file = bed.dir.path().join("app.json");
    std::fs::write(&file, APP).unwrap();
    let deploy = ["deploy", file.to_str().unwrap(), "--master", &masters];
    Run::alone(&deploy).must(0, &["ok /t/a", "is complete"], &[]);
    Run::alone(&["apps", "--master", &masters]).must(0, &["/t/a", "1/1"], &[]);
    let mut command = std::process::Command::new(clusterctl());
    let output = command.args(["tasks", "-o", "json"]).env("CLUSTERCTL_MASTER", &masters).output().unwrap();
    let tasks: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(tasks.as_array().map(Vec::len), Some(1));
    apps(&[DEAD, "http://127.0.0.1:2"]).must(1, &[], &[DEAD, "http://127.0.0.1:2", "no master answers"]);
}

#[test]
fn a_master_that_hangs_is_passed_over_before_a_change() {
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = format!("http://{}", hangs.local_addr().unwrap());
    let lives = Fake::new(good);
    kill(&[&hanging, &lives.base]).must(0, &["is being ended"], &[]);
    assert_eq!(lives.asked("POST /v2/tasks/delete"), 1);
}

#[test]
fn a_leader_is_waited_for() {
    let electing = Fake::new(
        |before, line, headers| if before < 2 { leaderless() } else { good(before, line, headers) },
    );
    let run = apps(&[&electing.base]).must(0, &["no apps"], &["waiting for a leader", "Nobody leads"]);
    assert_eq!((electing.asked("GET /v2/apps"), run.err.lines().count()), (3, 1), "{run}");
    // It surely did nothing, so it is asked again.
    kill(&[&electing.base]).must(0, &["is being ended"], &["waiting for a leader"]);
    assert_eq!(electing.asked("POST /v2/tasks/delete"), 3);

    let (minority, majority) = (Fake::new(|_, _, _| leaderless()), Fake::new(good));
    let run = apps(&[&minority.base, &majority.base]).must(0, &["no apps"], &[]);
    assert_eq!(run.err, "", "nothing was waited for");
}

#[test]
fn waiting_for_a_leader_has_an_end() {
    let never = Fake::new(|_, _, _| leaderless());
    let said =
        ["waiting for a leader, up to 15 s", "error: Nobody leads; no answer from", DEAD, "A majority"];
    let run = apps(&[&never.base, DEAD]).must(1, &[], &said);
    assert_eq!(run.err.lines().count(), 2, "{run}");
    assert!((5..50).contains(&never.asked("GET")), "{}", never.asked("GET"));
}

#[test]
fn what_may_have_been_done_is_not_asked_for_twice() {
    let unclear = || answer("503 Service Unavailable", "", r#"{"message":"It may have taken effect"}"#);
    for (what, said) in [(unclear(), "It may have taken effect"), (String::new(), "did not answer")] {
        let bad = what.clone();
        let fake =
            Fake::new(
                move |before, line, headers| {
                    if line.starts_with("POST") { bad.clone() } else { good(before, line, headers) }
                },
            );
        let other = Fake::new(good);
        kill(&[&fake.base, &other.base]).must(1, &[], &[said, "is not known. Look"]);
        assert_eq!((fake.asked("POST"), other.asked("POST")), (1, 0));
        // What only reads is asked of the other.
        let bad = Fake::new(move |_, _, _| what.clone());
        apps(&[&bad.base, &other.base]).must(0, &["no apps"], &[]);
    }
}

#[test]
fn events_go_on_at_another_master() {
    let first = Fake::new(|before, line, _| match before {
        _ if line == "GET /ping" => answer("200 OK", "", "pong"),
        0 => broken("text/event-stream", "id: 7\r\nevent: a\r\ndata: {\"eventType\":\"a\"}\r\n\r\n"),
        _ => answer("500 Internal Server Error", "", "{}"),
    });
    let second = Fake::new(|_, line, headers| match (line, headers.contains("last-event-id: 7\r\n")) {
        ("GET /v2/events?ids=true", true) => {
            broken("text/event-stream", "event: b\r\ndata: {\"eventType\":\"b\"}\r\n\r\n")
        }
        _ => answer("500 Internal Server Error", "", "{}"),
    });
    let masters = [first.base.as_str(), &second.base].join(",");
    // Ends since the first one answers with an error at last.
    let run =
        Run::alone(&["events", "-o", "json", "--master", &masters]).must(1, &[], &["goes on at", "ended"]);
    assert_eq!(run.out, "{\"eventType\":\"a\"}\n{\"eventType\":\"b\"}\n");
}

#[test]
fn events_are_redirected() {
    let leader = Fake::new(|before, _, headers| match before {
        0 if headers.contains("accept: text/event-stream\r\n") => {
            broken("text/event-stream", "event: a\r\ndata: {\"eventType\":\"a\"}\r\n\r\n")
        }
        _ => answer("500 Internal Server Error", "", "{}"),
    });
    let to = format!("Location: {}/v2/events?ids=true\r\n", leader.base);
    let follower = Fake::new(move |_, _, _| answer("302 Found", &to, ""));
    let run = Run::alone(&["events", "-o", "json", "--master", &follower.base]).must(1, &[], &[]);
    assert_eq!(run.out, "{\"eventType\":\"a\"}\n");
}

#[test]
fn a_log_goes_on_where_it_broke_off() {
    const TASK: &str = "t_a.instance-0f4a3c5e-0000-0000-0000-000000000000._app.1";
    let first = Fake::new(|_, line, _| {
        if line.contains("follow=true") {
            broken("text/plain", "one\ntwo\nhal")
        } else {
            answer("200 OK", "", "one\n")
        }
    });
    let second = Fake::new(|_, line, _| match line {
        line if line.starts_with("GET /v1/logs/") => answer("200 OK", "", "zero\none\ntwo\nhalf\nend"),
        "GET /v2/apps/t/a/tasks" => answer("200 OK", "", r#"{"tasks":[]}"#),
        _ => answer("500 Internal Server Error", "", "{}"),
    });
    let masters = [first.base.as_str(), &second.base].join(",");
    for tail in [&[][..], &["--tail", "2"]] {
        let line = [&["logs", "-f", TASK, "--file", "stdout", "--master", &masters], tail].concat();
        let run = Run::alone(&line).must(0, &[], &["broke off", "goes on"]);
        assert_eq!(run.out, "one\ntwo\nhalf\nend", "{run}");
    }
}

#[test]
fn without_a_leader_it_is_shown_who_is_up() {
    let dead = DEAD.trim_start_matches("http://").to_owned();
    let fake = Fake::new(move |_, line, headers| {
        let own = headers.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        let one = |name: &str, http: &str| json!({"id": 1, "name": name, "http": http, "role": "voter", "leader": false, "reachable": null});
        match line {
            "GET /v2/masters?stale=true" => {
                let masters = json!({"masters": [one("m2", &dead), one("m1", own)]});
                answer("200 OK", "", &masters.to_string())
            }
            "GET /ping" => answer("200 OK", "", "pong"),
            _ => leaderless(),
        }
    });
    let run =
        Run::alone(&["masters", "--master", &fake.base]).must(1, &[], &["error: Nobody leads. A majority"]);
    let reachable: Vec<Vec<&str>> =
        run.out.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((reachable[0][0], reachable[0][4]), ("m1", "yes"), "{run}");
    assert_eq!((reachable[1][0], reachable[1][4]), ("m2", "no"), "{run}");
}

#[test]
fn masters_are_listed_removed_and_asked_to_lead() {
    let listed = json!({"clusterId": "c", "epoch": 0, "term": 3, "masters": [
        {"id": 1, "name": "m1", "http": "h:1", "rpc": "r:1", "dns": "d:1", "version": "0.1.0", "role": "voter",
         "leader": true, "reachable": true, "behind": 0},
        {"id": 4, "name": "m2", "http": "h:2", "rpc": "r:2", "dns": "d:2", "version": "0.1.0", "role": "learner",
         "leader": false, "reachable": false, "behind": 120}]});
    let body = listed.to_string();
    let fake = Fake::new(move |_, line, _| match line {
        "GET /v2/masters" => answer("200 OK", "", &body),
        "DELETE /v2/masters/m2" | "DELETE /v2/leader" | "DELETE /v2/leader?to=m1" => {
            answer("200 OK", "", r#"{"message":"done"}"#)
        }
        "DELETE /v2/masters/9" => answer("404 Not Found", "", r#"{"message":"Master 9 does not exist"}"#),
        _ => answer("409 Conflict", "", r#"{"message":"m3 cannot lead: it does not vote"}"#),
    });
    let run = |args: &[&str]| Run::alone(&[args, &["--master", &fake.base]].concat());
    let table = run(&["masters"]).must(0, &["MASTER", "LEADS", "m1", "learner", "120", "h:2"], &[]);
    assert_eq!(table.out.lines().count(), 3);
    assert_eq!(run(&["masters", "list", "-o", "json"]).must(0, &[], &[]).json(), listed);
    run(&["masters", "remove", "m2"]).must(0, &["m2 is taken out"], &[]);
    run(&["masters", "remove", "9"]).must(1, &[], &["error: Master 9 does not exist"]);
    run(&["masters", "remove", "a/b"]).must(1, &[], &["is no name of a master"]);
    run(&["masters", "transfer"]).must(0, &["m1 leads now"], &[]);
    let json = run(&["masters", "transfer", "m1", "-o", "json"]).must(0, &[], &[]).json();
    assert_eq!(json, json!({"leader": "m1", "message": "done"}));
    run(&["masters", "transfer", "m3"]).must(1, &[], &["m3 cannot lead: it does not vote"]);
    run(&["masters", "promote"]).must(2, &[], &["promote"]);
}
