//! Chains of frames, followed one frame at a time, and the numbered series of foreign sources.
//!
//! The head decodes frames thirty-two at a time and can wait; who sends samples on cannot. So there is
//! a second set of decoders here, for one log, and gone with it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use xiezhi_protocol::codec::{Column, Decoder, SeriesName};

use crate::column::STALE;
use crate::foreign::batch::Batch;
use crate::frame::HostKey;
use crate::record::{Content, Record};

/// Chains of one host, as the head has it.
const MAX_CHAINS: usize = 4;

/// A frame's samples.
pub(super) type Samples = Vec<(Arc<str>, f64)>;

/// The chains of all hosts.
#[derive(Debug, Default)]
pub(super) struct Chains {
    hosts: HashMap<HostKey, Vec<Chain>>,
    /// Series by the numbers that this log gave them; a hole where a record is damaged.
    named: HashMap<HostKey, Vec<Option<Arc<str>>>>,
    uses: u64,
}

#[derive(Debug)]
struct Chain {
    epoch: u64,
    last_seq: u64,
    used: u64,
    decoder: Decoder,
    /// Columns that had a value in the last frame.
    present: Vec<bool>,
}

impl Chains {
    /// The samples of a record by their time; `None` if it cannot be decoded. A state yields samples
    /// that were given before.
    pub(super) fn take(
        &mut self,
        record: &Record<'_>,
        intern: &mut dyn FnMut(&str) -> SeriesName,
    ) -> Option<Vec<(i64, Samples)>> {
        if record.content == Content::Foreign {
            return self.take_foreign(record, intern);
        }
        let samples = self.take_frame(record, intern)?;
        Some(vec![(record.batch.time_ms, samples)])
    }

    fn take_foreign(
        &mut self,
        record: &Record<'_>,
        intern: &mut dyn FnMut(&str) -> SeriesName,
    ) -> Option<Vec<(i64, Samples)>> {
        /// Numbers of a log at most; as the head has it.
        const MOST: usize = 1 << 27;
        let batch = Batch::parse(record.batch.time_ms, record.bytes)?;
        let named = self.named.entry(record.host).or_default();
        let first = batch.first as usize;
        if first > MOST {
            return None;
        }
        if !batch.names.is_empty() {
            named.resize(named.len().max(first + batch.names.len()), None);
        }
        for (place, text) in named.iter_mut().skip(first).zip(&batch.names) {
            *place = Some(Arc::clone(intern(text).text()));
        }
        let mut groups: Vec<(i64, Samples)> = Vec::new();
        let mut unknown = 0u64;
        batch.each(&mut |sample| {
            let Some(Some(text)) = named.get(sample.number as usize) else {
                unknown += 1;
                return;
            };
            let one = (Arc::clone(text), sample.value);
            match groups.last_mut() {
                Some((time_ms, samples)) if *time_ms == sample.time_ms => samples.push(one),
                _ => groups.push((sample.time_ms, vec![one])),
            }
        })?;
        (unknown == 0 || !groups.is_empty()).then_some(groups)
    }

    fn take_frame(
        &mut self,
        record: &Record<'_>,
        intern: &mut dyn FnMut(&str) -> SeriesName,
    ) -> Option<Samples> {
        let is_state = record.content == Content::State;
        self.uses += 1;
        let uses = self.uses;
        let chains = self.hosts.entry(record.host).or_default();
        let (epoch, seq) = (record.epoch, record.batch.seq);
        let same = |chain: &Chain| {
            let wanted = if is_state {
                Some(seq)
            } else {
                seq.checked_sub(1)
            };
            chain.epoch == epoch && Some(chain.last_seq) == wanted
        };
        let known = (0..chains.len())
            .filter(|&index| chains.get(index).is_some_and(same))
            .max_by_key(|&index| chains.get(index).map(|chain| chain.used));
        let index = match known {
            Some(index) => index,
            None if record.key => add(chains, epoch),
            None => return None,
        };
        let chain = chains.get_mut(index)?;
        (chain.last_seq, chain.used) = (seq, uses);
        chain.decode(record, known.is_some() && !is_state, intern)
    }
}

fn add(chains: &mut Vec<Chain>, epoch: u64) -> usize {
    if chains.len() >= MAX_CHAINS {
        let oldest = (0..chains.len()).min_by_key(|&index| chains.get(index).map(|one| one.used));
        chains.swap_remove(oldest.unwrap_or(0));
    }
    chains.push(Chain {
        epoch,
        last_seq: 0,
        used: 0,
        decoder: Decoder::new(),
        present: Vec::new(),
    });
    chains.len() - 1
}

impl Chain {
    fn decode(
        &mut self,
        record: &Record<'_>,
        continues: bool,
        intern: &mut dyn FnMut(&str) -> SeriesName,
    ) -> Option<Samples> {
        let is_state = record.content == Content::State;
        let before = if record.key && continues {
            self.present_texts()
        } else {
            Vec::new()
        };
        let decoded = self.decoder.decode(record.bytes, intern);
        if !decoded.is_ok_and(|info| is_state || info.batch.time_ms == record.batch.time_ms) {
            self.decoder = Decoder::new();
            self.present.clear();
            return None;
        }
        if record.key {
            self.present.clear();
        }
        let mut samples = self.values();
        if !before.is_empty() {
            let now: HashSet<&str> = samples.iter().map(|(text, _)| &**text).collect();
            let gone = before.iter().filter(|text| !now.contains(&***text));
            let ended: Samples = gone.map(|text| (Arc::clone(text), STALE)).collect();
            samples.extend(ended);
        }
        Some(samples)
    }

    fn present_texts(&self) -> Vec<Arc<str>> {
        let columns = self.decoder.columns().iter().zip(&self.present);
        let present = columns.filter(|(_, present)| **present);
        present
            .map(|(column, _)| Arc::clone(column.name.text()))
            .collect()
    }

    /// The last frame's values, and a marker for what was in the one before and is not in it.
    fn values(&mut self) -> Samples {
        let columns = self.decoder.columns();
        self.present.resize(columns.len(), false);
        let mut samples = Samples::with_capacity(columns.len());
        for (column, present) in columns.iter().zip(&mut self.present) {
            let value: Option<f64> = Column::value(column);
            let was = std::mem::replace(present, value.is_some());
            if let Some(value) = value.or(was.then_some(STALE)) {
                samples.push((Arc::clone(column.name.text()), value));
            }
        }
        samples
    }
}
