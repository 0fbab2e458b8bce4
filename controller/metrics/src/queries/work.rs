//! What a query has at hand on its thread.

use serde::Serialize;
use xiezhi_promql::{
    Answer, Budget, Engine, Labels, QueryError, Select, SelectHint, Storage, StorageError, Value,
    parse_selectors,
};

use super::render::{Json, Room};
use super::{Failure, Selectors, Wish};
use crate::directory::{Origins, Scope};
use crate::wire;

/// One query under way.
pub(super) struct Work<'w> {
    pub(super) engine: &'w Engine,
    pub(super) storage: &'w dyn Storage,
    pub(super) budget: &'w Budget,
    pub(super) room: &'w Room,
    pub(super) scope: &'w Scope,
    pub(super) origins: &'w Origins,
}

impl Work<'_> {
    /// Selections of the texts; a single one without matchers if there is none.
    pub(super) fn selections(&self, wanted: &Selectors) -> Result<Vec<Select>, Failure> {
        let texts = wanted.texts.iter().map(String::as_str);
        let mut all = parse_selectors(texts, self.budget).map_err(|error| match error {
            QueryError::Parse(error) => Failure::Selector(error),
            other => Failure::Query(other),
        })?;
        if all.is_empty() {
            all.push(Vec::new());
        }
        let select = |matchers| Select {
            matchers,
            start_ms: wanted.start_ms,
            end_ms: wanted.end_ms,
            hint: SelectHint::default(),
        };
        Ok(all.into_iter().map(select).collect())
    }

    /// Label sets that satisfy any of the selections, each once, sorted.
    pub(super) fn series(&self, wanted: &Selectors) -> Result<Vec<Labels>, Failure> {
        self.all(wanted, |selection| {
            self.storage.series(selection, self.budget)
        })
    }

    /// Names of labels among the selected series, each once, sorted.
    pub(super) fn label_names(&self, wanted: &Selectors) -> Result<Vec<String>, Failure> {
        self.all(wanted, |selection| {
            self.storage.label_names(selection, self.budget)
        })
    }

    /// Values of a label among the selected series, each once, sorted.
    pub(super) fn label_values(
        &self,
        name: &str,
        wanted: &Selectors,
    ) -> Result<Vec<String>, Failure> {
        self.all(wanted, |selection| {
            self.storage.label_values(name, selection, self.budget)
        })
    }

    fn all<T: Ord>(
        &self,
        wanted: &Selectors,
        ask: impl Fn(&Select) -> Result<Vec<T>, StorageError>,
    ) -> Result<Vec<T>, Failure> {
        let mut all = Vec::new();
        for selection in &self.selections(wanted)? {
            all.extend(ask(selection)?);
            // What several selections find is held once.
            all.sort_unstable();
            all.dedup();
        }
        Ok(all)
    }

    /// An answer as JSON, of as many series as are wished for.
    pub(super) fn answer(&self, mut answer: Answer, wish: &Wish) -> Result<Json, Failure> {
        let is_cut = match &mut answer.value {
            Value::Vector(series) => cut(series, wish.limit),
            Value::Matrix(series) => cut(series, wish.limit),
            Value::Scalar(..) | Value::String(..) => false,
        };
        self.json(&wire::value(&answer).cut(is_cut), wish)
    }

    /// A list as JSON, of as many entries as are wished for.
    pub(super) fn list<T>(&self, mut list: Vec<T>, wish: &Wish) -> Result<Json, Failure>
    where
        wire::List<T>: Serialize,
    {
        let is_cut = cut(&mut list, wish.limit);
        let left_out = self.storage.left_out();
        let body = wire::data(wire::List(list)).cut(is_cut).warned(left_out);
        self.json(&body, wish)
    }

    /// Anything as JSON.
    pub(super) fn json(&self, body: &impl Serialize, wish: &Wish) -> Result<Json, Failure> {
        self.room.render(body, wish.gzip, self.budget)
    }
}

fn cut<T>(list: &mut Vec<T>, limit: usize) -> bool {
    let is_cut = list.len() > limit;
    list.truncate(limit);
    is_cut
}
