//! Each option's value and where it goes.

use serde_json::{Value, json};

use super::*;

fn apply_one(key: &str, value: &str) -> Result<Value, String> {
    let mut body = ContainerCreateBody::default();
    apply(
        &[DockerParameter {
            key: key.to_owned(),
            value: value.to_owned(),
        }],
        &mut body,
    )?;
    Ok(serde_json::to_value(body).unwrap())
}

#[test]
fn values_reach_their_fields() {
    for (key, value, pointer, expected) in [
        (
            "add-host",
            "db:10.0.0.1",
            "/HostConfig/ExtraHosts/0",
            json!("db:10.0.0.1"),
        ),
        (
            "cap-add",
            "NET_ADMIN",
            "/HostConfig/CapAdd/0",
            json!("NET_ADMIN"),
        ),
        ("cap-drop", "ALL", "/HostConfig/CapDrop/0", json!("ALL")),
        ("cpu-quota", "50000", "/HostConfig/CpuQuota", json!(50_000)),
        ("cpus", "0.25", "/HostConfig/NanoCpus", json!(250_000_000)),
        ("cpuset-cpus", "0-1", "/HostConfig/CpusetCpus", json!("0-1")),
        (
            "device",
            "/dev/fuse",
            "/HostConfig/Devices/0/PathInContainer",
            json!("/dev/fuse"),
        ),
        (
            "device",
            "/dev/a:r",
            "/HostConfig/Devices/0/CgroupPermissions",
            json!("r"),
        ),
        (
            "device",
            "/dev/a:/dev/b:rw",
            "/HostConfig/Devices/0/PathInContainer",
            json!("/dev/b"),
        ),
        (
            "dns-search",
            "x.mesos",
            "/HostConfig/DnsSearch/0",
            json!("x.mesos"),
        ),
        (
            "dns-opt",
            "ndots:2",
            "/HostConfig/DnsOptions/0",
            json!("ndots:2"),
        ),
        ("entrypoint", "/a b", "/Entrypoint", json!(["/a b"])),
        ("env", "A=b=c", "/Env/0", json!("A=b=c")),
        (
            "gpus",
            "all",
            "/HostConfig/DeviceRequests/0/Count",
            json!(-1),
        ),
        (
            "gpus",
            "device=0,1",
            "/HostConfig/DeviceRequests/0/DeviceIDs",
            json!(["0", "1"]),
        ),
        ("hostname", "h", "/Hostname", json!("h")),
        ("init", "true", "/HostConfig/Init", json!(true)),
        ("ipc", "host", "/HostConfig/IpcMode", json!("host")),
        ("label", "a=b=c", "/Labels/a", json!("b=c")),
        ("label", "a", "/Labels/a", json!("")),
        (
            "log-opt",
            "tag=x",
            "/HostConfig/LogConfig/Config/tag",
            json!("x"),
        ),
        ("memory", "1.5g", "/HostConfig/Memory", json!(1_610_612_736)),
        ("memory-swap", "-1", "/HostConfig/MemorySwap", json!(-1)),
        (
            "mount",
            "type=bind,src=/a,dst=/b,readonly",
            "/HostConfig/Mounts/0/ReadOnly",
            json!(true),
        ),
        (
            "mount",
            "type=tmpfs,dst=/t,tmpfs-size=1m",
            "/HostConfig/Mounts/0/TmpfsOptions/SizeBytes",
            json!(1 << 20),
        ),
        (
            "net-alias",
            "db",
            "/NetworkingConfig/EndpointsConfig//Aliases/0",
            json!("db"),
        ),
        (
            "no-healthcheck",
            "true",
            "/Healthcheck/Test",
            json!(["NONE"]),
        ),
        (
            "oom-kill-disable",
            "1",
            "/HostConfig/OomKillDisable",
            json!(true),
        ),
        ("pid", "host", "/HostConfig/PidMode", json!("host")),
        ("pids-limit", "64", "/HostConfig/PidsLimit", json!(64)),
        ("privileged", "T", "/HostConfig/Privileged", json!(true)),
        (
            "publish",
            "8080:80",
            "/HostConfig/PortBindings/80~1tcp/0/HostPort",
            json!("8080"),
        ),
        (
            "publish",
            "127.0.0.1:53:53/udp",
            "/HostConfig/PortBindings/53~1udp/0/HostIp",
            json!("127.0.0.1"),
        ),
        (
            "publish",
            "80",
            "/HostConfig/PortBindings/80~1tcp/0/HostPort",
            json!(""),
        ),
        (
            "read-only",
            "true",
            "/HostConfig/ReadonlyRootfs",
            json!(true),
        ),
        ("runtime", "nvidia", "/HostConfig/Runtime", json!("nvidia")),
        (
            "security-opt",
            "no-new-privileges",
            "/HostConfig/SecurityOpt/0",
            json!("no-new-privileges"),
        ),
        (
            "security-opt",
            "seccomp=unconfined",
            "/HostConfig/SecurityOpt/0",
            json!("seccomp=unconfined"),
        ),
        (
            "security-opt",
            "systempaths=unconfined",
            "/HostConfig/MaskedPaths",
            json!([]),
        ),
        ("shm-size", "64m", "/HostConfig/ShmSize", json!(67_108_864)),
        ("stop-timeout", "30", "/StopTimeout", json!(30)),
        (
            "sysctl",
            "net.core.somaxconn=1024",
            "/HostConfig/Sysctls/net.core.somaxconn",
            json!("1024"),
        ),
        (
            "tmpfs",
            "/run:rw,size=1m",
            "/HostConfig/Tmpfs/~1run",
            json!("rw,size=1m"),
        ),
        (
            "ulimit",
            "nofile=1024:2048",
            "/HostConfig/Ulimits/0/Hard",
            json!(2048),
        ),
        ("ulimit", "core=-1", "/HostConfig/Ulimits/0/Soft", json!(-1)),
        ("user", "1000:1000", "/User", json!("1000:1000")),
        ("userns", "host", "/HostConfig/UsernsMode", json!("host")),
        (
            "volume",
            "/a:/b:ro",
            "/HostConfig/Binds/0",
            json!("/a:/b:ro"),
        ),
        (
            "volume-driver",
            "rexray",
            "/HostConfig/VolumeDriver",
            json!("rexray"),
        ),
        ("volumes-from", "x", "/HostConfig/VolumesFrom/0", json!("x")),
        ("workdir", "/w", "/WorkingDir", json!("/w")),
    ] {
        let body = apply_one(key, value).unwrap_or_else(|error| panic!("{key}={value}: {error}"));
        assert_eq!(
            body.pointer(pointer),
            Some(&expected),
            "{key}={value}: {body}"
        );
    }
}

#[test]
fn wrong_values_are_named() {
    for (key, value) in [
        ("privileged", "yes"),
        ("memory", "lots"),
        ("memory", "-5m"),
        ("memory", "1x"),
        ("memory", "9999999999999p"),
        ("cpus", "nan"),
        ("pids-limit", ""),
        ("device", "/a:/b:xyz"),
        ("device", "/a:/b:rw:c"),
        ("ulimit", "nofile"),
        ("ulimit", "nofile=a:b"),
        ("sysctl", "x"),
        ("env", "=x"),
        ("env", "FROM_THE_CLIENT"),
        ("publish", "80-90:80-90"),
        ("publish", "a:80"),
        ("expose", "0"),
        ("mount", "type=bind,src=/a"),
        ("mount", "type=npipe,dst=/a"),
        ("mount", "dst=/a,volume-nocopy=true"),
        ("label", "gantry.task=x"),
        ("label", "MESOS_TASK_ID=x"),
        ("security-opt", "seccomp=/etc/profile.json"),
        ("name", "x"),
        ("env-file", "/etc/env"),
        ("no-such-option", "x"),
        ("", ""),
    ] {
        let error = apply_one(key, value).expect_err(key);
        assert!(
            error.contains(&format!("docker parameter `{key}")),
            "{error}"
        );
    }
}

#[test]
fn what_the_agent_does_itself_is_accepted_and_changes_nothing() {
    for (key, value) in [("restart", "always"), ("rm", "true")] {
        assert_eq!(apply_one(key, value).unwrap(), json!({}), "{key}");
    }
}

#[test]
fn the_table_has_each_option_once() {
    assert!(
        TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "sorted and unique"
    );
}
