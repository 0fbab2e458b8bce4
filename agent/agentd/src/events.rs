//! How many events go into one batch.

use xiezhi_protocol::event::Event;

/// Most bytes of text in one batch of events, far below what a batch may hold.
const TEXT_PER_BATCH: usize = 256 << 10;
/// Most events in one batch; more are split.
const EVENTS_PER_BATCH: usize = 200;

/// Cuts events into batches by number and by size: one event is bounded, so each fits.
pub(crate) fn split(events: &[Event]) -> Vec<&[Event]> {
    let mut batches = Vec::new();
    let (mut first, mut bytes) = (0, 0);
    for (index, event) in events.iter().enumerate() {
        let size = event.message.len()
            + event
                .fields
                .iter()
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>();
        if index - first >= EVENTS_PER_BATCH || (index > first && bytes + size > TEXT_PER_BATCH) {
            batches.extend(events.get(first..index));
            (first, bytes) = (index, 0);
        }
        bytes += size;
    }
    batches.extend(events.get(first..).filter(|rest| !rest.is_empty()));
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_by_number_and_by_size() {
        use xiezhi_protocol::event::{Event, Severity};
        let small: Vec<Event> = (0..450)
            .map(|n| Event::new(n, "login", Severity::Info, "x"))
            .collect();
        let lengths: Vec<usize> = split(&small).iter().map(|some| some.len()).collect();
        assert_eq!(lengths, [200, 200, 50]);
        let long: Vec<Event> = (0..200)
            .map(|n| Event::new(n, "sudo", Severity::Info, "x".repeat(4096)))
            .collect();
        assert!(split(&long).iter().all(|some| some.len() <= 64));
        assert_eq!(
            split(&long).iter().map(|some| some.len()).sum::<usize>(),
            200
        );
        assert!(split(&[]).is_empty());
    }
}
