//! A profile tried against a recording: is what its tests expect what is read?

use std::fmt::Write as _;

use xiezhi_document::Said;

use crate::library::{GENERIC, Library, Probe};
use crate::oid::Oid;
use crate::profile::{Expectation, FACTS, Profile, Replay};
use crate::reading::{Measured, Reading};
use crate::value::{Number, Value};
use crate::walk::Walk;

/// sysDescr.0.
pub const SYS_DESCR: &[u32] = &[1, 3, 6, 1, 2, 1, 1, 1, 0];
/// sysObjectID.0.
pub const SYS_OBJECT_ID: &[u32] = &[1, 3, 6, 1, 2, 1, 1, 2, 0];

/// What a recorded device would tell of itself.
#[must_use]
pub fn probe(library: &Library, walk: &Walk) -> Probe {
    let sys_object_id = match walk.get(&Oid::new(SYS_OBJECT_ID)) {
        Some(Value::Oid(oid)) => oid.clone(),
        _ => Oid::default(),
    };
    let sys_descr = walk.get(&Oid::new(SYS_DESCR));
    let has = library
        .questions(&sys_object_id)
        .into_iter()
        .filter(|object| {
            let below = walk.next(object).is_some_and(|(oid, _)| oid.is_in(object));
            below || walk.get(object).is_some()
        })
        .collect();
    Probe {
        sys_object_id,
        sys_descr: sys_descr.and_then(Value::text).unwrap_or_default(),
        has,
    }
}

/// Reads a recorded device with `profile`, as a poll would have.
#[must_use]
pub fn read<'p>(profile: &'p Profile, walk: &Walk) -> Reading<'p> {
    let (single, groups) = profile.objects();
    profile.read(&walk.answers(&single, groups.iter().flatten()))
}

/// What `replay` expects and does not get: the place in the profile, and what is wrong.
#[must_use]
pub fn differences(
    library: &Library,
    profile: &Profile,
    replay: &Replay,
    walk: &Walk,
) -> Vec<(usize, usize, Said)> {
    let known = library.recognise(&probe(library, walk));
    let known = known.or_else(|| library.get(GENERIC));
    let name = known.map_or("", |known| known.name.as_str());
    let reading = read(profile, walk);
    let mut differences = Vec::new();
    if name != profile.name && !profile.matches.is_empty() {
        let place = replay
            .expect
            .first()
            .map_or((1, 1), |one| (one.line, one.column));
        let said = Said::new(
            format!(
                "the recording is recognised as `{name}`, not as `{}`",
                profile.name
            ),
            format!("该记录被识别为 `{name}`，而不是 `{}`", profile.name),
        );
        differences.push((place.0, place.1, said));
    }
    for one in &replay.expect {
        differences.extend(difference(profile, &reading, one));
    }
    differences
}

fn difference(
    profile: &Profile,
    reading: &Reading<'_>,
    one: &Expectation,
) -> Option<(usize, usize, Said)> {
    let found = found(profile, reading, &one.what);
    let same = found.as_ref().is_some_and(|found| alike(found, &one.value));
    if same {
        return None;
    }
    let (what, value) = (&one.what, &one.value);
    let said = match found {
        Some(found) => Said::new(
            format!("`{what}` should be `{value}` and is `{found}`"),
            format!("`{what}` 应为 `{value}`，实际是 `{found}`"),
        ),
        None => Said::new(
            format!("`{what}` should be `{value}` and is not in the recording"),
            format!("`{what}` 应为 `{value}`，但记录里没有"),
        ),
    };
    Some((one.line, one.column, said))
}

/// What was read as `what`: a fact, `kind`, `ports`, `port[NAME]`, a value by its id, a value of a
/// table as `table.id[ROW]`, or the number of a table's rows as `table`.
fn found(profile: &Profile, reading: &Reading<'_>, what: &str) -> Option<String> {
    if let Some((_, fact)) = FACTS.iter().find(|(word, _)| *word == what) {
        return reading.facts.get(fact).cloned();
    }
    if what == "kind" {
        return profile.kind.map(|kind| kind.word().to_owned());
    }
    if what == "ports" {
        return Some(reading.ports.len().to_string());
    }
    if let Some(name) = what
        .strip_prefix("port[")
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let port = reading.ports.iter().find(|port| port.name == name)?;
        return port.state.map(|state| state.to_string());
    }
    if profile.tables.iter().any(|table| table.id == what) {
        let mut rows: Vec<&[(&str, String)]> = reading
            .values
            .iter()
            .filter(|value| value.table.is_some_and(|table| table.id == what))
            .map(|value| value.labels.as_slice())
            .collect();
        rows.dedup();
        return Some(rows.len().to_string());
    }
    let measured = reading.values.iter().find(|value| value.title() == what)?;
    Some(measured.shown())
}

impl Measured<'_> {
    /// `battery_charge`, or `supplies.supply_level[Black]`: as tests name it.
    #[must_use]
    pub fn title(&self) -> String {
        let id = &self.metric.id;
        let Some(table) = self.table else {
            return id.clone();
        };
        let row: Vec<&str> = self.labels.iter().map(|(_, text)| text.as_str()).collect();
        format!("{}.{id}[{}]", table.id, row.join(", "))
    }

    /// The number as a person reads it, without its unit.
    #[must_use]
    pub fn shown(&self) -> String {
        match self.number {
            Number::Integer(integer) => integer.to_string(),
            Number::Real(real) => {
                let mut text = String::new();
                // Writing to a string cannot fail. Three digits are more than any sensor has.
                write!(text, "{real:.3}").ok();
                let text = text.trim_end_matches('0').trim_end_matches('.');
                if text == "-0" {
                    "0".to_owned()
                } else {
                    text.to_owned()
                }
            }
        }
    }
}

/// Numbers by their value, so that `100` is `100.0`; anything else by its text.
fn alike(found: &str, expected: &str) -> bool {
    match (found.parse::<f64>(), expected.parse::<f64>()) {
        (Ok(found), Ok(expected)) => (found - expected).abs() <= 0.0005 + expected.abs() * 1e-9,
        _ => found == expected,
    }
}
