//! What an operator does with three masters, by the command line, on real processes: changes, logs and events over
//! the leader's death, handing over, taking out and replacing masters, and a cluster from one survivor. The test
//! runs in namespaces of its own, so it takes root.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use gantry_tests::{in_a_house, programs};
use serde_json::Value;
use xtask::faults::site::{Role, Site};
use xtask::faults::{house, rest, start_site, verify};

/// The verbs of `clusterctl` against all masters.
struct Operator {
    clusterctl: PathBuf,
    masters: String,
    scratch: PathBuf,
}

impl Operator {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.clusterctl);
        command.args(args).env("CLUSTERCTL_MASTER", &self.masters).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// The exit code and both outputs, one behind the other.
    fn run(&self, args: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
        let output = self.command(args).output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
    }

    /// It must end so, and say that.
    fn must(&self, args: &[&str], code: i32, says: &str) -> anyhow::Result<()> {
        let (ended, said) = self.run(args)?;
        ensure!(ended == Some(code) && said.contains(says), "{args:?} ends with {ended:?}: {said}");
        Ok(())
    }

    /// Goes on until it is dropped, and writes to a file of that name.
    fn begin(&self, args: &[&str], name: &str) -> anyhow::Result<Running> {
        let path = self.scratch.join(name);
        let file = std::fs::File::create(&path)?;
        let child = self.command(args).stdout(file.try_clone()?).stderr(file).spawn()?;
        Ok(Running { child, path })
    }

    fn masters(&self) -> anyhow::Result<Vec<(String, String)>> {
        let output = self.command(&["masters", "--output", "json"]).output()?;
        let listed: Value = serde_json::from_slice(&output.stdout).context("no list of masters")?;
        let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        Ok(rest::list(&listed, "masters")?.iter().map(|one| (text(one, "name"), text(one, "role"))).collect())
    }
}

struct Running {
    child: Child,
    path: PathBuf,
}

impl Running {
    fn wait_for(&self, words: &str) -> anyhow::Result<()> {
        verify::wait_until(words, || {
            let text = std::fs::read_to_string(&self.path)?;
            ensure!(text.contains(words), "{words:?} is not in {text}");
            Ok(())
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn document(scratch: &Path, name: &str, cmd: &str) -> anyhow::Result<String> {
    let path = scratch.join(format!("{name}.json"));
    let id = format!("/{}/{name}", house::APPS);
    let app = serde_json::json!({"id": id, "cmd": cmd, "cpus": 0.01, "mem": 16, "instances": 2});
    std::fs::write(&path, app.to_string())?;
    Ok(path.to_string_lossy().into_owned())
}

#[test]
fn an_operator_and_three_masters() -> anyhow::Result<()> {
    in_a_house("an_operator_and_three_masters", |scratch| {
        let mut site = start_site(&programs()?, scratch, 3, 2)?;
        let bases: Vec<String> = site.https().iter().map(|http| format!("http://{http}")).collect();
        let operator = Operator {
            clusterctl: programs()?.join("clusterctl"),
            masters: bases.join(","),
            scratch: scratch.to_owned(),
        };
        let steady = format!("/{}/steady", house::APPS);
        operator.must(&["deploy", &document(scratch, "steady", "exec sleep 1000000")?], 0, "is complete")?;
        let before = verify::steady(site.https()[0], &steady)?;
        the_leader_dies(&mut site, &operator, scratch)?;
        masters_come_and_go(&mut site, &operator)?;
        one_survives(&mut site, &operator)?;
        verify::wait_until("the tasks as they were", || {
            ensure!(verify::steady(site.https()[0], &steady)? == before, "tasks were touched");
            Ok(())
        })
    })
}

/// Nothing of what runs at the command line ends, or lacks anything.
fn the_leader_dies(site: &mut Site, operator: &Operator, scratch: &Path) -> anyhow::Result<()> {
    let talks = "n=0; while true; do n=$((n+1)); echo line $n end; sleep 0.1; done";
    operator.must(&["deploy", &document(scratch, "talks", talks)?], 0, "is complete")?;
    let app = format!("/{}/talks", house::APPS);
    let logs = operator.begin(&["logs", "-f", &app], "logs")?;
    let events = operator.begin(&["events"], "events")?;
    logs.wait_for("line 3 end")?;
    events.wait_for("event_stream_attached")?;

    let leader = rest::leader(site).context("no leader")?;
    site.member(leader).kill()?;
    operator.must(&["scale", &app, "3"], 0, "is complete")?;
    events.wait_for("deployment_success")?;
    logs.wait_for("goes on")?;
    let text = verify::wait_until("both logs", || {
        let text = std::fs::read_to_string(&logs.path)?;
        ensure!(text.matches("line 100 end").count() == 2, "not yet both");
        Ok(text)
    })?;
    for number in 1..=100 {
        let seen = text.matches(&format!("line {number} end")).count();
        ensure!(seen == 2, "line {number} of two tasks is there {seen} times");
    }
    site.start(leader, false)?;
    verify::wait_until("the cluster is whole", || verify::is_whole(site))
}

fn masters_come_and_go(site: &mut Site, operator: &Operator) -> anyhow::Result<()> {
    for name in ["m1", "m2"] {
        operator.must(&["masters", "transfer", name], 0, &format!("{name} leads now"))?;
    }
    operator.must(&["masters", "remove", "m9"], 1, "does not exist")?;
    // The leader, m2: it hands over, is taken out, and ends; with an empty disk it joins as new.
    operator.must(&["masters", "remove", "m2"], 0, "m2 is taken out")?;
    let second = site.nodes(Role::Master)[1];
    let (_, said) = verify::wait_until("its end", || site.member(second).ended()?.context("it runs on"))?;
    ensure!(said.contains("removed from the cluster"), "{said}");
    ensure!(operator.masters()?.len() == 2, "{:?}", operator.masters()?);
    replace(site, operator, second)?;
    // A dead one needs no removal; while it is away nobody else can be spared.
    site.member(second).kill()?;
    verify::wait_until("a refusal", || operator.must(&["masters", "remove", "m3"], 1, "m2 is away"))?;
    replace(site, operator, second)
}

/// Starts a master with an empty disk; it takes its old place.
fn replace(site: &mut Site, operator: &Operator, node: xtask::faults::net::Node) -> anyhow::Result<()> {
    site.member(node).lose_disk()?;
    site.start(node, false)?;
    verify::wait_until("three voters", || {
        let masters = operator.masters()?;
        let voters = masters.iter().filter(|(_, role)| role == "voter").count();
        ensure!(voters == 3 && masters.len() == 3, "{masters:?}");
        Ok(())
    })
}

fn one_survives(site: &mut Site, operator: &Operator) -> anyhow::Result<()> {
    let masters = site.nodes(Role::Master);
    let dir = site.member(masters[0]).dir.to_string_lossy().into_owned();
    let recover = ["recover", "--name", "m1", "--data-dir", &dir];
    let yes = [&recover[..], &["--yes"]].concat();
    operator.must(&yes, 1, "is in use by another process")?;
    for &node in &masters {
        site.member(node).kill()?;
    }
    operator.must(&["masters"], 1, "no master answers")?;
    operator.must(&recover, 1, "nothing was changed")?;
    operator.must(&yes, 0, "m1 is the only master")?;
    site.start(masters[0], true)?;
    let address = site.https()[0];
    verify::wait_until("the agents", || verify::agents_are_connected(site, address))?;
    for &node in &masters[1..] {
        site.member(node).lose_disk()?;
        site.start(node, false)?;
    }
    verify::wait_until("the cluster is whole", || verify::is_whole(site))
}
