//! The tools that change accounts and groups: useradd, usermod, userdel, groupadd, gpasswd, passwd.
//!
//! The files themselves are compared too (`accounts` watcher), which finds every change; these
//! lines add who made it and from which terminal.

use xiezhi_protocol::event::{Severity, kinds};

use super::Finding;

pub(super) fn parse(tag: &str, text: &str) -> Option<Finding> {
    match tag {
        "useradd" | "adduser" | "newusers" => new_user(text).or_else(|| new_group(text)),
        "userdel" | "deluser" => deleted(text),
        "usermod" => modified(text),
        "groupadd" | "addgroup" => new_group(text),
        "groupdel" | "delgroup" => group_removed(text),
        "gpasswd" | "groupmod" => membership(text),
        "chage" | "passwd" => aged(text),
        _ => None,
    }
}

/// `new user: name=bob, UID=1001, GID=1001, home=/home/bob, shell=/bin/bash, from=/dev/pts/0`
fn new_user(text: &str) -> Option<Finding> {
    let list = text.strip_prefix("new user: ")?;
    let value = |name: &str| listed(list, name);
    let uid = value("UID");
    let is_second_root = uid == "0" && value("name") != "root";
    let severity = if is_second_root {
        Severity::Critical
    } else {
        Severity::Warning
    };
    Some(
        account(value("name"), "added", severity)
            .with("uid", uid)
            .with("home", value("home"))
            .with("shell", value("shell"))
            .with("tty", value("from")),
    )
}

/// `new group: name=bob, GID=1001`
fn new_group(text: &str) -> Option<Finding> {
    let list = text.strip_prefix("new group: ")?;
    Some(group(listed(list, "name"), "added").with("gid", listed(list, "GID")))
}

/// `delete user 'bob'`
fn deleted(text: &str) -> Option<Finding> {
    let user = quoted(text.strip_prefix("delete user ")?)?;
    Some(account(user, "removed", Severity::Warning))
}

/// `change user 'bob' shell from '/bin/sh' to '/bin/bash'`, `add 'bob' to group 'sudo'`,
/// `lock user 'bob' password`
fn modified(text: &str) -> Option<Finding> {
    if let Some(rest) = text.strip_prefix("change user ") {
        let (user, change) = rest.strip_prefix('\'')?.split_once("' ")?;
        return Some(account(user, change, Severity::Notice));
    }
    for (verb, change) in [("lock user ", "locked"), ("unlock user ", "unlocked")] {
        if let Some(rest) = text.strip_prefix(verb) {
            return Some(account(quoted(rest)?, change, Severity::Notice));
        }
    }
    for (verb, joiner, change) in [
        ("add ", " to group ", "member added"),
        ("delete ", " from group ", "member removed"),
    ] {
        let Some((user, name)) = text
            .strip_prefix(verb)
            .and_then(|rest| rest.split_once(joiner))
        else {
            continue;
        };
        return Some(group(quoted(name)?, change).with("user", quoted(user)?));
    }
    None
}

/// `group 'bob' removed`
fn group_removed(text: &str) -> Option<Finding> {
    let rest = text.strip_prefix("group ")?;
    let is_removed = rest.ends_with("removed");
    is_removed.then(|| quoted(rest).map(|name| group(name, "removed")))?
}

/// `user bob added by root to group sudo`, `user bob removed by root from group sudo`
fn membership(text: &str) -> Option<Finding> {
    let rest = text.strip_prefix("user ")?;
    let (user, rest, joiner, change) = match rest.split_once(" added by ") {
        Some((user, rest)) => (user, rest, " to group ", "member added"),
        None => {
            let (user, rest) = rest.split_once(" removed by ")?;
            (user, rest, " from group ", "member removed")
        }
    };
    let (by, name) = rest.split_once(joiner)?;
    Some(group(name, change).with("user", user).with("by_user", by))
}

/// `changed password expiry for bob`, `password for 'bob' changed by 'root'`
fn aged(text: &str) -> Option<Finding> {
    if let Some(user) = text.strip_prefix("changed password expiry for ") {
        return Some(account(user, "password expiry changed", Severity::Notice));
    }
    let (user, by) = text
        .strip_prefix("password for ")?
        .split_once(" changed by ")?;
    Some(account(quoted(user)?, "password changed", Severity::Notice).with("by_user", quoted(by)?))
}

fn account(user: &str, change: &str, severity: Severity) -> Finding {
    Finding::new(kinds::ACCOUNT_CHANGED, severity)
        .with("user", user)
        .with("change", change)
}

fn group(name: &str, change: &str) -> Finding {
    let severity = if is_powerful(name) {
        Severity::Warning
    } else {
        Severity::Notice
    };
    Finding::new(kinds::GROUP_CHANGED, severity)
        .with("group", name)
        .with("change", change)
}

/// Groups whose members can become root or read what is secret.
pub(crate) fn is_powerful(group: &str) -> bool {
    [
        "root",
        "wheel",
        "sudo",
        "admin",
        "adm",
        "shadow",
        "disk",
        "docker",
        "lxd",
        "libvirt",
        "systemd-journal",
    ]
    .contains(&group)
}

/// The value of `name=value` in a comma-separated list.
fn listed<'a>(list: &'a str, name: &str) -> &'a str {
    let found = list
        .split(", ")
        .find_map(|item| item.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or("")
}

fn quoted(text: &str) -> Option<&str> {
    text.trim()
        .strip_prefix(['\'', '"'])?
        .split(['\'', '"'])
        .next()
}
