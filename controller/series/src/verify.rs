//! Reads everything, to learn of damage before someone asks for the damaged hour.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use crate::checkpoint;
use crate::damage;
use crate::disk::DiskFile;
use crate::engine::{Catalog, Engine};
use crate::error::SeriesError;
use crate::frame::{Damage, HostKey, Undecoded, VerifyReport};
use crate::log::{self, Log};
use crate::record::{HEADER_BYTES, OLD_START};
use crate::refused::{SECTOR, Thorough};
use crate::scan::{Scanner, Step};

/// How many frames of which log and host cannot be decoded.
type Lost = BTreeMap<(u64, HostKey), u64>;

/// See [`crate::SeriesStore::verify`].
pub(crate) fn verify(engine: &Engine) -> Result<VerifyReport, SeriesError> {
    let turn = engine.maintenance.lock();
    let (files, undecoded) = look(engine);
    drop(turn);
    read(engine, &files, &undecoded)
}

/// Reads all of these files.
pub(crate) fn read(
    engine: &Engine,
    files: &Catalog,
    undecoded: &Lost,
) -> Result<VerifyReport, SeriesError> {
    let _thorough = Thorough::begin();
    let mut report = VerifyReport {
        set_aside: damage::set_aside(&*engine.disk).map_err(engine.error("list", ""))?,
        refused: files.unread.keys().cloned().collect(),
        ..VerifyReport::default()
    };
    for segment in files.sealed.values() {
        walk(
            engine,
            &*segment.file,
            &segment.name,
            segment.seed,
            OLD_START..segment.data_end,
            &mut report,
        )
        .and_then(|()| segment.damaged_blocks())
        .map_err(engine.error("read", &segment.name))?
        .into_iter()
        .for_each(|(offset, bytes)| note(engine, &mut report, &segment.name, offset, bytes));
    }
    for block in files.blocks.values().chain(files.rollups.values()) {
        report.files += 1;
        let mut damaged = Vec::new();
        let intact = block
            .verify(&mut |offset, bytes| damaged.push((offset, bytes)))
            .map_err(engine.error("read", &block.name))?;
        report.records += intact;
        note_undecoded(&mut report, &block.name, block.undecoded().iter());
        let orphans = block.orphans(|scanner| {
            while let Some(step) = scanner.step()? {
                match step {
                    Step::Record { .. } => report.records += 1,
                    Step::Damaged { offset, length } => damaged.push((offset, length)),
                }
            }
            Ok(())
        });
        orphans.map_err(engine.error("read", &block.name))?;
        damaged
            .into_iter()
            .for_each(|(offset, bytes)| note(engine, &mut report, &block.name, offset, bytes));
    }
    for log in files.logs.values() {
        let end = log.state().length;
        check_head(engine, log, &mut report)
            .and_then(|()| {
                let records = log.start..end;
                walk(
                    engine,
                    &*log.file,
                    &log.name,
                    log.seed,
                    records,
                    &mut report,
                )
            })
            .map_err(engine.error("read", &log.name))?;
        let of_log = undecoded.range((log.id, HostKey::MIN)..=(log.id, HostKey::MAX));
        let hosts = of_log.map(|((_, host), frames)| (host, frames));
        note_undecoded(&mut report, &log.name, hosts);
    }
    note_refused(engine, files, &mut report);
    Ok(report)
}

/// Refused sectors of which no piece told: of what is there twice, or of no piece.
fn note_refused(engine: &Engine, files: &Catalog, report: &mut VerifyReport) {
    let blocks = files.blocks.values().chain(files.rollups.values());
    let blocks = blocks.map(|block| &*block.name);
    let segments = files.sealed.values().map(|segment| &*segment.name);
    let logs = files.logs.values().map(|log| &*log.name);
    let names = blocks.chain(segments).chain(logs);
    for name in names.chain([checkpoint::NAME]) {
        for sector in engine.refusals.of(name) {
            let is_told = report.damaged.iter().any(|damage| {
                let end = damage.offset.saturating_add(damage.bytes);
                damage.file == name && damage.offset < sector + SECTOR && sector < end
            });
            if !is_told {
                note(engine, report, name, sector, SECTOR);
            }
        }
    }
}

/// The files, and which frames of logs cannot be decoded. Who holds `maintenance` gets both of one
/// moment.
pub(crate) fn look(engine: &Engine) -> (Catalog, Lost) {
    let now_ms = engine.options.clock.now_ms();
    for (host, _) in engine.heads.hosts() {
        engine.heads.catch_up(host, u64::MAX, now_ms);
    }
    (engine.files(), engine.heads.undecoded())
}

fn note_undecoded<'a>(
    report: &mut VerifyReport,
    name: &str,
    hosts: impl Iterator<Item = (&'a HostKey, &'a u64)>,
) {
    for (&host, &frames) in hosts {
        report.undecoded_frames += frames;
        if report.undecoded.len() < VerifyReport::MAX_DAMAGES {
            report.undecoded.push(Undecoded {
                file: name.to_owned(),
                host,
                frames,
            });
        }
    }
}

/// Looks at both copies of a log's header.
fn check_head(engine: &Engine, log: &Log, report: &mut VerifyReport) -> io::Result<()> {
    let damaged = match log::read_head(&*log.file, log.id)? {
        Some(head) => head.damaged,
        None => Some(0),
    };
    match damaged {
        Some(offset) => note(engine, report, &log.name, offset, HEADER_BYTES as u64),
        None => log
            .copies()
            .into_iter()
            .for_each(|offset| engine.damage.well(&log.name, offset)),
    }
    Ok(())
}

fn walk(
    engine: &Engine,
    file: &dyn DiskFile,
    name: &str,
    seed: u32,
    records: Range<u64>,
    report: &mut VerifyReport,
) -> io::Result<()> {
    report.files += 1;
    let mut scanner = Scanner::new(file, seed, records.start, records.end);
    while let Some(step) = scanner.step()? {
        match step {
            Step::Record { offset, .. } => {
                report.records += 1;
                engine.damage.well(name, offset);
            }
            Step::Damaged { offset, length } => note(engine, report, name, offset, length),
        }
    }
    Ok(())
}

fn note(engine: &Engine, report: &mut VerifyReport, name: &str, offset: u64, bytes: u64) {
    engine.damage.note(name, offset);
    if report.damaged.len() < VerifyReport::MAX_DAMAGES {
        report.damaged.push(Damage {
            file: name.to_owned(),
            offset,
            bytes,
        });
    }
}
