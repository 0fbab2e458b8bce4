//! Lines of real and constructed logs, and what they become.

use proptest::prelude::*;

use super::*;
use crate::security::syslog;
use crate::security::zone::Zone;

const NOW: i64 = 1_795_300_000_000; // 2026-11-21 UTC

/// One line per event: kind, severity, then the fields without the constant ones.
fn events_of(lines: &str) -> Vec<String> {
    let mut parser = AuthParser::default();
    let mut found = Vec::new();
    for line in lines.lines() {
        let Some(line) = syslog::parse(line, NOW, &Zone::utc()) else {
            continue;
        };
        let message = Message {
            time_ms: line.time_ms,
            tag: line.tag,
            pid: line.pid,
            text: line.message,
        };
        if let Some(event) = parser.parse(&message) {
            let fields: Vec<_> = event
                .fields
                .iter()
                .filter(|(name, _)| !["pid", "process"].contains(&name.as_str()))
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            found.push(format!("{} {}", event.kind, fields.join(" ")));
        }
    }
    found
}

fn check(fixture: &str, expected: &str) {
    let found = events_of(fixture);
    let expected: Vec<_> = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn debian_12_lines_become_events() {
    check(
        include_str!("../fixtures/auth-debian12.log"),
        include_str!("../fixtures/auth-debian12.events"),
    );
}

#[test]
fn ubuntu_lines_become_events() {
    check(
        include_str!("../fixtures/auth-ubuntu.log"),
        include_str!("../fixtures/auth-ubuntu.events"),
    );
}

#[test]
fn openeuler_and_kylin_lines_become_events() {
    check(
        include_str!("../fixtures/secure-openeuler.log"),
        include_str!("../fixtures/secure-openeuler.events"),
    );
}

#[test]
fn user_name_that_imitates_a_line_does_not_forge_the_address() {
    let lines = "Nov 21 10:00:00 h sshd[1]: Failed password for invalid user root from 1.1.1.1 port 1 ssh2 from 9.9.9.9 port 2 ssh2";
    let found = events_of(lines);
    assert!(found[0].contains("source_address=9.9.9.9 "), "{found:?}");
}

#[test]
fn sudo_command_with_separators_is_kept_whole() {
    let lines = "Nov 21 10:00:00 h sudo: bob : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh -c 'a ; USER=x ; b'";
    let found = events_of(lines);
    assert!(
        found[0].contains("command=/bin/sh -c 'a ; USER=x ; b'"),
        "{found:?}"
    );
    assert!(found[0].contains("target_user=root"), "{found:?}");
}

proptest! {
    #[test]
    fn arbitrary_messages_never_panic(tag in "(sshd|sudo|su|pkexec|useradd|usermod|gpasswd|x)", text in "\\PC{0,200}") {
        let message = Message { time_ms: 0, tag: &tag, pid: Some(1), text: &text };
        let _ = AuthParser::default().parse(&message);
    }

    /// Cutting a real line anywhere gives no panic and no event of another user.
    #[test]
    fn truncated_lines_never_name_a_longer_user(cut in 0usize..120) {
        let line = "Accepted publickey for bob from 10.0.0.1 port 51234 ssh2: ED25519 SHA256:abc";
        let text = &line[..cut.min(line.len())];
        let message = Message { time_ms: 0, tag: "sshd", pid: None, text };
        if let Some(event) = AuthParser::default().parse(&message) {
            prop_assert_eq!(event.fields.get("user").map(String::as_str), Some("bob"));
        }
    }

    #[test]
    fn any_user_name_keeps_the_true_address(user in "[ -~]{1,40}") {
        let text = format!("Failed password for invalid user {user} from 10.9.8.7 port 22 ssh2");
        let message = Message { time_ms: 0, tag: "sshd", pid: None, text: &text };
        let event = AuthParser::default().parse(&message).unwrap();
        prop_assert_eq!(event.fields.get("source_address").map(String::as_str), Some("10.9.8.7"));
    }
}
