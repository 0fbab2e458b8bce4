//! A reading becomes the tables of a poll.
//!
//! Samples are called as snmp_exporter calls them: by the name of the object, with the names of the
//! objects that tell rows apart as labels. Ports have `ifName`, `ifDescr` and `ifAlias`; ifIndex is no
//! label, because it is another port's after a restart. No poll ever has two samples of one series: what
//! clashes is left out and counted.

use std::collections::{BTreeMap, BTreeSet};

use xiezhi_profiles::{Measured, Number, Port, Profile, Reading, Reason, Table, Type};
use xiezhi_protocol::poll::{
    MAX_PORTS, PollColumn, PollTable, PollValue, PortAbout, is_label_name, is_metric_name,
};

use crate::counters::{Gap, Limit, Told};
use crate::memory::ports::{Known, Matched};
use crate::memory::{Memory, Row, Since};
use crate::moment::Continuity;

/// Bits a second that no port has, for those whose speed is not known.
const CEILING_BITS: u64 = 1_600_000_000_000;

/// ifSpeed of a port that is too fast for ifSpeed.
const TOO_FAST_FOR_IF_SPEED: u64 = u32::MAX as u64;

/// Octets of the shortest packet.
const SHORTEST_PACKET: u64 = 64;

/// The kinds of port (IANAifType) whose speed is that of a wire or of a bundle of wires; what others
/// tell is often made up.
const WIRES: [i64; 5] = [6, 62, 69, 117, 161];

/// What a reading came to.
#[derive(Debug, Default)]
pub struct Digest {
    /// The samples.
    pub tables: Vec<PollTable>,
    /// The ports.
    pub ports: Vec<PortAbout>,
    /// Values without a sample, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// Ports that are up or down now and were not at the last poll.
    pub changes: Vec<PortChange>,
}

/// A port that came up or went down although nobody disabled it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortChange {
    /// What its samples are called.
    pub name: String,
    /// What people called it.
    pub alias: String,
    /// It is up now.
    pub up: bool,
}

/// Makes the tables of what `profile` read, and remembers counters and ports.
#[must_use]
pub fn digest(
    profile: &Profile,
    reading: &Reading<'_>,
    memory: &mut Memory,
    since: Since,
) -> Digest {
    let mut maker = Maker {
        memory,
        since,
        shared: shared_names(profile),
        seen: BTreeSet::new(),
        digest: Digest::default(),
    };
    for left_out in &reading.left_out {
        maker.leave_out(reason(left_out.reason));
    }
    maker.scalars(reading);
    for table in &profile.tables {
        maker.table(table, reading);
    }
    maker.ports(&reading.ports);
    maker.digest
}

/// Names that samples of several metrics share: `entPhySensorValue` is a temperature and a voltage.
/// They get the metric's id as a label, or two sensors of one part would be one series.
pub(crate) fn shared_names(profile: &Profile) -> BTreeSet<String> {
    let mut ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let columns = profile.tables.iter().flat_map(|table| &table.columns);
    for metric in profile.metrics.iter().chain(columns) {
        ids.entry(&metric.name).or_default().insert(&metric.id);
    }
    ids.into_iter()
        .filter(|(_, ids)| ids.len() > 1)
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// The label that tells samples of several metrics apart.
const MEASURE: &str = "measure";

fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::NotANumber => "not_a_number",
        Reason::Skipped => "skipped",
        Reason::Impossible => "impossible",
        Reason::NoOther => "no_other",
    }
}

struct Maker<'m> {
    memory: &'m mut Memory,
    since: Since,
    shared: BTreeSet<String>,
    /// Digests of the series of this poll.
    seen: BTreeSet<Row>,
    digest: Digest,
}

impl Maker<'_> {
    fn leave_out(&mut self, reason: &str) {
        *self.digest.left_out.entry(reason.to_owned()).or_default() += 1;
    }

    fn scalars(&mut self, reading: &Reading<'_>) {
        let values = reading.values.iter().filter(|value| value.table.is_none());
        let mut table = Tables::default();
        for value in values {
            self.note(&mut table, value, "");
        }
        self.digest.tables.extend(table.finish());
    }

    fn table(&mut self, table: &Table, reading: &Reading<'_>) {
        let is_of = |value: &&Measured<'_>| value.table.is_some_and(|of| std::ptr::eq(of, table));
        let mut tables = Tables::default();
        for value in reading.values.iter().filter(is_of) {
            self.note(&mut tables, value, &table.id);
        }
        self.digest.tables.extend(tables.finish());
    }

    fn note(&mut self, tables: &mut Tables, value: &Measured<'_>, table: &str) {
        let name = value.metric.name.as_str();
        let mut labels: Vec<(&str, &str)> = value
            .labels
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .filter(|(_, text)| !text.is_empty())
            .collect();
        if self.shared.contains(name) {
            labels.push((MEASURE, value.metric.id.as_str()));
        }
        if !is_metric_name(name) || !labels.iter().all(|(name, _)| is_label_name(name)) {
            return self.leave_out("bad_name");
        }
        labels.sort_unstable();
        if !self.seen.insert(series(name, &labels)) {
            return self.leave_out("duplicate");
        }
        let counter = value.metric.kind == Type::Counter;
        let told = match self.value(value, counter, table, &labels) {
            Ok(told) => told,
            Err(reason) => return self.leave_out(reason),
        };
        let at = tables.row(&labels);
        tables.put(at, name, counter, told);
    }

    fn value(
        &mut self,
        value: &Measured<'_>,
        counter: bool,
        table: &str,
        labels: &[(&str, &str)],
    ) -> Result<PollValue, &'static str> {
        let integer = match value.number {
            Number::Real(real) if real.is_finite() => return Ok(PollValue::Real(real)),
            Number::Real(_) => return Err("not_a_number"),
            Number::Integer(integer) => integer,
        };
        match (counter, u64::try_from(integer)) {
            (true, Ok(raw)) => {
                let row = Row::of(table, labels.iter().flat_map(|(name, text)| [*name, *text]));
                let told = self.told(raw, value.narrow, None, false);
                self.memory
                    .count(row, &value.metric.name, told)
                    .map(PollValue::Unsigned)
                    .map_err(Gap::word)
            }
            (_, Ok(number)) => {
                Ok(i64::try_from(number).map_or(PollValue::Unsigned(number), PollValue::Integer))
            }
            (_, Err(_)) => i64::try_from(integer)
                .map(PollValue::Integer)
                .map_err(|_| "not_a_number"),
        }
    }

    /// What is known of a counter at this poll; the memory adds the times.
    fn told(&self, raw: u64, narrow: bool, limit: Option<Limit>, discontinued: bool) -> Told {
        Told {
            raw,
            narrow,
            limit,
            elapsed: self.since.elapsed,
            now_ms: 0,
            restarted: self.since.continuity == Continuity::Restarted,
            discontinued,
            forgotten: false,
        }
    }

    fn ports(&mut self, told: &[Port]) {
        let now_ms = self.memory.at.unix_ms;
        let matched = self.memory.ports.take(told, now_ms);
        let mut tables = Tables::default();
        for (port, matched) in told.iter().zip(&matched) {
            let Some(known) = self.memory.ports.ports.get(matched.place).cloned() else {
                continue;
            };
            self.port(&mut tables, port, &known, matched);
        }
        self.digest.tables.extend(tables.finish());
    }

    fn port(&mut self, tables: &mut Tables, port: &Port, known: &Known, matched: &Matched) {
        let labels = [
            ("ifAlias", known.alias.as_str()),
            ("ifDescr", known.descr.as_str()),
            ("ifName", known.label.as_str()),
        ];
        let at = tables.row(&labels);
        for (name, value) in gauges(port) {
            tables.put(at, name, false, value);
        }
        let before = matched.before.as_ref();
        let broke_off = before
            .is_some_and(|b| b.discontinuity.is_some() && b.discontinuity != port.discontinuity);
        let row = Row::of("ports", [known.label.as_str()]);
        for (name, count) in &port.counters {
            let told = self.told(
                count.value,
                count.narrow,
                Some(limit(name, port)),
                broke_off,
            );
            match self.memory.count(row, name, told) {
                Ok(sample) => tables.put(at, name, true, PollValue::Unsigned(sample)),
                Err(gap) => self.leave_out(gap.word()),
            }
        }
        self.digest.changes.extend(change(known, before));
        if self.digest.ports.len() < MAX_PORTS {
            self.digest.ports.push(about(port, known));
        }
    }
}

/// Which series a sample is of.
fn series(name: &str, labels: &[(&str, &str)]) -> Row {
    Row::of(name, labels.iter().flat_map(|(name, text)| [*name, *text]))
}

/// What a port is set to and how it is, as IF-MIB calls it.
fn gauges(port: &Port) -> impl Iterator<Item = (&'static str, PollValue)> {
    let enabled = port.enabled.map(|enabled| if enabled { 1 } else { 2 });
    let speed = port.speed.and_then(|speed| i64::try_from(speed).ok());
    let high = speed
        .map(|speed| speed / 1_000_000)
        .filter(|high| *high > 0);
    let low = speed.map(|speed| speed.min(i64::from(u32::MAX)));
    [
        ("ifAdminStatus", enabled),
        ("ifOperStatus", port.state),
        ("ifSpeed", low),
        ("ifHighSpeed", high),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, PollValue::Integer(value?))))
}

/// How fast a counter of a port may be.
fn limit(name: &str, port: &Port) -> Limit {
    let is_wire = port.kind.is_some_and(|kind| WIRES.contains(&kind));
    let told = port
        .speed
        .filter(|speed| is_wire && *speed > 0 && *speed != TOO_FAST_FOR_IF_SPEED);
    let octets = name.ends_with("Octets");
    let unit = if octets { 8 } else { 8 * SHORTEST_PACKET };
    Limit {
        told: told.map(|bits| (bits / unit).max(1)),
        ceiling: told.unwrap_or_default().max(CEILING_BITS) / unit,
        seldom: name.ends_with("Errors") || name.ends_with("Discards"),
    }
}

fn change(known: &Known, before: Option<&Known>) -> Option<PortChange> {
    let (was, is) = (before?.up?, known.up?);
    // Somebody who disables a port knows that it goes down.
    let wanted = known.enabled != Some(false) && before?.enabled != Some(false);
    (was != is && wanted).then(|| PortChange {
        name: known.label.clone(),
        alias: known.alias.clone(),
        up: is,
    })
}

fn about(port: &Port, known: &Known) -> PortAbout {
    PortAbout {
        name: known.label.clone(),
        alias: known.alias.clone(),
        descr: known.descr.clone(),
        kind: kind_word(port.kind),
        mac: known.mac.clone(),
        speed: port.speed.unwrap_or_default(),
        enabled: port.enabled.unwrap_or_default(),
        state: state_word(port.state).to_owned(),
    }
}

/// The kinds that people know by name; others keep their number.
fn kind_word(kind: Option<i64>) -> String {
    match kind {
        None => String::new(),
        Some(6 | 62 | 69 | 117) => "ethernet".to_owned(),
        Some(24) => "loopback".to_owned(),
        Some(53) => "virtual".to_owned(),
        Some(71) => "wireless".to_owned(),
        Some(131) => "tunnel".to_owned(),
        Some(135 | 136) => "vlan".to_owned(),
        Some(161) => "aggregate".to_owned(),
        Some(other) => other.to_string(),
    }
}

fn state_word(state: Option<i64>) -> &'static str {
    match state {
        Some(1) => "up",
        Some(2) => "down",
        Some(3) => "testing",
        Some(5) => "dormant",
        Some(6) => "not_present",
        Some(7) => "lower_layer_down",
        _ => "unknown",
    }
}

/// Tables that are being made: rows with the same label names stand in one.
#[derive(Default)]
struct Tables {
    made: Vec<Made>,
}

struct Made {
    table: PollTable,
    /// The place of each row.
    places: BTreeMap<Vec<String>, usize>,
}

/// A row: which table, and which of its rows.
type At = (usize, usize);

impl Tables {
    /// The row with these labels, which are sorted by name.
    fn row(&mut self, labels: &[(&str, &str)]) -> At {
        let names = || labels.iter().map(|(name, _)| *name);
        let place = self
            .made
            .iter()
            .position(|made| made.table.labels.iter().map(String::as_str).eq(names()));
        let place = place.unwrap_or_else(|| {
            self.made.push(Made {
                table: PollTable {
                    labels: names().map(str::to_owned).collect(),
                    ..PollTable::default()
                },
                places: BTreeMap::new(),
            });
            self.made.len() - 1
        });
        let values = labels.iter().map(|(_, text)| (*text).to_owned()).collect();
        let row = self.made.get_mut(place).map_or(0, |made| made.row(values));
        (place, row)
    }

    /// Notes a value.
    fn put(&mut self, (place, row): At, name: &str, counter: bool, value: PollValue) {
        let Some(made) = self.made.get_mut(place) else {
            return;
        };
        let columns = &mut made.table.columns;
        let column = columns.iter().position(|column| column.name == name);
        let column = column.unwrap_or_else(|| {
            columns.push(PollColumn {
                name: name.to_owned(),
                counter,
                values: Vec::new(),
            });
            columns.len() - 1
        });
        let Some(column) = columns.get_mut(column) else {
            return;
        };
        if column.values.len() <= row {
            column.values.resize(row + 1, None);
        }
        if let Some(place) = column.values.get_mut(row) {
            *place = Some(value);
        }
    }

    fn finish(self) -> impl Iterator<Item = PollTable> {
        self.made.into_iter().map(|made| {
            let mut table = made.table;
            for column in &mut table.columns {
                column.values.resize(table.rows.len(), None);
            }
            table
        })
    }
}

impl Made {
    fn row(&mut self, labels: Vec<String>) -> usize {
        let rows = &mut self.table.rows;
        *self.places.entry(labels).or_insert_with_key(|labels| {
            rows.push(labels.clone());
            rows.len() - 1
        })
    }
}

#[cfg(test)]
mod tests;
