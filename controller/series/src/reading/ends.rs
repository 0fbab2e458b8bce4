//! When the samples of series end in the blocks: by where their chunks end, hardly any is decoded.

use std::collections::HashMap;
use std::sync::Arc;

use super::{NOT_READABLE, ReadError, Reading, Wanted};
use crate::block::envelope::Place;
use crate::block::page::Page;
use crate::chunk::{self, Points};
use crate::engine::Engine;
use crate::frame::HostKey;

/// The time, Unix milliseconds, after which no block has a sample of a series; only of those that have
/// some at `wanted.from_ms` or later.
pub(crate) fn ends(
    engine: &Engine,
    wanted: &Wanted<'_>,
) -> Result<HashMap<Arc<str>, i64>, ReadError> {
    let mut reading = Reading::new(engine, wanted);
    let mut found: HashMap<u32, i64> = HashMap::new();
    for block in engine.files().blocks.into_values() {
        if !block.span().overlaps(wanted.from_ms, wanted.to_ms) {
            continue;
        }
        let pages = reading.find_pages(&block)?;
        let places: Vec<Place> = pages.iter().map(|page| page.1).collect();
        block.pages(&places, &mut |index, body| -> Result<(), ReadError> {
            match (body.and_then(Page::parse), pages.get(index)) {
                (Some(page), Some(&(number, _))) if reading.is_text(number, page.text) => {
                    if let Some(end_ms) = end(page, wanted) {
                        let known = found.entry(number).or_insert(end_ms);
                        *known = end_ms.max(*known);
                    }
                }
                (_, Some((_, place))) => block.note_damage(place.offset, NOT_READABLE),
                (_, None) => {}
            }
            Ok(())
        })?;
    }
    let texts = reading.found.texts;
    let named = found.into_iter().filter_map(|(number, end_ms)| {
        let text = texts.get(number as usize)?;
        Some((Arc::clone(text), end_ms))
    });
    Ok(named.collect())
}

/// When the samples of the wanted hosts end.
fn end(page: Page<'_>, wanted: &Wanted<'_>) -> Option<i64> {
    let grid = page.grid;
    let is_wanted = |host: &HostKey| match &wanted.hosts {
        Some(hosts) => hosts.binary_search(host).is_ok(),
        None => true,
    };
    let mut last: HashMap<HostKey, &[u8]> = HashMap::new();
    // Several of one host follow in time.
    last.extend(page.filter(|one| is_wanted(&one.0)));
    let ends = last.into_values().filter_map(|bytes| {
        let end_ms = chunk::extent(grid, bytes)?.end_ms;
        if end_ms < i64::MAX {
            return Some(end_ms);
        }
        // Of a list of times only the start is told.
        let mut points = Points::default();
        chunk::decode(grid, bytes, &mut points)?;
        points.times.into_iter().max()
    });
    ends.filter(|&end_ms| end_ms >= wanted.from_ms).max()
}
