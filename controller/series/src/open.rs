//! Opening: from whatever a crash left behind to a store that is whole.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, RwLock};

use crate::block::{self, Block};
use crate::checkpoint::{self, Lanes};
use crate::damage::{self, Places};
use crate::disk::Disk;
use crate::engine::{Bell, Catalog, Counters, Engine, count};
use crate::error::SeriesError;
use crate::frame::Damage;
use crate::head::{Arrival, Heads};
use crate::held::Held;
use crate::lacking;
use crate::legacy;
use crate::log::{self, Log};
use crate::options::SeriesOptions;
use crate::record::Content;
use crate::refused::{self, Refusals, Salvaging};
use crate::scan::{Scanner, Step};
use crate::segment::{self, Segment};
use crate::stepless::Stepless;
use crate::stray;
use crate::unread::Unread;
use crate::writer::Writer;

/// Why most files are set aside.
const UNREADABLE: &str = "its header or its footer is unreadable";

/// Opens the store on `disk`.
pub(crate) fn open(disk: Arc<dyn Disk>, options: SeriesOptions) -> Result<Engine, SeriesError> {
    Ok(begin(disk, options, false)?.0)
}

/// Opens what lies on `disk` to look at it: files are left as they are, and what opening would cut off
/// or set aside is named.
pub(crate) fn look(
    disk: Arc<dyn Disk>,
    options: SeriesOptions,
) -> Result<(Engine, Vec<Damage>), SeriesError> {
    begin(disk, options, true)
}

fn begin(
    disk: Arc<dyn Disk>,
    options: SeriesOptions,
    only_looks: bool,
) -> Result<(Engine, Vec<Damage>), SeriesError> {
    let refusals = Arc::new(Refusals::new(options.ask_again));
    refusals.begin();
    let disk = Arc::new(Salvaging {
        disk,
        refusals: Arc::clone(&refusals),
    });
    let mut opening = Opening {
        disk,
        refusals,
        hold: options.hold.is_some(),
        lanes: Lanes::new(),
        through: 0,
        next_id: 1,
        files: Catalog::default(),
        counters: Counters::default(),
        damage: Arc::default(),
        data: Vec::new(),
        only_looks,
        left_out: Vec::new(),
    };
    opening.run()?;
    let Opening {
        disk,
        refusals,
        lanes,
        next_id,
        files,
        counters,
        damage,
        data,
        left_out,
        ..
    } = opening;
    let active = files.active.and_then(|id| files.logs.get(&id).cloned());
    let writer = Writer::new(lanes, active, next_id);
    let heads = Heads::new(options.series);
    let engine = Engine {
        disk,
        options,
        writer: Mutex::new(writer),
        heads,
        catalog: RwLock::new(files),
        maintenance: Mutex::new(()),
        counters,
        damage,
        refusals,
        stepless: Stepless::default(),
        released: Mutex::default(),
        bell: Bell::default(),
        foreign: Mutex::new(()),
    };
    for log in engine.files().logs.values() {
        fill_heads(&engine, &engine.heads, log)?;
    }
    engine.heads.end_replay();
    list_unread(&engine, &data);
    engine.refusals.end();
    tell_undecoded(&engine);
    let set_aside = lacking::list_aside(&engine).map_err(engine.error("list", ""))?;
    if !set_aside.is_empty() {
        tracing::error!(
            files = set_aside.join(" "),
            "damaged files lie aside and are not served: look at them, then move them elsewhere"
        );
    }
    Ok((engine, left_out))
}

/// Lists what of these files the disk refused until now.
fn list_unread(engine: &Engine, data: &[String]) {
    for name in data.iter().filter(|name| engine.refusals.met(name) > 0) {
        let length = engine.disk.open(name).and_then(|file| file.length());
        let unread = Unread::new(name, length.unwrap_or_default());
        tracing::error!(
            file = name,
            "the disk refuses to read this file or a part of it: it stays as it is, and \
            is read when the disk gives it; if it never will, stop the controller and move it elsewhere"
        );
        let was_active = engine.change_files(|files| {
            files.unread.insert(name.clone(), unread);
            let id = log::id_of(name);
            id.is_some() && files.active.take_if(|active| Some(*active) == id).is_some()
        });
        // Nothing is appended behind a refused sector: even writing may have to read it.
        if was_active {
            engine.writer().leave();
        }
    }
}

/// Says of which frames nothing will be served: a damaged frame costs those that build on it.
fn tell_undecoded(engine: &Engine) {
    /// Lines at most; `series verify` names all.
    const MOST: usize = 100;
    let files = engine.files();
    let of_logs = engine.heads.undecoded();
    let of_logs = of_logs
        .iter()
        .filter_map(|(&(log, host), &frames)| Some((&*files.logs.get(&log)?.name, host, frames)));
    let of_blocks = files.blocks.values().flat_map(|block| {
        let hosts = block.undecoded().iter();
        hosts.map(|(&host, &frames)| (&*block.name, host, frames))
    });
    let (mut places, mut total) = (0, 0);
    for (file, host, frames) in of_logs.chain(of_blocks) {
        (places, total) = (places + 1, total + frames);
        if places <= MOST {
            tracing::error!(
                file,
                host,
                frames,
                "stored frames cannot be decoded; their samples are not served"
            );
        }
    }
    if places > MOST {
        tracing::error!(frames = total, "more of them: `series verify` names all");
    }
}

/// Pushes the frames of a log into the heads.
pub(crate) fn fill_heads(engine: &Engine, heads: &Heads, log: &Log) -> Result<(), SeriesError> {
    let end = log.state().length;
    let mut scanner = Scanner::new(&*log.file, log.seed, log.start, end);
    let has_segments = !engine.files().sealed.is_empty();
    while let Some(step) = scanner.step().map_err(engine.error("read", &log.name))? {
        let Step::Record { offset, record, .. } = step else {
            continue;
        };
        let (host, epoch, seq) = (record.host, record.epoch, record.batch.seq);
        let arrival = Arrival {
            epoch,
            seq,
            time_ms: record.batch.time_ms,
            key: record.key,
            bytes: record.bytes,
            log: log.id,
            // Logs are shorter than 4 GiB.
            offset: offset as u32,
        };
        match record.content {
            Content::Frame => {}
            Content::State => {
                heads.follow(host, &arrival, record.received_ms);
                continue;
            }
            Content::Foreign => {
                if !heads.replay_foreign(log.id, &record) {
                    engine.damage.note(&log.name, offset);
                    tracing::error!(file = %log.name, offset, source = host,
                        "samples of a foreign source name series of a damaged record; they are lost");
                }
                continue;
            }
        }
        if has_segments && !record.key && !heads.continues(host, epoch, seq) {
            follow_segment(engine, heads, &arrival, host, record.received_ms)?;
        }
        heads.push(host, &arrival, record.received_ms);
    }
    Ok(())
}

/// Logs of the first format do not tell the state of chains that began in a segment before them.
fn follow_segment(
    engine: &Engine,
    heads: &Heads,
    arrival: &Arrival<'_>,
    host: i64,
    received_ms: i64,
) -> Result<(), SeriesError> {
    let Some(seq) = arrival.seq.checked_sub(1) else {
        return Ok(());
    };
    let state = match legacy::state_after(engine, host, arrival.epoch, seq) {
        Ok(state) => state,
        Err(SeriesError::TooMuch { .. }) => None,
        Err(error) => return Err(error),
    };
    if let Some(bytes) = state {
        let before = Arrival {
            seq,
            key: true,
            bytes: &bytes,
            ..*arrival
        };
        heads.follow(host, &before, received_ms);
    }
    Ok(())
}

/// Tells what is named as a file of ours and is none.
fn tell_strays(strays: &[String]) {
    if !strays.is_empty() {
        tracing::error!(
            files = strays.join(" "),
            "these are named as files of samples and are none: they stay as they are and are not read; move them elsewhere"
        );
    }
}

/// Tells of damaged places of a log.
pub(crate) fn tell_damaged(places: &Places, damage: &Damage) {
    places.note(&damage.file, damage.offset);
    tracing::error!(file = %damage.file, offset = damage.offset, bytes = damage.bytes,
        "a place in the log is damaged; what lay there is lost, unless it was a copy of its header");
}

/// Notes the frames of a block.
pub(crate) fn learn_from_block(lanes: &mut Lanes, block: &Block) -> io::Result<()> {
    block.ledger((i64::MIN, i64::MAX), &mut |host, epoch, frames| {
        let lane = lanes.entry((host, epoch)).or_default();
        for noted in frames {
            let frame = noted.frame;
            lane.insert(frame.batch.seq, frame.batch.checksum, frame.received_ms);
        }
    })?;
    Ok(())
}

/// Notes the frames of a segment. A region without gaps is noted as a range; its checksums are on disk
/// if they are needed.
pub(crate) fn learn_from_sealed(lanes: &mut Lanes, segment: &Segment) -> io::Result<()> {
    let mut gapped = Vec::new();
    let received_ms = segment.span.last_received_ms;
    segment.entries(&mut |entry| {
        let lane = lanes.entry((entry.host, entry.epoch)).or_default();
        if entry.is_gapless() {
            lane.insert_range(entry.first_seq, entry.last_seq, received_ms);
        } else {
            gapped.push(*entry);
        }
    })?;
    for entry in gapped {
        let lane = lanes.entry((entry.host, entry.epoch)).or_default();
        let mut region = segment.region(&entry);
        while let Some(step) = region.step()? {
            if let Step::Record { record, .. } = step {
                lane.insert(record.batch.seq, record.batch.checksum, record.received_ms);
            }
        }
    }
    Ok(())
}

/// Whether smaller blocks have all of these logs.
fn has_sources(blocks: &BTreeSet<(u64, u64, u64)>, first: u64, last: u64) -> bool {
    let mut next = first;
    while next <= last {
        let of_next = blocks.range((next, next, 0)..=(next, last, 0));
        let mut smaller =
            of_next.filter(|block| block.2 == 0 && (block.0, block.1) != (first, last));
        match smaller.next_back() {
            Some(block) => next = block.1 + 1,
            None => return false,
        }
    }
    true
}

struct Opening {
    disk: Arc<Salvaging>,
    refusals: Arc<Refusals>,
    /// Whether logs that are in a block are still to be followed.
    hold: bool,
    lanes: Lanes,
    through: u64,
    next_id: u64,
    files: Catalog,
    counters: Counters,
    damage: Arc<Places>,
    /// Files that the disk may refuse in part.
    data: Vec<String>,
    /// Whether files stay as they are.
    only_looks: bool,
    /// What was not opened.
    left_out: Vec<Damage>,
}

impl Opening {
    fn run(&mut self) -> Result<(), SeriesError> {
        let disk = Arc::clone(&self.disk);
        let error = |action, name: &str| {
            let path = disk.path(name);
            move |source| SeriesError::io(action, path, source)
        };
        let names = self.disk.list().map_err(error("list", ""))?;
        let is_data = |name: &&String| {
            log::id_of(name).is_some()
                || segment::id_of(name).is_some()
                || block::parse_name(name).is_some()
        };
        let data: Vec<&String> = names.iter().filter(is_data).collect();
        let given = self.refusals.await_one(&*self.disk.disk, &data);
        given.map_err(error("read any file of", ""))?;
        self.data = data.into_iter().cloned().collect();
        for name in names.iter().filter(|name| name.ends_with(".tmp")) {
            self.disk.remove(name).map_err(error("remove", name))?;
        }
        let (through, lanes, unreadable) =
            checkpoint::load(&*self.disk).map_err(error("read", checkpoint::NAME))?;
        (self.through, self.lanes) = (through, lanes);
        if unreadable > 0 {
            self.damage.note(checkpoint::NAME, 0);
        }
        if self.through == 0 {
            // The one before was no help: what it knows of files that are gone is nowhere else.
            self.data.push(checkpoint::NAME.to_owned());
        }
        let ids = |id_of: fn(&str) -> Option<u64>| -> BTreeSet<u64> {
            names.iter().filter_map(|name| id_of(name)).collect()
        };
        let (sealed, logs) = (ids(segment::id_of), ids(log::id_of));
        let blocks: BTreeSet<(u64, u64, u64)> = names
            .iter()
            .filter_map(|name| block::parse_name(name))
            .collect();
        let first = sealed.first().into_iter().chain(logs.first()).copied();
        let first = first.chain(blocks.iter().map(|block| block.0)).min();
        let is_over = |name: &&String| log::torn_id_of(name).is_some_and(|id| Some(id) < first);
        for name in names.iter().filter(is_over) {
            // All of its time is gone by retention.
            self.disk.remove(name).map_err(error("remove", name))?;
        }
        // The widest first: what they were made of may still be there, because the power went before
        // it was removed.
        let mut widest: Vec<_> = blocks.iter().copied().collect();
        widest.sort_by_key(|&(first, last, _)| (std::cmp::Reverse(last - first), first));
        for (first, last, resolution_ms) in widest {
            let name = block::name(first, last, resolution_ms);
            self.open_block(&name, (first, last), resolution_ms, (&logs, &blocks))
                .map_err(error("open", &name))?;
        }
        for &id in &sealed {
            let name = segment::name(id);
            self.open_sealed(id, logs.contains(&id))
                .map_err(error("open", &name))?;
        }
        for &id in &logs {
            self.open_log(id).map_err(error("open", &log::name(id)))?;
        }
        // Nothing is appended behind a refused sector: even writing may have to read it.
        let newest = self.files.logs.values().next_back();
        let newest = newest.filter(|log| self.refusals.met(&log.name) == 0);
        self.files.active = newest.map(|log| log.id);
        let strays = stray::list(&*disk).map_err(error("list", ""))?;
        tell_strays(&strays);
        let highest = stray::highest(self.highest_read(), names.iter().chain(&strays));
        self.next_id = highest + 1;
        let before = logs.range(..self.next_id).next_back();
        self.files.opened_through = before.copied().unwrap_or(0);
        self.disk.sync().map_err(error("sync", ""))
    }

    /// The highest number of what could be read, or is known to have been there.
    fn highest_read(&self) -> u64 {
        let files = &self.files;
        let blocks = files.blocks.values().chain(files.rollups.values());
        let blocks = blocks.map(|block| block.last());
        let logs = files.logs.keys().chain(files.held.keys());
        let logs = logs.chain(files.sealed.keys()).copied();
        logs.chain(blocks).fold(self.through, u64::max)
    }

    fn open_sealed(&mut self, id: u64, has_log: bool) -> io::Result<()> {
        let name = segment::name(id);
        // While the log is there, an unreadable sealed file is made again rather than mended.
        let opened = refused::or_nothing(Segment::open(&*self.disk, id, !has_log))?;
        let Some(segment) = opened else {
            if self.is_refused(&name) {
                return Ok(());
            }
            if has_log {
                return self.disk.remove(&name);
            }
            return self.set_aside(&name, UNREADABLE);
        };
        if segment.is_rebuilt() {
            self.damage.note(&name, segment.data_end);
            tracing::error!(file = %name, "segment index is damaged; it was rebuilt from the records");
        }
        if id > self.through {
            learn_from_sealed(&mut self.lanes, &segment)?;
        }
        self.files.sealed.insert(id, Arc::new(segment));
        Ok(())
    }

    fn open_block(
        &mut self,
        name: &str,
        (first, last): (u64, u64),
        resolution_ms: u64,
        (logs, blocks): (&BTreeSet<u64>, &BTreeSet<(u64, u64, u64)>),
    ) -> io::Result<()> {
        if resolution_ms == 0 && self.files.covers(first, last) {
            return self.remove_merged(name);
        }
        let Some(opened) = self.block(name)? else {
            if self.is_refused(name) {
                return Ok(());
            }
            // While the logs are there, an unreadable block is made again.
            if resolution_ms == 0 && (first..=last).all(|id| logs.contains(&id)) {
                return self.disk.remove(name);
            }
            return self.set_aside(name, UNREADABLE);
        };
        // What it was made of is whole, as long as the disk refuses to read this one.
        let is_second = resolution_ms == 0 && self.is_refused(name);
        if is_second && has_sources(blocks, first, last) {
            return Ok(());
        }
        let opened = Arc::new(opened);
        if resolution_ms > 0 {
            self.files.rollups.insert((resolution_ms, first), opened);
            return Ok(());
        }
        if last > self.through {
            learn_from_block(&mut self.lanes, &opened)?;
        }
        self.files.blocks.insert(first, opened);
        Ok(())
    }

    /// Whether the disk refused to read a part of it.
    fn is_refused(&self, name: &str) -> bool {
        self.refusals.met(name) > 0
    }

    fn block(&self, name: &str) -> io::Result<Option<Block>> {
        let disk: Arc<dyn Disk> = Arc::<Salvaging>::clone(&self.disk);
        refused::or_nothing(Block::open(&disk, &self.damage, name))
    }

    /// The power went before a source of a merge was removed, or set aside for its damage.
    fn remove_merged(&mut self, name: &str) -> io::Result<()> {
        let is_damaged = match self.block(name)? {
            Some(block) => {
                let mut is_damaged = false;
                block.verify(&mut |_, _| is_damaged = true)?;
                is_damaged
            }
            None => true,
        };
        if self.is_refused(name) {
            return Ok(());
        }
        if is_damaged {
            return self.set_aside(
                name,
                "it is damaged, and a larger block has what is readable",
            );
        }
        self.disk.remove(name)
    }

    fn open_log(&mut self, id: u64) -> io::Result<()> {
        let name = log::name(id);
        if self.hold
            && self.files.covers(id, id)
            && let Some(held) = refused::or_nothing(Held::open(&*self.disk, id))?
        {
            self.files.held.insert(id, Arc::new(held));
            return Ok(());
        }
        if self.files.sealed.contains_key(&id) || self.files.covers(id, id) {
            // In a block, and the power went before the log was removed. One that a cluster still waits for
            // stays while the disk refuses it.
            if self.is_refused(&name) {
                return Ok(());
            }
            return self.disk.remove(&name);
        }
        let lanes = &mut self.lanes;
        let places = &self.damage;
        let opened = Log::open(
            &*self.disk,
            id,
            &|| self.refusals.met(&name) > 0,
            &mut |record| {
                let lane = lanes.entry((record.host, record.epoch)).or_default();
                lane.insert(record.batch.seq, record.batch.checksum, record.received_ms);
            },
            &mut |damage| tell_damaged(places, &damage),
        )?;
        let Some((log, torn)) = opened else {
            if self.is_refused(&name) {
                return Ok(());
            }
            return self.discard_unreadable(&name);
        };
        if torn > 0 {
            count(&self.counters.torn_tails, 1);
            count(&self.counters.torn_bytes, torn);
            self.cut_tail(&log, torn)?;
        }
        self.files.logs.insert(id, Arc::new(log));
        Ok(())
    }

    /// The end of the file may be of any size if the disk lies; a log has one torn end at most.
    fn cut_tail(&mut self, log: &Log, torn: u64) -> io::Result<()> {
        if self.only_looks {
            self.leave_out(&log.name, log.state().length, torn);
            return Ok(());
        }
        tracing::warn!(file = %log.name, bytes = torn,
            "torn end cut off and kept as .torn; if the disk kept its promises it was never acknowledged");
        // For want of space the store opens all the same.
        if let Err(error) = log.keep_tail(&*self.disk) {
            tracing::warn!(file = %log.name, %error, "the torn end could not be kept");
        }
        log.cut_tail()
    }

    /// A log without a readable header: cut short at its creation, or damaged.
    fn discard_unreadable(&mut self, name: &str) -> io::Result<()> {
        let file = self.disk.open(name);
        if file.is_ok_and(|file| log::is_unborn(&*file).unwrap_or(false)) {
            return self.disk.remove(name);
        }
        self.set_aside(name, UNREADABLE)
    }

    fn leave_out(&mut self, file: &str, offset: u64, bytes: u64) {
        self.left_out.push(Damage {
            file: file.to_owned(),
            offset,
            bytes,
        });
    }

    /// Keeps a file for a person to look at.
    fn set_aside(&mut self, name: &str, why: &str) -> io::Result<()> {
        self.damage.note(name, 0);
        let length = self.disk.open(name).and_then(|file| file.length());
        let bytes = length.unwrap_or_default();
        self.leave_out(name, 0, bytes);
        tracing::error!(file = name, why, "a file is set aside as .damaged");
        self.disk.rename(name, &damage::aside(name))
    }
}
