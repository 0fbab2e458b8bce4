//! Log and security records of a host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How much an event matters to a person, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth keeping, nothing to do.
    Info,
    /// Ordinary but worth a look in a review.
    Notice,
    /// Something is wrong or suspicious.
    Warning,
    /// A person should act.
    Critical,
}

/// One record: something that happened on a host at one time.
///
/// `kind` is a word of [`kinds`], kept as text so that an older controller stores what a newer
/// agent reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened by the host's clock, Unix milliseconds.
    pub time_ms: i64,
    /// What happened, a word of [`kinds`].
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// One line for a person, in English, without control characters; at most
    /// [`MAX_MESSAGE_BYTES`].
    pub message: String,
    /// The parts of it by name: `user`, `source_address`, `process`, `path`, …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

/// Longest message or field value; more is cut by the agent and refused by the controller.
pub const MAX_MESSAGE_BYTES: usize = 4096;

/// Most fields of one event.
pub const MAX_FIELDS: usize = 64;

impl Event {
    /// An event without fields.
    #[must_use]
    pub fn new(time_ms: i64, kind: &str, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            time_ms,
            kind: kind.to_owned(),
            severity,
            message: clean(message.into()),
            fields: BTreeMap::new(),
        }
    }

    /// The same event with one more field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.insert(name.to_owned(), clean(value.into()));
        self
    }
}

/// Control characters become spaces and the text is cut at [`MAX_MESSAGE_BYTES`]: log lines are
/// written by whoever attacks the host.
fn clean(mut text: String) -> String {
    if text.chars().any(char::is_control) {
        text = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
    }
    let mut cut = text.len().min(MAX_MESSAGE_BYTES);
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    text.truncate(cut);
    text
}

/// The words of [`Event::kind`].
pub mod kinds {
    /// A session was opened: `user`, `source_address`, `service`, `method`.
    pub const LOGIN: &str = "login";
    /// A session was refused: as [`LOGIN`].
    pub const LOGIN_FAILED: &str = "login_failed";
    /// A session ended.
    pub const LOGOUT: &str = "logout";
    /// A command was run with another user's rights: `user`, `target_user`, `command`.
    pub const SUDO: &str = "sudo";
    /// That was refused.
    pub const SUDO_FAILED: &str = "sudo_failed";
    /// An account was added, removed or changed: `user`, `change`.
    pub const ACCOUNT_CHANGED: &str = "account_changed";
    /// A group or its members changed: `group`, `change`.
    pub const GROUP_CHANGED: &str = "group_changed";
    /// An authorised key was added or removed: `user`, `path`, `fingerprint`.
    pub const KEY_CHANGED: &str = "key_changed";
    /// A port is listened on that was not before: `protocol`, `address`, `port`, `uid`.
    pub const LISTENING_PORT_OPENED: &str = "listening_port_opened";
    /// It is no longer listened on.
    pub const LISTENING_PORT_CLOSED: &str = "listening_port_closed";
    /// A file has the setuid or setgid bit that had not before: `path`, `mode`, `owner`.
    pub const SETUID_FILE_ADDED: &str = "setuid_file_added";
    /// Such a file changed or lost the bit.
    pub const SETUID_FILE_CHANGED: &str = "setuid_file_changed";
    /// A package was installed, removed or upgraded: `package`, `before`, `after`.
    pub const PACKAGE_CHANGED: &str = "package_changed";
    /// A USB device came: `vendor_id`, `product_id`, `serial`, `product`.
    pub const USB_ADDED: &str = "usb_added";
    /// A USB device went.
    pub const USB_REMOVED: &str = "usb_removed";
    /// The host's clock jumped: `step_ms`.
    pub const TIME_STEPPED: &str = "time_stepped";
    /// The agent's binary, configuration, keys or process were touched: `path`, `change`.
    pub const AGENT_TAMPERED: &str = "agent_tampered";
    /// The kernel's audit trail reported something not covered above.
    pub const AUDIT: &str = "audit";
    /// The agent started: `version`.
    pub const AGENT_STARTED: &str = "agent_started";
    /// The agent stops on purpose: `reason`.
    pub const AGENT_STOPPED: &str = "agent_stopped";
    /// A source of events could not be read for a while: `source`, `from_ms`, `to_ms`.
    pub const SOURCE_GAP: &str = "source_gap";
    /// What the host is made of changed; the field `facts` is the JSON of [`crate::facts::Facts`].
    pub const FACTS: &str = "facts";
    /// A device that this host polls does not answer: `device`, `address`, `problem`, `answered_ms`.
    pub const DEVICE_SILENT: &str = "device_silent";
    /// It answers again: `device`, `address`, `silent_since_ms`.
    pub const DEVICE_ANSWERS: &str = "device_answers";
    /// It started again: `device`, `address`, `uptime_s`.
    pub const DEVICE_RESTARTED: &str = "device_restarted";
    /// It is another model, or describes itself otherwise: `device`, `address`, `change` (`model` or
    /// `description`), `before`, `after`, `object_id_before`, `object_id_after`.
    pub const DEVICE_CHANGED: &str = "device_changed";
    /// A port came up: `device`, `address`, `port`, `alias`, `more` for those that are not told.
    pub const DEVICE_PORT_UP: &str = "device_port_up";
    /// A port that nobody disabled went down: as [`DEVICE_PORT_UP`].
    pub const DEVICE_PORT_DOWN: &str = "device_port_down";
    /// It told something by itself (a trap or an inform): `device`, `address`, `trap` (the OID), `name` if
    /// it is a standard one, `text_zh`, `text_en`, `port`, `values`, `clears` (the trap that it ends),
    /// `repeats` that were not told, `held_back` traps of before.
    pub const DEVICE_TRAP: &str = "device_trap";
    /// Traps of a device were refused: `device`, `address`, `reason`, `count`.
    pub const DEVICE_TRAPS_REFUSED: &str = "device_traps_refused";
    /// Traps came from addresses of no device: `addresses`, `count`.
    pub const DEVICE_TRAPS_UNKNOWN: &str = "device_traps_unknown";
    /// Traps were lost on this host before anybody read them: `kernel`, `queue`, `rate`.
    pub const DEVICE_TRAPS_LOST: &str = "device_traps_lost";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_overlong_text_are_cut() {
        let event = Event::new(1, kinds::LOGIN, Severity::Info, "a\u{1b}[31m\nb")
            .with("user", "院".repeat(3000));
        assert_eq!(event.message, "a [31m b");
        let user = &event.fields["user"];
        assert!(user.len() <= MAX_MESSAGE_BYTES && user.len() > MAX_MESSAGE_BYTES - 3);
    }
}
