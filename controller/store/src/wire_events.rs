//! What is kept of the events of a batch: the one place where wire events become stored ones.
//!
//! Ingest uses it when a batch comes, and the verification of evidence when it compares what is
//! stored with what was signed. Both must leave out the same.

use xiezhi_model::Severity;
use xiezhi_protocol::event::{self, Event, MAX_FIELDS, MAX_MESSAGE_BYTES, kinds};
use xiezhi_protocol::facts::Facts;

use crate::NewEvent;

/// Longest word of [`Event::kind`] and longest name of a field.
const MAX_WORD_BYTES: usize = 128;

/// What is kept of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptEvents {
    /// The events, in their order.
    pub events: Vec<NewEvent>,
    /// The host's facts as JSON text, if the batch brought them.
    pub facts: Option<String>,
    /// Events that are left out because no agent of ours writes such.
    pub refused: usize,
}

impl KeptEvents {
    /// Sorts a batch's events. A wrong clock is no reason to leave one out: what happened on a host
    /// stays evidence, and the store notes when it came.
    #[must_use]
    pub fn of(events: Vec<Event>) -> Self {
        let mut kept = Self {
            events: Vec::with_capacity(events.len()),
            ..Self::default()
        };
        for mut event in events {
            if event.kind == kinds::FACTS
                && let Some(facts) = event.fields.remove("facts")
            {
                if serde_json::from_str::<Facts>(&facts).is_ok() {
                    kept.facts = Some(facts);
                } else {
                    kept.refused += 1;
                }
            }
            if is_sound(&event) {
                kept.events.push(convert(event));
            } else {
                kept.refused += 1;
            }
        }
        kept
    }
}

fn is_sound(event: &Event) -> bool {
    let word = |text: &str| !text.is_empty() && text.len() <= MAX_WORD_BYTES;
    word(&event.kind)
        && event.message.len() <= MAX_MESSAGE_BYTES
        && event.fields.len() <= MAX_FIELDS
        && event
            .fields
            .iter()
            .all(|(name, value)| word(name) && value.len() <= MAX_MESSAGE_BYTES)
}

fn convert(event: Event) -> NewEvent {
    let severity = match event.severity {
        event::Severity::Info => Severity::Info,
        event::Severity::Notice => Severity::Notice,
        event::Severity::Warning => Severity::Warning,
        event::Severity::Critical => Severity::Critical,
    };
    NewEvent {
        time_ms: event.time_ms,
        kind: event.kind,
        severity,
        message: event.message,
        fields: event.fields,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_no_agent_writes_are_left_out_and_counted() {
        let sound = Event::new(1, kinds::LOGIN, event::Severity::Notice, "in").with("user", "li");
        let mut overlong = sound.clone();
        overlong.message = "x".repeat(MAX_MESSAGE_BYTES + 1);
        let nameless = Event::new(1, "", event::Severity::Info, "");
        let facts =
            Event::new(1, kinds::FACTS, event::Severity::Info, "").with("facts", "no facts");
        let kept = KeptEvents::of(vec![sound.clone(), overlong, nameless, facts]);
        assert_eq!((kept.refused, kept.facts), (3, None));
        assert_eq!(kept.events.len(), 2);
        assert_eq!(kept.events[0].fields, sound.fields);
        assert_eq!(kept.events[0].severity, Severity::Notice);
    }
}
