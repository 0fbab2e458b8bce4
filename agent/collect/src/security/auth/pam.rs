//! What pam modules say on behalf of any service: the console, display managers, mail, …
//!
//! | line | event |
//! |---|---|
//! | `pam_unix(S:auth): authentication failure; … rhost=A user=U` | login_failed, unless S tells it itself (sshd, sudo, su) |
//! | `pam_unix(S:session): session opened for user U` | login, unless S tells it itself or is no person (cron, systemd-user) |
//! | `pam_unix(S:session): session closed for user U` | logout, unless S is no person or is sudo |
//! | `pam_unix(passwd:chauthtok): password changed for U` | account_changed |
//! | `pam_faillock(…): Consecutive login failures for user U account temporarily locked` | account_changed |

use xiezhi_protocol::event::{Severity, kinds};

use super::Finding;

/// Services that open sessions for no person.
const NO_PERSON: [&str; 8] = [
    "cron",
    "crond",
    "atd",
    "systemd-user",
    "runuser",
    "runuser-l",
    "anacron",
    "sudo",
];
/// Services whose own lines tell logins and failures better.
const SPEAK_THEMSELVES: [&str; 6] = ["sshd", "sudo", "sudo-i", "su", "su-l", "polkit-1"];

pub(super) fn parse(text: &str) -> Option<Finding> {
    let (module, rest) = text.split_once('(')?;
    let (call, message) = rest.split_once("): ")?;
    let (service, phase) = call.split_once(':')?;
    match (module, phase) {
        ("pam_unix", "session") => session(service, message),
        ("pam_unix", "auth") => failure(service, message),
        ("pam_unix", "chauthtok") => password(service, message),
        ("pam_faillock" | "pam_tally2", _) => locked(service, message),
        _ => None,
    }
}

fn session(service: &str, message: &str) -> Option<Finding> {
    if NO_PERSON.contains(&service.to_ascii_lowercase().as_str()) || service == "sudo-i" {
        return None;
    }
    if let Some(rest) = message.strip_prefix("session closed for user ") {
        let user = rest.split(['(', ' ']).next()?;
        return Some(base(kinds::LOGOUT, Severity::Info, service, user));
    }
    let rest = message.strip_prefix("session opened for user ")?;
    if SPEAK_THEMSELVES.contains(&service) {
        return None;
    }
    let (who, by) = rest.split_once(" by ").unwrap_or((rest, ""));
    let user = who.split(['(', ' ']).next()?;
    let by = by.split('(').next().unwrap_or("");
    let severity = if user == "root" {
        Severity::Notice
    } else {
        Severity::Info
    };
    Some(
        base(kinds::LOGIN, severity, service, user)
            .with("by_user", by)
            .with("method", "pam"),
    )
}

/// `authentication failure; logname=a uid=0 euid=0 tty=tty1 ruser= rhost=10.0.0.1  user=root`
fn failure(service: &str, message: &str) -> Option<Finding> {
    let fields = message.strip_prefix("authentication failure; ")?;
    if SPEAK_THEMSELVES.contains(&service) {
        return None;
    }
    let value = |name: &str| {
        let found = fields
            .split(' ')
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or("")
    };
    Some(
        base(
            kinds::LOGIN_FAILED,
            Severity::Notice,
            service,
            value("user"),
        )
        .with("source_address", value("rhost"))
        .with("by_user", value("ruser"))
        .with("tty", value("tty"))
        .with("method", "pam"),
    )
}

fn password(service: &str, message: &str) -> Option<Finding> {
    let user = message.strip_prefix("password changed for ")?;
    Some(
        base(kinds::ACCOUNT_CHANGED, Severity::Notice, service, user)
            .with("change", "password changed"),
    )
}

fn locked(service: &str, message: &str) -> Option<Finding> {
    let rest = message.strip_prefix("Consecutive login failures for user ")?;
    let user = rest.split(' ').next()?;
    Some(
        base(kinds::ACCOUNT_CHANGED, Severity::Warning, service, user)
            .with("change", "locked after failures"),
    )
}

fn base(kind: &'static str, severity: Severity, service: &str, user: &str) -> Finding {
    Finding::new(kind, severity)
        .with("user", user)
        .with("service", service)
}
