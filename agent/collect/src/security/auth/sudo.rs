//! sudo and pkexec.
//!
//! `bob : [REASON ; ]TTY=pts/0 ; PWD=/home/bob ; USER=root ; [ENV=… ; ]COMMAND=/usr/bin/id`
//!
//! Without a reason the command was run; with one it was refused, unless the reason is only a
//! warning. Pam's lines about sudo tell the same and are not used.

use xiezhi_protocol::event::{Severity, kinds};

use super::Finding;

/// Words of reasons that are refusals (sudo's `log_failure` and `log_denial`).
const REFUSALS: [&str; 8] = [
    "incorrect password",
    "NOT in sudoers",
    "NOT authorized",
    "not allowed",
    "password is required",
    "must have a tty",
    "terminal is required",
    "authentication",
];

pub(super) fn parse(text: &str) -> Option<Finding> {
    let (user, rest) = text.split_once(" : ")?;
    let mut reason = "";
    let mut fields = Vec::new();
    let mut rest = rest;
    loop {
        if let Some(command) = rest.strip_prefix("COMMAND=") {
            fields.push(("command", command));
            break;
        }
        let (part, after) = rest.split_once(" ; ").unwrap_or((rest, ""));
        match part.split_once('=') {
            Some(("TTY", value)) => fields.push(("tty", value)),
            Some(("PWD", value)) => fields.push(("working_folder", value)),
            Some(("USER", value)) => fields.push(("target_user", value)),
            Some(("GROUP", value)) => fields.push(("target_group", value)),
            Some(_) => {}
            None if reason.is_empty() => reason = part,
            None => {}
        }
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    let finding = judged(reason, fields.iter().any(|(name, _)| *name == "command"))?;
    let finding = finding
        .with("user", user.trim())
        .with("service", "sudo")
        .with("reason", reason);
    Some(
        fields
            .into_iter()
            .fold(finding, |finding, (name, value)| finding.with(name, value)),
    )
}

fn judged(reason: &str, has_command: bool) -> Option<Finding> {
    if REFUSALS.iter().any(|words| reason.contains(words)) {
        return Some(Finding::new(kinds::SUDO_FAILED, Severity::Warning));
    }
    let is_run = has_command && reason.is_empty();
    is_run.then(|| Finding::new(kinds::SUDO, Severity::Notice))
}

/// `bob: Executing command [USER=root] [TTY=/dev/pts/0] [CWD=/] [COMMAND=/usr/bin/id]`
pub(super) fn parse_pkexec(text: &str) -> Option<Finding> {
    let (user, rest) = text.split_once(": ")?;
    let kind = match rest {
        _ if rest.starts_with("Executing command ") => kinds::SUDO,
        _ if rest.contains("not authorized") => kinds::SUDO_FAILED,
        _ => return None,
    };
    let severity = if kind == kinds::SUDO {
        Severity::Notice
    } else {
        Severity::Warning
    };
    let value = |name: &str| {
        let (_, after) = rest.split_once(&format!("[{name}="))?;
        Some(
            after
                .split_once(']')
                .map_or(after, |(value, _)| value)
                .to_owned(),
        )
    };
    Some(
        Finding::new(kind, severity)
            .with("user", user)
            .with("service", "pkexec")
            .with("target_user", value("USER").unwrap_or_default())
            .with("tty", value("TTY").unwrap_or_default())
            .with("working_folder", value("CWD").unwrap_or_default())
            .with("command", value("COMMAND").unwrap_or_default()),
    )
}
