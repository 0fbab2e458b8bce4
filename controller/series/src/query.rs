//! Questions about one host: its points, its last values, its frames.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::column::is_stale;
use crate::engine::{Engine, count};
use crate::error::SeriesError;
use crate::frame::{HostKey, Latest, RangeAnswer, SeriesPoints, StoredFrame};
use crate::head::{self, Chain};
use crate::legacy;
use crate::reading::{self, ReadError, Wanted};
use crate::record;

/// See [`crate::SeriesStore::range_report`].
pub(crate) fn range(
    engine: &Engine,
    host: HostKey,
    from_ms: i64,
    to_ms: i64,
    want: &dyn Fn(&str) -> bool,
) -> Result<RangeAnswer, SeriesError> {
    let mut answer = RangeAnswer::default();
    count_frames(engine, host, from_ms, to_ms, &mut answer)?;
    let limits = engine.options.limits;
    too_much("frames", answer.frames, limits.max_frames)?;
    let (older, seen) = older(engine, host, from_ms, to_ms, want, &mut answer)?;
    let read = std::cell::Cell::new(seen);
    let charge = |points: u64| -> Result<(), ReadError> {
        read.set(read.get() + points);
        // Points at the edges of a chunk are left out again; a few more are no harm.
        let read = read.get().saturating_sub(limits.max_points / 8);
        Ok(too_much("points", read, limits.max_points)?)
    };
    let wanted = Wanted {
        from_ms,
        to_ms,
        hosts: Some(vec![host]),
        metrics: None,
        text: want,
        pair: &|_, _, _| true,
        rollups: None,
        segments: false,
        index_only: false,
        charge: &charge,
    };
    let found = reading::read(engine, &wanted).map_err(|error| error.of_series(engine))?;
    answer.damaged += found.lacking.pages;
    let mut lacking = found.lacking;
    (lacking.pages, lacking.frames) = (answer.damaged, answer.undecodable);
    answer.lacking = lacking.sentences();
    let mut series = older;
    for ((number, _), points) in found.series {
        let Some(text) = found.texts.get(number as usize) else {
            continue;
        };
        let values = points.iter().filter(|&(_, value)| !is_stale(value));
        series.entry(Arc::clone(text)).or_default().extend(values);
    }
    answer.series = series
        .into_iter()
        .filter(|(_, points)| !points.is_empty())
        .map(|(series, mut points)| {
            points.sort_by_key(|&(time_ms, _)| time_ms);
            points.dedup_by_key(|&mut (time_ms, _)| time_ms);
            SeriesPoints { series, points }
        })
        .collect();
    let points: usize = answer.series.iter().map(|series| series.points.len()).sum();
    too_much("points", points as u64, limits.max_points)?;
    Ok(answer)
}

fn too_much(what: &'static str, number: u64, limit: u64) -> Result<(), SeriesError> {
    if number > limit {
        return Err(SeriesError::TooMuch { what, limit });
    }
    Ok(())
}

type ByText = BTreeMap<Arc<str>, Vec<(i64, f64)>>;

/// What segments of the first format hold, and how many points that is.
fn older(
    engine: &Engine,
    host: HostKey,
    from_ms: i64,
    to_ms: i64,
    want: &dyn Fn(&str) -> bool,
    answer: &mut RangeAnswer,
) -> Result<(ByText, u64), SeriesError> {
    if engine.files().sealed.is_empty() {
        return Ok((ByText::new(), 0));
    }
    let older = legacy::range(engine, host, from_ms, to_ms, want)?;
    answer.frames += older.frames;
    answer.undecodable += older.undecodable;
    answer.damaged += older.damaged;
    let points = older
        .series
        .iter()
        .map(|series| series.points.len() as u64)
        .sum();
    let series = older.series.into_iter().map(|one| (one.series, one.points));
    Ok((series.collect(), points))
}

/// Counts the frames of a time, and those that could not be decoded.
fn count_frames(
    engine: &Engine,
    host: HostKey,
    from_ms: i64,
    to_ms: i64,
    answer: &mut RangeAnswer,
) -> Result<(), SeriesError> {
    let in_range = |time_ms: i64| (from_ms..=to_ms).contains(&time_ms);
    let files = engine.files();
    for block in files
        .blocks
        .values()
        .filter(|block| block.span().overlaps(from_ms, to_ms))
    {
        let damaged = block.ledger((host, host), &mut |_, _, frames| {
            let frames = frames
                .iter()
                .filter(|noted| in_range(noted.frame.batch.time_ms));
            for noted in frames {
                answer.frames += 1;
                answer.undecodable += u64::from(noted.undecoded);
            }
        });
        let damaged = damaged.map_err(engine.error("read", &block.name))?;
        answer.damaged += damaged;
    }
    let Some(head) = engine.heads.find(host) else {
        return Ok(());
    };
    {
        let head = head::lock(&head);
        let of_log = |log: u64| files.logs.contains_key(&log);
        for run in head.made().iter().filter(|run| of_log(run.log)) {
            run.each_time(&mut |time_ms| answer.frames += u64::from(in_range(time_ms)));
        }
        let pending = head.pending().filter(|chain| of_log(chain.log));
        let times = pending.flat_map(Chain::pending_times);
        answer.frames += times.filter(|&time_ms| in_range(time_ms)).count() as u64;
    }
    for log in files.logs.values() {
        let orphans = engine.heads.orphans(&head, log.id);
        let mut bytes = Vec::new();
        for offset in orphans {
            bytes.clear();
            log.read(offset, &mut bytes)
                .map_err(engine.error("read", &log.name))?;
            let record = record::read(&bytes);
            if record.is_some_and(|record| in_range(record.batch.time_ms)) {
                answer.frames += 1;
                answer.undecodable += 1;
            }
        }
    }
    count(&engine.counters.undecodable, answer.undecodable);
    Ok(())
}

/// See [`crate::SeriesStore::latest`].
pub(crate) fn latest(engine: &Engine, host: HostKey) -> Result<Option<Latest>, SeriesError> {
    let Some((epoch, seq)) = last_stored(engine, host) else {
        return Ok(None);
    };
    let now_ms = engine.options.clock.now_ms();
    if let Some((newest, decoder)) = engine.heads.newest(host, now_ms)
        && let Some(last) = decoder
            .last()
            .filter(|last| (newest, last.seq) == (epoch, seq))
    {
        let values = decoder
            .values()
            .map(|(name, value)| (Arc::clone(name.text()), value));
        return Ok(Some(Latest {
            time_ms: last.time_ms,
            epoch,
            seq,
            values: values.collect(),
        }));
    }
    // The host is silent since long: its last values are in a block.
    let frames = frames(engine, host)?;
    let Some(last) = frames
        .iter()
        .find(|one| (one.epoch, one.batch.seq) == (epoch, seq))
    else {
        return Ok(None);
    };
    let time_ms = last.batch.time_ms;
    let answer = range(engine, host, time_ms, time_ms, &|_| true)?;
    let value = |series: SeriesPoints| Some((series.series, series.points.first()?.1));
    let values: Vec<_> = answer.series.into_iter().filter_map(value).collect();
    Ok((!values.is_empty()).then_some(Latest {
        time_ms,
        epoch,
        seq,
        values,
    }))
}

/// See [`crate::SeriesStore::frames`].
pub(crate) fn frames(engine: &Engine, host: HostKey) -> Result<Vec<StoredFrame>, SeriesError> {
    // Logs first: what is cut meanwhile is then seen twice and not never.
    let mut frames = Vec::new();
    let files = engine.files();
    for log in files.logs.values() {
        let mut bytes = Vec::new();
        for offset in log.offsets(host) {
            bytes.clear();
            log.read(offset, &mut bytes)
                .map_err(engine.error("read", &log.name))?;
            let Some(record) = record::read(&bytes).filter(|record| record.host == host) else {
                engine.damage.note(&log.name, u64::from(offset));
                continue;
            };
            frames.push(StoredFrame {
                epoch: record.epoch,
                batch: record.batch,
                key: record.key,
                received_ms: record.received_ms,
            });
        }
    }
    for block in files.blocks.values() {
        block
            .ledger((host, host), &mut |_, _, noted| {
                frames.extend(noted.iter().map(|noted| noted.frame));
            })
            .map_err(engine.error("read", &block.name))?;
    }
    if !files.sealed.is_empty() {
        frames.append(&mut legacy::frames(engine, host)?);
    }
    frames.sort_by_key(|frame| (frame.epoch, frame.batch.seq, frame.received_ms));
    frames.dedup_by_key(|frame| (frame.epoch, frame.batch.seq));
    Ok(frames)
}

fn last_stored(engine: &Engine, host: HostKey) -> Option<(u64, u64)> {
    let writer = engine.writer();
    let lanes = writer.lanes.iter().filter(|((of, _), _)| *of == host);
    lanes
        .filter_map(|(&(_, epoch), lane)| Some((epoch, lane.seqs.last()?)))
        .max()
}
