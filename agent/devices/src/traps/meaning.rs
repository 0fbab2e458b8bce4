//! What a notice means to a person: an event, in the words of the device's profile, or of the standard
//! for the six traps that every device may send (RFC 3418), or else with its number.

use std::net::SocketAddr;

use xiezhi_profiles::{Level, Oid, Profile, Value};
use xiezhi_protocol::event::{Event, Severity, kinds};

use super::Notice;
use crate::memory::ports::PortBook;
use crate::message::Cell;

/// `snmpTraps`; the number of a standard trap follows.
const STANDARD: [u32; 9] = [1, 3, 6, 1, 6, 3, 1, 1, 5];

/// `ifIndex`, `ifDescr` and `ifName`; the port's number follows.
const IF_INDEX: [u32; 10] = [1, 3, 6, 1, 2, 1, 2, 2, 1, 1];
const IF_DESCR: [u32; 10] = [1, 3, 6, 1, 2, 1, 2, 2, 1, 2];
const IF_NAME: [u32; 11] = [1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 1];

/// Longest text of all values together; more of them than a screen has nobody reads.
const MOST_TEXT: usize = 1024;

/// A standard trap: its name, how bad it is, its texts, and the number of the one that it ends.
struct Standard {
    name: &'static str,
    severity: Severity,
    zh: &'static str,
    en: &'static str,
    clears: Option<u32>,
}

const fn standard(
    name: &'static str,
    severity: Severity,
    zh: &'static str,
    en: &'static str,
    clears: Option<u32>,
) -> Standard {
    Standard {
        name,
        severity,
        zh,
        en,
        clears,
    }
}

const STANDARDS: [Standard; 5] = [
    standard(
        "coldStart",
        Severity::Warning,
        "设备重新启动（冷启动）",
        "the device started again (cold start)",
        None,
    ),
    standard(
        "warmStart",
        Severity::Notice,
        "设备重新启动（热启动）",
        "the device started again (warm start)",
        None,
    ),
    standard(
        "linkDown",
        Severity::Warning,
        "端口断开",
        "port down",
        Some(4),
    ),
    standard("linkUp", Severity::Info, "端口恢复", "port up", Some(3)),
    standard(
        "authenticationFailure",
        Severity::Warning,
        "有人用错误的团体字或口令访问设备",
        "somebody asked the device with a wrong community or password",
        None,
    ),
];

/// The trap that a notice of a device with this profile ends.
#[must_use]
pub fn clears(profile: Option<&Profile>, notice: &Notice) -> Option<Oid> {
    let own = profile.and_then(|profile| profile.traps.iter().find(|trap| trap.oid == notice.oid));
    if let Some(ended) = own.and_then(|trap| trap.clears.clone()) {
        return Some(ended);
    }
    let ended = of_standard(&notice.oid)?.clears?;
    Some(Oid::new(&STANDARD).at(&Oid::new(&[ended])))
}

/// The event that `notice` of `device` is. `ports` are those that are remembered of it.
#[must_use]
pub fn event(
    (device, address): (&str, SocketAddr),
    profile: Option<&Profile>,
    ports: &PortBook,
    notice: &Notice,
    now_ms: i64,
) -> Event {
    let own = profile.and_then(|profile| profile.traps.iter().find(|trap| trap.oid == notice.oid));
    let standard = of_standard(&notice.oid);
    let oid = notice.oid.to_string();
    let (severity, zh, en) = match (own, standard) {
        (Some(trap), _) => (
            severity(trap.level),
            trap.text.zh.as_str(),
            trap.text.en.as_str(),
        ),
        (None, Some(standard)) => (standard.severity, standard.zh, standard.en),
        (None, None) => (
            Severity::Notice,
            "设备主动上报",
            "the device told something",
        ),
    };
    let port = port(ports, notice);
    let which = port.as_deref().map(|port| format!(" {port}"));
    let which = which.unwrap_or_default();
    let number = if own.is_none() && standard.is_none() {
        format!(" ({oid})")
    } else {
        String::new()
    };
    let message = format!("device {device}: {en}{which}{number}");
    let mut event = Event::new(now_ms, kinds::DEVICE_TRAP, severity, message)
        .with("device", device)
        .with("address", address.to_string())
        .with("trap", oid)
        .with("text_zh", zh)
        .with("text_en", en);
    if let Some(standard) = standard {
        event = event.with("name", standard.name);
    }
    if let Some(port) = port {
        event = event.with("port", port);
    }
    if let Some(ended) = clears(profile, notice) {
        event = event.with("clears", ended.to_string());
    }
    let values = values(notice);
    if values.is_empty() {
        event
    } else {
        event.with("values", values)
    }
}

fn of_standard(oid: &Oid) -> Option<&'static Standard> {
    let [number] = oid.arcs().strip_prefix(&STANDARD)? else {
        return None;
    };
    STANDARDS.get(usize::try_from(*number).ok()?.checked_sub(1)?)
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Ok => Severity::Info,
        Level::Unknown => Severity::Notice,
        Level::Warning => Severity::Warning,
        Level::Critical => Severity::Critical,
    }
}

/// The port that a notice is about: as it names it itself, or as it is remembered by its number.
fn port(ports: &PortBook, notice: &Notice) -> Option<String> {
    let below = |base: &[u32]| {
        notice.values.iter().find_map(|(oid, cell)| {
            let [index] = oid.arcs().strip_prefix(base)? else {
                return None;
            };
            Some((*index, cell))
        })
    };
    let text = |(_, cell): (u32, &Cell)| match cell {
        Cell::Value(value) => value.text().filter(|text| !text.is_empty()),
        _ => None,
    };
    let indexed = below(&IF_INDEX)
        .or_else(|| below(&IF_NAME))
        .or_else(|| below(&IF_DESCR));
    // Some write the number into the value only.
    let told = indexed.and_then(|(index, cell)| match cell {
        Cell::Value(Value::Integer(told)) => u32::try_from(*told).ok(),
        _ => Some(index),
    });
    let known = told.and_then(|index| {
        let latest = ports.ports.iter().filter(|port| port.index == index);
        latest.max_by_key(|port| port.seen_ms)
    });
    known
        .map(|port| port.label.clone())
        .or_else(|| below(&IF_NAME).and_then(text))
        .or_else(|| below(&IF_DESCR).and_then(text))
        .or_else(|| told.map(|index| index.to_string()))
}

/// All values in one line.
fn values(notice: &Notice) -> String {
    let mut line = String::new();
    for (oid, cell) in &notice.values {
        let Cell::Value(value) = cell else { continue };
        let text = value
            .text()
            .or_else(|| value.mac())
            .unwrap_or_else(|| match value {
                Value::Octets(octets) => {
                    octets.iter().map(|octet| format!("{octet:02x}")).collect()
                }
                _ => String::new(),
            });
        let part = format!("{oid}={text}");
        if line.len() + part.len() > MOST_TEXT {
            line.push_str(" …");
            break;
        }
        if !line.is_empty() {
            line.push_str("; ");
        }
        line.push_str(&part);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::ports::Known;
    use xiezhi_profiles::Library;

    fn notice(oid: &str, values: &[(&str, Value)]) -> Notice {
        let values = values.iter();
        Notice {
            oid: oid.parse().unwrap(),
            uptime_ticks: 7,
            values: values
                .map(|(oid, value)| (oid.parse().unwrap(), Cell::Value(value.clone())))
                .collect(),
            is_inform: false,
        }
    }

    fn told(profile: Option<&Profile>, notice: &Notice) -> Event {
        let known = Known {
            label: "GE0/0/3".to_owned(),
            index: 3,
            ..Known::default()
        };
        let ports = PortBook { ports: vec![known] };
        let device = ("sw-1", "10.0.0.1:161".parse().unwrap());
        event(device, profile, &ports, notice, 5)
    }

    #[test]
    fn a_port_is_told_by_its_name_and_its_return_ends_its_fall() {
        let index = ("1.3.6.1.2.1.2.2.1.1.3", Value::Integer(3));
        let down = told(
            None,
            &notice("1.3.6.1.6.3.1.1.5.3", std::slice::from_ref(&index)),
        );
        assert_eq!(down.message, "device sw-1: port down GE0/0/3");
        assert_eq!(down.severity, Severity::Warning);
        assert_eq!(down.fields["clears"], "1.3.6.1.6.3.1.1.5.4");
        let up = told(None, &notice("1.3.6.1.6.3.1.1.5.4", &[index]));
        assert_eq!(
            (up.severity, up.fields["name"].as_str()),
            (Severity::Info, "linkUp")
        );
        assert_eq!(up.fields["clears"], "1.3.6.1.6.3.1.1.5.3");
        // A port that nobody remembers, named by the trap or only by its number.
        let named = (
            "1.3.6.1.2.1.31.1.1.1.1.9",
            Value::Octets(b"Eth9".as_slice().into()),
        );
        let other = told(None, &notice("1.3.6.1.6.3.1.1.5.3", &[named]));
        assert_eq!(other.fields["port"], "Eth9");
        let bare = ("1.3.6.1.2.1.2.2.1.1.9", Value::Integer(9));
        let other = told(None, &notice("1.3.6.1.6.3.1.1.5.3", &[bare]));
        assert_eq!(other.fields["port"], "9");
    }

    #[test]
    fn a_profile_says_what_its_traps_mean_and_what_they_end() {
        let library = Library::shipped();
        let ups = library.get("apc-smart-ups").unwrap();
        let lost = told(Some(ups), &notice("1.3.6.1.4.1.318.0.5", &[]));
        assert_eq!(lost.severity, Severity::Critical);
        assert_eq!(lost.fields["text_zh"], "市电中断，改由电池供电");
        assert_eq!(lost.message, "device sw-1: on battery: mains failed");
        let back = told(Some(ups), &notice("1.3.6.1.4.1.318.0.9", &[]));
        assert_eq!(back.severity, Severity::Info);
        assert_eq!(back.fields["clears"], "1.3.6.1.4.1.318.0.5");
    }

    #[test]
    fn what_nobody_knows_is_told_with_its_number_and_values() {
        let values = [
            (
                "1.3.6.1.4.1.9.9",
                Value::Octets([0, 0x1a, 0x2b, 0x3c, 0x4d, 0x5e].into()),
            ),
            ("1.3.6.1.4.1.9.8", Value::Octets([0xff, 0].into())),
            ("1.3.6.1.4.1.9.7", Value::Counter64(u64::MAX)),
        ];
        let event = told(None, &notice("1.3.6.1.4.1.9.1.0.5", &values));
        assert_eq!(event.severity, Severity::Notice);
        assert_eq!(
            event.message,
            "device sw-1: the device told something (1.3.6.1.4.1.9.1.0.5)"
        );
        assert_eq!(
            event.fields["values"],
            "1.3.6.1.4.1.9.9=00:1a:2b:3c:4d:5e; 1.3.6.1.4.1.9.8=ff00; 1.3.6.1.4.1.9.7=18446744073709551615"
        );
        let long = Value::Octets(vec![b'x'; 60_000].into());
        let event = told(None, &notice("1.3.6.1.4.1.9.1.0.5", &[("1.3.9", long)]));
        assert_eq!(event.fields["values"], " …");
    }
}
