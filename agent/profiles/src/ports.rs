//! The ports of a device: IF-MIB's two tables, read as one.

use std::collections::BTreeMap;

use crate::answers::Answers;
use crate::oid::Oid;
use crate::profile::Interfaces;
use crate::value::{Number, Value};

/// One column of ifTable (`1.3.6.1.2.1.2.2.1`) or ifXTable (`1.3.6.1.2.1.31.1.1.1`).
struct Column {
    name: &'static str,
    arcs: &'static [u32],
}

const fn table(name: &'static str, arcs: &'static [u32]) -> Column {
    Column { name, arcs }
}

macro_rules! if_table {
    ($name:literal, $column:literal) => {
        table($name, &[1, 3, 6, 1, 2, 1, 2, 2, 1, $column])
    };
}

macro_rules! if_x_table {
    ($name:literal, $column:literal) => {
        table($name, &[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, $column])
    };
}

/// What says which port it is and how it is set; asked for now and then.
const FACTS: &[Column] = &[
    if_table!("ifDescr", 2),
    if_table!("ifType", 3),
    if_table!("ifMtu", 4),
    if_table!("ifSpeed", 5),
    if_table!("ifPhysAddress", 6),
    if_x_table!("ifName", 1),
    if_x_table!("ifHighSpeed", 15),
    if_x_table!("ifAlias", 18),
];

/// States and counters; asked for at every poll. The order is that of SNMP, table by table.
const COUNTERS: &[Column] = &[
    if_table!("ifAdminStatus", 7),
    if_table!("ifOperStatus", 8),
    if_table!("ifLastChange", 9),
    if_table!("ifInOctets", 10),
    if_table!("ifInUcastPkts", 11),
    if_table!("ifInDiscards", 13),
    if_table!("ifInErrors", 14),
    if_table!("ifOutOctets", 16),
    if_table!("ifOutUcastPkts", 17),
    if_table!("ifOutDiscards", 19),
    if_table!("ifOutErrors", 20),
    if_x_table!("ifInMulticastPkts", 2),
    if_x_table!("ifInBroadcastPkts", 3),
    if_x_table!("ifOutMulticastPkts", 4),
    if_x_table!("ifOutBroadcastPkts", 5),
    if_x_table!("ifHCInOctets", 6),
    if_x_table!("ifHCInUcastPkts", 7),
    if_x_table!("ifHCInMulticastPkts", 8),
    if_x_table!("ifHCInBroadcastPkts", 9),
    if_x_table!("ifHCOutOctets", 10),
    if_x_table!("ifHCOutUcastPkts", 11),
    if_x_table!("ifHCOutMulticastPkts", 12),
    if_x_table!("ifHCOutBroadcastPkts", 13),
    if_x_table!("ifCounterDiscontinuityTime", 19),
];

/// Counters that have a wider one of the same meaning; they count only where that is missing.
const NARROW: &[(&str, &str)] = &[
    ("ifInOctets", "ifHCInOctets"),
    ("ifOutOctets", "ifHCOutOctets"),
    ("ifInUcastPkts", "ifHCInUcastPkts"),
    ("ifOutUcastPkts", "ifHCOutUcastPkts"),
    ("ifInMulticastPkts", "ifHCInMulticastPkts"),
    ("ifInBroadcastPkts", "ifHCInBroadcastPkts"),
    ("ifOutMulticastPkts", "ifHCOutMulticastPkts"),
    ("ifOutBroadcastPkts", "ifHCOutBroadcastPkts"),
];

/// The objects that are asked for to read ports; all share their index, ifIndex.
pub(crate) fn objects() -> impl Iterator<Item = Oid> {
    FACTS
        .iter()
        .chain(COUNTERS)
        .map(|column| Oid::new(column.arcs))
}

/// A port.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// ifIndex, which a device may give another port after a restart.
    pub index: u32,
    /// What the port is known by: ifName, else ifDescr, else its index; told apart by `#` and a
    /// number where a device gives one name twice.
    pub name: String,
    /// ifDescr.
    pub descr: Option<String>,
    /// ifAlias: what a person called it.
    pub alias: Option<String>,
    /// ifType: 6 is Ethernet, 24 loopback, 53 virtual, 131 tunnel, 135 VLAN, 161 aggregate.
    pub kind: Option<i64>,
    /// ifPhysAddress, if it is a MAC address.
    pub mac: Option<String>,
    /// Bits a second: ifHighSpeed, or ifSpeed where that is missing. 0 means that it is not known.
    pub speed: Option<u64>,
    /// ifAdminStatus is up.
    pub enabled: Option<bool>,
    /// ifOperStatus: 1 up, 2 down, 3 testing, 4 unknown, 5 dormant, 6 not present, 7 lower layer down.
    pub state: Option<i64>,
    /// Counters by the name of their object; of a narrow and a wide one, the wide.
    pub counters: BTreeMap<&'static str, Count>,
    /// ifCounterDiscontinuityTime: sysUpTime when the counters last broke off, hundredths of a second.
    pub discontinuity: Option<u32>,
}

/// What a counter told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Its value.
    pub value: u64,
    /// It is a `Counter32`, which goes on from zero after 2³².
    pub narrow: bool,
}

/// The ports that `interfaces` wants, by index.
pub(crate) fn read(interfaces: &Interfaces, answers: &Answers) -> Vec<Port> {
    let columns = Columns::new(answers);
    let mut ports: Vec<Port> = columns
        .indexes()
        .into_iter()
        .map(|index| port(index, &columns))
        .filter(|port| wanted(interfaces, port))
        .collect();
    tell_apart(&mut ports);
    ports
}

/// The rows of every column by its name, found once for all ports.
struct Columns<'a>(BTreeMap<&'static str, &'a [(Oid, Value)]>);

impl<'a> Columns<'a> {
    fn new(answers: &'a Answers) -> Self {
        let rows = |column: &Column| (column.name, answers.rows(&Oid::new(column.arcs)));
        Self(FACTS.iter().chain(COUNTERS).map(rows).collect())
    }

    /// Every index that a device named, whichever column did.
    fn indexes(&self) -> Vec<u32> {
        let mut indexes: Vec<u32> = self
            .0
            .values()
            .flat_map(|rows| rows.iter())
            .filter_map(|(index, _)| match index.arcs() {
                [index] => Some(*index),
                _ => None,
            })
            .collect();
        indexes.sort_unstable();
        indexes.dedup();
        indexes
    }

    fn cell(&self, name: &str, row: &Oid) -> Option<&'a Value> {
        let rows = self.0.get(name)?;
        let place = rows.binary_search_by(|(at, _)| at.cmp(row)).ok()?;
        rows.get(place).map(|(_, value)| value)
    }

    fn text(&self, name: &str, row: &Oid) -> Option<String> {
        let text = self.cell(name, row)?.text()?;
        (!text.is_empty()).then_some(text)
    }

    fn number(&self, name: &str, row: &Oid) -> Option<i64> {
        match self.cell(name, row)?.number()? {
            Number::Integer(number) => i64::try_from(number).ok(),
            Number::Real(_) => None,
        }
    }
}

fn port(index: u32, columns: &Columns<'_>) -> Port {
    let row = Oid::new(&[index]);
    let descr = columns.text("ifDescr", &row);
    let name = columns
        .text("ifName", &row)
        .or_else(|| descr.clone())
        .unwrap_or_else(|| index.to_string());
    Port {
        index,
        name,
        descr,
        alias: columns.text("ifAlias", &row),
        kind: columns.number("ifType", &row),
        mac: columns.cell("ifPhysAddress", &row).and_then(Value::mac),
        speed: speed(columns, &row),
        enabled: columns
            .number("ifAdminStatus", &row)
            .map(|state| state == 1),
        state: columns.number("ifOperStatus", &row),
        counters: counters(columns, &row),
        discontinuity: match columns.cell("ifCounterDiscontinuityTime", &row) {
            Some(Value::Ticks(ticks)) => Some(*ticks),
            _ => None,
        },
    }
}

/// ifHighSpeed counts millions; ports below one million, and old devices, have only ifSpeed.
fn speed(columns: &Columns<'_>, row: &Oid) -> Option<u64> {
    let high = columns
        .number("ifHighSpeed", row)
        .filter(|speed| *speed > 0)
        .map(|speed| speed.saturating_mul(1_000_000));
    let speed = high.or_else(|| columns.number("ifSpeed", row))?;
    u64::try_from(speed).ok()
}

fn counters(columns: &Columns<'_>, row: &Oid) -> BTreeMap<&'static str, Count> {
    let mut counters = BTreeMap::new();
    for column in COUNTERS {
        let count = match columns.cell(column.name, row) {
            Some(Value::Counter32(count)) => Count {
                value: u64::from(*count),
                narrow: true,
            },
            Some(Value::Counter64(count)) => Count {
                value: *count,
                narrow: false,
            },
            _ => continue,
        };
        counters.insert(column.name, count);
    }
    for (narrow, wide) in NARROW {
        if counters.contains_key(wide) {
            counters.remove(narrow);
        }
    }
    counters
}

fn wanted(interfaces: &Interfaces, port: &Port) -> bool {
    let types = &interfaces.include_types;
    let of_type = types.is_empty() || port.kind.is_none_or(|kind| types.contains(&kind));
    let excluded = interfaces
        .exclude_names
        .iter()
        .any(|pattern| fits(pattern, &port.name));
    of_type && !excluded
}

/// Whether `text` fits `pattern`, in which `*` stands for anything; whatever the case.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last = first;
    let mut anything = false;
    for part in parts {
        anything = true;
        last = part;
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    // Without a star the whole text is meant; after the last star the end.
    rest.is_empty() || (anything && (last.is_empty() || text.ends_with(last)))
}

/// A name that a device gives to several ports gets `#` and the index behind it.
fn tell_apart(ports: &mut [Port]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for port in ports.iter() {
        *seen.entry(port.name.clone()).or_default() += 1;
    }
    for port in ports {
        if seen.get(&port.name).is_some_and(|count| *count > 1) {
            port.name = format!("{}#{}", port.name, port.index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::Walk;

    fn ports(walk: &str, interfaces: &Interfaces) -> Vec<Port> {
        let (walk, bad) = Walk::parse(walk);
        assert_eq!(bad, []);
        read(
            interfaces,
            &walk.answers([], &objects().collect::<Vec<_>>()),
        )
    }

    fn all() -> Interfaces {
        Interfaces {
            include_types: vec![],
            exclude_names: vec![],
        }
    }

    const TWO: &str = "1.3.6.1.2.1.2.2.1.2.1|4|GigabitEthernet0/0/1\n\
        1.3.6.1.2.1.2.2.1.2.2|4|Vlanif10\n\
        1.3.6.1.2.1.2.2.1.3.1|2|6\n1.3.6.1.2.1.2.2.1.3.2|2|53\n\
        1.3.6.1.2.1.2.2.1.5.1|66|1000000000\n1.3.6.1.2.1.2.2.1.5.2|66|0\n\
        1.3.6.1.2.1.2.2.1.6.1|4x|001a2b3c4d5e\n\
        1.3.6.1.2.1.2.2.1.7.1|2|1\n1.3.6.1.2.1.2.2.1.8.1|2|2\n\
        1.3.6.1.2.1.2.2.1.10.1|65|7\n1.3.6.1.2.1.2.2.1.10.2|65|9\n\
        1.3.6.1.2.1.31.1.1.1.6.1|70|5000000000\n1.3.6.1.2.1.31.1.1.1.15.1|66|10000\n\
        1.3.6.1.2.1.31.1.1.1.18.1|4|至高院专线\n";

    #[test]
    fn the_wide_counter_counts_and_the_narrow_one_only_where_it_is_missing() {
        let ports = ports(TWO, &all());
        let count = |value, narrow| Some(Count { value, narrow });
        let told = |port: usize, name| ports[port].counters.get(name).copied();
        assert_eq!(told(0, "ifHCInOctets"), count(5_000_000_000, false));
        assert_eq!(told(0, "ifInOctets"), None);
        assert_eq!(told(1, "ifInOctets"), count(9, true));
        assert_eq!(ports[0].speed, Some(10_000_000_000));
        assert_eq!(ports[0].mac.as_deref(), Some("00:1a:2b:3c:4d:5e"));
        assert_eq!(ports[0].alias.as_deref(), Some("至高院专线"));
        assert_eq!((ports[0].enabled, ports[0].state), (Some(true), Some(2)));
    }

    #[test]
    fn only_ports_that_are_wanted_are_read() {
        let some = Interfaces {
            include_types: vec![6],
            exclude_names: vec![],
        };
        assert_eq!(ports(TWO, &some).len(), 1);
        let some = Interfaces {
            include_types: vec![],
            exclude_names: vec!["gigabit*".into()],
        };
        assert_eq!(ports(TWO, &some)[0].name, "Vlanif10");
    }

    #[test]
    fn a_pattern_fits_the_whole_name() {
        for (pattern, text, expected) in [
            ("Vlan*", "vlanif10", true),
            ("*0/1", "Gi0/1", true),
            ("Gi", "Gi0/1", false),
            ("*", "anything", true),
            ("Gi*/1", "Gi0/1/2", false),
            ("Gi*/1", "Gi0/1/1", true),
            ("null0", "NULL0", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn ports_of_one_name_are_told_apart() {
        let walk = "1.3.6.1.2.1.2.2.1.2.4|4|eth\n1.3.6.1.2.1.2.2.1.2.7|4|eth\n";
        let names: Vec<String> = ports(walk, &all()).into_iter().map(|p| p.name).collect();
        assert_eq!(names, ["eth#4", "eth#7"]);
    }
}
