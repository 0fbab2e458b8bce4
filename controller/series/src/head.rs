//! The head: samples that are not in a block yet, by host, as columns.
//!
//! Every committed frame is pushed here once. A host has a lock of its own, so a query never holds
//! up more than one host's next frame. Nothing here is durable: the logs are, and opening the store
//! pushes their frames again.

mod chain;
pub(crate) mod foreign;
pub(crate) mod left_out;
mod run;
pub(crate) mod texts;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use xiezhi_protocol::codec::{Column, Decoder, SeriesName};

pub(crate) use self::chain::Arrival;
use self::chain::Caught;
pub(crate) use self::chain::Chain;
use self::foreign::Foreign;
use self::left_out::{Board, LeftOut};
pub(crate) use self::run::Run;
use self::texts::{REFUSED, TextId, Texts};
use crate::frame::HostKey;
use crate::options::SeriesLimits;

/// Chains that one host has at most: a live one and a backlog, and those that a reconnect left.
const MAX_CHAINS: usize = 4;

/// The samples of all hosts that are in no block.
#[derive(Debug)]
pub(crate) struct Heads {
    pub(crate) texts: Texts,
    limits: SeriesLimits,
    hosts: RwLock<HashMap<HostKey, Arc<Mutex<Head>>>>,
    /// Held to read while texts get numbers, and to write while they lose them.
    numbering: RwLock<()>,
    series: AtomicU64,
    refused: AtomicU64,
    /// Whether there ever was a frame that could not be decoded: almost no store looks further.
    orphans: AtomicBool,
    pub(crate) left_out: Board,
}

/// What catching up needs from outside.
#[derive(Debug)]
pub(crate) struct Keep<'a> {
    pub(crate) texts: &'a Texts,
    pub(crate) limits: &'a SeriesLimits,
    now_ms: i64,
    /// Series of all other hosts.
    others: u64,
    series: &'a AtomicU64,
    refused: &'a AtomicU64,
    host: HostKey,
    left_out: &'a Board,
}

/// The samples of one host.
#[derive(Debug, Default)]
pub(crate) struct Head {
    chains: Vec<Chain>,
    /// In the order in which they were made, which decides between points of one time.
    runs: Vec<Run>,
    /// Offsets of frames that could not be decoded, by log.
    orphans: BTreeMap<u64, Vec<u32>>,
    uses: u64,
    /// Its chains' share of the count of all series.
    counted: u64,
    /// What it holds if it is no host but a source.
    foreign: Option<Box<Foreign>>,
}

/// Whether a delta frame's log must tell the state before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// The log has all that is needed, or nothing would help.
    None,
    /// This key frame must come before it.
    State(Vec<u8>),
}

impl Keep<'_> {
    /// The shared copy of a text.
    pub(crate) fn shared(&self, text: &str) -> SeriesName {
        self.texts.shared(text).unwrap_or_else(|| text.into())
    }

    /// Numbers for columns; what is beyond a limit or badly named gets none.
    pub(crate) fn number(&self, columns: &[Column]) -> Vec<TextId> {
        let room = self.limits.series.saturating_sub(self.others);
        let most = room.min(u64::from(self.limits.series_per_host)) as usize;
        let (mut kept, mut refused, mut first) = (0, 0, None);
        let mut number = |column: &Column| {
            let labels = column.name.matches("=\"").count();
            let limit = if labels > self.limits.labels_per_series as usize {
                Some("labels_per_series")
            } else if kept >= self.limits.series_per_host as usize {
                Some("series_per_host")
            } else {
                (kept >= most).then_some("series")
            };
            let id = match limit {
                None => self.texts.intern(&column.name, self.now_ms),
                Some(_) => REFUSED,
            };
            if id == REFUSED {
                refused += 1;
                let limit = limit.unwrap_or_else(|| self.texts.limit(&column.name));
                first.get_or_insert_with(|| (limit, String::from(&*column.name)));
            } else {
                kept += 1;
            }
            id
        };
        let ids = columns.iter().map(&mut number).collect();
        let left_out = first.map(|(limit, example)| LeftOut {
            host: self.host,
            since_ms: self.now_ms,
            series: refused,
            limit,
            example,
        });
        self.left_out.note(self.host, left_out);
        self.count_refused(refused);
        ids
    }

    fn count_refused(&self, refused: u64) {
        // Said once; how many there are is in the statistics.
        if refused > 0 && self.refused.fetch_add(refused, Ordering::Relaxed) == 0 {
            tracing::warn!(
                refused,
                "series beyond the limits are not kept; the others are"
            );
        }
    }
}

impl Heads {
    pub(crate) fn new(limits: SeriesLimits) -> Self {
        Self {
            texts: Texts::new(limits),
            limits,
            hosts: RwLock::default(),
            numbering: RwLock::default(),
            series: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            orphans: AtomicBool::new(false),
            left_out: Board::default(),
        }
    }

    fn keep(&self, host: HostKey, counted: u64, now_ms: i64) -> Keep<'_> {
        Keep {
            texts: &self.texts,
            limits: &self.limits,
            now_ms,
            others: self.series().saturating_sub(counted),
            series: &self.series,
            refused: &self.refused,
            host,
            left_out: &self.left_out,
        }
    }

    /// Series held.
    pub(crate) fn series(&self) -> u64 {
        self.series.load(Ordering::Relaxed)
    }

    /// Series that were refused, counted each time that a frame named them.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Counts series of a source that were refused.
    pub(crate) fn count_refused(&self, refused: u64) {
        self.keep(0, 0, 0).count_refused(refused);
    }

    /// A host's head, if it has one.
    pub(crate) fn find(&self, host: HostKey) -> Option<Arc<Mutex<Head>>> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        hosts.get(&host).cloned()
    }

    fn find_or_make(&self, host: HostKey) -> Arc<Mutex<Head>> {
        self.find(host).unwrap_or_else(|| {
            let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(hosts.entry(host).or_default())
        })
    }

    /// All hosts, ascending.
    pub(crate) fn hosts(&self) -> Vec<(HostKey, Arc<Mutex<Head>>)> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = hosts
            .iter()
            .map(|(&host, head)| (host, Arc::clone(head)))
            .collect();
        all.sort_unstable_by_key(|(host, _)| *host);
        all
    }

    fn with<T>(
        &self,
        host: HostKey,
        now_ms: i64,
        act: impl FnOnce(&mut Head, &Keep<'_>) -> T,
    ) -> T {
        let head = self.find_or_make(host);
        let _numbering = self
            .numbering
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut head = lock(&head);
        let keep = self.keep(host, head.counted, now_ms);
        let outcome = act(&mut head, &keep);
        self.count(&mut head);
        if !head.orphans.is_empty() {
            self.orphans.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// Counts a host's series again after a change. Its chains name the same ones: a live one and a
    /// backlog are not twice as many.
    fn count(&self, head: &mut Head) {
        let now = head.chains.iter().map(Chain::series).max().unwrap_or(0) as u64;
        let before = std::mem::replace(&mut head.counted, now);
        if now != before {
            self.series.fetch_add(now, Ordering::Relaxed);
            self.series.fetch_sub(before, Ordering::Relaxed);
        }
    }

    /// Takes a frame in that is durable.
    pub(crate) fn push(&self, host: HostKey, arrival: &Arrival<'_>, now_ms: i64) {
        self.with(host, now_ms, |head, keep| head.push(arrival, keep));
    }

    /// Follows a frame whose samples are there already, so that what continues it can be decoded.
    pub(crate) fn follow(&self, host: HostKey, arrival: &Arrival<'_>, now_ms: i64) {
        self.with(host, now_ms, |head, keep| head.follow(arrival, keep));
    }

    /// What a log that has not begun this frame's chain must hold before it.
    pub(crate) fn anchor(
        &self,
        host: HostKey,
        epoch: u64,
        seq: u64,
        log: u64,
        now_ms: i64,
    ) -> Anchor {
        self.with(host, now_ms, |head, keep| {
            head.anchor(epoch, seq, log, keep)
        })
    }

    /// Whether a frame continues a chain that is known.
    pub(crate) fn continues(&self, host: HostKey, epoch: u64, seq: u64) -> bool {
        self.find(host).is_some_and(|head| {
            lock(&head)
                .chains
                .iter()
                .any(|chain| chain.is_before(epoch, seq))
        })
    }

    /// Turns what came with a log into runs, so that it can be put into a block.
    pub(crate) fn catch_up(&self, host: HostKey, log: u64, now_ms: i64) {
        self.with(host, now_ms, |head, keep| {
            head.catch_up(|chain| chain.log <= log, keep)
        });
    }

    /// Whether there may be frames that could not be decoded.
    pub(crate) fn have_orphans(&self) -> bool {
        self.orphans.load(Ordering::Relaxed)
    }

    /// Offsets of a log's frames of a host that could not be decoded.
    pub(crate) fn orphans(&self, head: &Mutex<Head>, log: u64) -> Vec<u32> {
        lock(head).orphans(log).to_vec()
    }

    /// How many frames of which log and host could not be decoded, pending ones left out.
    pub(crate) fn undecoded(&self) -> BTreeMap<(u64, HostKey), u64> {
        let mut all = BTreeMap::new();
        for (host, head) in self.hosts() {
            let head = lock(&head);
            let logs = head.orphans.iter();
            all.extend(logs.map(|(&log, offsets)| ((log, host), offsets.len() as u64)));
        }
        all
    }

    /// The decoder behind the newest frame of a host.
    pub(crate) fn newest(&self, host: HostKey, now_ms: i64) -> Option<(u64, Decoder)> {
        let head = self.find(host)?;
        let _numbering = self
            .numbering
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let newest = |head: &Head| {
            let chains = head.chains.iter();
            chains
                .max_by_key(|chain| (chain.epoch, chain.last_seq, chain.used))
                .cloned()
        };
        let (mut chain, keep) = {
            let head = lock(&head);
            (newest(&head)?, self.keep(host, head.counted, now_ms))
        };
        chain.catch_up(&keep, &mut Caught::default());
        Some((chain.epoch, chain.decoder().clone()))
    }

    /// Forgets what is in blocks now: everything of the logs up to `through`, but for those that are
    /// still `waiting`.
    pub(crate) fn forget(&self, through: u64, waiting: &BTreeSet<u64>, now_ms: i64) {
        let stays = |log: u64| log > through || waiting.contains(&log);
        for (host, head) in self.hosts() {
            let mut head = lock(&head);
            head.runs.retain(|run| stays(run.log));
            head.runs.shrink_to_fit();
            head.orphans.retain(|&log, _| stays(log));
            head.drop_idle(through);
            self.count(&mut head);
            self.forget_foreign(&mut head, &stays, now_ms);
            let is_empty = head.is_empty();
            drop(head);
            if is_empty {
                self.remove_if_unused(host);
            }
        }
        self.sweep_texts();
    }

    fn remove_if_unused(&self, host: HostKey) {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        let unused = |head: &Arc<Mutex<Head>>| {
            let head_now = lock(head);
            // Someone who holds it may be about to push.
            Arc::strong_count(head) == 1 && head_now.is_empty()
        };
        if hosts.get(&host).is_some_and(unused) {
            hosts.remove(&host);
        }
    }

    fn sweep_texts(&self) {
        let _alone = self
            .numbering
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut used = HashSet::new();
        for (_, head) in self.hosts() {
            let head = lock(&head);
            let chains = head.chains.iter().filter_map(Chain::schema);
            let schemas = chains.chain(head.runs.iter().map(|run| &run.schema));
            schemas.for_each(|schema| used.extend(schema.order().iter().map(|entry| entry.0)));
            used.extend(head.foreign().into_iter().flat_map(Foreign::ids));
        }
        self.texts.sweep(&|id| used.contains(&id));
    }

    /// Bytes on the heap, about.
    pub(crate) fn heap_bytes(&self) -> usize {
        let heads = self.hosts();
        let of_head = |head: &Mutex<Head>| {
            let head = lock(head);
            let runs: usize = head.runs.iter().map(Run::heap_bytes).sum();
            let chains: usize = head.chains.iter().map(Chain::heap_bytes).sum();
            let orphans: usize = head
                .orphans
                .values()
                .map(|orphans| orphans.capacity() * 4 + 64)
                .sum();
            let foreign = head.foreign().map_or(0, Foreign::heap_bytes);
            runs + chains + orphans + foreign + size_of::<Head>() + 64
        };
        heads.iter().map(|(_, head)| of_head(head)).sum::<usize>() + self.texts.heap_bytes()
    }
}

/// Locks a host's head.
pub(crate) fn lock(head: &Mutex<Head>) -> MutexGuard<'_, Head> {
    head.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Head {
    fn is_empty(&self) -> bool {
        let has_frames = !self.chains.is_empty() || !self.runs.is_empty();
        !has_frames && self.orphans.is_empty() && self.foreign.is_none()
    }

    fn push(&mut self, arrival: &Arrival<'_>, keep: &Keep<'_>) {
        let Some(index) = self.chain_for(arrival.epoch, arrival.seq, arrival.key, keep) else {
            self.orphans
                .entry(arrival.log)
                .or_default()
                .push(arrival.offset);
            return;
        };
        let mut caught = Caught::default();
        for (other, chain) in self.chains.iter_mut().enumerate() {
            let is_past = other == index && chain.log != arrival.log;
            if is_past || (other != index && chain.may_collide(arrival.time_ms)) {
                chain.catch_up(keep, &mut caught);
            }
        }
        if let Some(chain) = self.chains.get_mut(index) {
            chain.push(arrival, keep, &mut caught);
        }
        self.take(caught);
    }

    fn follow(&mut self, arrival: &Arrival<'_>, keep: &Keep<'_>) {
        if arrival.log > 0 {
            return self.begin_from_state(arrival, keep);
        }
        let known = self.newest_before(arrival.epoch, arrival.seq);
        let continues =
            known.is_some_and(|index| self.chains.get(index).is_some_and(|chain| !chain.anchored));
        // A stored chain goes on with what was stored; what comes again has a chain of its own.
        if !continues && !arrival.key {
            return;
        }
        let index = match known.filter(|_| continues) {
            Some(index) => index,
            None => self.add_chain(arrival.epoch, keep),
        };
        self.uses += 1;
        let uses = self.uses;
        let Some(chain) = self.chains.get_mut(index) else {
            return;
        };
        chain.used = uses;
        if !chain.follow(arrival.seq, arrival.bytes, keep) {
            self.chains.remove(index);
        }
    }

    /// A log tells the state of a chain that its next frame continues.
    fn begin_from_state(&mut self, arrival: &Arrival<'_>, keep: &Keep<'_>) {
        let same = |chain: &Chain| (chain.epoch, chain.last_seq) == (arrival.epoch, arrival.seq);
        let index = match self.chains.iter().position(same) {
            Some(index) => index,
            None => self.add_chain(arrival.epoch, keep),
        };
        self.uses += 1;
        let uses = self.uses;
        let mut caught = Caught::default();
        if let Some(chain) = self.chains.get_mut(index) {
            chain.catch_up(keep, &mut caught);
            chain.follow(arrival.seq, arrival.bytes, keep);
            (chain.used, chain.log, chain.anchored) = (uses, arrival.log, true);
        }
        self.take(caught);
    }

    fn anchor(&mut self, epoch: u64, seq: u64, log: u64, keep: &Keep<'_>) -> Anchor {
        let Some(index) = self.newest_before(epoch, seq) else {
            return Anchor::None;
        };
        let mut caught = Caught::default();
        let Some(chain) = self.chains.get_mut(index) else {
            return Anchor::None;
        };
        if chain.anchored && chain.log == log {
            return Anchor::None;
        }
        chain.catch_up(keep, &mut caught);
        let state = chain.state();
        self.take(caught);
        state.map_or(Anchor::None, Anchor::State)
    }

    fn catch_up(&mut self, which: impl Fn(&Chain) -> bool, keep: &Keep<'_>) {
        let mut caught = Caught::default();
        for chain in self.chains.iter_mut().filter(|chain| which(chain)) {
            chain.catch_up(keep, &mut caught);
        }
        self.take(caught);
    }

    fn take(&mut self, caught: Caught) {
        for run in caught.runs {
            if self.runs.len() == self.runs.capacity() {
                self.runs.reserve_exact(4);
            }
            self.runs.push(run);
        }
        for (log, offset) in caught.orphans {
            self.orphans.entry(log).or_default().push(offset);
        }
    }

    /// The chain that a frame goes to; a key frame begins one if need be.
    fn chain_for(&mut self, epoch: u64, seq: u64, key: bool, keep: &Keep<'_>) -> Option<usize> {
        let index = match self.newest_before(epoch, seq) {
            Some(index) => index,
            None if key => self.add_chain(epoch, keep),
            None => return None,
        };
        self.uses += 1;
        let uses = self.uses;
        self.chains.get_mut(index)?.used = uses;
        Some(index)
    }

    fn newest_before(&self, epoch: u64, seq: u64) -> Option<usize> {
        let chains = self.chains.iter().enumerate();
        chains
            .filter(|(_, chain)| chain.is_before(epoch, seq))
            .max_by_key(|(_, chain)| chain.used)
            .map(|(index, _)| index)
    }

    fn add_chain(&mut self, epoch: u64, keep: &Keep<'_>) -> usize {
        if self.chains.len() >= MAX_CHAINS {
            let chains = self.chains.iter().enumerate();
            let oldest = chains
                .min_by_key(|(_, chain)| chain.used)
                .map(|(index, _)| index);
            let mut old = self.chains.remove(oldest.unwrap_or(0));
            let mut caught = Caught::default();
            old.catch_up(keep, &mut caught);
            self.take(caught);
        }
        self.chains.push(Chain::new(epoch));
        self.chains.len() - 1
    }

    /// Drops chains of which the last frames are in blocks since long.
    fn drop_idle(&mut self, through: u64) {
        /// Logs that the newest chain of a silent host outlives, and the others.
        const NEWEST: u64 = 48;
        const OTHERS: u64 = 2;
        let newest = self.uses;
        self.chains.retain(|chain| {
            let patience = if chain.used == newest { NEWEST } else { OTHERS };
            chain.has_pending() || chain.log.saturating_add(patience) > through
        });
        self.chains.shrink_to_fit();
    }

    /// Runs that are made, oldest first.
    pub(crate) fn made(&self) -> &[Run] {
        &self.runs
    }

    /// Chains with frames that are in no run yet; their points come after those of the runs.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Chain> {
        self.chains.iter().filter(|chain| chain.has_pending())
    }

    /// Offsets of a log's frames that could not be decoded.
    pub(crate) fn orphans(&self, log: u64) -> &[u32] {
        self.orphans
            .get(&log)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}
