//! What happened to a device since it was asked last, as events.

use xiezhi_protocol::event::{Event, Severity, kinds};

use super::Subject;
use crate::memory::{Memory, Presence, Since};
use crate::moment::{Continuity, Moment};
use crate::tables::PortChange;

/// Ports of one visit that are told one by one; of more only the number, as after a power cut.
const MOST_PORTS: usize = 20;

/// What was remembered of a device before it answered.
#[derive(Debug)]
pub(super) struct Before {
    presence: Presence,
    presence_since_ms: i64,
    has_polled: bool,
    object_id: String,
    description: String,
}

impl Before {
    pub(super) fn of(memory: &Memory) -> Self {
        Self {
            presence: memory.presence,
            presence_since_ms: memory.presence_since_ms,
            has_polled: memory.has_polled(),
            object_id: memory.object_id.clone(),
            description: memory.description.clone(),
        }
    }
}

/// The device answered: what changed since `before`.
pub(super) fn answered(
    subject: &Subject,
    memory: &mut Memory,
    before: &Before,
    since: Since,
    ports: &[PortChange],
    now: Moment,
) -> Vec<Event> {
    let mut events = Vec::new();
    if before.presence == Presence::Silent {
        let message = format!("device {} answers again", subject.name);
        let event = event(
            subject,
            now,
            kinds::DEVICE_ANSWERS,
            Severity::Notice,
            message,
        );
        events.push(event.with("silent_since_ms", before.presence_since_ms.to_string()));
    }
    if before.presence != Presence::Answers {
        memory.presence = Presence::Answers;
        memory.presence_since_ms = now.unix_ms;
    }
    if !before.has_polled {
        return events;
    }
    if since.continuity == Continuity::Restarted {
        let message = format!("device {} restarted", subject.name);
        let event = event(
            subject,
            now,
            kinds::DEVICE_RESTARTED,
            Severity::Warning,
            message,
        );
        let uptime = memory.clocks.uptime_s().unwrap_or_default();
        events.push(event.with("uptime_s", uptime.to_string()));
    }
    events.extend(changed(subject, memory, before, now));
    events.extend(port_events(subject, ports, now));
    events
}

/// It is another model, or at least calls itself otherwise.
fn changed(subject: &Subject, memory: &Memory, before: &Before, now: Moment) -> Option<Event> {
    let is_other = !before.object_id.is_empty() && memory.object_id != before.object_id;
    let is_described = before.description.is_empty() || memory.description == before.description;
    if !is_other && is_described {
        return None;
    }
    let what = if is_other { "model" } else { "description" };
    let message = if is_other {
        format!("device {} changed model", subject.name)
    } else {
        format!(
            "device {} describes itself otherwise: new firmware?",
            subject.name
        )
    };
    Some(
        event(
            subject,
            now,
            kinds::DEVICE_CHANGED,
            Severity::Notice,
            message,
        )
        .with("change", what)
        .with("before", &before.description)
        .with("after", &memory.description)
        .with("object_id_before", &before.object_id)
        .with("object_id_after", &memory.object_id),
    )
}

fn port_events(subject: &Subject, ports: &[PortChange], now: Moment) -> Vec<Event> {
    let mut events: Vec<Event> = ports
        .iter()
        .take(MOST_PORTS)
        .map(|port| {
            let (kind, severity, word) = if port.up {
                (kinds::DEVICE_PORT_UP, Severity::Info, "up")
            } else {
                (kinds::DEVICE_PORT_DOWN, Severity::Warning, "down")
            };
            let message = format!("port {} of device {} is {word}", port.name, subject.name);
            let event = event(subject, now, kind, severity, message).with("port", &port.name);
            if port.alias.is_empty() {
                event
            } else {
                event.with("alias", &port.alias)
            }
        })
        .collect();
    let more = ports.len().saturating_sub(MOST_PORTS);
    if let Some(last) = events.pop() {
        events.push(if more > 0 {
            last.with("more", more.to_string())
        } else {
            last
        });
    }
    events
}

/// The device did not answer: an event only the first time.
pub(super) fn silent(
    subject: &Subject,
    memory: &mut Memory,
    problem: &str,
    now: Moment,
) -> Vec<Event> {
    if memory.presence == Presence::Silent {
        return Vec::new();
    }
    memory.presence = Presence::Silent;
    memory.presence_since_ms = now.unix_ms;
    let message = format!("device {} does not answer", subject.name);
    let mut event = event(
        subject,
        now,
        kinds::DEVICE_SILENT,
        Severity::Warning,
        message,
    )
    .with("problem", problem);
    if memory.has_polled() {
        event = event.with("answered_ms", memory.at.unix_ms.to_string());
    }
    vec![event]
}

fn event(subject: &Subject, now: Moment, kind: &str, severity: Severity, message: String) -> Event {
    Event::new(now.unix_ms, kind, severity, message)
        .with("device", &subject.name)
        .with("address", subject.address.to_string())
}
