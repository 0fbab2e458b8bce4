//! Series of one label set, joined.
//!
//! An agent may write one series as several texts: with a label that its host's hides, with an empty one,
//! or with a name in two forms. In an answer they would be the same series twice, which fails the whole
//! query of everybody whose question includes it. So they are one: of two samples of one time that of the
//! first text stays, and a value drives out a stale marker.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use xiezhi_promql::{Budget, Coarse, Exhausted, Label, Labels};

use crate::chunk::Points;
use crate::column::is_stale;

/// What it takes to know where a label set was seen, and to put it there.
const PLACE_BYTES: u64 = 160;
/// What it takes to sort a sample among those of its set: itself, and as much again while they are sorted.
const ROW_BYTES: u64 = 2 * size_of::<Row>() as u64;

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

/// Each label set once, in the order of its first series. The texts of one set are joined in one go: a host
/// may write thousands, and a query must not pay for each of them with all those before.
pub(super) fn join(found: Vec<Found>, budget: &Budget) -> Result<Vec<Found>, Exhausted> {
    let place_bytes = (found.len() as u64).saturating_mul(PLACE_BYTES);
    budget.charge_bytes(place_bytes)?;
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(found.len());
    let mut joined: Vec<Found> = Vec::with_capacity(found.len());
    let mut later: BTreeMap<usize, Vec<Found>> = BTreeMap::new();
    for one in found {
        match places.get(&one.0) {
            Some(&place) => later.entry(place).or_default().push(one),
            None => {
                places.insert(one.0.clone(), joined.len());
                joined.push(one);
            }
        }
    }
    for (place, later) in later {
        budget.check()?;
        if let Some(first) = joined.get_mut(place) {
            add(first, &later, budget)?;
        }
    }
    budget.release_bytes(place_bytes);
    Ok(joined)
}

/// Each label set once.
pub(super) fn distinct(mut found: Vec<Labels>, budget: &Budget) -> Result<Vec<Labels>, Exhausted> {
    let place_bytes = (found.len() as u64).saturating_mul(PLACE_BYTES);
    budget.charge_bytes(place_bytes)?;
    let mut known = HashSet::with_capacity(found.len());
    found.retain(|labels| known.insert(labels.clone()));
    budget.release_bytes(place_bytes);
    Ok(found)
}

fn add(first: &mut Found, later: &[Found], budget: &Budget) -> Result<(), Exhausted> {
    let all = || std::iter::once(&*first).chain(later);
    let length: usize = all().map(|one| one.1.times.len()).sum();
    let row_bytes = (length as u64).saturating_mul(ROW_BYTES);
    budget.charge_bytes(row_bytes)?;
    let coarse = all().filter_map(|one| one.2.as_ref());
    let step_ms = coarse.map(|coarse| coarse.step_ms).max();
    let mut joined: Vec<Row> = Vec::with_capacity(length);
    all().for_each(|one| joined.extend(rows(one)));
    // Stable: the first text's sample comes first, unless it only tells that the series ended.
    joined.sort_by_key(|&(time_ms, value, _)| (time_ms, is_stale(value)));
    joined.dedup_by_key(|row| row.0);
    first.1.clear();
    for &(time_ms, value, _) in &joined {
        first.1.push(time_ms, value);
    }
    first.2 = step_ms.map(|step_ms| Coarse {
        step_ms,
        counts: joined.iter().map(|row| row.2).collect::<Arc<[f64]>>(),
    });
    budget.release_bytes(row_bytes);
    Ok(())
}

/// A time, its value, and what that stands for.
type Row = (i64, f64, f64);

fn rows((_, points, coarse): &Found) -> impl Iterator<Item = Row> {
    let counts = coarse.as_ref().map(|coarse| &coarse.counts);
    let count = move |place: usize| counts.and_then(|counts| counts.get(place)).unwrap_or(&1.0);
    let points = points.iter().enumerate();
    points.map(move |(place, (time_ms, value))| (time_ms, value, *count(place)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_promql::Limits;

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

    fn budget() -> Budget {
        Budget::new(Limits::default())
    }

    #[test]
    fn thousands_of_texts_of_one_set_are_joined_within_the_budget() {
        let texts = |count: i64| -> Vec<Found> {
            let text = |at: i64| one("a", &[(at, 1.0), (at + count, 2.0)], None);
            (0..count).map(text).collect()
        };
        let count = 20_000;
        let joined = join(texts(count), &budget()).unwrap();
        assert_eq!(joined.len(), 1);
        assert_eq!(joined[0].1.times.len() as i64, 2 * count);
        // What a set took before is not taken again for each of its texts.
        let places = count as u64 * PLACE_BYTES;
        let limited = |memory_bytes: u64| {
            let limits = Limits {
                memory_bytes,
                ..Limits::default()
            };
            join(texts(count), &Budget::new(limits))
        };
        let rows = 2 * count as u64 * ROW_BYTES;
        assert!(limited(places + rows).is_ok());
        assert!(limited(places + rows - 1).is_err());
        assert!(limited(places - 1).is_err());
    }

    #[test]
    fn of_one_label_set_there_is_one_series_with_the_samples_of_all() {
        let stale = f64::from_bits(0x7ff0_0000_0000_0002);
        let found = vec![
            one(
                "a",
                &[(10, 1.0), (20, stale), (40, 4.0)],
                Some(&[2.0, 3.0, 4.0]),
            ),
            one("b", &[(10, 7.0)], None),
            one("a", &[(5, 0.5), (10, 9.0), (20, 2.0)], None),
        ];
        let joined = join(found, &budget()).unwrap();
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
