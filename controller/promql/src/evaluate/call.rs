//! Calls: which computation belongs to which function.

use super::{Evaluated, Evaluator, Result, Steps, Table, absent, dates, instant, unsupported};
use crate::ast::{Call, Expr, Node, Type};
use crate::functions::Name;
use crate::labels::Labels;
use crate::number::is_stale;

impl<'a> Evaluator<'a> {
    pub(super) fn call(&self, call: &Call, steps: Steps) -> Result<Evaluated<'a>> {
        if let Some(scalar) = self.scalar_call(call, steps)? {
            return Ok(Evaluated::Scalar(scalar));
        }
        let table = match call.args.iter().find(|arg| arg.kind() == Type::Matrix) {
            Some(matrix) => self.matrix_call(call, matrix, steps)?,
            None => self.vector_call(call, steps)?,
        };
        Ok(Evaluated::Vector(table))
    }

    /// Functions whose value is a scalar.
    #[expect(
        clippy::cast_precision_loss,
        reason = "times are below 2^53 milliseconds"
    )]
    fn scalar_call(&self, call: &Call, steps: Steps) -> Result<Option<Vec<f64>>> {
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let whole = self.whole;
        let constant = match call.function.name {
            Name::Pi => std::f64::consts::PI,
            Name::Start => seconds(whole.start_ms),
            Name::End => seconds(whole.end_ms),
            Name::Range => seconds(whole.end_ms.saturating_sub(whole.start_ms)),
            Name::Step => seconds(whole.step_ms),
            Name::Time => return Ok(Some(steps.times().map(seconds).collect())),
            Name::MinOf | Name::MaxOf => return self.extreme_of(call, steps).map(Some),
            Name::ScalarOf => {
                let table = self.vector_arg(call, 0, steps)?;
                return Ok(Some(
                    (0..steps.count)
                        .map(|step| only_value(&table, step))
                        .collect(),
                ));
            }
            _ => return Ok(None),
        };
        Ok(Some(vec![constant; steps.count]))
    }

    fn extreme_of(&self, call: &Call, steps: Steps) -> Result<Vec<f64>> {
        let (left, right) = (
            self.scalar_arg(call, 0, steps)?,
            self.scalar_arg(call, 1, steps)?,
        );
        let choose = if call.function.name == Name::MinOf {
            instant::min
        } else {
            instant::max
        };
        Ok(left
            .into_iter()
            .zip(right)
            .map(|(a, b)| choose(a, b))
            .collect())
    }

    /// Functions of a range vector.
    fn matrix_call(&self, call: &Call, matrix: &Expr, steps: Steps) -> Result<Table<'a>> {
        let mut table = self.range_call(call, matrix, steps)?;
        match call.function.name {
            Name::LastOverTime | Name::FirstOverTime => {}
            Name::AbsentOverTime => {
                return absent::complement(&table, absent::labels_of(matrix), steps, self.budget);
            }
            _ => table.drop_names_strictly()?,
        }
        Ok(table)
    }

    /// Functions of an instant vector, or of none.
    fn vector_call(&self, call: &Call, steps: Steps) -> Result<Table<'a>> {
        match call.function.name {
            Name::VectorOf => {
                let values = self.scalar_arg(call, 0, steps)?;
                Table::single(self.budget, Labels::default(), values)
            }
            Name::Absent => {
                let table = self.vector_arg(call, 0, steps)?;
                let labels = call.args.first().map(absent::labels_of).unwrap_or_default();
                absent::complement(&table, labels, steps, self.budget)
            }
            Name::Timestamp => self.timestamp(call, steps),
            Name::LabelReplace => self.label_replace(call, steps),
            Name::LabelJoin => self.label_join(call, steps),
            Name::Sort | Name::SortDesc | Name::SortByLabel | Name::SortByLabelDesc => {
                self.sort(call, steps)
            }
            Name::HistogramQuantile | Name::HistogramQuantiles | Name::HistogramFraction => {
                self.histogram(call, steps)
            }
            // Of native histograms, of which none is stored: floats are left out.
            Name::HistogramAvg
            | Name::HistogramCount
            | Name::HistogramStddev
            | Name::HistogramStdvar
            | Name::HistogramSum => {
                self.vector_arg(call, 0, steps)?;
                Ok(Table::empty(self.budget, steps.count))
            }
            _ => self.value_by_value(call, steps),
        }
    }

    /// Functions that compute each value by itself.
    fn value_by_value(&self, call: &Call, steps: Steps) -> Result<Table<'a>> {
        let name = call.function.name;
        if let Some(part) = dates::part(name) {
            let mut table = match call.args.first() {
                Some(_) => self.vector_arg(call, 0, steps)?,
                None => Table::single(self.budget, Labels::default(), seconds_of(steps))?,
            };
            table.map(part);
            table.drop_names()?;
            return Ok(table);
        }
        let mut table = self.vector_arg(call, 0, steps)?;
        let mut parameters = Vec::new();
        for index in 1..call.args.len() {
            parameters.push(self.scalar_arg(call, index, steps)?);
        }
        let Some(compute) = instant::computation(name, &parameters) else {
            return Err(unsupported("not a function of instant vectors"));
        };
        table.map_steps(compute);
        table.prune();
        table.drop_names()?;
        Ok(table)
    }

    fn timestamp(&self, call: &Call, steps: Steps) -> Result<Table<'a>> {
        let selector = call.args.first().map(|arg| &arg.unwrapped().node);
        let mut table = match selector {
            Some(Node::Vector(selector)) => self.vector_of_times(selector, steps)?,
            _ => {
                let times = seconds_of(steps);
                let mut table = self.vector_arg(call, 0, steps)?;
                table.map_steps(|step, _| times.get(step).copied().unwrap_or(f64::NAN));
                table
            }
        };
        table.drop_names()?;
        Ok(table)
    }

    pub(super) fn vector_arg(&self, call: &Call, index: usize, steps: Steps) -> Result<Table<'a>> {
        match call.args.get(index) {
            Some(arg) => self.evaluate_vector(arg, steps, call.function.text),
            None => Err(unsupported("an argument is missing")),
        }
    }

    pub(super) fn scalar_arg(&self, call: &Call, index: usize, steps: Steps) -> Result<Vec<f64>> {
        match call.args.get(index) {
            Some(arg) => self.evaluate_scalar(arg, steps),
            None => Err(unsupported("an argument is missing")),
        }
    }

    /// The bytes of a text argument.
    pub(super) fn text_arg<'c>(&self, call: &'c Call, index: usize) -> Result<&'c [u8]> {
        match call.args.get(index).map(|arg| &arg.unwrapped().node) {
            Some(Node::String(bytes)) => Ok(bytes),
            _ => Err(unsupported("a text is needed here")),
        }
    }
}

/// The value at one step if exactly one series has one.
fn only_value(table: &Table<'_>, step: usize) -> f64 {
    let mut present = table.rows.iter().filter_map(|row| row.at(step));
    match (present.next(), present.next()) {
        (Some(value), None) => value,
        _ => f64::NAN,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times are below 2^53 milliseconds"
)]
fn seconds_of(steps: Steps) -> Vec<f64> {
    steps.times().map(|ms| ms as f64 / 1000.0).collect()
}

/// Whether any series has a value at the step.
pub(super) fn any_present(table: &Table<'_>, step: usize) -> bool {
    table
        .rows
        .iter()
        .any(|row| row.values.get(step).is_some_and(|value| !is_stale(*value)))
}
