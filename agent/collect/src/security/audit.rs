//! The kernel's audit trail: `/var/log/audit/audit.log`.
//!
//! The log is root's, so it is read through a helper. Logins and sudo are in it too
//! (`USER_LOGIN`, `USER_CMD`), but the authentication log tells them better and both would double
//! them; they are used only with [`Audit::new`]`(true)`, on a host without any other log of logins.
//!
//! | record | event |
//! |---|---|
//! | `ADD_USER`, `DEL_USER`, `USER_MGMT`, `USER_CHAUTHTOK`, `ACCT_LOCK`, `ACCT_UNLOCK` | account_changed |
//! | `ADD_GROUP`, `DEL_GROUP`, `GRP_MGMT` | group_changed |
//! | `ANOM_*`, `CONFIG_CHANGE`, `DAEMON_*`, `MAC_*`, `INTEGRITY_*`, `SYSCALL` with a key | audit |

use std::time::Duration;

use serde_json::Value;
use xiezhi_protocol::event::{Event, Severity, kinds};

use super::logfile::{LogFile, LogState};
use super::privileged::RootLog;
use super::watcher::{Context, Watcher};

/// The watcher.
#[derive(Debug)]
pub(crate) struct Audit {
    log: LogFile,
    with_logins: bool,
}

impl Audit {
    pub(crate) fn new(with_logins: bool) -> Self {
        Self {
            log: LogFile::restricted(RootLog::Audit),
            with_logins,
        }
    }
}

impl Watcher for Audit {
    fn name(&self) -> &'static str {
        "audit"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        let with_logins = self.with_logins;
        self.log.poll(context, &mut |context, line| {
            if let Some(event) = parse(line, with_logins) {
                context.emit(event);
            }
        });
    }

    fn loss(&self) -> Option<String> {
        self.log.loss()
    }

    fn save(&self) -> Value {
        serde_json::to_value(&self.log.state).unwrap_or(Value::Null)
    }

    fn load(&mut self, saved: Value) -> bool {
        serde_json::from_value::<LogState>(saved)
            .map(|state| self.log.state = state)
            .is_ok()
    }
}

/// Reads one line of the audit log.
pub(crate) fn parse(line: &str, with_logins: bool) -> Option<Event> {
    let rest = line.get(line.find("type=")?..)?.strip_prefix("type=")?;
    let (record, rest) = rest.split_once(' ')?;
    let (stamp, body) = rest
        .trim_start()
        .strip_prefix("msg=audit(")?
        .split_once("):")?;
    let time_ms = time_ms(stamp)?;
    let fields = Fields::of(body.trim());
    let failed = matches!(fields.get("res"), "failed" | "0" | "no");
    let (kind, severity) = judged(record, &fields, failed, with_logins)?;
    let message = format!("audit: {record} {}", body.trim());
    let mut event = Event::new(time_ms, kind, severity, message).with("record", record);
    let named = [
        ("user", fields.get("acct")),
        ("source_address", fields.get("addr")),
        ("process", fields.get("exe")),
        ("pid", fields.get("pid")),
        ("uid", fields.get("uid")),
        ("login_uid", fields.get("auid")),
        ("tty", fields.get("terminal")),
        ("change", fields.get("op")),
        ("group", fields.get("grp")),
        ("key", fields.get("key")),
        ("result", fields.get("res")),
    ];
    for (name, value) in named {
        if !matches!(value, "" | "?" | "(null)" | "(none)") {
            event = event.with(name, value);
        }
    }
    let command = decoded(fields.get("cmd"));
    Some(if command.is_empty() {
        event
    } else {
        event.with("command", command)
    })
}

fn judged(
    record: &str,
    fields: &Fields<'_>,
    failed: bool,
    with_logins: bool,
) -> Option<(&'static str, Severity)> {
    let warned = if failed {
        Severity::Notice
    } else {
        Severity::Warning
    };
    match record {
        "USER_LOGIN" if with_logins && failed => Some((kinds::LOGIN_FAILED, Severity::Notice)),
        "USER_LOGIN" if with_logins => Some((kinds::LOGIN, Severity::Info)),
        "USER_LOGOUT" if with_logins => Some((kinds::LOGOUT, Severity::Info)),
        "USER_CMD" if with_logins && failed => Some((kinds::SUDO_FAILED, Severity::Warning)),
        "USER_CMD" if with_logins => Some((kinds::SUDO, Severity::Notice)),
        "ADD_USER" | "DEL_USER" => Some((kinds::ACCOUNT_CHANGED, warned)),
        "USER_MGMT" | "USER_CHAUTHTOK" | "ACCT_LOCK" | "ACCT_UNLOCK" => {
            Some((kinds::ACCOUNT_CHANGED, Severity::Notice))
        }
        "ADD_GROUP" | "DEL_GROUP" | "GRP_MGMT" => Some((kinds::GROUP_CHANGED, Severity::Notice)),
        "CONFIG_CHANGE" | "DAEMON_END" | "DAEMON_ABORT" | "MAC_STATUS" | "MAC_POLICY_LOAD" => {
            Some((kinds::AUDIT, Severity::Warning))
        }
        "DAEMON_START" | "DAEMON_CONFIG" | "ROLE_ASSIGN" | "ROLE_REMOVE" => {
            Some((kinds::AUDIT, Severity::Notice))
        }
        // A rule of the administrator asked for these by naming them.
        "SYSCALL" if !matches!(fields.get("key"), "" | "(null)") => {
            Some((kinds::AUDIT, Severity::Notice))
        }
        _ if record.starts_with("ANOM_") || record.starts_with("INTEGRITY_") => {
            Some((kinds::AUDIT, Severity::Warning))
        }
        _ => None,
    }
}

/// `1795300000.123:4711`
fn time_ms(stamp: &str) -> Option<i64> {
    let (time, _serial) = stamp.split_once(':')?;
    let (seconds, millis) = time.split_once('.').unwrap_or((time, "0"));
    seconds
        .parse::<i64>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(millis.get(..3).unwrap_or(millis).parse().ok()?)
}

/// `name=value` pairs; user-space records wrap theirs in `msg='…'`, newer ones append the
/// translated forms after a group separator (0x1d).
struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    fn of(body: &'a str) -> Self {
        let body = body.split('\u{1d}').next().unwrap_or(body);
        let mut fields = Vec::new();
        let mut rest = body;
        while let Some((name, after)) = rest.split_once('=') {
            let name = name.rsplit([' ', '\'', '(']).next().unwrap_or(name);
            if let Some(inner) = after.strip_prefix('\'') {
                rest = inner;
                continue;
            }
            let (value, next) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => after.split_once([' ', '\'']).unwrap_or((after, "")),
            };
            fields.push((name, value));
            rest = next;
        }
        Self(fields)
    }

    /// The *last* of that name: in user records the inner one is about the person.
    fn get(&self, name: &str) -> &'a str {
        self.0
            .iter()
            .rev()
            .find(|(known, _)| *known == name)
            .map_or("", |(_, value)| value)
    }
}

/// Commands with blanks are written in hexadecimal.
fn decoded(command: &str) -> String {
    let is_hex = command.len() >= 2
        && command.len().is_multiple_of(2)
        && command
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    if !is_hex {
        return command.to_owned();
    }
    let bytes = data_encoding::HEXUPPER
        .decode(command.as_bytes())
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .replace('\0', " ")
        .chars()
        .take(1024)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CMD: &str = r#"type=USER_CMD msg=audit(1795300000.123:4711): pid=812 uid=1000 auid=1000 ses=3 subj=unconfined msg='cwd="/home/zhang" cmd=636174202F6574632F736861646F77 exe="/usr/bin/sudo" terminal=pts/0 res=success'UID="zhang" AUID="zhang""#;
    const ADD: &str = r#"type=ADD_USER msg=audit(1795300001.5:12): pid=9 uid=0 auid=1000 ses=3 msg='op=adding user acct="li" exe="/usr/sbin/useradd" hostname=oe-2203 addr=? terminal=pts/0 res=success'"#;
    const LOGIN: &str = r#"type=USER_LOGIN msg=audit(1795300002.001:13): pid=99 uid=0 auid=4294967295 ses=4294967295 msg='op=login acct="(unknown)" exe="/usr/sbin/sshd" hostname=? addr=203.0.113.9 terminal=ssh res=failed'"#;

    #[test]
    fn records_become_events() {
        let event = parse(CMD, true).unwrap();
        assert_eq!(event.kind, kinds::SUDO);
        assert_eq!(event.time_ms, 1_795_300_000_123);
        assert_eq!(event.fields["command"], "cat /etc/shadow");
        assert_eq!(event.fields["tty"], "pts/0");
        let event = parse(ADD, false).unwrap();
        assert_eq!(
            (event.kind.as_str(), event.fields["user"].as_str()),
            (kinds::ACCOUNT_CHANGED, "li")
        );
        assert_eq!(event.fields["result"], "success");
        let event = parse(LOGIN, true).unwrap();
        assert_eq!(event.kind, kinds::LOGIN_FAILED);
        assert_eq!(event.fields["source_address"], "203.0.113.9");
    }

    #[test]
    fn logins_are_left_to_the_log_of_logins() {
        assert_eq!(parse(LOGIN, false), None);
        assert_eq!(parse(CMD, false), None);
    }

    #[test]
    fn auditing_that_is_switched_off_is_a_warning() {
        let line = r#"type=CONFIG_CHANGE msg=audit(1795300003.000:14): op=set audit_enabled=0 old=1 auid=1000 ses=3 res=1"#;
        let event = parse(line, false).unwrap();
        assert_eq!(
            (event.kind.as_str(), event.severity),
            (kinds::AUDIT, Severity::Warning)
        );
    }

    proptest! {
        #[test]
        fn truncated_or_arbitrary_lines_never_panic(cut in 0usize..300, junk in "\\PC{0,100}") {
            let _ = parse(&CMD[..cut.min(CMD.len())], true);
            let _ = parse(&format!("type=ANOM_X msg=audit(1.1:1): {junk}"), true);
            let _ = parse(&junk, true);
        }
    }
}
