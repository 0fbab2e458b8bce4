//! What an answer lacks, so that it can say so: pages that are damaged, frames that cannot be decoded, and
//! files of its time that are not served, or not whole.
//!
//! A file that was set aside or that the disk refuses is in no list of what is read. Where its samples lie in
//! time its own ends tell, if they can be read, or the larger block that was made of it; otherwise all that is
//! known is that they are no newer than what arrived after it.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::block::{self, Block};
use crate::damage::{self, base_of};
use crate::engine::{Catalog, Engine};
use crate::log::{Log, Span};
use crate::unread;

/// Files that are named; the others are counted.
const NAMED: usize = 3;

/// Where samples of a file may lie in time, Unix milliseconds; nothing where that is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    from_ms: Option<i64>,
    to_ms: Option<i64>,
}

impl Reach {
    fn of(span: &Span) -> Self {
        Self {
            from_ms: Some(span.oldest_ms),
            to_ms: Some(span.newest_ms),
        }
    }

    fn touches(&self, from_ms: i64, to_ms: i64) -> bool {
        self.from_ms.is_none_or(|own| own <= to_ms) && self.to_ms.is_none_or(|own| own >= from_ms)
    }

    fn words(&self) -> String {
        match (self.from_ms.map(moment), self.to_ms.map(moment)) {
            (Some(from), Some(to)) => format!("samples from {from} to {to}"),
            (None, Some(to)) => format!("samples up to {to}"),
            (Some(from), None) => format!("samples since {from}"),
            (None, None) => "samples of any time".to_owned(),
        }
    }
}

fn moment(time_ms: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(time_ms.div_euclid(1000));
    let told = moment.ok().and_then(|moment| moment.format(&Rfc3339).ok());
    told.unwrap_or_else(|| format!("Unix time {time_ms} ms"))
}

/// Why a file is not served, or not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    SetAside,
    Refused,
    Damaged,
}

/// What an answer lacks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lacking {
    /// Damaged pages.
    pub(crate) pages: u64,
    /// Frames of wanted hosts that cannot be decoded.
    pub(crate) frames: u64,
    files: BTreeMap<String, (Why, Reach)>,
    is_unlisted: bool,
}

impl Lacking {
    /// Files that are not served, or not whole, and may have samples of this time.
    pub(crate) fn of(engine: &Engine, files: &Catalog, (from_ms, to_ms): (i64, i64)) -> Self {
        let mut lacking = Self {
            is_unlisted: files.is_unlisted,
            ..Self::default()
        };
        let mut add = |name: &str, why: Why, reach: Reach| {
            if reach.touches(from_ms, to_ms) {
                lacking.files.insert(name.to_owned(), (why, reach));
            }
        };
        for log in files.logs.values() {
            if engine.damage.has_beside(&log.name, &log.copies()) {
                add(&log.name, Why::Damaged, of_log(files, log));
            }
        }
        for (name, reach) in &files.aside {
            add(name, Why::SetAside, *reach);
        }
        for name in files.unread.keys() {
            if let Some(reach) = of_unread(files, name) {
                add(name, Why::Refused, reach);
            }
        }
        lacking
    }

    /// Takes in what another answer lacks that goes into the same one.
    pub(crate) fn join(&mut self, other: Self) {
        self.pages += other.pages;
        self.frames = self.frames.max(other.frames);
        self.files.extend(other.files);
        self.is_unlisted |= other.is_unlisted;
    }

    /// A sentence for each thing; none if nothing is lacking.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let mut all = Vec::new();
        let pages = match self.pages {
            0 => None,
            1 => Some("1 damaged page was".to_owned()),
            several => Some(format!("{several} damaged pages were")),
        };
        all.extend(pages.map(|pages| {
            format!("{pages} left out; `xiezhi-controller series verify` names what is damaged")
        }));
        if self.frames > 0 {
            all.push(format!(
                "{} stored reports cannot be decoded and were left out; `xiezhi-controller series verify` names them",
                self.frames
            ));
        }
        for (name, (why, reach)) in self.files.iter().take(NAMED) {
            let samples = reach.words();
            all.push(match why {
                Why::SetAside => format!(
                    "{samples} may be missing: {name} was set aside because it is damaged"
                ),
                Why::Refused => format!(
                    "{samples} may be missing: the disk refuses to read {name}, which is asked for again"
                ),
                Why::Damaged => format!("{samples} may be missing: {name} is damaged"),
            });
        }
        if let more @ 1.. = self.files.len().saturating_sub(NAMED) {
            all.push(format!(
                "samples may be missing: {more} more files are damaged or cannot be read; \
                 `xiezhi-controller series verify` names them"
            ));
        }
        if self.is_unlisted {
            all.push(
                "samples may be missing: the folder of samples cannot be listed, so nobody knows \
                 which files were set aside"
                    .to_owned(),
            );
        }
        all
    }
}

/// Lists which files lie aside; where their samples lie in time is looked up once.
///
/// # Errors
/// The folder cannot be listed. What was known stays, and answers say so.
pub(crate) fn list_aside(engine: &Engine) -> std::io::Result<Vec<String>> {
    let names = match damage::set_aside(&*engine.disk) {
        Ok(names) => names,
        Err(error) => {
            engine.change_files(|files| files.is_unlisted = true);
            return Err(error);
        }
    };
    let files = engine.files();
    if !files.is_unlisted && files.aside.keys().eq(&names) {
        return Ok(names);
    }
    let mut aside = BTreeMap::new();
    for name in &names {
        let known = files.aside.get(name).copied();
        if let Some(reach) = known.or_else(|| of_aside(engine, &files, name)) {
            aside.insert(name.clone(), reach);
        }
    }
    engine.change_files(|files| {
        files.aside = aside;
        files.is_unlisted = false;
    });
    Ok(names)
}

/// Where the samples of a file lie that was set aside; nothing if it holds none that other files lack.
fn of_aside(engine: &Engine, files: &Catalog, name: &str) -> Option<Reach> {
    let base = base_of(name)?;
    let (first, last, step_ms) = unread::logs_of(base)?;
    let span = block::span_of(&*engine.disk, base, name).ok().flatten();
    Some(match span {
        Some(span) => Reach::of(&span),
        None => around(files, (first, last), step_ms),
    })
}

/// Where samples lie that the disk refuses, and of which no page tells that it is met.
fn of_unread(files: &Catalog, name: &str) -> Option<Reach> {
    let (first, last, step_ms) = unread::logs_of(name)?;
    if let Some(log) = files.logs.values().find(|log| *log.name == *name) {
        return Some(of_log(files, log));
    }
    let mut blocks = files.blocks.values().chain(files.rollups.values());
    let is_listed = blocks.any(|block| *block.name == *name);
    let is_elsewhere = match step_ms {
        0 => files.covers(first, last),
        _ => files.rollups.contains_key(&(step_ms, first)),
    };
    (!is_listed && !is_elsewhere).then(|| around(files, (first, last), step_ms))
}

fn of_log(files: &Catalog, log: &Log) -> Reach {
    let state = log.state();
    match state.is_empty() {
        true => around(files, (log.id, log.id), 0),
        false => Reach::of(&state.span),
    }
}

/// Where samples of these logs lie, as far as other files tell.
fn around(files: &Catalog, (first, last): (u64, u64), step_ms: u64) -> Reach {
    let larger = files.blocks.range(..=first).next_back();
    let larger = larger.filter(|(_, block)| block.last() >= last && step_ms == 0);
    if let Some((_, block)) = larger {
        return Reach::of(block.span());
    }
    let blocks = files.blocks.values().chain(files.rollups.values());
    let later = |block: &&std::sync::Arc<Block>| block.first() > last;
    let blocks = blocks.filter(later).map(|block| *block.span());
    let logs = files.logs.range(last.saturating_add(1)..);
    let logs = logs.map(|(_, log)| log.state().span);
    let arrived = blocks.chain(logs).map(|span| span.first_received_ms);
    Reach {
        from_ms: None,
        to_ms: arrived.min().filter(|arrived| *arrived < i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_told_once_and_files_beyond_three_are_counted() {
        let reach = Reach {
            from_ms: Some(1_700_000_000_000),
            to_ms: Some(1_700_003_600_999),
        };
        let mut lacking = Lacking {
            pages: 1,
            frames: 7,
            ..Lacking::default()
        };
        assert_eq!(Lacking::default().sentences(), Vec::<String>::new());
        for number in 1..=5 {
            let name = format!("block-{number}");
            lacking.files.insert(name, (Why::SetAside, reach));
        }
        let mut other = lacking.clone();
        other.is_unlisted = true;
        lacking.join(other);
        let told = lacking.sentences();
        assert_eq!(told.len(), 7, "{told:?}");
        assert!(told[0].starts_with("2 damaged pages were left out"));
        assert!(told[1].starts_with("7 stored reports"));
        let range = "from 2023-11-14T22:13:20Z to 2023-11-14T23:13:20Z";
        assert!(
            told[2].contains(range) && told[2].contains("block-1"),
            "{told:?}"
        );
        assert!(told[5].contains("2 more files"));
        assert!(told[6].contains("cannot be listed"));
    }

    #[test]
    fn what_is_not_known_of_a_file_is_open() {
        let known = Reach {
            from_ms: Some(10),
            to_ms: Some(20),
        };
        assert!(known.touches(20, 30) && known.touches(0, 10));
        assert!(!known.touches(21, 30) && !known.touches(0, 9));
        let until = Reach {
            from_ms: None,
            ..known
        };
        assert!(until.touches(i64::MIN, i64::MIN) && !until.touches(21, 30));
        assert!(Reach::default().touches(5, 5));
    }
}
