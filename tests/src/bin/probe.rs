//! A task for tests: says what it was given. Without arguments it prints its environment, resolves
//! `DMLC_PS_ROOT_URI` through the resolver of `/etc/resolv.conf`, prints the answer, and sleeps. `exit N`
//! ends at once; `sleep` just sleeps.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use gantry_tests::question;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, code] = args.as_slice()
        && verb == "exit"
    {
        println!("ending with {code}");
        return ExitCode::from(code.parse::<u8>().unwrap_or(1));
    }
    for (name, value) in std::env::vars() {
        println!("{name}={value}");
    }
    if let Ok(name) = std::env::var("DMLC_PS_ROOT_URI") {
        resolve_until_found(&name);
    }
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn resolve_until_found(name: &str) {
    loop {
        match resolve(name) {
            Ok(address) => return println!("resolved {name} to {address}"),
            Err(error) => println!("not yet: {error:#}"),
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn resolve(name: &str) -> anyhow::Result<String> {
    let answer = question::resolve(name, Duration::from_secs(2))?;
    match answer.address {
        Some(address) => Ok(format!("{address} by {}", answer.server)),
        None => bail!("{} answers {}", answer.server, answer.code),
    }
}
