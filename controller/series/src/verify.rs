//! Reads everything, to learn of damage before someone asks for the damaged hour.

use std::io;

use crate::disk::DiskFile;
use crate::engine::Engine;
use crate::error::SeriesError;
use crate::frame::{Damage, VerifyReport};
use crate::record::HEADER_BYTES;
use crate::scan::{Scanner, Step};

/// See [`crate::SeriesStore::verify`].
pub(crate) fn verify(engine: &Engine) -> Result<VerifyReport, SeriesError> {
    let mut report = VerifyReport::default();
    let files = engine.files();
    for segment in files.sealed.values() {
        walk(
            &*segment.file,
            &segment.name,
            segment.seed,
            segment.data_end,
            &mut report,
        )
        .and_then(|()| segment.damaged_blocks())
        .map_err(engine.error("read", &segment.name))?
        .into_iter()
        .for_each(|(offset, bytes)| note(&mut report, &segment.name, offset, bytes));
    }
    for block in files.blocks.values().chain(files.rollups.values()) {
        report.files += 1;
        let mut damaged = Vec::new();
        let intact = block
            .verify(&mut |offset, bytes| damaged.push((offset, bytes)))
            .map_err(engine.error("read", &block.name))?;
        report.records += intact;
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
            .for_each(|(offset, bytes)| note(&mut report, &block.name, offset, bytes));
    }
    for log in files.logs.values() {
        let end = log.state().length;
        walk(&*log.file, &log.name, log.seed, end, &mut report)
            .map_err(engine.error("read", &log.name))?;
    }
    Ok(report)
}

fn walk(
    file: &dyn DiskFile,
    name: &str,
    seed: u32,
    end: u64,
    report: &mut VerifyReport,
) -> io::Result<()> {
    report.files += 1;
    let mut scanner = Scanner::new(file, seed, HEADER_BYTES, end);
    while let Some(step) = scanner.step()? {
        match step {
            Step::Record { .. } => report.records += 1,
            Step::Damaged { offset, length } => note(report, name, offset, length),
        }
    }
    Ok(())
}

fn note(report: &mut VerifyReport, name: &str, offset: u64, bytes: u64) {
    if report.damaged.len() < VerifyReport::MAX_DAMAGES {
        report.damaged.push(Damage {
            file: name.to_owned(),
            offset,
            bytes,
        });
    }
}
