//! Merging: small blocks that follow each other become a larger one, up to a day.
//!
//! A merge reads its sources once, series by series and host by host, and holds one host's points in
//! memory. The larger block appears whole or not at all, its sources go after that, and opening
//! removes sources that are still there.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::block::envelope::Place;
use crate::block::ledger::Noted;
use crate::block::page::Page;
use crate::block::{self, Block, BlockWriter};
use crate::chunk::{self, Points};
use crate::cut::open_own;
use crate::damage;
use crate::engine::{Catalog, Engine};
use crate::error::SeriesError;
use crate::frame::HostKey;
use crate::output;
use crate::reading::NOT_READABLE;
use crate::refused;

/// How many blocks of which width are merged, and how long they may have taken to arrive.
const TIERS: [Tier; 2] = [
    Tier {
        width: 1,
        count: 6,
        most_ms: 4 * 3_600_000,
    },
    Tier {
        width: 6,
        count: 8,
        most_ms: 26 * 3_600_000,
    },
];

struct Tier {
    /// Least number of logs in a block of this tier.
    width: u64,
    count: usize,
    most_ms: i64,
}

/// Takes a series, a host and its points.
pub(crate) type EachSeries<'f> =
    &'f mut dyn FnMut(&Arc<str>, HostKey, &mut Points) -> Result<(), SeriesError>;

/// Merges what is due. Blocks that the disk refuses to read are left to the next pass.
pub(crate) fn merge(engine: &Engine) -> Result<(), SeriesError> {
    let mut outcome = Ok(());
    let mut left = BTreeSet::new();
    while let Some(sources) = due(engine, &left) {
        match merge_these(engine, &sources) {
            Err(error) if refused::is_told_by(&error) => {
                left.extend(sources.iter().map(|source| source.first()));
                outcome = outcome.and(Err(error));
            }
            merged => merged?,
        }
    }
    outcome
}

/// Whether a block has grown to its full width.
pub(crate) fn is_grown(block: &Block) -> bool {
    let [_, last] = &TIERS;
    block.last() - block.first() + 1 >= last.width * last.count as u64
}

/// The oldest blocks that should be one, none of which is `left`.
fn due(engine: &Engine, left: &BTreeSet<u64>) -> Option<Vec<Arc<Block>>> {
    let files = engine.files();
    let blocks: Vec<Arc<Block>> = files.blocks.values().cloned().collect();
    let width = |block: &Arc<Block>| block.last() - block.first() + 1;
    let [_, second] = &TIERS;
    let tier_of = |block: &Arc<Block>| usize::from(width(block) >= second.width);
    let most = second.width * second.count as u64;
    TIERS.iter().enumerate().find_map(|(index, tier)| {
        let is_it = |block: &Arc<Block>| {
            tier_of(block) == index && width(block) < most && !left.contains(&block.first())
        };
        blocks
            .windows(tier.count)
            .find(|window| {
                window.iter().all(is_it)
                    && !has_unread(&files, window)
                    && arrival_ms(window).is_some_and(|taken_ms| taken_ms <= tier.most_ms)
            })
            .map(<[Arc<Block>]>::to_vec)
    })
}

/// Whether a file that waits to be read lies among these blocks: a larger block would hold its place.
fn has_unread(files: &Catalog, window: &[Arc<Block>]) -> bool {
    let (Some(first), Some(last)) = (window.first(), window.last()) else {
        return false;
    };
    let mut unread = files.unread.values();
    unread.any(|one| one.first <= last.last() && one.last >= first.first())
}

fn arrival_ms(window: &[Arc<Block>]) -> Option<i64> {
    let first = window
        .iter()
        .map(|block| block.span().first_received_ms)
        .min()?;
    let last = window
        .iter()
        .map(|block| block.span().last_received_ms)
        .max()?;
    last.checked_sub(first)
}

fn merge_these(engine: &Engine, sources: &[Arc<Block>]) -> Result<(), SeriesError> {
    let (Some(first), Some(last)) = (sources.first(), sources.last()) else {
        return Ok(());
    };
    let (first, last) = (first.first(), last.last());
    let name = block::name(first, last, 0);
    let names = || sources.iter().map(|source| &*source.name);
    let watch = engine.watch(names())?;
    let damage = |name: &str| engine.damage.met(name);
    let before: Vec<u64> = names().map(damage).collect();
    let written = write(engine, sources, (first, last), &name);
    if let Err(error) = written.and_then(|()| engine.end_watch(watch)) {
        output::give_up(engine, &name);
        return Err(error);
    }
    // What this pass read well is in the larger file, whatever was met before.
    let whole: Vec<bool> = names()
        .zip(before)
        .map(|(name, before)| damage(name) == before)
        .collect();
    output::put_in_place(engine, &name)?;
    engine
        .disk
        .sync()
        .map_err(engine.error("sync the folder of", &name))?;
    let merged = open_own(engine, &name)?;
    tracing::info!(
        first,
        last,
        bytes = merged.bytes,
        samples = merged.samples(),
        "blocks merged"
    );
    engine.change_files(|files| {
        for source in sources {
            files.blocks.remove(&source.first());
        }
        files.blocks.insert(first, Arc::new(merged));
    });
    for (source, is_whole) in sources.iter().zip(whole) {
        damage::remove_if_whole(engine, &source.name, is_whole)?;
    }
    Ok(())
}

fn write(
    engine: &Engine,
    sources: &[Arc<Block>],
    ids: (u64, u64),
    name: &str,
) -> Result<(), SeriesError> {
    let salt = crate::writer::random_salt().map_err(engine.error("create", name))?;
    let mut writer = BlockWriter::create(engine, name, ids, 0, salt)?;
    each_series(engine, sources, &mut |text, host, points| {
        points.settle();
        writer.add(text, host, points)
    })?;
    for source in sources {
        writer.widen(source.span());
        copy_orphans(engine, source, &mut writer)?;
    }
    copy_ledger(engine, sources, &mut writer)?;
    writer.finish()
}

/// Copies the ledgers, a few hosts at a time: all frames of a day would fill the memory.
fn copy_ledger(
    engine: &Engine,
    sources: &[Arc<Block>],
    writer: &mut BlockWriter<'_>,
) -> Result<(), SeriesError> {
    let mut starts: Vec<HostKey> = sources
        .iter()
        .flat_map(|source| source.ledger_starts())
        .collect();
    starts.sort_unstable();
    starts.dedup();
    for (index, &first) in starts.iter().enumerate() {
        let next = starts.get(index + 1).map_or(HostKey::MAX, |next| next - 1);
        let mut noted = Vec::new();
        for source in sources {
            source
                .ledger((first, next), &mut |host, epoch, frames| {
                    noted.push((host, epoch, frames));
                })
                .map_err(engine.error("read", &source.name))?;
        }
        note_all(noted, writer);
    }
    Ok(())
}

fn copy_orphans(
    engine: &Engine,
    source: &Block,
    writer: &mut BlockWriter<'_>,
) -> Result<(), SeriesError> {
    let mut failed = Ok(());
    source
        .orphans(|scanner| {
            while let Some(step) = scanner.step()? {
                match step {
                    crate::scan::Step::Record { record, .. } => {
                        failed = writer.add_orphan(&record);
                        if failed.is_err() {
                            break;
                        }
                    }
                    crate::scan::Step::Damaged { offset, .. } => {
                        source.note_damage(offset, "a stored frame is damaged");
                    }
                }
            }
            Ok(())
        })
        .map_err(engine.error("read", &source.name))?;
    failed
}

fn note_all(mut noted: Vec<(HostKey, u64, Vec<Noted>)>, writer: &mut BlockWriter<'_>) {
    // Stable: of two frames of one number, which should not be, the older block's stays.
    noted.sort_by_key(|(host, epoch, _)| (*host, *epoch));
    for same in noted.chunk_by_mut(|left, right| (left.0, left.1) == (right.0, right.1)) {
        let host = same.first().map_or(0, |group| group.0);
        let mut frames: Vec<Noted> = same
            .iter_mut()
            .flat_map(|group| group.2.drain(..))
            .collect();
        frames.sort_by_key(|noted| noted.frame.batch.seq);
        frames.dedup_by_key(|noted| noted.frame.batch.seq);
        writer.note(host, &frames);
    }
}

/// Hands over the points of each series and host of the blocks, in the order of a block's pages;
/// points of older blocks come first and are not settled with those of newer ones.
pub(crate) fn each_series(
    engine: &Engine,
    sources: &[Arc<Block>],
    each: EachSeries<'_>,
) -> Result<(), SeriesError> {
    let mut pages = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let mut text: Arc<str> = Arc::from("");
        source
            .directory("", &mut |name, found| {
                if *text != *name {
                    text = Arc::from(name);
                }
                pages.push((Arc::clone(&text), index, found.place));
                ControlFlow::Continue(())
            })
            .map_err(engine.error("read", &source.name))?;
    }
    // Stable: pages of one series and block stay in the order of their hosts.
    pages.sort_by(|left, right| (&left.0, left.1).cmp(&(&right.0, right.1)));
    for same in pages.chunk_by(|left, right| left.0 == right.0) {
        let Some((text, ..)) = same.first() else {
            continue;
        };
        let of_blocks = same.chunk_by(|left, right| left.1 == right.1);
        let cursors = of_blocks.filter_map(|pages| {
            let index = pages.first()?.1;
            let places = pages.iter().map(|page| page.2).collect();
            Some(Cursor::new(engine, Arc::clone(sources.get(index)?), places))
        });
        walk(text, cursors.collect(), each)?;
    }
    Ok(())
}

fn walk(
    text: &Arc<str>,
    mut cursors: Vec<Cursor<'_>>,
    each: EachSeries<'_>,
) -> Result<(), SeriesError> {
    let mut heap = BinaryHeap::new();
    for (index, cursor) in cursors.iter_mut().enumerate() {
        if let Some(host) = cursor.host()? {
            heap.push(Reverse((host, index)));
        }
    }
    let mut points = Points::default();
    while let Some(&Reverse((host, _))) = heap.peek() {
        points.clear();
        while let Some(&Reverse((next, index))) = heap.peek() {
            if next != host {
                break;
            }
            heap.pop();
            let Some(cursor) = cursors.get_mut(index) else {
                continue;
            };
            cursor.take(host, &mut points)?;
            if let Some(host) = cursor.host()? {
                heap.push(Reverse((host, index)));
            }
        }
        each(text, host, &mut points)?;
    }
    Ok(())
}

/// A walk over one series in one block.
struct Cursor<'e> {
    engine: &'e Engine,
    block: Arc<Block>,
    places: std::vec::IntoIter<Place>,
    /// Points of the hosts of the current page, last first.
    page: Vec<(HostKey, Points)>,
}

impl<'e> Cursor<'e> {
    fn new(engine: &'e Engine, block: Arc<Block>, places: Vec<Place>) -> Self {
        Self {
            engine,
            block,
            places: places.into_iter(),
            page: Vec::new(),
        }
    }

    /// The next host.
    fn host(&mut self) -> Result<Option<HostKey>, SeriesError> {
        while self.page.is_empty() {
            let Some(place) = self.places.next() else {
                return Ok(None);
            };
            self.read(place)?;
        }
        Ok(self.page.last().map(|(host, _)| *host))
    }

    /// Appends the points of a host, which may go on in the next page.
    fn take(&mut self, host: HostKey, points: &mut Points) -> Result<(), SeriesError> {
        while self.host()? == Some(host) {
            if let Some((_, mut more)) = self.page.pop() {
                points.times.append(&mut more.times);
                points.values.append(&mut more.values);
            }
        }
        Ok(())
    }

    fn read(&mut self, place: Place) -> Result<(), SeriesError> {
        let Self {
            engine,
            block,
            page,
            ..
        } = self;
        let read = block.pages(&[place], &mut |_, body| {
            let Some(found) = body.and_then(Page::parse) else {
                block.note_damage(place.offset, NOT_READABLE);
                return Ok::<(), std::io::Error>(());
            };
            for (host, bytes) in found {
                if page.last().is_none_or(|(last, _)| *last != host) {
                    page.push((host, Points::default()));
                }
                if let Some((_, points)) = page.last_mut()
                    && chunk::decode(found.grid, bytes, points).is_none()
                {
                    block.note_damage(place.offset, NOT_READABLE);
                }
            }
            page.reverse();
            Ok(())
        });
        read.map_err(engine.error("read", &block.name))
    }
}
