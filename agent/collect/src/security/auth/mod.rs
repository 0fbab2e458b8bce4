//! Reads what programs write to the authentication log: a message in, an event out.
//!
//! Pure: the same messages come from `/var/log/auth.log`, `/var/log/secure` and the journal. One
//! file per family of programs. Users choose some of the words (names, keys, paths), so every
//! parser reads from the fixed end of a message and never trusts that a name has no spaces.
//!
//! One happening is one event: where several lines tell the same (sshd's own and pam's), one is
//! chosen, and the table in each file says which.

use std::collections::VecDeque;

use xiezhi_protocol::event::{Event, Severity};

pub(crate) mod accounts;
mod pam;
mod sshd;
mod su;
mod sudo;

/// Longest command or path that is kept of a line.
const MAX_COMMAND: usize = 1024;

/// A message of a program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    /// Unix milliseconds.
    pub(crate) time_ms: i64,
    /// The program's name.
    pub(crate) tag: &'a str,
    /// Its process.
    pub(crate) pid: Option<u32>,
    /// The text.
    pub(crate) text: &'a str,
}

/// What one message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    kind: &'static str,
    severity: Severity,
    fields: Vec<(&'static str, String)>,
    /// Tells only what an earlier message of the same process may have told already.
    is_echo: bool,
}

impl Finding {
    fn new(kind: &'static str, severity: Severity) -> Self {
        Self {
            kind,
            severity,
            fields: Vec::new(),
            is_echo: false,
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value: String = value.into();
        if !value.is_empty() {
            self.fields
                .push((name, value.chars().take(MAX_COMMAND).collect()));
        }
        self
    }

    fn echo(mut self) -> Self {
        self.is_echo = true;
        self
    }
}

/// Turns messages into events; remembers a few processes to tell one failure once.
#[derive(Debug, Default)]
pub(crate) struct AuthParser {
    failed: VecDeque<u32>,
}

/// Processes whose failure is remembered: more sshd children than its MaxStartups allows.
const REMEMBERED: usize = 256;

impl AuthParser {
    /// The event that a message is, if it is one.
    pub(crate) fn parse(&mut self, message: &Message<'_>) -> Option<Event> {
        let finding = find(message.tag, message.text)?;
        let is_failure = finding.kind == xiezhi_protocol::event::kinds::LOGIN_FAILED;
        if let (true, Some(pid)) = (is_failure, message.pid) {
            let is_known = self.failed.contains(&pid);
            if finding.is_echo && is_known {
                return None;
            }
            if !is_known {
                self.failed.push_back(pid);
                let surplus = self.failed.len().saturating_sub(REMEMBERED);
                self.failed.drain(..surplus);
            }
        }
        let text = format!("{}: {}", message.tag, message.text.trim());
        let mut event = Event::new(message.time_ms, finding.kind, finding.severity, text)
            .with("process", message.tag);
        if let Some(pid) = message.pid {
            event = event.with("pid", pid.to_string());
        }
        for (name, value) in finding.fields {
            event = event.with(name, value);
        }
        Some(event)
    }
}

fn find(tag: &str, text: &str) -> Option<Finding> {
    let text = text.trim();
    // A pam module names itself and the service; the tag is the program that called it.
    if text.starts_with("pam_") {
        return pam::parse(text);
    }
    match tag {
        "sshd" | "sshd-session" | "sshd-auth" => sshd::parse(text),
        "sudo" => sudo::parse(text),
        "pkexec" => sudo::parse_pkexec(text),
        "su" => su::parse(text),
        _ => accounts::parse(tag, text),
    }
}

/// Everything before a word-separated number of blanks; helper for `user … 1.2.3.4 port 22`.
fn address_and_port(text: &str) -> Option<(&str, &str)> {
    let mut words = text.split(' ');
    let address = words.next()?;
    let port = match words.next() {
        Some("port") => words.next().unwrap_or(""),
        _ => "",
    };
    Some((address, port.trim_end_matches([':', ','])))
}

#[cfg(test)]
mod tests;
