//! Series of one label set, joined.
//!
//! An agent may write one series as several texts: with a label that its host's hides, with an empty one,
//! or with a name in two forms. In an answer they would be the same series twice, which fails the whole
//! query of everybody whose question includes it. So they are one: of two samples of one time that of the
//! first text stays, and a value drives out a stale marker.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use xiezhi_promql::{Coarse, Label, Labels};

use crate::chunk::Points;
use crate::column::is_stale;

/// A series that was found.
pub(super) type Found = (Labels, Points, Option<Coarse>);

/// Whether two series may have one label set: two of these texts have, or one has a label that hosts
/// hide. Almost no answer has.
pub(super) fn may_be<'l>(
    texts: impl Iterator<Item = &'l [Label]>,
    hosts: impl Iterator<Item = &'l [Label]>,
) -> bool {
    let mut texts: Vec<&[Label]> = texts.collect();
    if texts.len() < 2 {
        return false;
    }
    let mut hidden: Vec<&str> = Vec::new();
    for label in hosts.flatten() {
        if !hidden.contains(&&*label.name) {
            hidden.push(&label.name);
        }
    }
    let mut labels = texts.iter().copied().flatten();
    if labels.any(|label| hidden.contains(&&*label.name)) {
        return true;
    }
    texts.sort_unstable();
    texts.windows(2).any(|pair| match pair {
        [left, right] => left == right,
        _ => false,
    })
}

/// Each label set once, in the order of its first series.
pub(super) fn join(found: Vec<Found>) -> Vec<Found> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(found.len());
    let mut joined: Vec<Found> = Vec::with_capacity(found.len());
    for one in found {
        match places.get(&one.0).and_then(|&place| joined.get_mut(place)) {
            Some(first) => add(first, one),
            None => {
                places.insert(one.0.clone(), joined.len());
                joined.push(one);
            }
        }
    }
    joined
}

/// Each label set once.
pub(super) fn distinct(mut found: Vec<Labels>) -> Vec<Labels> {
    let mut known = HashSet::with_capacity(found.len());
    found.retain(|labels| known.insert(labels.clone()));
    found
}

fn add(first: &mut Found, later: Found) {
    let step_ms = [&first.2, &later.2]
        .into_iter()
        .flatten()
        .map(|coarse| coarse.step_ms)
        .max();
    let rows = [rows(first), rows(&later)].concat();
    let mut rows: Vec<(i64, f64, f64)> = rows;
    // Stable: the first text's sample comes first, unless it only tells that the series ended.
    rows.sort_by_key(|&(time_ms, value, _)| (time_ms, is_stale(value)));
    rows.dedup_by_key(|row| row.0);
    first.1.clear();
    for &(time_ms, value, _) in &rows {
        first.1.push(time_ms, value);
    }
    first.2 = step_ms.map(|step_ms| Coarse {
        step_ms,
        counts: rows.iter().map(|row| row.2).collect::<Arc<[f64]>>(),
    });
}

/// Times, values, and what each stands for.
fn rows((_, points, coarse): &Found) -> Vec<(i64, f64, f64)> {
    let counts = coarse.as_ref().map(|coarse| &coarse.counts);
    let count = |place: usize| counts.and_then(|counts| counts.get(place)).unwrap_or(&1.0);
    let points = points.iter().enumerate();
    points
        .map(|(place, (time_ms, value))| (time_ms, value, *count(place)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, rows: &[(i64, f64)], counts: Option<&[f64]>) -> Found {
        let mut points = Points::default();
        rows.iter()
            .for_each(|&(time_ms, value)| points.push(time_ms, value));
        let coarse = counts.map(|counts| Coarse {
            step_ms: 300_000,
            counts: counts.into(),
        });
        (Labels::new([("__name__", name)]), points, coarse)
    }

    #[test]
    fn of_one_label_set_there_is_one_series_with_the_samples_of_all() {
        let stale = f64::from_bits(0x7ff0_0000_0000_0002);
        let joined = join(vec![
            one(
                "a",
                &[(10, 1.0), (20, stale), (40, 4.0)],
                Some(&[2.0, 3.0, 4.0]),
            ),
            one("b", &[(10, 7.0)], None),
            one("a", &[(5, 0.5), (10, 9.0), (20, 2.0)], None),
        ]);
        assert_eq!(joined.len(), 2);
        let (_, points, coarse) = &joined[0];
        assert_eq!(points.times, [5, 10, 20, 40]);
        assert_eq!(points.values, [0.5, 1.0, 2.0, 4.0]);
        assert_eq!(&*coarse.as_ref().unwrap().counts, [1.0, 2.0, 1.0, 4.0]);
        assert_eq!(joined[1].1.values, [7.0]);
    }

    #[test]
    fn texts_that_differ_need_no_look() {
        let label = |name: &str, value: &str| Label {
            name: name.into(),
            value: value.into(),
        };
        let texts = [vec![label("a", "1")], vec![label("a", "2")]];
        let texts = || texts.iter().map(Vec::as_slice);
        let host = [label("site", "gs")];
        assert!(!may_be(texts(), [&host[..]].into_iter()));
        let hides = [label("a", "3")];
        assert!(may_be(texts(), [&hides[..]].into_iter()));
        assert!(may_be(texts().chain(texts()), [&host[..]].into_iter()));
    }
}
