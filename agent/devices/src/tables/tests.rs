//! Readings of recordings become tables.

use std::time::Duration;

use xiezhi_profiles::{File, GENERIC, Library, Walk, replay};

use super::*;
use crate::moment::{Clocks, Moment};

const TWO_PORTS: &str = "1.3.6.1.2.1.2.2.1.2.1|4|GigabitEthernet0/0/1\n\
    1.3.6.1.2.1.2.2.1.2.2|4|GigabitEthernet0/0/2\n\
    1.3.6.1.2.1.2.2.1.3.1|2|6\n1.3.6.1.2.1.2.2.1.3.2|2|6\n\
    1.3.6.1.2.1.2.2.1.7.1|2|1\n1.3.6.1.2.1.2.2.1.7.2|2|1\n\
    1.3.6.1.2.1.2.2.1.8.1|2|1\n1.3.6.1.2.1.2.2.1.8.2|2|2\n\
    1.3.6.1.2.1.31.1.1.1.1.1|4|GE0/0/1\n1.3.6.1.2.1.31.1.1.1.1.2|4|GE0/0/2\n\
    1.3.6.1.2.1.31.1.1.1.6.1|70|5000000000\n1.3.6.1.2.1.31.1.1.1.6.2|70|10\n\
    1.3.6.1.2.1.31.1.1.1.15.1|66|1000\n1.3.6.1.2.1.31.1.1.1.15.2|66|1000\n\
    1.3.6.1.2.1.31.1.1.1.18.1|4|至高院专线\n";

fn digested(library: &Library, profile: &str, walk: &str, memory: &mut Memory) -> Digest {
    let (walk, bad) = Walk::parse(walk);
    assert_eq!(bad, []);
    let profile = library.get(profile).unwrap();
    let since = memory.advance(
        Moment {
            unix_ms: memory.at.unix_ms + 60_000,
            boot_ms: memory.at.boot_ms + 60_000,
            boot: 1,
        },
        Clocks::default(),
    );
    let digest = digest(profile, &replay::read(profile, &walk), memory, since);
    memory.tidy();
    digest
}

/// All samples as Prometheus writes them, without their values' types.
fn shown(digest: &Digest) -> Vec<String> {
    let mut all = Vec::new();
    for table in &digest.tables {
        for column in &table.columns {
            assert_eq!(column.values.len(), table.rows.len());
            for (row, value) in table.rows.iter().zip(&column.values) {
                assert_eq!(row.len(), table.labels.len());
                let labels: Vec<String> = table
                    .labels
                    .iter()
                    .zip(row)
                    .filter(|(_, text)| !text.is_empty())
                    .map(|(name, text)| format!("{name}={text}"))
                    .collect();
                let value = match value {
                    None => continue,
                    Some(PollValue::Integer(value)) => value.to_string(),
                    Some(PollValue::Unsigned(value)) => value.to_string(),
                    Some(PollValue::Real(value)) => value.to_string(),
                };
                all.push(format!("{}{{{}}} {value}", column.name, labels.join(",")));
            }
        }
    }
    all
}

#[test]
fn ports_are_called_as_snmp_exporter_calls_them() {
    let library = Library::shipped();
    let mut memory = Memory::default();
    let first = digested(&library, GENERIC, TWO_PORTS, &mut memory);
    let all = shown(&first);
    for expected in [
        "ifHCInOctets{ifAlias=至高院专线,ifDescr=GigabitEthernet0/0/1,ifName=GE0/0/1} 5000000000",
        "ifHCInOctets{ifDescr=GigabitEthernet0/0/2,ifName=GE0/0/2} 10",
        "ifOperStatus{ifDescr=GigabitEthernet0/0/2,ifName=GE0/0/2} 2",
        "ifHighSpeed{ifDescr=GigabitEthernet0/0/2,ifName=GE0/0/2} 1000",
        "ifSpeed{ifDescr=GigabitEthernet0/0/2,ifName=GE0/0/2} 1000000000",
    ] {
        assert!(
            all.iter().any(|one| one == expected),
            "{expected}\n{all:#?}"
        );
    }
    assert_eq!(first.ports[0].alias, "至高院专线");
    assert_eq!(
        (first.ports[1].state.as_str(), first.ports[1].enabled),
        ("down", true)
    );
    assert_eq!(first.changes, []);
    // Its second port comes up, and the numbers of the ports change.
    let walk = TWO_PORTS.replace("8.2|2|2", "8.2|2|1");
    let walk: String = walk
        .lines()
        .map(|line| match line.split_once('|') {
            Some((oid, rest)) if oid.ends_with(".1") => {
                format!("{}.7|{rest}\n", &oid[..oid.len() - 2])
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let second = digested(&library, GENERIC, &walk, &mut memory);
    let change = PortChange {
        name: "GE0/0/2".to_owned(),
        alias: String::new(),
        up: true,
    };
    assert_eq!(second.changes, [change]);
    let mut names: Vec<String> = shown(&second);
    names.retain(|one| one.starts_with("ifHCInOctets"));
    names.sort();
    let mut before: Vec<String> = all;
    before.retain(|one| one.starts_with("ifHCInOctets"));
    before.sort();
    assert_eq!(names, before, "no series changes when ports are renumbered");
    assert_eq!(second.left_out, BTreeMap::new());
}

#[test]
fn a_counter_that_goes_back_has_no_sample_and_is_counted() {
    let library = Library::shipped();
    let mut memory = Memory::default();
    let octets = |digest: &Digest| -> Vec<String> {
        let mut all = shown(digest);
        all.retain(|one| one.starts_with("ifHCInOctets") && one.contains("GE0/0/1"));
        all
    };
    digested(&library, GENERIC, TWO_PORTS, &mut memory);
    let cleared = TWO_PORTS.replace("5000000000", "70");
    let gap = digested(&library, GENERIC, &cleared, &mut memory);
    assert_eq!(octets(&gap), Vec::<String>::new());
    assert_eq!(gap.left_out["counter_decreased"], 1);
    let after = digested(
        &library,
        GENERIC,
        &cleared.replace("|70|70", "|70|100"),
        &mut memory,
    );
    assert!(octets(&after)[0].ends_with(" 30"), "{:?}", octets(&after));
}

const SENSORS: &str = "1.3.6.1.2.1.47.1.1.1.1.7.4|4|PSU 1\n1.3.6.1.2.1.47.1.1.1.1.7.5|4|PSU 1\n\
    1.3.6.1.2.1.99.1.1.1.1.4|2|8\n1.3.6.1.2.1.99.1.1.1.1.5|2|4\n\
    1.3.6.1.2.1.99.1.1.1.2.4|2|9\n1.3.6.1.2.1.99.1.1.1.2.5|2|9\n\
    1.3.6.1.2.1.99.1.1.1.3.4|2|0\n1.3.6.1.2.1.99.1.1.1.3.5|2|0\n\
    1.3.6.1.2.1.99.1.1.1.4.4|2|41\n1.3.6.1.2.1.99.1.1.1.4.5|2|12\n\
    1.3.6.1.2.1.99.1.1.1.5.4|2|1\n1.3.6.1.2.1.99.1.1.1.5.5|2|1\n";

#[test]
fn two_sensors_of_one_part_are_two_series() {
    let library = Library::shipped();
    let digest = digested(&library, GENERIC, SENSORS, &mut Memory::default());
    let mut all = shown(&digest);
    all.retain(|one| one.starts_with("entPhySensorValue"));
    assert_eq!(
        all,
        [
            "entPhySensorValue{entPhysicalName=PSU 1,measure=temperature} 41",
            "entPhySensorValue{entPhysicalName=PSU 1,measure=voltage} 12",
        ]
    );
}

const CLASHING: &str = "
profile: clashing
version: 1
kind: storage
label: {zh: \"测试\", en: \"test\"}
source: none
tables:
  - id: disks
    labels: [{name: disk}]
    columns:
      - {id: temperature, name: diskTemperature, oid: 1.3.9.1.1, type: gauge, unit: celsius}
  - id: bays
    labels: [{name: disk}]
    columns:
      - {id: temperature, name: diskTemperature, oid: 1.3.9.2.1, type: gauge, unit: celsius}
";

#[test]
fn of_two_samples_of_one_series_one_is_left_out() {
    let file = File {
        path: "clashing.yaml",
        name: "clashing",
        text: CLASHING,
    };
    let (library, problems) = Library::read(&[file]);
    assert!(problems.is_empty(), "{problems:?}");
    let walk = "1.3.9.1.1.1|2|30\n1.3.9.2.1.1|2|40\n1.3.9.2.1.2|2|41\n";
    let digest = digested(&library, "clashing", walk, &mut Memory::default());
    assert_eq!(
        shown(&digest),
        ["diskTemperature{disk=1} 30", "diskTemperature{disk=2} 41"]
    );
    assert_eq!(digest.left_out["duplicate"], 1);
}

#[test]
fn a_speed_is_believed_only_of_wires() {
    let port = |kind, speed| Port {
        index: 1,
        name: "a".to_owned(),
        descr: None,
        alias: None,
        kind: Some(kind),
        mac: None,
        speed: Some(speed),
        enabled: None,
        state: None,
        counters: BTreeMap::new(),
        discontinuity: None,
    };
    let told = |name, kind, speed| limit(name, &port(kind, speed)).told;
    assert_eq!(told("ifHCInOctets", 6, 1_000_000_000), Some(125_000_000));
    assert_eq!(told("ifHCInUcastPkts", 6, 1_000_000_000), Some(1_953_125));
    assert_eq!(told("ifHCInOctets", 131, 9_000), None);
    assert_eq!(told("ifHCInOctets", 6, u64::from(u32::MAX)), None);
    assert_eq!(told("ifHCInOctets", 6, 0), None);
    assert!(limit("ifInErrors", &port(6, 0)).seldom);
}

/// Every series of every shipped recording once, however many tables a profile has.
#[test]
fn no_shipped_profile_makes_a_series_twice() {
    let library = Library::shipped();
    let since = Since {
        elapsed: Duration::ZERO,
        continuity: Continuity::Same,
    };
    for profile in library.iter() {
        for test in &profile.tests {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../profiles/library/");
            let text = std::fs::read_to_string(format!("{folder}{}", test.walk)).unwrap();
            let (walk, _) = Walk::parse(&text);
            let reading = replay::read(profile, &walk);
            let digest = digest(profile, &reading, &mut Memory::default(), since);
            let mut all: Vec<String> = shown(&digest)
                .iter()
                .filter_map(|one| one.rsplit_once(' '))
                .map(|(series, _)| series.to_owned())
                .collect();
            let count = all.len();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), count, "{}", profile.name);
            for clash in ["duplicate", "bad_name"] {
                assert_eq!(digest.left_out.get(clash), None, "{} {clash}", profile.name);
            }
        }
    }
}
