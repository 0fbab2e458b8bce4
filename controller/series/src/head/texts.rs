//! One copy of each series text, numbered, and one of each list of columns.
//!
//! Twenty thousand hosts have a few hundred distinct texts between them. Texts are bounded in number,
//! in bytes and in how many may be new per hour, because a label that never repeats would fill the memory;
//! what is beyond gets no number and its samples are not kept.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use xiezhi_protocol::codec::SeriesName;

use crate::options::SeriesLimits;

/// The number of a text; [`REFUSED`] if it has none.
pub(crate) type TextId = u32;

/// No number: the series is beyond a limit.
pub(crate) const REFUSED: TextId = u32::MAX;

const HOUR_MS: i64 = 3_600_000;

/// The texts that heads use.
#[derive(Debug)]
pub(crate) struct Texts {
    limits: SeriesLimits,
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ids: HashMap<Arc<str>, TextId>,
    /// Numbers are never used again: a query may still hold one.
    texts: HashMap<TextId, SeriesName>,
    next: TextId,
    /// Bytes of all texts.
    bytes: u64,
    by_metric: HashMap<Box<str>, Vec<TextId>>,
    schemas: HashMap<Box<[TextId]>, Weak<Schema>>,
    /// When the hour of churn began, and texts that were new since.
    hour_ms: i64,
    new: u64,
}

/// What refuses a new text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// There are as many as there may be.
    Texts,
    /// They have as many bytes as they may have.
    Bytes,
    /// As many are new within this hour as may be.
    New,
}

/// The columns of a chain: the number of each one's text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Schema {
    ids: Box<[TextId]>,
    /// Columns by the number of their text; refused ones are left out.
    order: Box<[(TextId, u32)]>,
}

impl Schema {
    fn new(ids: &[TextId]) -> Self {
        let known = ids.iter().zip(0u32..).filter(|&(&id, _)| id != REFUSED);
        let mut order: Vec<(TextId, u32)> = known.map(|(&id, column)| (id, column)).collect();
        order.sort_unstable();
        order.dedup_by_key(|entry| entry.0);
        Self {
            ids: ids.into(),
            order: order.into(),
        }
    }

    /// Text numbers, by column.
    pub(crate) fn ids(&self) -> &[TextId] {
        &self.ids
    }

    /// Text numbers ascending, each with its column.
    pub(crate) fn order(&self) -> &[(TextId, u32)] {
        &self.order
    }

    /// The column of a text.
    pub(crate) fn column(&self, id: TextId) -> Option<usize> {
        let place = self.order.binary_search_by_key(&id, |entry| entry.0).ok()?;
        self.order.get(place).map(|entry| entry.1 as usize)
    }
}

/// The metric's name in a series text.
pub(crate) fn metric_of(text: &str) -> &str {
    text.split_once('{').map_or(text, |(name, _)| name)
}

impl Texts {
    pub(crate) fn new(limits: SeriesLimits) -> Self {
        Self {
            limits,
            inner: RwLock::default(),
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The shared copy of a text, if it is known.
    pub(crate) fn shared(&self, text: &str) -> Option<SeriesName> {
        self.read(|inner| inner.texts.get(inner.ids.get(text)?).cloned())
    }

    /// The number of a text, a new one if need be; [`REFUSED`] beyond the limits.
    pub(crate) fn intern(&self, text: &SeriesName, now_ms: i64) -> TextId {
        if let Some(id) = self.id(text) {
            return id;
        }
        if text.is_empty() {
            return REFUSED;
        }
        self.write(|inner| inner.intern(text, now_ms, &self.limits))
    }

    /// As [`Self::intern`], for a source that is no host: it gets at most half of what there is, so
    /// that hosts have the other half.
    pub(crate) fn intern_foreign(&self, text: &Arc<str>, now_ms: i64) -> TextId {
        match self.id(text) {
            Some(id) => id,
            None => {
                let name = SeriesName::new(Arc::clone(text));
                self.write(|inner| inner.intern(&name, now_ms, &self.foreign_limits()))
            }
        }
    }

    fn foreign_limits(&self) -> SeriesLimits {
        SeriesLimits {
            texts: self.limits.texts / 2,
            text_bytes: self.limits.text_bytes / 2,
            new_texts_per_hour: self.limits.new_texts_per_hour / 2,
            ..self.limits
        }
    }

    /// As [`Self::intern`], whatever the limits say.
    pub(crate) fn intern_always(&self, text: &Arc<str>) -> TextId {
        self.id(text).unwrap_or_else(|| {
            let name = SeriesName::new(Arc::clone(text));
            self.write(|inner| inner.add(&name))
        })
    }

    /// A known text's number and shared copy.
    pub(crate) fn find(&self, text: &str) -> Option<(TextId, Arc<str>)> {
        let found = |inner: &Inner| {
            let (text, &id) = inner.ids.get_key_value(text)?;
            Some((id, Arc::clone(text)))
        };
        self.read(found)
    }

    /// The key of the limit that refuses a new text of a host now.
    pub(crate) fn limit(&self, text: &str) -> &'static str {
        match self.read(|inner| inner.limit(text.len(), &self.limits)) {
            Some(Limit::Texts) => "texts",
            Some(Limit::Bytes) => "text_bytes",
            Some(Limit::New) | None => "new_texts_per_hour",
        }
    }

    /// The limit that refuses a new text of a source now.
    pub(crate) fn foreign_limit(&self, text: &str) -> Limit {
        let limits = self.foreign_limits();
        let limit = self.read(|inner| inner.limit(text.len(), &limits));
        limit.unwrap_or(Limit::New)
    }

    /// The number of a known text.
    pub(crate) fn id(&self, text: &str) -> Option<TextId> {
        self.read(|inner| inner.ids.get(text).copied())
    }

    /// The text of a number.
    pub(crate) fn text(&self, id: TextId) -> Option<Arc<str>> {
        self.read(|inner| inner.texts.get(&id).map(|name| Arc::clone(name.text())))
    }

    /// All texts and their numbers, or those of one metric.
    pub(crate) fn list(&self, metric: Option<&str>) -> Vec<(TextId, Arc<str>)> {
        let entry =
            |inner: &Inner, id: TextId| Some((id, Arc::clone(inner.texts.get(&id)?.text())));
        self.read(|inner| match metric {
            Some(metric) => {
                let ids = inner
                    .by_metric
                    .get(metric)
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                ids.iter().filter_map(|&id| entry(inner, id)).collect()
            }
            None => inner
                .texts
                .iter()
                .map(|(&id, name)| (id, Arc::clone(name.text())))
                .collect(),
        })
    }

    /// The shared copy of a list of columns.
    pub(crate) fn schema(&self, ids: &[TextId]) -> Arc<Schema> {
        let known = self.read(|inner| inner.schemas.get(ids).and_then(Weak::upgrade));
        known.unwrap_or_else(|| {
            self.write(|inner| {
                let schema = Arc::new(Schema::new(ids));
                inner.schemas.insert(ids.into(), Arc::downgrade(&schema));
                schema
            })
        })
    }

    /// Forgets lists of columns that nobody uses, and texts for which `used` is false. The caller
    /// sees to it that nobody interns meanwhile.
    pub(crate) fn sweep(&self, used: &dyn Fn(TextId) -> bool) {
        self.write(|inner| {
            inner.schemas.retain(|_, schema| schema.strong_count() > 0);
            inner.texts.retain(|&id, _| used(id));
            inner.ids.retain(|_, id| used(*id));
            inner.bytes = inner.ids.keys().map(|text| text.len() as u64).sum();
            let texts = &inner.texts;
            let is_there = |id: &TextId| texts.contains_key(id);
            inner.by_metric.retain(|_, ids| {
                ids.retain(is_there);
                !ids.is_empty()
            });
        });
    }

    /// Bytes on the heap, about.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.read(|inner| {
            let texts: usize = inner.ids.keys().map(|text| text.len() + 120).sum();
            let schemas: usize = inner.schemas.keys().map(|ids| ids.len() * 16 + 64).sum();
            texts + schemas
        })
    }
}

impl Inner {
    fn intern(&mut self, name: &SeriesName, now_ms: i64, limits: &SeriesLimits) -> TextId {
        if let Some(&id) = self.ids.get(&**name) {
            return id;
        }
        if now_ms.abs_diff(self.hour_ms) >= HOUR_MS as u64 {
            (self.hour_ms, self.new) = (now_ms, 0);
        }
        if self.limit(name.len(), limits).is_some() {
            return REFUSED;
        }
        let id = self.add(name);
        self.new += u64::from(id != REFUSED);
        id
    }

    /// What refuses one more text of so many bytes.
    fn limit(&self, length: usize, limits: &SeriesLimits) -> Option<Limit> {
        if self.ids.len() as u64 >= limits.texts {
            Some(Limit::Texts)
        } else if self.bytes + length as u64 > limits.text_bytes {
            Some(Limit::Bytes)
        } else {
            (self.new >= limits.new_texts_per_hour).then_some(Limit::New)
        }
    }

    fn add(&mut self, name: &SeriesName) -> TextId {
        let id = self.next;
        if id == REFUSED {
            return REFUSED;
        }
        self.next += 1;
        self.bytes += name.len() as u64;
        self.texts.insert(id, name.clone());
        self.ids.insert(Arc::clone(name.text()), id);
        self.by_metric
            .entry(metric_of(name).into())
            .or_default()
            .push(id);
        id
    }
}
