//! A request that was read becomes stored samples and a receipt.

use std::collections::BTreeMap;

use xiezhi_series::{ForeignSeries, SeriesError, SeriesStore};

use super::body::{BodyError, Request};
use super::check::{Refusal, Rules, check};

/// Longest list of refusals in a receipt's text, in bytes: senders log one line.
const TEXT_BYTES: usize = 1000;

/// Why nothing of a request was stored.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// It cannot be read; to send it again changes nothing.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// It could not be stored; to send it again later may succeed.
    #[error("the samples could not be stored")]
    Series(#[from] SeriesError),
}

/// What became of a request. What is not told here as refused or contradicted is durable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Samples stored now.
    pub stored: u64,
    /// Samples that were there already.
    pub repeated: u64,
    /// Samples whose time had another value, which stays.
    pub contradicted: u64,
    /// Samples that are to be sent again: too much would have been read to judge them.
    pub postponed: u64,
    /// Samples, histograms and exemplars that were not taken, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// What the sender's operator should know; empty if all samples are stored.
    pub text: String,
}

/// Checks the series of a request and stores what may be stored, for a source (a key below zero).
///
/// # Errors
/// See [`ReceiveError`]; nothing was stored then.
pub fn receive(
    store: &SeriesStore,
    source: i64,
    request: &Request,
    rules: &Rules<'_>,
) -> Result<Receipt, ReceiveError> {
    let checked = check(request, rules)?;
    let texts: Vec<String> = checked.series.iter().map(super::Written::text).collect();
    let series: Vec<ForeignSeries<'_>> = texts
        .iter()
        .zip(&checked.series)
        .map(|(text, written)| ForeignSeries {
            text,
            points: &written.samples,
        })
        .collect();
    let report = store.append_foreign(source, &series)?;
    let mut receipt = Receipt {
        stored: report.stored,
        repeated: report.repeated + checked.doubled.repeated,
        contradicted: report.contradicted + checked.doubled.contradicted,
        postponed: report.postponed,
        ..Receipt::default()
    };
    let text_of = |place: usize| texts.get(place).map_or("", String::as_str);
    for (refusal, (count, example)) in &checked.refusals.by_reason {
        *receipt.refused.entry(refusal.reason()).or_default() += count;
        // An exemplar is no sample: the request is whole without it.
        if *refusal != Refusal::Exemplar {
            receipt.tell(*count, refusal.advice(), example);
        }
    }
    let mut refused = BTreeMap::new();
    for &(place, refusal) in &report.refused {
        let samples = series.get(place).map_or(0, |one| one.points.len() as u64);
        refused.entry(refusal).or_insert((0, place)).0 += samples;
    }
    for (refusal, (count, place)) in refused {
        *receipt.refused.entry(refusal.reason()).or_default() += count;
        receipt.tell(count, &refusal.to_string(), text_of(place));
    }
    if let Some(place) = report.first_contradicted {
        let advice = "the time has another value already, which stays: do two senders have the \
                      same labels?";
        receipt.tell(report.contradicted, advice, text_of(place));
    }
    let doubled = &checked.doubled;
    if doubled.contradicted > 0 {
        let advice = "the request has two values for one time, of which the first stays: do two \
                      series have the same labels?";
        receipt.tell(doubled.contradicted, advice, &doubled.example);
    }
    Ok(receipt)
}

impl Receipt {
    fn tell(&mut self, count: u64, advice: &str, example: &str) {
        if self.text.len() > TEXT_BYTES {
            return;
        }
        if !self.text.is_empty() {
            self.text.push_str("; ");
        }
        let short: String = example.chars().take(200).collect();
        let told = format!("{count} refused: {advice}, for example {short}");
        self.text.push_str(&told);
    }
}
