//! Accounts and groups: what changed in `/etc/passwd` and `/etc/group`, and when `/etc/shadow` did.
//!
//! Finds every change, whoever made it and by whatever tool; who it was is in the log lines. Of
//! the password file only the modification time is looked at, never the content.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xiezhi_protocol::event::{Severity, kinds};

use super::auth::accounts::is_powerful;
use super::watcher::{Context, Loss, Watcher};

/// Accounts or groups at most; a directory server's are not in these files.
const MAX_ENTRIES: usize = 20_000;
/// Largest file that is read.
const MAX_BYTES: u64 = 8 << 20;

/// Name → the rest that matters.
type Entries = BTreeMap<String, String>;

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    accounts: Option<Entries>,
    groups: Option<Entries>,
    shadow_mtime: Option<(i64, i64)>,
    loss: Loss,
}

/// The watcher.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    state: State,
    stamps: [Option<(u64, i64, i64)>; 2],
}

impl Watcher for Accounts {
    fn name(&self) -> &'static str {
        "accounts"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        let [accounts_stamp, groups_stamp] = &mut self.stamps;
        if let Some(now) = changed(
            context,
            "etc/passwd",
            accounts_stamp,
            &mut self.state.loss,
            parse_accounts,
        ) {
            compare(context, self.state.accounts.as_ref(), &now, account_event);
            self.state.accounts = Some(now);
        }
        if let Some(now) = changed(
            context,
            "etc/group",
            groups_stamp,
            &mut self.state.loss,
            parse_groups,
        ) {
            compare(context, self.state.groups.as_ref(), &now, group_event);
            self.state.groups = Some(now);
        }
        self.poll_shadow(context);
    }

    fn loss(&self) -> Option<String> {
        self.state.loss.current()
    }

    fn save(&self) -> Value {
        serde_json::to_value(&self.state).unwrap_or(Value::Null)
    }

    fn load(&mut self, saved: Value) -> bool {
        serde_json::from_value(saved)
            .map(|state| self.state = state)
            .is_ok()
    }
}

impl Accounts {
    fn poll_shadow(&mut self, context: &mut Context<'_>) {
        let Ok(metadata) = std::fs::metadata(context.path("etc/shadow")) else {
            return;
        };
        let mtime = (metadata.mtime(), metadata.mtime_nsec());
        let before = self.state.shadow_mtime.replace(mtime);
        if before.is_some_and(|before| before != mtime) {
            let event = context
                .event(
                    kinds::ACCOUNT_CHANGED,
                    Severity::Notice,
                    "passwords: /etc/shadow changed",
                )
                .with("change", "password file changed")
                .with("path", "/etc/shadow");
            context.emit(event);
        }
    }
}

/// The parsed file if it changed since it was read last.
fn changed(
    context: &mut Context<'_>,
    file: &str,
    stamp: &mut Option<(u64, i64, i64)>,
    loss: &mut Loss,
    parse: fn(&str) -> Entries,
) -> Option<Entries> {
    let path = context.path(file);
    let read = std::fs::metadata(&path).and_then(|metadata| {
        let now = Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()));
        if now == *stamp || metadata.len() > MAX_BYTES {
            return Ok(None);
        }
        let text = std::fs::read(&path)?;
        *stamp = now;
        Ok(Some(parse(&String::from_utf8_lossy(&text))))
    });
    match read {
        Ok(entries) => {
            loss.regained(context);
            entries
        }
        Err(error) => {
            loss.lost(context, &format!("/{file}: {error}"));
            None
        }
    }
}

/// `name:x:uid:gid:comment:home:shell`
fn parse_accounts(text: &str) -> Entries {
    let entry = |line: &str| {
        let mut parts = line.splitn(7, ':');
        let (name, _password) = (parts.next()?, parts.next()?);
        let (uid, gid) = (parts.next()?, parts.next()?);
        let (_comment, home, shell) = (parts.next()?, parts.next()?, parts.next()?);
        Some((
            name.to_owned(),
            format!("uid {uid}, gid {gid}, home {home}, shell {shell}"),
        ))
    };
    text.lines().filter_map(entry).take(MAX_ENTRIES).collect()
}

/// `name:x:gid:member,member`
fn parse_groups(text: &str) -> Entries {
    let entry = |line: &str| {
        let mut parts = line.splitn(4, ':');
        let (name, _password) = (parts.next()?, parts.next()?);
        let (gid, members) = (parts.next()?, parts.next()?);
        Some((name.to_owned(), format!("gid {gid}, members {members}")))
    };
    text.lines().filter_map(entry).take(MAX_ENTRIES).collect()
}

fn compare(
    context: &mut Context<'_>,
    before: Option<&Entries>,
    now: &Entries,
    emit: fn(&mut Context<'_>, &str, &str, &str),
) {
    let Some(before) = before else {
        return context.mark_urgent();
    };
    for (name, value) in now {
        match before.get(name) {
            None => emit(context, name, "added", value),
            Some(old) if old != value => emit(context, name, &format!("{old} → {value}"), value),
            Some(_) => {}
        }
    }
    for name in before.keys().filter(|name| !now.contains_key(*name)) {
        emit(context, name, "removed", "");
    }
}

fn account_event(context: &mut Context<'_>, name: &str, change: &str, value: &str) {
    let is_second_root = value.starts_with("uid 0,") && name != "root";
    let severity = if is_second_root {
        Severity::Critical
    } else {
        Severity::Warning
    };
    let event = context
        .event(
            kinds::ACCOUNT_CHANGED,
            severity,
            format!("account {name}: {change}"),
        )
        .with("user", name)
        .with("change", change)
        .with("account", value);
    context.emit(event);
}

fn group_event(context: &mut Context<'_>, name: &str, change: &str, value: &str) {
    let severity = if is_powerful(name) {
        Severity::Warning
    } else {
        Severity::Notice
    };
    let event = context
        .event(
            kinds::GROUP_CHANGED,
            severity,
            format!("group {name}: {change}"),
        )
        .with("group", name)
        .with("change", change)
        .with("members", value);
    context.emit(event);
}
