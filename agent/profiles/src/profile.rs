//! A profile: what the objects of one family of devices mean.
//!
//! The types here are what a profile says once it was read, merged with what it extends, and checked;
//! `read` makes them from YAML.

pub(crate) mod read;
mod vocabulary;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::hints::Hints;
use crate::oid::Oid;

pub use vocabulary::{KINDS, Kind, UNITS, Unit};

/// A text for people, in both languages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

/// What the objects of one family of devices mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its name, which is the name of its file: `apc-smart-ups`.
    pub name: String,
    /// Counted up when its meaning changes.
    pub version: u32,
    /// The profiles whose parts it has too, in their order.
    pub extends: Vec<String>,
    /// What such a device is. A mix-in that is never matched has none.
    pub kind: Option<Kind>,
    /// What people call such a device.
    pub label: Text,
    /// Where its object identifiers come from: the names of the vendor's public MIB files.
    pub source: String,
    /// When a device is one of these; empty for a mix-in.
    pub matches: Vec<Match>,
    /// How it likes to be asked.
    pub hints: Hints,
    /// Who made it, which model, which serial number.
    pub identity: BTreeMap<Fact, Vec<FactSource>>,
    /// Its ports, if they are read.
    pub interfaces: Option<Interfaces>,
    /// Single values.
    pub metrics: Vec<Metric>,
    /// Rows of values.
    pub tables: Vec<Table>,
    /// What its traps mean.
    pub traps: Vec<Trap>,
    /// What it knows of its neighbours.
    pub topology: Topology,
    /// Recordings that it is tried against.
    pub tests: Vec<Replay>,
}

/// When a device is one of a profile's: all that is said must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Match {
    /// What sysObjectID begins with: one of these. The longest decides between profiles.
    pub sys_object_id: Vec<Oid>,
    /// What sysDescr contains, whatever the case: one of these.
    pub sys_descr_contains: Vec<String>,
    /// Objects of which one must have an answer, for devices that hide behind another's sysObjectID.
    pub has: Vec<Oid>,
    /// Decides between equals; more is better.
    pub priority: i32,
}

/// What identifies a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact {
    /// Who made it.
    Vendor,
    /// Which model it is.
    Model,
    /// Its serial number.
    Serial,
    /// The version of its software.
    Firmware,
    /// The version of its hardware.
    Hardware,
}

/// The facts by the words of profiles.
pub const FACTS: &[(&str, Fact)] = &[
    ("vendor", Fact::Vendor),
    ("model", Fact::Model),
    ("serial", Fact::Serial),
    ("firmware", Fact::Firmware),
    ("hardware", Fact::Hardware),
];

/// Where a fact is found; of several sources the first that yields something counts.
#[derive(Debug, Clone, PartialEq)]
pub struct FactSource {
    /// The text itself, for a vendor who makes all such devices.
    pub constant: Option<String>,
    /// The object: an exact instance, or a column whose first row that counts is taken.
    pub object: Option<Oid>,
    /// Which rows of a column count.
    pub rows: Vec<Condition>,
    /// What of the text is the fact: its group `v`, or all that it matches.
    pub pattern: Option<Pattern>,
    /// What numbers stand for.
    pub names: BTreeMap<i64, String>,
}

/// A regular expression with its text.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: regex_lite::Regex,
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        regex_lite::RegexBuilder::new(text)
            .size_limit(1 << 20)
            .build()
            .map(|regex| Self {
                text: text.to_owned(),
                regex,
            })
            .map_err(|error| error.to_string())
    }

    /// What of `text` is meant: group `v` if there is one, otherwise the whole match.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<String> {
        let captures = self.regex.captures(text)?;
        let found = captures.name("v").or_else(|| captures.get(0))?;
        Some(found.as_str().to_owned())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// What a column must hold in a row for the row to count.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The column.
    pub object: Oid,
    /// The row counts only with one of these values, if there are any.
    pub is: Vec<String>,
    /// The row does not count with one of these values.
    pub is_not: Vec<String>,
}

/// What kind of number a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Goes up and down.
    Gauge,
    /// Only goes up, until it wraps or is reset.
    Counter,
    /// One of a list of states.
    State,
}

/// One value, or one column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// What it is, the same word for all vendors: `battery_charge`.
    pub id: String,
    /// The name of its samples, which is the name of the object in its MIB.
    pub name: String,
    /// What people call it.
    pub label: Text,
    /// The object: an exact instance of a single value, the column of a table's.
    pub object: Oid,
    /// What kind of number it is.
    pub kind: Type,
    /// What it is counted in.
    pub unit: Unit,
    /// How the number is made from what the device tells.
    pub conversion: Conversion,
    /// What its numbers mean; only of [`Type::State`].
    pub states: BTreeMap<i64, Meaning>,
    /// How often it is asked for.
    pub every: Duration,
    /// When somebody should know.
    pub alert: Option<Alert>,
    /// What to do then.
    pub advice: Option<Text>,
}

/// How a number is made from what a device tells, in the order of these fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversion {
    /// What of a text is the number.
    pub pattern: Option<Pattern>,
    /// The numbers that words stand for, for devices that tell a state as text: `good`, in small
    /// letters. A word that is not here is no number.
    pub texts: BTreeMap<String, i64>,
    /// Numbers that mean “none”: no sample is made of them.
    pub skip: Vec<i64>,
    /// The column that tells a power of ten, by what it holds: of ENTITY-SENSOR-MIB's scale.
    pub scale_by: Option<(Oid, BTreeMap<i64, f64>)>,
    /// The column that tells how many digits stand behind the point.
    pub decimals: Option<Oid>,
    /// The column in whose units it is told: hrStorageAllocationUnits.
    pub times: Option<Oid>,
    /// The objects of whose sum it is a part: the number becomes a percentage. Of one that tells used
    /// and free but no total, both.
    pub percent_of: Vec<Oid>,
    /// Times this.
    pub scale: Option<f64>,
    /// Plus this.
    pub offset: Option<f64>,
    /// What is outside is no number but a fault of the device: no sample is made of it.
    pub valid: Option<(f64, f64)>,
}

/// How bad a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// The device does not know, or it is not in use.
    Unknown,
    /// Somebody should look.
    Warning,
    /// Somebody must act.
    Critical,
}

/// The levels by the words of profiles.
pub const LEVELS: &[(&str, Level)] = &[
    ("ok", Level::Ok),
    ("unknown", Level::Unknown),
    ("warning", Level::Warning),
    ("critical", Level::Critical),
];

/// What one number of a state means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// How bad it is.
    pub level: Level,
    /// What it is called.
    pub text: Text,
}

/// When somebody should know of a value.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Alert {
    /// A warning below this.
    pub warn_below: Option<f64>,
    /// A warning above this.
    pub warn_above: Option<f64>,
    /// Critical below this.
    pub crit_below: Option<f64>,
    /// Critical above this.
    pub crit_above: Option<f64>,
    /// After this many polls in a row.
    pub after: Option<u32>,
    /// Over once it is back at this.
    pub clear: Option<f64>,
}

/// Rows of values.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What it holds: `supplies`.
    pub id: String,
    /// What people call it.
    pub label: Text,
    /// Which rows count: all conditions must hold.
    pub rows: Vec<Condition>,
    /// What tells its rows apart.
    pub labels: Vec<Label>,
    /// Its values.
    pub columns: Vec<Metric>,
}

/// What tells the rows of a table apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// The name of the label, which is the name of the object in its MIB.
    pub name: String,
    /// Columns that hold it; the first that yields text counts.
    pub objects: Vec<Oid>,
    /// Which arcs of the row's index are the index into those columns, or are the label themselves
    /// if there are no columns; all if `None`.
    pub arcs: Option<(usize, usize)>,
    /// The column of this row that holds the index into those columns.
    pub through: Option<Oid>,
    /// What numbers stand for.
    pub names: BTreeMap<i64, String>,
}

/// How the ports of a device are read: IF-MIB, always.
#[derive(Debug, Clone, PartialEq)]
pub struct Interfaces {
    /// Only these types count, if there are any; IANAifType's numbers.
    pub include_types: Vec<i64>,
    /// These names do not count; `*` stands for anything.
    pub exclude_names: Vec<String>,
}

/// What a trap of the device means.
#[derive(Debug, Clone, PartialEq)]
pub struct Trap {
    /// snmpTrapOID.
    pub oid: Oid,
    /// How bad it is.
    pub level: Level,
    /// What it says.
    pub text: Text,
    /// The trap that it ends.
    pub clears: Option<Oid>,
    /// What to ask for at once.
    pub repoll: Vec<String>,
}

/// What a device knows of its neighbours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Topology {
    /// LLDP-MIB.
    pub lldp: bool,
    /// Which MAC address was seen at which port.
    pub fdb: bool,
    /// Which IP address has which MAC address.
    pub arp: bool,
}

/// A recording and what must be read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The recording's file, beside the profile.
    pub walk: String,
    /// What must be read: `model`, `battery_charge`, `supplies.level[Black]`, `ports`.
    pub expect: Vec<Expectation>,
}

/// One thing that must be read from a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// What.
    pub what: String,
    /// Its value as text.
    pub value: String,
    /// Line of the profile.
    pub line: usize,
    /// Column of the profile.
    pub column: usize,
}
