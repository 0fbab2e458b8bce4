//! Recorded walks in snmpsim's format: `OID|type|value`, one object a line.
//!
//! Real recordings are untidy: lines out of order, a walk pasted twice, values with and without a
//! leading dot, `<private>` where somebody removed a name. The first value of an object counts, and
//! a line that cannot be read is told with its number; the others count.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::answers::Answers;
use crate::oid::Oid;
use crate::value::Value;

/// Everything that a device told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Walk {
    objects: BTreeMap<Oid, Value>,
}

/// A line of a recording that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct BadLine {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Walk {
    /// Reads a recording; what is wrong with it comes second, and the good lines count all the same.
    #[must_use]
    pub fn parse(text: &str) -> (Self, Vec<BadLine>) {
        let mut walk = Self::default();
        let mut bad = Vec::new();
        for (place, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            match read_line(line) {
                Ok((oid, value)) => {
                    walk.objects.entry(oid).or_insert(value);
                }
                Err(problem) => bad.push(BadLine {
                    line: place + 1,
                    problem,
                }),
            }
        }
        (walk, bad)
    }

    /// Notes what a device told for `oid`; the first value counts.
    pub fn add(&mut self, oid: Oid, value: Value) {
        self.objects.entry(oid).or_insert(value);
    }

    /// Everything that was told, in SNMP's order.
    pub fn iter(&self) -> impl Iterator<Item = (&Oid, &Value)> {
        self.objects.iter()
    }

    /// The first object after `oid`, as a device answers GETNEXT.
    #[must_use]
    pub fn next(&self, oid: &Oid) -> Option<(&Oid, &Value)> {
        let after = (std::ops::Bound::Excluded(oid), std::ops::Bound::Unbounded);
        self.objects.range::<Oid, _>(after).next()
    }

    /// The value of exactly `oid`.
    #[must_use]
    pub fn get(&self, oid: &Oid) -> Option<&Value> {
        self.objects.get(oid)
    }

    /// What a poll would have answered: for exact instances, and for columns.
    #[must_use]
    pub fn answers<'a>(
        &self,
        instances: impl IntoIterator<Item = &'a Oid>,
        columns: impl IntoIterator<Item = &'a Oid>,
    ) -> Answers {
        let mut answers = Answers::new();
        for instance in instances {
            let row = self.objects.get(instance).cloned();
            let rows = row.map(|value| (Oid::default(), value));
            answers.add(instance.clone(), rows.into_iter().collect());
        }
        for column in columns {
            let rows = self
                .objects
                .range(column.clone()..)
                .map_while(|(oid, value)| Some((oid.below(column)?, value.clone())))
                .filter(|(index, _)| !index.is_empty())
                .collect();
            answers.add(column.clone(), rows);
        }
        answers
    }

    /// The recording as text, in SNMP's order.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (oid, value) in &self.objects {
            let (kind, shown) = shown(value);
            // Writing to a string cannot fail.
            writeln!(text, "{oid}|{kind}|{shown}").ok();
        }
        text
    }
}

fn read_line(line: &str) -> Result<(Oid, Value), &'static str> {
    let mut parts = line.splitn(3, '|');
    let (Some(oid), Some(kind), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("not of the form OID|type|value");
    };
    let oid = oid
        .trim()
        .parse()
        .map_err(|_| "no object identifier at its start")?;
    Ok((oid, read_value(kind.trim(), value)?))
}

/// Types as snmpsim numbers them: the tags of BER, `x` after them for hexadecimal.
fn read_value(kind: &str, text: &str) -> Result<Value, &'static str> {
    const NOT_A_NUMBER: &str = "its value is not a number of its type";
    Ok(match kind {
        "2" => Value::Integer(text.trim().parse().map_err(|_| NOT_A_NUMBER)?),
        "4" => Value::Octets(text.as_bytes().into()),
        "4x" => Value::Octets(octets(text)?),
        "6" => Value::Oid(
            text.trim()
                .parse()
                .map_err(|_| "its value is no object identifier")?,
        ),
        "64" => Value::Address(address(text.trim())?),
        "64x" => {
            let octets = octets(text)?;
            Value::Address(
                octets
                    .as_ref()
                    .try_into()
                    .map_err(|_| "an address has four octets")?,
            )
        }
        "65" => Value::Counter32(text.trim().parse().map_err(|_| NOT_A_NUMBER)?),
        "66" => Value::Gauge32(text.trim().parse().map_err(|_| NOT_A_NUMBER)?),
        "67" => Value::Ticks(text.trim().parse().map_err(|_| NOT_A_NUMBER)?),
        "70" => Value::Counter64(text.trim().parse().map_err(|_| NOT_A_NUMBER)?),
        "68x" => float(&octets(text)?).ok_or("an opaque value that is no float")?,
        "5" | "128" | "129" | "130" => return Err("a value of no type: nothing was told"),
        _ => return Err("a type that is not known: 2, 4, 4x, 6, 64, 65, 66, 67, 68x and 70 are"),
    })
}

fn address(text: &str) -> Result<[u8; 4], &'static str> {
    text.parse::<std::net::Ipv4Addr>()
        .map(|address| address.octets())
        .map_err(|_| "its value is no IPv4 address")
}

fn octets(text: &str) -> Result<Box<[u8]>, &'static str> {
    const NOT_HEXADECIMAL: &str = "its value is not hexadecimal";
    let text = text.trim();
    if !text.is_ascii() || text.len() % 2 == 1 {
        return Err(NOT_HEXADECIMAL);
    }
    (0..text.len())
        .step_by(2)
        .map(|at| {
            let pair = text.get(at..at + 2).filter(|pair| !pair.starts_with('+'));
            pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or(NOT_HEXADECIMAL)
        })
        .collect()
}

/// net-snmp's float inside an opaque value: two bytes of tag, one of length, four of the number.
pub(crate) fn float(opaque: &[u8]) -> Option<Value> {
    match opaque {
        [0x9f, 0x78, 4, a, b, c, d] => Some(Value::Float(f32::from_be_bytes([*a, *b, *c, *d]))),
        _ => None,
    }
}

/// The type and the text of a value; octets that are no plain line are hexadecimal.
fn shown(value: &Value) -> (&'static str, String) {
    match value {
        Value::Integer(value) => ("2", value.to_string()),
        Value::Octets(octets) => match std::str::from_utf8(octets) {
            Ok(text) if !text.chars().any(char::is_control) => ("4", text.to_owned()),
            _ => ("4x", hexadecimal(octets)),
        },
        Value::Oid(oid) => ("6", oid.to_string()),
        Value::Address([a, b, c, d]) => ("64", format!("{a}.{b}.{c}.{d}")),
        Value::Counter32(value) => ("65", value.to_string()),
        Value::Gauge32(value) => ("66", value.to_string()),
        Value::Ticks(value) => ("67", value.to_string()),
        Value::Counter64(value) => ("70", value.to_string()),
        Value::Float(value) => {
            let mut opaque = vec![0x9f, 0x78, 4];
            opaque.extend(value.to_be_bytes());
            ("68x", hexadecimal(&opaque))
        }
    }
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn oid(text: &str) -> Oid {
        text.parse().unwrap()
    }

    #[test]
    fn an_untidy_recording_is_read_and_bad_lines_are_told() {
        let (walk, bad) = Walk::parse(
            "# a comment\n\
             1.3.6.1.2.1.2.2.1.2.2|4|Gi0/2\r\n\
             1.3.6.1.2.1.2.2.1.2.1|4x|4769302f31\n\
             1.3.6.1.2.1.2.2.1.2.1|4|told twice\n\
             1.3.6.1.2.1.1.2.0|6|.1.3.6.1.4.1.2011\n\
             1.3.6.1.2.1.1.3.0|67|soon\n\
             1.3.6.1.2.1.1.4.0|4x|4\n\
             1.3.6.1.2.1.1.9.0|9|1\n\
             nonsense\n\n",
        );
        let descr = oid("1.3.6.1.2.1.2.2.1.2");
        let answers = walk.answers([], [&descr]);
        let names: Vec<_> = answers
            .rows(&descr)
            .iter()
            .map(|(_, v)| v.text().unwrap())
            .collect();
        assert_eq!(names, ["Gi0/1", "Gi0/2"]);
        assert_eq!(
            walk.get(&oid("1.3.6.1.2.1.1.2.0")),
            Some(&Value::Oid(oid("1.3.6.1.4.1.2011")))
        );
        let lines: Vec<usize> = bad.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [6, 7, 8, 9]);
        assert_eq!(
            bad[0].to_string(),
            "line 6: its value is not a number of its type"
        );
    }

    #[test]
    fn a_column_ends_where_the_next_begins() {
        let (walk, _) = Walk::parse("1.3.1.1|2|1\n1.3.1.2|2|2\n1.3.10.1|2|3\n1.3.2.1|2|4\n");
        let column = oid("1.3.1");
        assert_eq!(walk.answers([], [&column]).rows(&column).len(), 2);
        assert_eq!(
            walk.next(&oid("1.3.2.1")),
            Some((&oid("1.3.10.1"), &Value::Integer(3)))
        );
        assert_eq!(walk.next(&oid("1.3.10.1")), None);
    }

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i32>().prop_map(Value::Integer),
            prop::collection::vec(any::<u8>(), 0..20)
                .prop_map(|octets| Value::Octets(octets.into())),
            any::<[u8; 4]>().prop_map(Value::Address),
            any::<u32>().prop_map(Value::Ticks),
            any::<u64>().prop_map(Value::Counter64),
            (-1e9f32..1e9).prop_map(Value::Float),
        ]
    }

    proptest! {
        #[test]
        fn a_recording_is_read_back_as_it_was(
            objects in prop::collection::btree_map(prop::collection::vec(0..9u32, 2..6), values(), 0..20)
        ) {
            let mut walk = Walk::default();
            for (arcs, value) in objects {
                walk.add(Oid::new(&arcs), value);
            }
            let (back, bad) = Walk::parse(&walk.text());
            prop_assert_eq!(bad, vec![]);
            prop_assert_eq!(back, walk);
        }

        #[test]
        fn arbitrary_text_never_panics(text in "[0-9.|x a-f+é\\n-]{0,80}") {
            drop(Walk::parse(&text));
        }
    }
}
