//! Clusters into files and out of them: backup, restore, recover.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bed::{Bed, Run, clusterctl, entries};
use crate::fake::{Fake, broken};

fn app(id: &str) -> String {
    format!(r#"{{"id":"{id}","cmd":"exec sleep 1000","cpus":0.01,"mem":16}}"#)
}

/// A master without agents.
struct Alone {
    child: Child,
    base: String,
}

impl Alone {
    /// Up when this returns.
    fn start(dir: &Path, more: &[&str]) -> Self {
        let address = || format!("127.0.0.1:{}", xtask::cluster::free_port().unwrap());
        let (http, rpc, dns) = (address(), address(), address());
        let mut command = Command::new(clusterctl());
        command.args(["master", "--name", "m1", "--http", &http, "--rpc", &rpc, "--dns", &dns, "--data-dir"]);
        command.arg(dir).args(more).env("GANTRY_LOG", "warn").stdin(Stdio::null());
        let alone = Self { child: command.spawn().unwrap(), base: format!("http://{http}") };
        let deadline = Instant::now() + Duration::from_secs(60);
        while alone.run(&["apps"]).exit != Some(0) {
            assert!(Instant::now() < deadline, "the master does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        alone
    }

    fn run(&self, args: &[&str]) -> Run {
        Run::alone(&[args, &["--master", &self.base]].concat())
    }

    fn apps(&self) -> Vec<String> {
        let apps = self.run(&["apps", "-o", "json"]).must(0, &[], &[]).json();
        apps.as_array().unwrap().iter().map(|app| app["id"].as_str().unwrap().to_owned()).collect()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_running_cluster_is_saved_and_begins_anew() {
    let bed = Bed::new();
    bed.run(&["deploy", "-"], &app("/t/before")).must(0, &[], &[]);
    let saved = bed.dir.path().join("cluster.gantry");
    let file = saved.to_str().unwrap();
    // Changes go on meanwhile, and are in the backup or not.
    let save =
        || bed.command(&["backup", file, "-o", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let saving = save().unwrap();
    for number in 0..5 {
        bed.run(&["deploy", "-", "--detach"], &app(&format!("/t/meanwhile{number}"))).must(0, &[], &[]);
    }
    let said = Run::of(&["backup"], saving).must(0, &[], &[]).json();
    let id = said["clusterId"].as_str().unwrap().to_owned();
    assert_eq!(said["bytes"].as_u64(), std::fs::metadata(&saved).ok().map(|file| file.len()));
    bed.run(&["deploy", "-"], &app("/t/after")).must(0, &[], &[]);

    bed.run(&["backup", file], "").must(1, &[], &["exists", "--force"]);
    let text = bed.dir.path().join("second.gantry");
    bed.run(&["backup", text.to_str().unwrap()], "").must(0, &["checked", "clusterctl restore", &id], &[]);
    bed.run(&["backup", text.to_str().unwrap(), "--force"], "").must(0, &["checked"], &[]);
    let piped = bed.command(&["backup", "-"]).output().unwrap();
    assert!(piped.status.success() && piped.stdout.starts_with(b"GANTRYBK"));
    let left = entries(bed.dir.path());
    assert!(!left.iter().any(|path| path.extension().is_some_and(|end| end == "part")), "{left:?}");

    let dir = bed.dir.path().join("m1");
    let data = dir.to_str().unwrap();
    let restore = ["restore", file, "--name", "m1", "--data-dir", data];
    let next = format!("clusterctl master --name m1 --data-dir {data}");
    Run::alone(&restore).must(0, &[&id, &next, "--join", "in epoch 1"], &["Warning", "stopped", "gone"]);
    Run::alone(&restore).must(1, &[], &["nothing was restored", "empty"]);
    let master = Alone::start(&dir, &[]);
    let apps = master.apps();
    assert!(apps.contains(&"/t/before".to_owned()) && !apps.contains(&"/t/after".to_owned()), "{apps:?}");
    let agents = master.run(&["agents", "-o", "json"]).json();
    assert_eq!(agents.as_array().map(Vec::len), Some(2), "{agents}");
    master.run(&["masters"]).must(0, &["m1", "voter", "yes"], &[]);
}

#[test]
fn what_is_no_backup_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (file, data) = (dir.path().join("file"), dir.path().join("data"));
    let restore = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let line = ["restore", file.to_str().unwrap(), "--name", "m1", "--data-dir", data.to_str().unwrap()];
        Run::alone(&line)
    };
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scheduler/tests/fixtures");
    let good = std::fs::read(fixtures.join("backup-v1.gantry")).unwrap();
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 1;
    for (bytes, said) in [
        (&b"{}"[..], "no backup of Gantry"),
        (&good[..good.len() - 1], "cut short"),
        (&damaged, "damaged"),
        (&[&good[..], b"x"].concat(), "not part of it"),
    ] {
        let run = restore(bytes).must(1, &[], &["nothing was restored", said]);
        assert_eq!(run.out, "");
        assert!(!data.exists(), "a refused backup leaves nothing");
    }
    let run = restore(&good).must(0, &["2 apps"], &["Warning"]);
    assert!(run.err.contains("2020-01-01T00:00:00.123Z"), "{run}");
}

#[test]
fn a_backup_that_breaks_off_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (target, masters) =
        (dir.path().join("b"), Fake::new(|_, _, _| broken("application/octet-stream", "GANTRYBK\x01\x00H")));
    let file = target.to_str().unwrap();
    let run = Run::alone(&["backup", file, "--master", &masters.base]);
    run.must(1, &[], &["the connection to the master broke"]);
    let other = Fake::new(|_, _, _| crate::fake::answer("200 OK", "", "<html>"));
    Run::alone(&["backup", file, "--master", &other.base]).must(
        1,
        &[],
        &["sent no good backup", "no backup of Gantry"],
    );
    assert!(entries(dir.path()).is_empty());
}

#[test]
fn a_survivor_is_recovered_when_it_is_meant() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("m1");
    let data = home.to_str().unwrap();
    let master = Alone::start(&home, &["--bootstrap"]);
    let file = dir.path().join("app.json");
    std::fs::write(&file, app("/t/kept")).unwrap();
    master.run(&["deploy", file.to_str().unwrap(), "--detach"]).must(0, &[], &[]);
    let line = ["recover", "--name", "m1", "--data-dir", data];
    let yes = [&line[..], &["--yes"]].concat();
    Run::alone(&yes).must(1, &[], &["nothing was recovered", "in use by another process"]);
    master.kill();

    Run::alone(&line).must(1, &[], &["Warning", "acknowledged", "--yes is missing", "majority"]);
    let other = ["recover", "--name", "m2", "--data-dir", data, "--yes"];
    Run::alone(&other).must(1, &[], &["belongs to master `m1`"]);
    let nowhere = dir.path().join("none");
    Run::alone(&["recover", "--name", "m1", "--data-dir", nowhere.to_str().unwrap(), "--yes"]).must(
        1,
        &[],
        &["holds no cluster's log"],
    );
    let done = Run::alone(&[&yes[..], &["-o", "json"]].concat()).must(0, &[], &[]).json();
    assert_eq!(
        (&done["epoch"], &done["apps"], &done["lost"]),
        (&1.into(), &1.into(), &Value::Array(Vec::new()))
    );
    let next = format!("clusterctl master --name m1 --data-dir {data}");
    Run::alone(&yes).must(0, &["in epoch 2", &next], &[]);
    assert_eq!(Alone::start(&home, &[]).apps(), ["/t/kept"]);
}
