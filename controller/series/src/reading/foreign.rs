//! Reads what the head holds of a source.

use super::Reading;
use crate::chunk::Points;
use crate::frame::HostKey;
use crate::head::foreign::Foreign;
use crate::head::texts::TextId;

impl Reading<'_, '_> {
    /// Takes the wanted series of a source; yields how many points that is.
    pub(super) fn read_foreign(&mut self, source: HostKey, foreign: &Foreign) -> u64 {
        let ids: Vec<(TextId, u32)> = if foreign.len() < self.ids.len() {
            let number = |id: TextId| Some((id, *self.ids.get(&id)?));
            foreign.ids().filter_map(number).collect()
        } else {
            self.ids.iter().map(|(&id, &number)| (id, number)).collect()
        };
        let range = (self.wanted.from_ms, self.wanted.to_ms);
        let mut read = 0;
        for (id, number) in ids {
            if !self.is_pair(number, source) {
                continue;
            }
            if self.wanted.index_only {
                if foreign.points(id, range, None) {
                    self.heads.entry((number, source)).or_default();
                    read += 1;
                }
                continue;
            }
            let mut points = Points::default();
            if foreign.points(id, range, Some(&mut points)) {
                read += points.len() as u64;
                // A source has no other points in the head.
                self.heads.insert((number, source), points);
            }
        }
        read
    }
}
