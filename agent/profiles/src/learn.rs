//! A first draft of a profile from the walk of a device, with nothing of its owner in it.

mod anonymous;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::library::Library;
use crate::oid::Oid;
use crate::replay;
use crate::value::{Number, Value};
use crate::walk::Walk;

pub use anonymous::anonymised;

/// Private enterprises: what no standard says.
const ENTERPRISES: &[u32] = &[1, 3, 6, 1, 4, 1];

/// Most columns and single values that a draft lists; a core switch has thousands, and nobody reads them.
const MOST: usize = 200;

/// The standard tables that a mix-in reads.
const STANDARD: &[(&str, &[u32])] = &[
    ("generic-interfaces", &[1, 3, 6, 1, 2, 1, 2, 2]),
    ("generic-entity", &[1, 3, 6, 1, 2, 1, 47]),
    ("generic-host", &[1, 3, 6, 1, 2, 1, 25]),
    ("generic-ups", &[1, 3, 6, 1, 2, 1, 33]),
    ("generic-printer", &[1, 3, 6, 1, 2, 1, 43]),
    ("generic-bridge", &[1, 3, 6, 1, 2, 1, 17]),
];

/// The text of a profile called `name` for the device of `walk`: how it is recognised, which mix-ins
/// read it, and what its vendor's own objects hold, as comments that a person makes metrics of.
#[must_use]
pub fn draft(library: &Library, name: &str, walk: &Walk) -> String {
    let probe = replay::probe(library, walk);
    let vendor = vendor(&probe.sys_object_id);
    let mut text = String::new();
    // Writing to a string cannot fail.
    write!(
        text,
        "# A draft. What must be done: kind, label, source; make metrics of the comments below.\n\
         # sysDescr: {}\n\
         profile: {name}\nversion: 1\n{}\
         kind: other\nlabel: {{zh: \"未命名设备\", en: \"Unnamed device\"}}\n\
         source: (the names of the vendor's MIB files)\n\
         match:\n  - {{sys_object_id: [{}]}}\n",
        one_line(&probe.sys_descr),
        extends(library, walk),
        probe.sys_object_id,
    )
    .ok();
    if let Some(known) = library.recognise(&probe) {
        writeln!(
            text,
            "# The profile `{}` already reads this device.",
            known.name
        )
        .ok();
    }
    if let Some(vendor) = vendor {
        text.push_str(&own_objects(walk, &vendor));
    }
    write!(
        text,
        "tests:\n  - walk: {name}.snmprec\n    expect: {{kind: other}}\n"
    )
    .ok();
    text
}

fn extends(library: &Library, walk: &Walk) -> String {
    let there: Vec<&str> = STANDARD
        .iter()
        .filter(|(name, root)| {
            let root = Oid::new(root);
            library.get(name).is_some() && walk.next(&root).is_some_and(|(oid, _)| oid.is_in(&root))
        })
        .map(|(name, _)| *name)
        .collect();
    if there.is_empty() {
        return String::new();
    }
    format!("extends: [{}]\n", there.join(", "))
}

/// The vendor's part of the tree: `1.3.6.1.4.1.2011`.
fn vendor(sys_object_id: &Oid) -> Option<Oid> {
    let enterprises = Oid::new(ENTERPRISES);
    let below = sys_object_id.below(&enterprises)?;
    Some(enterprises.at(&Oid::new(&[*below.arcs().first()?])))
}

/// What the vendor's own objects hold: single values and columns, each with examples.
fn own_objects(walk: &Walk, vendor: &Oid) -> String {
    let mut single = Vec::new();
    let mut columns: BTreeMap<Oid, Vec<&Value>> = BTreeMap::new();
    for (oid, value) in walk.iter().filter(|(oid, _)| oid.is_in(vendor)) {
        match oid.arcs() {
            [.., 0] => single.push((oid, value)),
            // Without the MIB the last arc is the likeliest index.
            [column @ .., _] => columns.entry(Oid::new(column)).or_default().push(value),
            [] => {}
        }
    }
    let mut text = String::new();
    if !single.is_empty() {
        text.push_str("metrics: []\n");
    }
    let hidden = (single.len() + columns.len()).saturating_sub(2 * MOST);
    for (oid, value) in single.into_iter().take(MOST) {
        let kind = kind(value);
        let shown = example(value);
        writeln!(text, "#  - {{id: , name: , oid: {oid}{kind}}}  # {shown}").ok();
    }
    for (oid, values) in columns.into_iter().take(MOST) {
        let shown: Vec<String> = values.iter().take(4).map(|value| example(value)).collect();
        let (rows, shown) = (values.len(), shown.join(" | "));
        writeln!(text, "#  column {oid}: {rows} rows: {shown}").ok();
    }
    if hidden > 0 {
        writeln!(text, "#  … and {hidden} more; see the recording").ok();
    }
    text
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Counter32(_) | Value::Counter64(_) => ", type: counter",
        _ => "",
    }
}

fn example(value: &Value) -> String {
    let text = value.text().or_else(|| value.mac());
    let text = text.unwrap_or_else(|| "(octets)".to_owned());
    let number = matches!(value.number(), Some(Number::Integer(_) | Number::Real(_)));
    let shown = one_line(&text);
    if number {
        shown
    } else {
        format!("\"{shown}\"")
    }
}

/// At most 60 characters on one line.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(60).collect()
}
