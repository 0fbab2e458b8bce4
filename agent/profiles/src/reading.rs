//! What a device told, read with its profile.

use std::collections::{BTreeMap, BTreeSet};

use crate::answers::Answers;
use crate::oid::Oid;
use crate::ports::{self, Port};
use crate::profile::{
    Condition, Conversion, Fact, FactSource, Label, Meaning, Metric, Profile, Table,
};
use crate::value::{Number, Value};

/// What a device told, read with its profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading<'p> {
    /// Who made it, which model, which serial number: what could be found.
    pub facts: BTreeMap<Fact, String>,
    /// Its ports, by index.
    pub ports: Vec<Port>,
    /// Its values.
    pub values: Vec<Measured<'p>>,
    /// Values that it told and that are no sample, with the reason.
    pub left_out: Vec<LeftOut<'p>>,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured<'p> {
    /// What it is.
    pub metric: &'p Metric,
    /// The table that it stands in.
    pub table: Option<&'p Table>,
    /// What tells its row apart; empty for a single value.
    pub labels: Vec<(&'p str, String)>,
    /// The number.
    pub number: Number,
    /// The device told it as a `Counter32`, which goes on from zero after 2³².
    pub narrow: bool,
    /// What the number means, if it is a state that the profile knows.
    pub meaning: Option<&'p Meaning>,
}

/// A value that is no sample.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut<'p> {
    /// What it would have been.
    pub metric: &'p Metric,
    /// The index of its row; empty for a single value.
    pub index: Oid,
    /// Why.
    pub reason: Reason,
}

/// Why a value is no sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The device told something that is no number.
    NotANumber,
    /// The profile says that this number means “none”.
    Skipped,
    /// Outside what the profile calls possible.
    Impossible,
    /// What it is to be divided by or multiplied with is missing or zero.
    NoOther,
}

impl Profile {
    /// Every object that must be asked for to read such a device: exact instances, and groups of
    /// columns of which each shares an index.
    #[must_use]
    pub fn objects(&self) -> (Vec<Oid>, Vec<Vec<Oid>>) {
        let mut single = Vec::new();
        let mut groups = Vec::new();
        for source in self.identity.values().flatten() {
            let Some(object) = &source.object else {
                continue;
            };
            // What ends with 0 is an exact instance, anything else a column.
            if source.rows.is_empty() && object.arcs().ends_with(&[0]) {
                single.push(object.clone());
            } else {
                let mut group = vec![object.clone()];
                group.extend(source.rows.iter().map(|row| row.object.clone()));
                groups.push(group);
            }
        }
        for metric in &self.metrics {
            single.push(metric.object.clone());
            single.extend(metric.conversion.others().cloned());
        }
        if self.interfaces.is_some() {
            groups.push(ports::objects().collect());
        }
        for table in &self.tables {
            groups.extend(table_objects(table));
        }
        once_each(single, groups)
    }

    /// Reads what a device told.
    #[must_use]
    pub fn read<'p>(&'p self, answers: &Answers) -> Reading<'p> {
        let mut reading = Reading {
            facts: BTreeMap::new(),
            ports: Vec::new(),
            values: Vec::new(),
            left_out: Vec::new(),
        };
        for (fact, sources) in &self.identity {
            let found = sources.iter().find_map(|source| told(source, answers));
            reading.facts.extend(found.map(|text| (*fact, text)));
        }
        if let Some(interfaces) = &self.interfaces {
            reading.ports = ports::read(interfaces, answers);
        }
        for metric in &self.metrics {
            let row = Row {
                answers,
                index: &Oid::default(),
            };
            reading.note(metric, None, Vec::new(), &row);
        }
        for table in &self.tables {
            read_table(table, answers, &mut reading);
        }
        reading
    }
}

/// The groups of a table: its columns with what they need, and columns with an index of their own.
fn table_objects(table: &Table) -> Vec<Vec<Oid>> {
    let mut group: Vec<Oid> = table.rows.iter().map(|row| row.object.clone()).collect();
    let mut groups = Vec::new();
    for label in &table.labels {
        group.extend(label.through.clone());
        // Labels of another index are asked for on their own.
        if label.through.is_some() || label.arcs.is_some() {
            groups.push(label.objects.clone());
        } else {
            group.extend(label.objects.iter().cloned());
        }
    }
    for column in &table.columns {
        group.push(column.object.clone());
        group.extend(column.conversion.others().cloned());
    }
    groups.insert(0, group);
    groups
}

/// Each object once, wherever it is asked for first; groups that nothing is left of go.
fn once_each(single: Vec<Oid>, groups: Vec<Vec<Oid>>) -> (Vec<Oid>, Vec<Vec<Oid>>) {
    let mut seen = BTreeSet::new();
    let mut fresh = |list: Vec<Oid>| -> Vec<Oid> {
        let mut kept: Vec<Oid> = list
            .into_iter()
            .filter(|oid| seen.insert(oid.clone()))
            .collect();
        kept.sort();
        kept
    };
    let single = fresh(single);
    let groups = groups
        .into_iter()
        .map(&mut fresh)
        .filter(|group| !group.is_empty())
        .collect();
    (single, groups)
}

impl Conversion {
    /// The other objects that it needs.
    fn others(&self) -> impl Iterator<Item = &Oid> {
        let scale = self.scale_by.as_ref().map(|(oid, _)| oid);
        [scale, self.decimals.as_ref(), self.times.as_ref()]
            .into_iter()
            .flatten()
            .chain(&self.percent_of)
    }
}

/// One row of a table; a single value stands in a row with the empty index.
struct Row<'a> {
    answers: &'a Answers,
    index: &'a Oid,
}

impl Row<'_> {
    fn cell(&self, object: &Oid) -> Option<&Value> {
        self.answers.cell(object, self.index)
    }

    fn number(&self, object: &Oid) -> Option<f64> {
        Some(self.cell(object)?.number()?.real())
    }
}

fn told(source: &FactSource, answers: &Answers) -> Option<String> {
    if let Some(constant) = &source.constant {
        return Some(constant.clone());
    }
    let object = source.object.as_ref()?;
    answers.rows(object).iter().find_map(|(index, value)| {
        let row = Row { answers, index };
        if !counts(&source.rows, &row) {
            return None;
        }
        let text = named(value, &source.names)?;
        let text = match &source.pattern {
            Some(pattern) => pattern.find(&text)?,
            None => text,
        };
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    })
}

/// What a value is called: by `names` if that knows its number, otherwise as text.
fn named(value: &Value, names: &BTreeMap<i64, String>) -> Option<String> {
    if let Some(Number::Integer(number)) = value.number()
        && let Some(name) = i64::try_from(number).ok().and_then(|n| names.get(&n))
    {
        return Some(name.clone());
    }
    value.text().or_else(|| value.mac())
}

fn counts(conditions: &[Condition], row: &Row<'_>) -> bool {
    conditions.iter().all(|condition| {
        let text = row.cell(&condition.object).and_then(Value::text);
        let is = condition.is.is_empty()
            || text
                .as_ref()
                .is_some_and(|text| condition.is.contains(text));
        // What is not told is none of the values that do not count.
        is && text.is_none_or(|text| !condition.is_not.contains(&text))
    })
}

fn read_table<'p>(table: &'p Table, answers: &Answers, reading: &mut Reading<'p>) {
    let mut indexes: Vec<&Oid> = table
        .columns
        .iter()
        .flat_map(|column| answers.rows(&column.object))
        .map(|(index, _)| index)
        .collect();
    indexes.sort_unstable();
    indexes.dedup();
    let rows: Vec<Row<'_>> = indexes
        .into_iter()
        .map(|index| Row { answers, index })
        .filter(|row| counts(&table.rows, row))
        .collect();
    let labels = labels(table, &rows);
    for (row, labels) in rows.iter().zip(labels) {
        for column in &table.columns {
            reading.note(column, Some(table), labels.clone(), row);
        }
    }
}

/// The labels of every row. Rows of the same labels get their index as one more.
fn labels<'p>(table: &'p Table, rows: &[Row<'_>]) -> Vec<Vec<(&'p str, String)>> {
    let mut all: Vec<Vec<(&str, String)>> = rows
        .iter()
        .map(|row| {
            let one = |label: &'p Label| Some((label.name.as_str(), label_text(label, row)?));
            table.labels.iter().filter_map(one).collect()
        })
        .collect();
    let mut count: BTreeMap<Vec<(&str, String)>, usize> = BTreeMap::new();
    for labels in &all {
        *count.entry(labels.clone()).or_default() += 1;
    }
    for (labels, row) in all.iter_mut().zip(rows) {
        if labels.is_empty() || count.get(labels).is_some_and(|count| *count > 1) {
            labels.push(("index", row.index.to_string()));
        }
    }
    all
}

fn label_text(label: &Label, row: &Row<'_>) -> Option<String> {
    let index = match (&label.through, label.arcs) {
        (Some(column), _) => {
            let Some(Number::Integer(number)) = row.cell(column)?.number() else {
                return None;
            };
            Oid::new(&[u32::try_from(number).ok()?])
        }
        (None, Some((first, last))) => Oid::new(row.index.arcs().get(first..=last)?),
        (None, None) => row.index.clone(),
    };
    if label.objects.is_empty() {
        let text = index.to_string();
        let named = text
            .parse()
            .ok()
            .and_then(|number: i64| label.names.get(&number));
        return Some(named.cloned().unwrap_or(text));
    }
    label.objects.iter().find_map(|object| {
        let text = named(row.answers.cell(object, &index)?, &label.names)?;
        (!text.is_empty()).then_some(text)
    })
}

impl<'p> Reading<'p> {
    fn note(
        &mut self,
        metric: &'p Metric,
        table: Option<&'p Table>,
        labels: Vec<(&'p str, String)>,
        row: &Row<'_>,
    ) {
        let Some(value) = row.cell(&metric.object) else {
            return;
        };
        match convert(&metric.conversion, value, row) {
            Ok(number) => self.values.push(Measured {
                metric,
                table,
                labels,
                number,
                narrow: matches!(value, Value::Counter32(_)),
                meaning: meaning(metric, number),
            }),
            Err(reason) => self.left_out.push(LeftOut {
                metric,
                index: row.index.clone(),
                reason,
            }),
        }
    }
}

fn meaning(metric: &Metric, number: Number) -> Option<&Meaning> {
    let Number::Integer(number) = number else {
        return None;
    };
    metric.states.get(&i64::try_from(number).ok()?)
}

fn convert(conversion: &Conversion, value: &Value, row: &Row<'_>) -> Result<Number, Reason> {
    let told = told_number(conversion, value).ok_or(Reason::NotANumber)?;
    if let Number::Integer(number) = told
        && conversion
            .skip
            .iter()
            .any(|skip| i128::from(*skip) == number)
    {
        return Err(Reason::Skipped);
    }
    let number = match factor(conversion, row)? {
        None => told,
        Some(factor) => Number::Real(told.real() * factor + conversion.offset.unwrap_or(0.0)),
    };
    let real = number.real();
    if let Some((least, most)) = conversion.valid
        && !(least..=most).contains(&real)
    {
        return Err(Reason::Impossible);
    }
    Ok(number)
}

/// The number in what a device told, by the pattern and the words of its conversion.
fn told_number(conversion: &Conversion, value: &Value) -> Option<Number> {
    let found = match &conversion.pattern {
        None => None,
        Some(pattern) => Some(pattern.find(&value.text()?)?),
    };
    if conversion.texts.is_empty() {
        return match found {
            None => value.number(),
            Some(text) => Value::Octets(text.into_bytes().into()).number(),
        };
    }
    let text = found.or_else(|| value.text())?.to_lowercase();
    let number = conversion.texts.get(text.trim())?;
    Some(Number::Integer(i128::from(*number)))
}

/// What the told number is multiplied with; `None` if it stays as it is.
fn factor(conversion: &Conversion, row: &Row<'_>) -> Result<Option<f64>, Reason> {
    if conversion.others().next().is_none()
        && conversion.scale.is_none()
        && conversion.offset.is_none()
    {
        return Ok(None);
    }
    let mut factor = conversion.scale.unwrap_or(1.0);
    if let Some((object, factors)) = &conversion.scale_by {
        let number = row.cell(object).and_then(Value::number);
        let Some(Number::Integer(number)) = number else {
            return Err(Reason::NoOther);
        };
        let known = i64::try_from(number).ok().and_then(|n| factors.get(&n));
        factor *= known.ok_or(Reason::NoOther)?;
    }
    if let Some(object) = &conversion.decimals {
        let digits = row.number(object).ok_or(Reason::NoOther)?;
        factor *= 10f64.powf(-digits.clamp(-9.0, 9.0));
    }
    if let Some(object) = &conversion.times {
        factor *= row.number(object).ok_or(Reason::NoOther)?;
    }
    if !conversion.percent_of.is_empty() {
        let parts = conversion
            .percent_of
            .iter()
            .map(|object| row.number(object));
        let whole = parts.sum::<Option<f64>>().filter(|whole| *whole > 0.0);
        factor *= 100.0 / whole.ok_or(Reason::NoOther)?;
    }
    Ok(Some(factor))
}

#[cfg(test)]
mod tests {
    use crate::library::{File, Library};
    use crate::replay;
    use crate::walk::Walk;

    const PROFILE: &str = r#"
profile: words
version: 1
kind: storage
label: {zh: "测试", en: "test"}
source: none
enums: {smart: {0: ok, 1: warning, 2: critical}}
tables:
  - id: disks
    labels: [{name: disk}]
    columns:
      - {id: disk_state, name: smart, oid: 1.3.9.1, type: state, enum: smart, regex: "^\\w+", texts: {Good: 0, warning: 1, ABNORMAL: 2}}
"#;

    #[test]
    fn a_state_told_as_a_word_becomes_the_number_of_the_word() {
        let file = File {
            path: "words.yaml",
            name: "words",
            text: PROFILE,
        };
        let (library, problems) = Library::read(&[file]);
        assert!(problems.is_empty(), "{problems:?}");
        let recording =
            "1.3.9.1.1|4|GOOD\n1.3.9.1.2|4| abnormal (3)\n1.3.9.1.3|4|odd\n1.3.9.1.4|2|0\n";
        let (walk, _) = Walk::parse(recording);
        let reading = replay::read(library.get("words").unwrap(), &walk);
        let shown: Vec<(String, &str)> = reading
            .values
            .iter()
            .map(|value| (value.title(), value.meaning.unwrap().text.en.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                ("disks.disk_state[1]".to_owned(), "normal"),
                ("disks.disk_state[2]".to_owned(), "critical"),
            ]
        );
        assert_eq!(reading.left_out.len(), 2);
    }
}
