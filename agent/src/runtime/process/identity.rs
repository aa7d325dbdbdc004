//! Who a process task runs as.
//!
//! Names are looked up in `/etc/passwd` and `/etc/group`: this program is static, so the machine's own
//! name service modules (LDAP and the like) cannot be loaded. Users of those are given by number.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// User, group and supplementary groups, by number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups, the primary among them.
    pub groups: Vec<u32>,
}

impl Identity {
    /// The user `name` of this machine: a name, or `UID[:GID]`. `None` when there is none.
    pub fn of_user(name: &str) -> io::Result<Option<Self>> {
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        Ok(look_up(name, &fs::read_to_string("/etc/passwd")?, &groups))
    }

    /// Is this what the calling process already is?
    pub fn is_current(&self) -> bool {
        self.uid == rustix::process::geteuid().as_raw()
    }

    /// Gives a file or directory to the user, without following a link.
    pub fn own(&self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))
    }

    /// Becomes this user for good. Safe between fork and exec: system calls only.
    pub fn assume(&self) -> io::Result<()> {
        // SAFETY: the list is valid for the length that is passed; the calls touch no memory of ours.
        let results = unsafe {
            [
                libc::setgroups(self.groups.len(), self.groups.as_ptr()),
                libc::setgid(self.gid),
                libc::setuid(self.uid),
            ]
        };
        if results == [0; 3] { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

fn look_up(name: &str, passwd: &str, group: &str) -> Option<Identity> {
    let fields = |line: &'_ str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let (user, given_gid) = match name.split_once(':') {
        Some((user, gid)) => (user, Some(gid.parse::<u32>().ok()?)),
        None => (name, None),
    };
    let entry =
        passwd.lines().map(fields).find(|entry| entry.len() >= 4 && (entry[0] == user || entry[2] == user));
    let (uid, own_gid) = match &entry {
        Some(entry) => (entry[2].parse().ok()?, entry[3].parse().ok()?),
        // A number that no line names is a user all the same.
        None => (user.parse().ok()?, user.parse().ok()?),
    };
    let gid = given_gid.unwrap_or(own_gid);
    let member = entry.map(|entry| entry[0].clone()).unwrap_or_default();
    let mut groups = vec![gid];
    for entry in group.lines().map(fields).filter(|entry| entry.len() >= 4) {
        if let Ok(number) = entry[2].parse()
            && entry[3].split(',').any(|name| !name.is_empty() && name == member)
            && !groups.contains(&number)
        {
            groups.push(number);
        }
    }
    Some(Identity { uid, gid, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_by_name_and_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n";
        let group = "root:x:0:\nann:x:1000:\naudio:x:29:bob,ann\nvideo:x:44:ann\n";
        let found =
            |name| look_up(name, passwd, group).map(|identity| (identity.uid, identity.gid, identity.groups));
        assert_eq!(found("ann"), Some((1000, 1000, vec![1000, 29, 44])));
        assert_eq!(found("1000"), found("ann"));
        assert_eq!(found("ann:29"), Some((1000, 29, vec![29, 44])));
        assert_eq!(found("root"), Some((0, 0, vec![0])));
        assert_eq!(found("4242"), Some((4242, 4242, vec![4242])));
        for unknown in ["nobody-here", "", "ann:audio", "broken", "-1"] {
            assert_eq!(found(unknown), None, "{unknown}");
        }
    }
}
