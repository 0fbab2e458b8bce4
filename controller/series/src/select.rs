//! Series by label: what a PromQL evaluator asks of the store.
//!
//! A series has the labels of its text and those of its host, which the caller brings anew for each
//! query: a host that moves to another site takes its history along. A label of the host hides one of
//! the same name in the text, and names that only the caller assigns are hidden in every text. Matchers on host labels choose hosts before anything is read; the
//! others choose texts, of which there are few hundred however many hosts there are. A name that a text
//! can only hold in another form (`U__a_2e_b`) is seen as its sender wrote it (`a.b`).

mod twins;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xiezhi_promql::{
    Budget, Coarse, Label, Labels, METRIC_NAME, MatchOp, Matcher, Named, Select, Series, Storage,
    StorageError, escape_name, plain_name,
};
use xiezhi_protocol::report::parse_series;

use crate::chunk::Points;
use crate::error::SeriesError;
use crate::frame::HostKey;
use crate::lacking::Lacking;
use crate::reading::{Found, ReadError, Rolled, Wanted};
use crate::rollup::{Answer, COARSE_MS, RESOLUTIONS, is_counter};
use crate::store::SeriesStore;

/// A host and its labels.
#[derive(Debug, Clone)]
pub struct LabelledHost {
    /// The host.
    pub host: HostKey,
    /// Its labels, sorted by name, each once, none empty.
    pub labels: Vec<Label>,
}

/// Tells which hosts there are and what they are called.
pub trait HostLabels: Send + Sync {
    /// All hosts, ascending by key. Asked once per query, so it must be cheap; series of hosts that
    /// are not in it are not found.
    fn all(&self) -> Arc<[LabelledHost]>;

    /// Names of labels that nobody but the caller gives: a text's own of these names are not seen,
    /// whether its host has such a label or not.
    fn assigned(&self) -> &[&str] {
        &[]
    }
}

/// The store as PromQL sees it. Cheap to make.
#[derive(Clone)]
pub struct Selector {
    store: SeriesStore,
    hosts: Arc<dyn HostLabels>,
    /// What was lacking and is not told yet.
    lacking: Arc<Mutex<Lacking>>,
}

impl std::fmt::Debug for Selector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Selector").finish_non_exhaustive()
    }
}

/// Questions about less than this are answered from samples, however coarse their steps are.
const COARSE_SPAN_MS: i64 = 2 * 86_400_000;

/// What a point takes, a series beside its points, and a text that was looked at.
const POINT_BYTES: u64 = 16;
const SERIES_BYTES: u64 = 160;
const TEXT_BYTES: u64 = 64;

/// Matchers, of which a bit mask can tell a part.
const MAX_MATCHERS: usize = 64;

impl Selector {
    /// The store with these hosts.
    #[must_use]
    pub fn new(store: SeriesStore, hosts: Arc<dyn HostLabels>) -> Self {
        Self {
            store,
            hosts,
            lacking: Arc::default(),
        }
    }

    fn lacking(&self) -> MutexGuard<'_, Lacking> {
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(
        &self,
        request: &Select,
        budget: &Budget,
        index_only: bool,
    ) -> Result<Selection, StorageError> {
        if request.matchers.len() > MAX_MATCHERS {
            return Err(StorageError::Refused(format!(
                "more than {MAX_MATCHERS} matchers in one selector"
            )));
        }
        budget.check()?;
        let all = self.hosts.all();
        let chosen = Chosen::new(&request.matchers, &all);
        let texts = RefCell::new(Vec::new());
        let each = if index_only {
            SERIES_BYTES
        } else {
            POINT_BYTES
        };
        let charge = |points: u64| -> Result<(), ReadError> {
            budget.charge_samples(points)?;
            Ok(budget.charge_bytes(points.saturating_mul(each))?)
        };
        // Texts are looked at between two readings: when the budget ends there, none is wanted.
        let stopped = Cell::new(None);
        let may_go_on = |bytes: u64| {
            let allowed = budget.check().and_then(|()| budget.charge_bytes(bytes));
            allowed.map_err(|why| stopped.set(Some(why))).is_ok()
        };
        let wanted = Wanted {
            from_ms: request.start_ms,
            to_ms: request.end_ms,
            hosts: Some(chosen.masks.iter().map(|chosen| chosen.0).collect()),
            metrics: metrics(&request.matchers),
            text: &|text| {
                if !may_go_on(TEXT_BYTES) {
                    return false;
                }
                let assigned = self.hosts.assigned();
                let known = TextLabels::new(text, assigned, &request.matchers, &chosen.distinct);
                let is_wanted = known
                    .as_ref()
                    .is_some_and(|known| known.verdicts.contains(&true))
                    && may_go_on(known.as_ref().map_or(0, TextLabels::heap_bytes));
                texts.borrow_mut().extend(known.filter(|_| is_wanted));
                is_wanted
            },
            pair: &|number, _, host| chosen.is_pair(&texts.borrow(), number, host),
            rollups: Some(rolled(request)),
            segments: true,
            index_only,
            charge: &charge,
        };
        let found = self.store.read(&wanted);
        if let Some(why) = stopped.get() {
            return Err(StorageError::Stopped(why));
        }
        let found = match found {
            Ok(found) => found,
            Err(ReadError::Series(error @ SeriesError::TooMuch { .. })) => {
                return Err(StorageError::Refused(error.to_string()));
            }
            Err(ReadError::Stopped(why)) => return Err(StorageError::Stopped(why)),
            Err(ReadError::Series(error)) => return Err(failed(error)),
            Err(ReadError::Io(error)) => return Err(failed(error)),
        };
        let mut found = found;
        self.lacking().join(std::mem::take(&mut found.lacking));
        Ok(Selection {
            all,
            texts: texts.into_inner(),
            found,
        })
    }
}

/// How rollups answer: where the samples are gone always, and instead of them for the few functions
/// whose answer stays the same, if query and window are far coarser than the steps.
fn rolled(request: &Select) -> Rolled {
    let hint = &request.hint;
    let span_ms = request.end_ms.saturating_sub(request.start_ms);
    let is_coarse = |resolution_ms: u64| {
        let least_ms = 2 * resolution_ms as i64;
        let window_fits = hint.range_ms >= least_ms;
        let is_far = hint.step_ms >= least_ms && window_fits && span_ms >= COARSE_SPAN_MS;
        is_far && Answer::is_faithful(&hint.function) && names_suit(request)
    };
    Rolled {
        answer: Answer::to(&hint.function, hint.range_ms > 0),
        coarse_ms: RESOLUTIONS
            .into_iter()
            .filter(|&one| is_coarse(one))
            .max()
            .unwrap_or(0),
        finer: hint.range_ms < 2 * COARSE_MS as i64,
    }
}

/// Whether steps keep what the function asks for, of all metrics that may be meant: a step of a counter
/// keeps its growth, that of anything else its extremes, and names say what is a counter.
fn names_suit(request: &Select) -> bool {
    let is_growth = Answer::to(&request.hint.function, true) == Answer::Growth;
    metrics(&request.matchers)
        .is_some_and(|names| names.iter().all(|name| is_counter(name) == is_growth))
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StorageError {
    StorageError::Failed(Box::new(error))
}

/// The hosts that may have wanted series.
struct Chosen {
    /// Each host, ascending, and the matchers that its labels answer, as a place in `distinct`.
    masks: Vec<(HostKey, usize)>,
    distinct: Vec<u64>,
}

impl Chosen {
    fn new(matchers: &[Matcher], hosts: &[LabelledHost]) -> Self {
        let mut chosen = Self {
            masks: Vec::with_capacity(hosts.len()),
            distinct: Vec::new(),
        };
        for host in hosts {
            let Some(mask) = mask(matchers, &host.labels) else {
                continue;
            };
            let place = chosen.distinct.iter().position(|known| *known == mask);
            let place = place.unwrap_or_else(|| {
                chosen.distinct.push(mask);
                chosen.distinct.len() - 1
            });
            chosen.masks.push((host.host, place));
        }
        chosen.masks.sort_unstable();
        chosen
    }

    fn is_pair(&self, texts: &[TextLabels], number: usize, host: HostKey) -> bool {
        if self.distinct.len() == 1 {
            return true;
        }
        let place = self.masks.binary_search_by_key(&host, |chosen| chosen.0);
        let mask = place.ok().and_then(|place| self.masks.get(place));
        let verdict = |mask: usize| texts.get(number)?.verdicts.get(mask).copied();
        mask.and_then(|mask| verdict(mask.1)).unwrap_or(false)
    }
}

/// Which matchers a host's labels answer; `None` if one of those does not hold.
fn mask(matchers: &[Matcher], labels: &[Label]) -> Option<u64> {
    let mut mask = 0;
    for (index, matcher) in matchers.iter().enumerate() {
        let label = labels.iter().find(|label| label.name == matcher.name);
        if let Some(label) = label.filter(|label| &*label.name != METRIC_NAME) {
            if !matcher.matches(&label.value) {
                return None;
            }
            mask |= 1 << index;
        }
    }
    Some(mask)
}

/// The labels of a text, its name among them.
struct TextLabels {
    labels: Vec<Label>,
    /// Whether the text is wanted, for each distinct mask.
    verdicts: Vec<bool>,
}

impl TextLabels {
    /// Bytes of the labels, each with the counters of its two texts.
    fn heap_bytes(&self) -> u64 {
        let each = |label: &Label| label.name.len() + label.value.len() + size_of::<Label>() + 32;
        self.labels.iter().map(each).sum::<usize>() as u64
    }

    fn new(text: &str, assigned: &[&str], matchers: &[Matcher], masks: &[u64]) -> Option<Self> {
        let (name, pairs) = parse_series(text)?;
        let name = plain_name(name, Named::Metric);
        let pairs = pairs
            .into_iter()
            .map(|(name, value)| (plain_name(name, Named::Label), value));
        let is_own = |name: &str| name != METRIC_NAME && !assigned.contains(&name);
        let mut pairs: Vec<_> = pairs.filter(|pair| is_own(&pair.0)).collect();
        // A host may write one name in two ways.
        pairs.sort();
        pairs.dedup_by(|later, first| later.0 == first.0);
        let value = |wanted: &str| match wanted {
            METRIC_NAME => &*name,
            _ => pairs
                .iter()
                .find(|pair| pair.0 == wanted)
                .map_or("", |pair| pair.1.as_str()),
        };
        let holds: u64 = matchers
            .iter()
            .enumerate()
            .filter(|(_, matcher)| matcher.matches(value(&matcher.name)))
            .fold(0, |holds, (index, _)| holds | 1 << index);
        let all = match matchers.len() {
            MAX_MATCHERS => u64::MAX,
            count => (1 << count) - 1,
        };
        let verdicts: Vec<bool> = masks.iter().map(|mask| mask | holds == all).collect();
        let mut labels = Vec::with_capacity(pairs.len() + 1);
        if verdicts.contains(&true) {
            labels.push(Label {
                name: METRIC_NAME.into(),
                value: (&*name).into(),
            });
            labels.extend(
                pairs
                    .iter()
                    .filter(|pair| !pair.1.is_empty())
                    .map(|(name, value)| Label {
                        name: Arc::from(&**name),
                        value: Arc::from(value.as_str()),
                    }),
            );
            labels.sort_unstable();
        }
        Some(Self { labels, verdicts })
    }
}

/// Names of metrics as texts have them, if the matchers name them one by one.
fn metrics(matchers: &[Matcher]) -> Option<Vec<String>> {
    let is_plain = |value: &str| {
        !value.is_empty()
            && value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_:|".contains(&byte))
    };
    let named = matchers
        .iter()
        .filter(|matcher| &*matcher.name == METRIC_NAME);
    let name = |value: &str| escape_name(value, Named::Metric).into_owned();
    named
        .filter(|matcher| match matcher.op {
            MatchOp::Equal => !matcher.value.is_empty(),
            _ => is_plain(&matcher.value),
        })
        .find_map(|matcher| match matcher.op {
            MatchOp::Equal => Some(vec![name(&matcher.value)]),
            MatchOp::Regex => {
                let names: BTreeSet<&str> = matcher.value.split('|').collect();
                Some(names.into_iter().map(name).collect())
            }
            MatchOp::NotEqual | MatchOp::NotRegex => None,
        })
}

/// What was read, and the labels for it.
struct Selection {
    all: Arc<[LabelledHost]>,
    texts: Vec<TextLabels>,
    found: Found,
}

impl Selection {
    /// Whether two series may have one label set.
    fn may_have_twins(&self) -> bool {
        let labels = |host: &HostKey| {
            let place = self.all.binary_search_by_key(host, |one| one.host).ok()?;
            Some(&*self.all.get(place)?.labels)
        };
        let hosts = self.found.series.keys().filter_map(|key| labels(&key.1));
        twins::may_be(self.texts.iter().map(|text| &*text.labels), hosts)
    }

    /// Label sets and points, in the order of text and host.
    fn into_series(
        self,
        budget: &Budget,
    ) -> impl Iterator<Item = Result<(Labels, Points, Option<Coarse>), StorageError>> {
        let Self { all, texts, found } = self;
        let mut coarse = found.coarse;
        let mut order: Vec<u32> = (0..found.texts.len() as u32).collect();
        order.sort_unstable_by_key(|&number| found.texts.get(number as usize));
        let ranks: HashMap<u32, usize> = order.into_iter().zip(0..).collect();
        let mut series: Vec<_> = found.series.into_iter().collect();
        series.sort_unstable_by_key(|((number, host), _)| (ranks.get(number).copied(), *host));
        series
            .into_iter()
            .filter_map(move |((number, host), points)| {
                let text = texts.get(number as usize)?;
                let place = all
                    .binary_search_by_key(&host, |labelled| labelled.host)
                    .ok()?;
                let coarse = coarse.remove(&(number, host)).map(|known| Coarse {
                    step_ms: known.step_ms,
                    counts: known.counts.into(),
                });
                let labels = join(&text.labels, &all.get(place)?.labels);
                let paid = budget
                    .check()
                    .and_then(|()| budget.charge_bytes(SERIES_BYTES + labels.heap_bytes()));
                Some(paid.map(|()| (labels, points, coarse)).map_err(Into::into))
            })
    }
}

/// Both sorted sets as one; the host's label hides the text's.
fn join(text: &[Label], host: &[Label]) -> Labels {
    let mut labels = Vec::with_capacity(text.len() + host.len());
    let (mut text, mut host) = (text.iter().peekable(), host.iter().peekable());
    loop {
        let of_text = match (text.peek(), host.peek()) {
            (Some(own), Some(other)) if own.name == other.name => {
                text.next();
                false
            }
            (Some(own), Some(other)) => own.name < other.name,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => break,
        };
        labels.extend(if of_text { text.next() } else { host.next() }.cloned());
    }
    Labels::from_sorted(labels)
}

impl Storage for Selector {
    fn select(&self, request: &Select, budget: &Budget) -> Result<Vec<Series>, StorageError> {
        let selection = self.read(request, budget, false)?;
        let mut shared: Option<Arc<[i64]>> = None;
        let with_times = |found: Result<(Labels, Points, Option<Coarse>), StorageError>| {
            let (labels, points, coarse) = found?;
            let times = match &shared {
                Some(times) if **times == *points.times => Arc::clone(times),
                _ => {
                    let times: Arc<[i64]> = points.times.into();
                    shared = Some(Arc::clone(&times));
                    times
                }
            };
            Ok(Series {
                labels,
                times,
                values: points.values.into(),
                coarse,
            })
        };
        let may_be_twins = selection.may_have_twins();
        let found = selection.into_series(budget);
        if !may_be_twins {
            return found.map(with_times).collect();
        }
        let found: Vec<_> = found.collect::<Result<_, _>>()?;
        twins::join(found, budget)?
            .into_iter()
            .map(Ok)
            .map(with_times)
            .collect()
    }

    fn series(&self, request: &Select, budget: &Budget) -> Result<Vec<Labels>, StorageError> {
        let selection = self.read(request, budget, true)?;
        let may_be_twins = selection.may_have_twins();
        let labels = selection.into_series(budget);
        let labels: Vec<Labels> = labels
            .map(|found| Ok::<_, StorageError>(found?.0))
            .collect::<Result<_, _>>()?;
        Ok(match may_be_twins {
            true => twins::distinct(labels, budget)?,
            false => labels,
        })
    }

    fn left_out(&self) -> Vec<String> {
        std::mem::take(&mut *self.lacking()).sentences()
    }

    fn label_names(&self, request: &Select, budget: &Budget) -> Result<Vec<String>, StorageError> {
        let mut names = BTreeSet::new();
        self.each_label(request, budget, &mut |label| {
            if !names.contains(&*label.name) {
                names.insert(label.name.to_string());
            }
        })?;
        Ok(names.into_iter().collect())
    }

    fn label_values(
        &self,
        name: &str,
        request: &Select,
        budget: &Budget,
    ) -> Result<Vec<String>, StorageError> {
        let mut values = BTreeSet::new();
        self.each_label(request, budget, &mut |label| {
            if &*label.name == name && !values.contains(&*label.value) {
                values.insert(label.value.to_string());
            }
        })?;
        Ok(values.into_iter().collect())
    }
}

impl Selector {
    /// Visits every label of the wanted series, some more than once. Each text and each host is
    /// visited once, not each of their pairs.
    fn each_label(
        &self,
        request: &Select,
        budget: &Budget,
        visit: &mut dyn FnMut(&Label),
    ) -> Result<(), StorageError> {
        let selection = self.read(request, budget, true)?;
        let Selection { all, texts, found } = selection;
        let (mut hosts, mut numbers) = (BTreeSet::new(), BTreeSet::new());
        for (number, host) in found.series.into_keys() {
            hosts.insert(host);
            numbers.insert(number);
        }
        budget.check()?;
        let texts = numbers
            .iter()
            .filter_map(|&number| texts.get(number as usize));
        texts.flat_map(|text| &text.labels).for_each(&mut *visit);
        let of_host = |host: &HostKey| {
            let place = all
                .binary_search_by_key(host, |labelled| labelled.host)
                .ok()?;
            all.get(place)
        };
        let labels = hosts
            .iter()
            .filter_map(of_host)
            .flat_map(|labelled| &labelled.labels);
        labels.for_each(visit);
        Ok(())
    }
}
