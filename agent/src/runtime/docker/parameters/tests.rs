//! Each option's value and where it goes.

use serde_json::{Value, json};

use super::*;

fn apply_one(key: &str, value: &str) -> Result<Value, String> {
    let mut body = ContainerCreateBody::default();
    apply(&[DockerParameter { key: key.to_owned(), value: value.to_owned() }], &mut body)?;
    Ok(serde_json::to_value(body).unwrap())
}

/// Option, value, where it goes in the request, and as what.
const CASES: &[(&str, &str, &str, &str)] = &[
    ("add-host", "db:10.0.0.1", "/HostConfig/ExtraHosts/0", r#""db:10.0.0.1""#),
    ("cap-add", "NET_ADMIN", "/HostConfig/CapAdd/0", r#""NET_ADMIN""#),
    ("cap-drop", "ALL", "/HostConfig/CapDrop/0", r#""ALL""#),
    ("cpu-quota", "50000", "/HostConfig/CpuQuota", "50000"),
    ("cpus", "0.25", "/HostConfig/NanoCpus", "250000000"),
    ("cpuset-cpus", "0-1", "/HostConfig/CpusetCpus", r#""0-1""#),
    ("device", "/dev/fuse", "/HostConfig/Devices/0/PathInContainer", r#""/dev/fuse""#),
    ("device", "/dev/a:r", "/HostConfig/Devices/0/CgroupPermissions", r#""r""#),
    ("device", "/dev/a:/dev/b:rw", "/HostConfig/Devices/0/PathInContainer", r#""/dev/b""#),
    ("dns-search", "x.mesos", "/HostConfig/DnsSearch/0", r#""x.mesos""#),
    ("dns-opt", "ndots:2", "/HostConfig/DnsOptions/0", r#""ndots:2""#),
    ("entrypoint", "/a b", "/Entrypoint", r#"["/a b"]"#),
    ("env", "A=b=c", "/Env/0", r#""A=b=c""#),
    ("gpus", "all", "/HostConfig/DeviceRequests/0/Count", "-1"),
    ("gpus", "device=0,1", "/HostConfig/DeviceRequests/0/DeviceIDs", r#"["0", "1"]"#),
    ("hostname", "h", "/Hostname", r#""h""#),
    ("init", "true", "/HostConfig/Init", "true"),
    ("ipc", "host", "/HostConfig/IpcMode", r#""host""#),
    ("label", "a=b=c", "/Labels/a", r#""b=c""#),
    ("label", "a", "/Labels/a", r#""""#),
    ("log-opt", "tag=x", "/HostConfig/LogConfig/Config/tag", r#""x""#),
    ("memory", "1.5g", "/HostConfig/Memory", "1610612736"),
    ("memory-swap", "-1", "/HostConfig/MemorySwap", "-1"),
    ("mount", "type=bind,src=/a,dst=/b,readonly", "/HostConfig/Mounts/0/ReadOnly", "true"),
    ("mount", "type=tmpfs,dst=/t,tmpfs-size=1m", "/HostConfig/Mounts/0/TmpfsOptions/SizeBytes", "1048576"),
    ("net-alias", "db", "/NetworkingConfig/EndpointsConfig//Aliases/0", r#""db""#),
    ("no-healthcheck", "true", "/Healthcheck/Test", r#"["NONE"]"#),
    ("oom-kill-disable", "1", "/HostConfig/OomKillDisable", "true"),
    ("pid", "host", "/HostConfig/PidMode", r#""host""#),
    ("pids-limit", "64", "/HostConfig/PidsLimit", "64"),
    ("privileged", "T", "/HostConfig/Privileged", "true"),
    ("publish", "8080:80", "/HostConfig/PortBindings/80~1tcp/0/HostPort", r#""8080""#),
    ("publish", "127.0.0.1:53:53/udp", "/HostConfig/PortBindings/53~1udp/0/HostIp", r#""127.0.0.1""#),
    ("publish", "80", "/HostConfig/PortBindings/80~1tcp/0/HostPort", r#""""#),
    ("read-only", "true", "/HostConfig/ReadonlyRootfs", "true"),
    ("runtime", "nvidia", "/HostConfig/Runtime", r#""nvidia""#),
    ("security-opt", "no-new-privileges", "/HostConfig/SecurityOpt/0", r#""no-new-privileges""#),
    ("security-opt", "seccomp=unconfined", "/HostConfig/SecurityOpt/0", r#""seccomp=unconfined""#),
    ("security-opt", "systempaths=unconfined", "/HostConfig/MaskedPaths", "[]"),
    ("shm-size", "64m", "/HostConfig/ShmSize", "67108864"),
    ("stop-timeout", "30", "/StopTimeout", "30"),
    ("sysctl", "net.core.somaxconn=1024", "/HostConfig/Sysctls/net.core.somaxconn", r#""1024""#),
    ("tmpfs", "/run:rw,size=1m", "/HostConfig/Tmpfs/~1run", r#""rw,size=1m""#),
    ("ulimit", "nofile=1024:2048", "/HostConfig/Ulimits/0/Hard", "2048"),
    ("ulimit", "core=-1", "/HostConfig/Ulimits/0/Soft", "-1"),
    ("user", "1000:1000", "/User", r#""1000:1000""#),
    ("userns", "host", "/HostConfig/UsernsMode", r#""host""#),
    ("volume", "/a:/b:ro", "/HostConfig/Binds/0", r#""/a:/b:ro""#),
    ("volume-driver", "rexray", "/HostConfig/VolumeDriver", r#""rexray""#),
    ("volumes-from", "x", "/HostConfig/VolumesFrom/0", r#""x""#),
    ("workdir", "/w", "/WorkingDir", r#""/w""#),
];

#[test]
fn values_reach_their_fields() {
    for (key, value, pointer, expected) in CASES {
        let body = apply_one(key, value).unwrap_or_else(|error| panic!("{key}={value}: {error}"));
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(body.pointer(pointer), Some(&expected), "{key}={value}: {body}");
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
        assert!(error.contains(&format!("docker parameter `{key}")), "{error}");
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
    assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0), "sorted and unique");
}
