//! Looks the worker's user and groups up.
//!
//! Reads `/etc/passwd` and `/etc/group` itself: the name service would load libraries into the
//! warden, and the agent's account is a local system account by design.

use std::fs;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{Gid, Uid};

/// Groups that the worker joins if the host has them: readers of logs.
const READERS: [&str; 2] = ["adm", "systemd-journal"];

/// Whom the worker runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) groups: Vec<Gid>,
}

/// The account of that name.
pub(super) fn find(user: &str) -> Result<Account> {
    let passwd = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    let group = fs::read_to_string("/etc/group").context("reading /etc/group")?;
    parse(user, &passwd, &group)
}

/// Why the worker cannot run as `user` and what to do; `None` if it can.
pub(crate) fn user_refusal(user: &str) -> Option<String> {
    find(user).err().map(|error| format!("{error:#}"))
}

fn parse(user: &str, passwd: &str, group: &str) -> Result<Account> {
    let Some(line) = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(user))
    else {
        bail!(
            "there is no user `{user}`: create it with `useradd --system --user-group --no-create-home \
             --shell /usr/sbin/nologin {user}`, or name another one as `user` in the configuration"
        );
    };
    let number = |index| {
        line.split(':')
            .nth(index)
            .and_then(|field| field.parse::<u32>().ok())
    };
    let (Some(uid), Some(gid)) = (number(2), number(3)) else {
        bail!("the line of `{user}` in /etc/passwd is malformed");
    };
    if uid == 0 || gid == 0 {
        bail!(
            "the worker must not run as root: `{user}` has number {uid} and group {gid}; name an \
             ordinary user as `user`, such as xiezhi-agent"
        );
    }
    let groups = READERS
        .iter()
        .filter_map(|name| group_number(group, name))
        .collect();
    Ok(Account {
        uid: Uid::from_raw(uid),
        gid: Gid::from_raw(gid),
        groups,
    })
}

fn group_number(group: &str, name: &str) -> Option<Gid> {
    let line = group
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok().map(Gid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_missing_users_are_refused_with_what_to_do() {
        let passwd = "root:x:0:0::/root:/bin/sh\nxiezhi:x:990:980::/:/usr/sbin/nologin\n";
        let found = parse("xiezhi", passwd, "adm:x:4:\nsystemd-journal:x:999:li\n").unwrap();
        assert_eq!(found.uid.as_raw(), 990);
        assert_eq!(found.groups, [Gid::from_raw(4), Gid::from_raw(999)]);
        assert!(parse("root", passwd, "").is_err());
        assert!(
            parse("nobody", passwd, "")
                .unwrap_err()
                .to_string()
                .contains("useradd --system")
        );
    }
}
