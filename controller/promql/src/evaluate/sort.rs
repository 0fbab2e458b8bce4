//! `sort`, `sort_desc`, `sort_by_label`, `sort_by_label_desc`: they order what one time shows.

use std::cmp::Ordering;

use super::statistics::nan_first;
use super::{Evaluator, Result, Row, Steps, Table};
use crate::ast::Call;
use crate::functions::Name;

impl<'a> Evaluator<'a> {
    pub(super) fn sort(&self, call: &Call, steps: Steps) -> Result<Table<'a>> {
        let mut table = self.vector_arg(call, 0, steps)?;
        let mut labels = Vec::new();
        for index in 1..call.args.len() {
            labels.push(String::from_utf8_lossy(self.text_arg(call, index)?).into_owned());
        }
        // A range query orders by labels at its end.
        if steps.count > 1 {
            return Ok(table);
        }
        let rows = &mut table.rows;
        match call.function.name {
            Name::Sort => rows.sort_by(|a, b| by_value(a, b, false)),
            Name::SortDesc => rows.sort_by(|a, b| by_value(a, b, true)),
            Name::SortByLabel => rows.sort_by(|a, b| by_labels(a, b, &labels)),
            _ => rows.sort_by(|a, b| by_labels(b, a, &labels)),
        }
        Ok(table)
    }
}

/// NaN comes last in both directions.
fn by_value(a: &Row, b: &Row, descending: bool) -> Ordering {
    let (a, b) = (value(a), value(b));
    if a.is_nan() || b.is_nan() {
        return nan_first(b, a);
    }
    if descending {
        nan_first(b, a)
    } else {
        nan_first(a, b)
    }
}

fn value(row: &Row) -> f64 {
    row.at(0).unwrap_or(f64::NAN)
}

fn by_labels(a: &Row, b: &Row, names: &[String]) -> Ordering {
    for name in names {
        let (left, right) = (a.labels.get(name), b.labels.get(name));
        let order = natural(left.unwrap_or_default(), right.unwrap_or_default());
        if order != Ordering::Equal {
            return order;
        }
    }
    a.labels.cmp(&b.labels)
}

/// Text with numbers in it, the way people count: `4m5` before `4m600`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let ((a_chunk, a_rest), (b_chunk, b_rest)) = (chunk(left), chunk(right));
        if a_chunk.is_empty() || b_chunk.is_empty() {
            // Equal so far: the shorter one first; the same numbers written otherwise by their text.
            return left.len().cmp(&right.len()).then_with(|| a.cmp(b));
        }
        let order = match (digits(a_chunk), digits(b_chunk)) {
            // Without leading zeros the longer number is the larger one, of any size.
            (Some(a), Some(b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
            _ => a_chunk.cmp(b_chunk),
        };
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (a_rest, b_rest);
    }
}

/// The digits of a number without leading zeros.
fn digits(chunk: &str) -> Option<&str> {
    chunk
        .starts_with(|c: char| c.is_ascii_digit())
        .then(|| chunk.trim_start_matches('0'))
}

/// The leading run of digits or of anything else.
fn chunk(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text
        .find(|c: char| c.is_ascii_digit() != digits)
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_count() {
        assert_eq!(natural("4m5", "4m600"), Ordering::Less);
        assert_eq!(natural("1.111.3", "1.11.3"), Ordering::Greater);
        assert_eq!(natural("a", "a1"), Ordering::Less);
        assert_eq!(natural("01", "1"), Ordering::Less);
        let large = format!("1{}", "0".repeat(40));
        assert_eq!(natural("5", "10"), Ordering::Less);
        assert_eq!(natural("10", &large), Ordering::Less);
        assert_eq!(natural("5", &large), Ordering::Less);
    }
}
