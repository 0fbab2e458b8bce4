//! OpenSSH's server.
//!
//! | line | event |
//! |---|---|
//! | `Accepted METHOD for USER from ADDRESS port N ssh2[: KEY]` | login |
//! | `Failed METHOD for [invalid user ]USER from ADDRESS port N ssh2` | login_failed |
//! | `maximum authentication attempts exceeded for …` | login_failed, warning |
//! | `User USER from ADDRESS not allowed because …` | login_failed |
//! | `Connection closed by authenticating user …`, `… invalid user …` | login_failed, unless this process told one already (a refused key is logged only so) |
//!
//! The end of a session comes from pam. `Invalid user …` alone is always followed by one of these.

use xiezhi_protocol::event::{Severity, kinds};

use super::{Finding, address_and_port};

pub(super) fn parse(text: &str) -> Option<Finding> {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let text = text.strip_suffix(" [preauth]").unwrap_or(text);
    if let Some(rest) = text.strip_prefix("Accepted ") {
        return accepted(rest);
    }
    if let Some(rest) = text.strip_prefix("Failed ") {
        let (method, rest) = rest.split_once(" for ")?;
        return Some(refused(rest, Severity::Notice)?.with("method", method));
    }
    if let Some(rest) = text.strip_prefix("maximum authentication attempts exceeded for ") {
        return Some(refused(rest, Severity::Warning)?.with("reason", "too many attempts"));
    }
    if let Some(rest) = text.strip_prefix("User ") {
        return not_allowed(rest);
    }
    closed(text)
}

/// `publickey for bob from 10.0.0.1 port 22 ssh2: ED25519 SHA256:…`
fn accepted(rest: &str) -> Option<Finding> {
    let (method, rest) = rest.split_once(" for ")?;
    let (user, rest) = rest.rsplit_once(" from ")?;
    let (address, port) = address_and_port(rest)?;
    let key = rest.split_once("ssh2: ").map_or("", |(_, key)| key);
    let severity = if user == "root" {
        Severity::Notice
    } else {
        Severity::Info
    };
    Some(
        Finding::new(kinds::LOGIN, severity)
            .with("user", user)
            .with("source_address", address)
            .with("source_port", port)
            .with("service", "sshd")
            .with("method", method)
            .with("fingerprint", key),
    )
}

/// `[invalid user ]bob from 10.0.0.1 port 22 ssh2`; whoever connects chooses the name, so the
/// address is what follows the *last* `from`.
fn refused(rest: &str, severity: Severity) -> Option<Finding> {
    let (user, rest) = rest.rsplit_once(" from ")?;
    let (address, port) = address_and_port(rest)?;
    Some(failure(user, address, port, severity))
}

/// `bob from 10.0.0.1 not allowed because not listed in AllowUsers`
fn not_allowed(rest: &str) -> Option<Finding> {
    let (who, reason) = rest.rsplit_once(" not allowed because ")?;
    let (user, address) = who.rsplit_once(" from ")?;
    Some(failure(user, address, "", Severity::Notice).with("reason", reason))
}

/// `Connection closed by authenticating user bob 10.0.0.1 port 22`
fn closed(text: &str) -> Option<Finding> {
    let (_, rest) = [
        " by authenticating user ",
        " from authenticating user ",
        " by invalid user ",
        " from invalid user ",
    ]
    .iter()
    .find_map(|middle| text.split_once(middle))?;
    let (who, port) = rest.rsplit_once(" port ")?;
    let (user, address) = who.rsplit_once(' ')?;
    let port = port.split([' ', ':']).next().unwrap_or("");
    let is_invalid = text.contains(" invalid user ");
    let mut finding = failure(user, address, port, Severity::Notice).with("reason", "gave up");
    if is_invalid {
        finding = finding.with("unknown_user", "true");
    }
    Some(finding.echo())
}

fn failure(user: &str, address: &str, port: &str, severity: Severity) -> Finding {
    let known = user.strip_prefix("invalid user ");
    let finding = Finding::new(kinds::LOGIN_FAILED, severity)
        .with("user", known.unwrap_or(user))
        .with("source_address", address)
        .with("source_port", port)
        .with("service", "sshd");
    if known.is_some() {
        finding.with("unknown_user", "true")
    } else {
        finding
    }
}
