//! A walk without what identifies its owner: names, places, addresses, serial numbers, neighbours.
//!
//! What stays is what a profile needs: which objects there are, and what kind of values they hold. The
//! same address or serial number becomes the same replacement everywhere, so that what belongs together
//! still does.

use std::collections::BTreeMap;

use crate::oid::Oid;
use crate::value::Value;
use crate::walk::Walk;

/// Parts of the tree that are left out whole: who talks to whom, users, keys.
const LEFT_OUT: &[&[u32]] = &[
    // ipAddrTable, routes, ARP, and their successors.
    &[1, 3, 6, 1, 2, 1, 3],
    &[1, 3, 6, 1, 2, 1, 4],
    // TCP and UDP: open connections.
    &[1, 3, 6, 1, 2, 1, 6],
    &[1, 3, 6, 1, 2, 1, 7],
    // BGP and OSPF neighbours.
    &[1, 3, 6, 1, 2, 1, 14],
    &[1, 3, 6, 1, 2, 1, 15],
    // MAC addresses behind ports.
    &[1, 3, 6, 1, 2, 1, 17, 4, 3],
    &[1, 3, 6, 1, 2, 1, 17, 7, 1, 2],
    // Software and its paths.
    &[1, 3, 6, 1, 2, 1, 25, 4],
    &[1, 3, 6, 1, 2, 1, 25, 6],
    // LLDP: neighbours and management addresses.
    &[1, 0, 8802, 1, 1, 2, 1, 3, 8],
    &[1, 0, 8802, 1, 1, 2, 1, 4],
    // CDP neighbours.
    &[1, 3, 6, 1, 4, 1, 9, 9, 23],
    // Users, groups, communities, targets of SNMP itself.
    &[1, 3, 6, 1, 6],
];

/// Objects whose text is replaced whole: sysContact, sysName, sysLocation, ifAlias, serial numbers, asset
/// ids, LLDP's own name.
const REPLACED: &[(&[u32], &str)] = &[
    (&[1, 3, 6, 1, 2, 1, 1, 4], "contact"),
    (&[1, 3, 6, 1, 2, 1, 1, 5], "name"),
    (&[1, 3, 6, 1, 2, 1, 1, 6], "location"),
    (&[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 18], "alias"),
    (&[1, 3, 6, 1, 2, 1, 43, 5, 1, 1, 17], "serial"),
    (&[1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1, 11], "serial"),
    (&[1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1, 14], "alias"),
    (&[1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1, 15], "asset"),
    (&[1, 0, 8802, 1, 1, 2, 1, 3, 3], "name"),
];

/// The walk without what identifies its owner.
///
/// What a vendor wrote into its own objects under names that nobody knows cannot all be found: addresses
/// and long mixed words of letters and digits are masked, and a person still reads it before it is handed on.
#[must_use]
pub fn anonymised(walk: &Walk) -> Walk {
    let mut masks = Masks::default();
    let mut result = Walk::default();
    for (oid, value) in walk.iter() {
        if LEFT_OUT.iter().any(|root| oid.is_in(&Oid::new(root))) {
            continue;
        }
        let replaced = REPLACED.iter().find(|(root, _)| oid.is_in(&Oid::new(root)));
        let value = match (replaced, value) {
            (Some((_, kind)), Value::Octets(octets)) if !octets.is_empty() => {
                masks.word(kind, octets)
            }
            (_, value) => masks.value(oid, value),
        };
        result.add(oid.clone(), value);
    }
    result
}

/// Replacements, the same for the same text.
#[derive(Default)]
struct Masks {
    words: BTreeMap<(String, Vec<u8>), usize>,
}

impl Masks {
    /// `serial 1`, `serial 2`, … of this kind.
    fn word(&mut self, kind: &str, octets: &[u8]) -> Value {
        let number = self.number(kind, octets);
        Value::Octets(format!("{kind}-{number}").into_bytes().into())
    }

    fn number(&mut self, kind: &str, octets: &[u8]) -> usize {
        let next = self.words.keys().filter(|(known, _)| known == kind).count() + 1;
        *self
            .words
            .entry((kind.to_owned(), octets.to_vec()))
            .or_insert(next)
    }

    fn value(&mut self, oid: &Oid, value: &Value) -> Value {
        match value {
            // Of the range for documentation: RFC 5737.
            Value::Address(_) => Value::Address([192, 0, 2, 1]),
            Value::Octets(octets) => {
                // sysDescr is how a device is recognised; its words of letters and digits are versions.
                let is_descr = oid.is_in(&Oid::new(&[1, 3, 6, 1, 2, 1, 1, 1]));
                match value.text() {
                    Some(text) => Value::Octets(self.text(&text, is_descr).into_bytes().into()),
                    None if octets.len() == 6 => self.mac(octets),
                    None => Value::Octets(vec![0; octets.len()].into()),
                }
            }
            other => other.clone(),
        }
    }

    /// A MAC address that nobody has: locally administered.
    fn mac(&mut self, octets: &[u8]) -> Value {
        let number = self.number("mac", octets);
        let [.., high, low] = u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes();
        Value::Octets([2, 0, 0, 0, high, low].into())
    }

    /// `text` with addresses, and words that look like serial numbers, replaced.
    fn text(&mut self, text: &str, keep_words: bool) -> String {
        let mut result = String::with_capacity(text.len());
        for piece in
            text.split_inclusive(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '(' | ')'))
        {
            let end = piece.trim_end_matches(|c: char| {
                c.is_whitespace() || matches!(c, ',' | ';' | '(' | ')')
            });
            let rest = piece.get(end.len()..).unwrap_or_default();
            let value = Value::Octets(end.as_bytes().into());
            if end.contains('@') {
                result.push_str("someone@example.org");
            } else if end.parse::<std::net::IpAddr>().is_ok() {
                result.push_str("192.0.2.1");
            } else if value.mac().is_some() {
                result.push_str("02:00:00:00:00:01");
            } else if !keep_words && looks_like_a_serial(end) {
                let number = self.number("serial", end.as_bytes());
                result.push_str(&format!("serial-{number}"));
            } else {
                result.push_str(end);
            }
            result.push_str(rest);
        }
        result
    }
}

/// Ten characters or more of capital letters and digits, both of them.
fn looks_like_a_serial(word: &str) -> bool {
    let letters = word.bytes().filter(u8::is_ascii_uppercase).count();
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    word.len() >= 10 && letters + digits == word.len() && digits >= 4
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNED: &str = "1.3.6.1.2.1.1.1.0|4|Switch V200R019C10SPC500 at 10.8.0.1\n\
        1.3.6.1.2.1.1.5.0|4|chaoyang-court-core\n\
        1.3.6.1.2.1.1.6.0|4|朝阳区人民法院 3 楼\n\
        1.3.6.1.2.1.2.2.1.6.1|4x|001a2b3c4d5e\n\
        1.3.6.1.2.1.2.2.1.6.2|4x|001a2b3c4d5e\n\
        1.3.6.1.2.1.3.1.1.2.1.1.10.8.0.9|4x|001a2b3c4d5f\n\
        1.3.6.1.2.1.31.1.1.1.18.1|4|to judge Wang\n\
        1.3.6.1.2.1.47.1.1.1.1.11.1|4|2102351QLB10J9000123\n\
        1.3.6.1.4.1.9.1.0|4|SN 2102351QLB10J9000123, admin@court.cn\n\
        1.3.6.1.4.1.9.2.0|64|10.8.0.1\n\
        1.3.6.1.4.1.9.3.0|2|42\n\
        1.3.6.1.6.3.18.1.1.1.2.1|4|secret-community\n";

    #[test]
    fn nothing_of_the_owner_stays_and_what_a_profile_needs_does() {
        let walk = Walk::parse(OWNED).0;
        let text = anonymised(&walk).text();
        for secret in [
            "chaoyang", "朝阳", "001a2b3c", "10.8.0", "Wang", "2102351", "admin@", "secret",
        ] {
            assert!(!text.contains(secret), "{secret}\n{text}");
        }
        for kept in ["V200R019C10SPC500", "1.3.6.1.4.1.9.3.0|2|42", "location-1"] {
            assert!(text.contains(kept), "{kept}\n{text}");
        }
        // One address is one replacement.
        let mac = |index| {
            anonymised(&walk)
                .get(&Oid::new(&[1, 3, 6, 1, 2, 1, 2, 2, 1, 6, index]))
                .cloned()
        };
        assert_eq!(mac(1), mac(2));
    }
}
