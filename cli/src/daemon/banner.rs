//! What `clusterctl dev` says once it is up: where it answers, what runs tasks, how it ends.

use std::fmt::Write as _;
use std::net::SocketAddr;

use spec::protocol::Runtimes;

use super::home::Home;

/// The address that the other verbs ask unless told otherwise.
const USUAL: &str = "127.0.0.1:8080";

/// The text, with what there is to know.
pub fn text(masters: &[(SocketAddr, SocketAddr)], agents: u8, runtimes: &Runtimes, home: &Home) -> String {
    let Some(((http, dns), others)) = masters.split_first() else { return String::new() };
    let mut text = String::from("Gantry is up: ");
    text.push_str(&if others.is_empty() {
        "a master".to_owned()
    } else {
        format!("{} masters", masters.len())
    });
    text.push_str(" and ");
    text.push_str(&if agents == 1 { "an agent".to_owned() } else { format!("{agents} agents") });
    text.push_str(" in this process.\n\n");
    let dig = format!("dig @{} -p {} NAME.marathon.mesos", dns.ip(), dns.port());
    let _ = writeln!(text, "  REST   http://{http}/v2/apps");
    let _ = writeln!(text, "  DNS    {dns}   {dig}");
    for (http, dns) in others {
        let _ = writeln!(text, "  and    http://{http}/v2/apps   {dns}");
    }
    let _ = writeln!(text, "  tasks  {}", tasks(runtimes));
    let _ = writeln!(text, "  data   {}\n", home.dir.display());
    if http.to_string() != USUAL {
        let _ = writeln!(text, "In other terminals: export CLUSTERCTL_MASTER=http://{http}");
    }
    text.push_str(
        "Run an app with `clusterctl deploy FILE`; `clusterctl --help` lists what else there is.\n",
    );
    text.push_str(&end(home));
    text
}

fn tasks(runtimes: &Runtimes) -> String {
    match (&runtimes.docker, &runtimes.process) {
        _ if runtimes.hollow => "simulated: nothing is really run".to_owned(),
        (None, None) => "Docker containers and processes".to_owned(),
        (None, Some(_)) => "Docker containers".to_owned(),
        (Some(why), None) => format!("processes ({why})"),
        (Some(docker), Some(process)) => format!("none can run: {docker}; {process}"),
    }
}

fn end(home: &Home) -> String {
    if home.temporary {
        return "Ctrl-C ends it and removes everything that it started.\n".to_owned();
    }
    format!(
        "Ctrl-C ends it; tasks go on running and are found again next time. To end them, too:\n  clusterctl dev \
         --data-dir {} --remove\n",
        home.dir.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(http: &str, temporary: bool) -> String {
        let home = Home { dir: "/var/x".into(), temporary };
        let runtimes = Runtimes { docker: Some("no Docker at /s".to_owned()), process: None, hollow: false };
        let at = |http: &str| (http.parse().unwrap(), "127.0.0.1:53".parse().unwrap());
        let all = [at(http), at("127.0.0.1:82"), at("127.0.0.1:83")];
        text(&all[..if temporary { 1 } else { 3 }], 1, &runtimes, &home)
    }

    #[test]
    fn says_how_it_ends_and_how_to_reach_it() {
        let usual = said(USUAL, true);
        assert!(usual.contains("removes everything") && !usual.contains("CLUSTERCTL_MASTER"), "{usual}");
        assert!(usual.contains("processes (no Docker at /s)"), "{usual}");
        let kept = said("127.0.0.1:81", false);
        assert!(kept.contains("3 masters") && kept.contains("http://127.0.0.1:83/"), "{kept}");
        assert!(kept.contains("--data-dir /var/x --remove"), "{kept}");
        assert!(kept.contains("export CLUSTERCTL_MASTER=http://127.0.0.1:81"), "{kept}");
    }
}
