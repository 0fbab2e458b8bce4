//! Arithmetic and comparisons between two vectors: which series belong together.
//!
//! Signatures are computed once per series. Within one signature, steps are looked at only to find
//! which of its series have values.

use std::collections::HashMap;

use super::binary::result;
use super::call::any_present;
use super::{Evaluator, Result, Row, Steps, Table, fail};
use crate::ast::{Binary, Group, Matching};
use crate::labels::{Label, Labels, METRIC_NAME};
use crate::number::{STALE, is_stale};

/// The series of one signature on both sides, in the order of their tables.
#[derive(Default)]
pub(super) struct Pair {
    pub(super) left: Vec<usize>,
    pub(super) right: Vec<usize>,
}

/// All signatures, in the order in which the left and then the right side shows them.
pub(super) fn pairs(left: &Table<'_>, right: &Table<'_>, matching: &Matching) -> Vec<Pair> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(left.rows.len());
    let mut pairs: Vec<Pair> = Vec::new();
    for (rows, is_left) in [(&left.rows, true), (&right.rows, false)] {
        for (index, row) in rows.iter().enumerate() {
            let place = *places
                .entry(signature(&row.labels, matching))
                .or_insert_with(|| {
                    pairs.push(Pair::default());
                    pairs.len() - 1
                });
            let Some(pair) = pairs.get_mut(place) else {
                continue;
            };
            if is_left {
                pair.left.push(index)
            } else {
                pair.right.push(index)
            }
        }
    }
    pairs
}

/// The labels by which a series is matched.
fn signature(labels: &Labels, matching: &Matching) -> Labels {
    let listed = |name: &str| matching.labels.iter().any(|label| &**label == name);
    if matching.on {
        let kept: Vec<Label> = labels
            .iter()
            .filter(|label| listed(&label.name))
            .cloned()
            .collect();
        return Labels::from_sorted(kept);
    }
    labels.without(|name| name == METRIC_NAME || listed(name))
}

/// Both sides of an operation, turned so that `one` is the side with one series per signature.
struct Sides<'t, 'a> {
    binary: &'t Binary,
    many: &'t Table<'a>,
    one: &'t Table<'a>,
    steps: usize,
}

impl<'a> Evaluator<'a> {
    pub(super) fn matched(
        &self,
        binary: &Binary,
        left: Table<'a>,
        right: Table<'a>,
        steps: Steps,
    ) -> Result<Table<'a>> {
        let mut out = Table::empty(self.budget, steps.count);
        if left.rows.is_empty() || right.rows.is_empty() {
            return Ok(out);
        }
        let turned = binary.matching.group == Group::OneToMany;
        let (many, one) = if turned {
            (&right, &left)
        } else {
            (&left, &right)
        };
        let sides = Sides {
            binary,
            many,
            one,
            steps: steps.count,
        };
        for pair in pairs(many, one, &binary.matching) {
            self.budget.check()?;
            let one_values = sides.one_side(&pair)?;
            if let Some(one_values) = one_values {
                sides.combine(&pair, &one_values, &mut out)?;
            }
        }
        out.prune();
        out.merge()?;
        Ok(out)
    }
}

/// The series of the one side at each step: usually a single one throughout.
enum OneSide {
    Single(usize),
    Changing(Vec<Option<usize>>),
}

impl OneSide {
    fn at(&self, step: usize) -> Option<usize> {
        match self {
            Self::Single(row) => Some(*row),
            Self::Changing(rows) => rows.get(step).copied().flatten(),
        }
    }

    fn rows(&self) -> Vec<usize> {
        match self {
            Self::Single(row) => vec![*row],
            Self::Changing(rows) => {
                let mut rows: Vec<usize> = rows.iter().flatten().copied().collect();
                rows.sort_unstable();
                rows.dedup();
                rows
            }
        }
    }
}

impl Sides<'_, '_> {
    /// Finds the series of the one side, and refuses two at the same step.
    fn one_side(&self, pair: &Pair) -> Result<Option<OneSide>> {
        if let [only] = pair.right.as_slice() {
            return Ok(Some(OneSide::Single(*only)));
        }
        let mut rows: Vec<Option<usize>> = vec![None; self.steps];
        for index in &pair.right {
            let Some(row) = self.one.rows.get(*index) else {
                continue;
            };
            for (step, place) in rows.iter_mut().enumerate() {
                if row.at(step).is_none() {
                    continue;
                }
                match place {
                    // Without anything on the other side nothing is matched at that step.
                    Some(_) if !any_present(self.many, step) => {}
                    Some(other) => return self.refuse(*other, *index),
                    None => *place = Some(*index),
                }
            }
        }
        Ok((!pair.right.is_empty()).then_some(OneSide::Changing(rows)))
    }

    fn refuse<T>(&self, first: usize, second: usize) -> Result<T> {
        let labels = |index: usize| self.one.rows.get(index).map(|row| row.labels.clone());
        let mut both = [
            labels(first).unwrap_or_default(),
            labels(second).unwrap_or_default(),
        ];
        both.sort();
        let [a, b] = both;
        let group = signature(&a, &self.binary.matching);
        let side = if self.binary.matching.group == Group::OneToMany {
            "left"
        } else {
            "right"
        };
        fail(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the \
             operation: [{a}, {b}];many-to-many matching not allowed: matching labels must be \
             unique on one side"
        ))
    }

    /// Combines every series of the many side with its partner.
    fn combine(&self, pair: &Pair, one: &OneSide, out: &mut Table<'_>) -> Result<()> {
        let partners = one.rows();
        // Which steps a result already has, before comparisons take values away.
        let mut taken: HashMap<Labels, Vec<bool>> = HashMap::new();
        let one_to_one = self.binary.matching.group == Group::OneToOne;
        let unique = pair.left.len() == 1;
        for many in pair
            .left
            .iter()
            .filter_map(|index| self.many.rows.get(*index))
        {
            for partner in &partners {
                let Some(one_row) = self.one.rows.get(*partner) else {
                    continue;
                };
                let labels = self.result_labels(&many.labels, &one_row.labels);
                if !unique {
                    // One-to-one allows one match per signature, otherwise one per result.
                    let key = if one_to_one {
                        Labels::default()
                    } else {
                        labels.clone()
                    };
                    let taken = taken.entry(key).or_insert_with(|| vec![false; self.steps]);
                    self.claim(many, one_row, *partner, one, taken)?;
                }
                let values = self.values(many, one_row, *partner, one);
                out.push(Row { labels, values })?;
            }
        }
        Ok(())
    }

    /// Marks the steps at which two series match; each only once.
    fn claim(
        &self,
        many: &Row,
        one_row: &Row,
        partner: usize,
        one: &OneSide,
        taken: &mut [bool],
    ) -> Result<()> {
        for (step, taken) in taken.iter_mut().enumerate() {
            let matches = many.at(step).is_some()
                && one_row.at(step).is_some()
                && one.at(step) == Some(partner);
            if matches && std::mem::replace(taken, true) {
                let what = if self.binary.matching.group == Group::OneToOne {
                    "many-to-one matching must be explicit (group_left/group_right)"
                } else {
                    "grouping labels must ensure unique matches"
                };
                return fail(format!("multiple matches for labels: {what}"));
            }
        }
        Ok(())
    }

    fn values(&self, many: &Row, one_row: &Row, partner: usize, one: &OneSide) -> Vec<f64> {
        let Binary {
            op,
            return_bool,
            matching,
            ..
        } = self.binary;
        let turned = matching.group == Group::OneToMany;
        let single = matches!(one, OneSide::Single(_));
        let both = many.values.iter().zip(&one_row.values).enumerate();
        both.map(|(step, (many, other))| {
            if is_stale(*many) || is_stale(*other) || !(single || one.at(step) == Some(partner)) {
                return STALE;
            }
            let (left, right) = if turned {
                (*other, *many)
            } else {
                (*many, *other)
            };
            // A comparison leaves the left operand's value, whichever side is the many side.
            result(*op, left, right, left, *return_bool)
        })
        .collect()
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let Binary {
            op,
            return_bool,
            matching,
            ..
        } = self.binary;
        let listed = |name: &str| matching.labels.iter().any(|label| &**label == name);
        let drop_name = !op.is_comparison() || *return_bool;
        let one_to_one = matching.group == Group::OneToOne;
        let labels = many.without(|name| {
            (drop_name && name == METRIC_NAME) || (one_to_one && matching.on != listed(name))
        });
        if matching.include.is_empty() {
            return labels;
        }
        let mut builder = labels.to_builder();
        for name in &matching.include {
            builder.set(name.clone(), one.get(name).unwrap_or_default());
        }
        builder.build()
    }
}
