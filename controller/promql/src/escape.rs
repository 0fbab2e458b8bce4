//! Names of metrics and labels that are not made of letters, digits and `_`, as such names.
//!
//! Prometheus 3 takes any text for a name. Paths, and our canonical series texts, do not; there a name
//! stands in the form that Prometheus's documentation calls "values" escaping: `U__`, then every `_`
//! doubled and every other sign as its number between two `_`. So `a.b` is `U__a_2e_b`.
//!
//! Source: "UTF-8 in Prometheus" of the Prometheus documentation.

use std::borrow::Cow;
use std::fmt::Write as _;

/// How a name begins that is written in this form.
const PREFIX: &str = "U__";

/// What a name is of: in a metric's a colon is a sign like any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A metric.
    Metric,
    /// A label.
    Label,
}

/// A name in letters, digits and `_`. One that looks escaped already is escaped once more, so that
/// [`unescape_name`] gives each back as it was.
#[must_use]
pub fn escape_name(name: &str, of: Named) -> Cow<'_, str> {
    if is_classic(name, of) && unescape_name(name, of).is_none() {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(PREFIX.len() + name.len() + 8);
    out.push_str(PREFIX);
    for (at, sign) in name.char_indices() {
        match sign {
            '_' => out.push_str("__"),
            _ if is_plain(sign, of) && !(at == 0 && sign.is_ascii_digit()) => out.push(sign),
            // Writing to a text does not fail.
            _ => drop(write!(out, "_{:x}_", u32::from(sign))),
        }
    }
    Cow::Owned(out)
}

/// The name behind `U__…`; `None` if it is no such name. Only what [`escape_name`] makes is one: `U__cpu`
/// is no other name of `cpu`, or whoever writes both would have one series twice.
#[must_use]
pub fn unescape_name(name: &str, of: Named) -> Option<String> {
    let plain = unescape_any(name)?;
    (escape_name(&plain, of) == name).then_some(plain)
}

fn unescape_any(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix(PREFIX)?;
    let mut out = String::with_capacity(rest.len());
    while let Some((plain, after)) = rest.split_once('_') {
        out.push_str(plain);
        let (number, next) = after.split_once('_')?;
        match number {
            "" => out.push('_'),
            hex => out.push(char::from_u32(u32::from_str_radix(hex, 16).ok()?)?),
        }
        rest = next;
    }
    out.push_str(rest);
    (!out.is_empty()).then_some(out)
}

/// A name as its sender wrote it.
#[must_use]
pub fn plain_name(name: &str, of: Named) -> Cow<'_, str> {
    unescape_name(name, of).map_or(Cow::Borrowed(name), Cow::Owned)
}

fn is_plain(sign: char, of: Named) -> bool {
    sign.is_ascii_alphanumeric() || sign == '_' || (sign == ':' && of == Named::Metric)
}

fn is_classic(name: &str, of: Named) -> bool {
    !name.is_empty()
        && !name.starts_with(|sign: char| sign.is_ascii_digit())
        && name.chars().all(|sign| is_plain(sign, of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_escaped_as_prometheus_does() {
        for (name, escaped) in [
            ("node_load1", "node_load1"),
            ("a.b", "U__a_2e_b"),
            ("a_b.c", "U__a__b_2e_c"),
            ("1up", "U___31_up"),
            ("法官", "U___6cd5__5b98_"),
            ("U__a_2e_b", "U__U____a__2e__b"),
            ("job:rate", "job:rate"),
        ] {
            assert_eq!(escape_name(name, Named::Metric), escaped, "{name}");
            let escaped = escape_name(name, Named::Label);
            assert_eq!(plain_name(&escaped, Named::Label), name);
        }
        assert_eq!(escape_name("a:b", Named::Label), "U__a_3a_b");
        for name in ["node_load1", "U__", "U__a_b", "U__a_zz_", "U__a_ffffffff_"] {
            assert_eq!(unescape_name(name, Named::Label), None, "{name}");
        }
        // Of one name there is one escaped form.
        for name in [
            "U__cpu",
            "U__a_2E_b",
            "U__a_02e_b",
            "U__node__load1",
            "U___63_pu",
        ] {
            assert_eq!(plain_name(name, Named::Metric), name);
            assert_eq!(escape_name(name, Named::Metric), name);
        }
        assert_eq!(plain_name("U__a_3a_b", Named::Metric), "U__a_3a_b");
    }

    proptest! {
        #[test]
        fn every_name_comes_back_as_it_was(name in "\\PC{1,20}|U__[a_2]{1,8}|[a-z_:]{1,9}") {
            for of in [Named::Metric, Named::Label] {
                let escaped = escape_name(&name, of);
                prop_assert!(is_classic(&escaped, of), "{}", escaped);
                prop_assert_eq!(plain_name(&escaped, of), name.as_str());
            }
        }

        #[test]
        fn no_two_names_are_one(
            left in "U__[a_2e]{1,9}|[a-e]{1,3}",
            right in "U__[a_2e]{1,9}|[a-e]{1,3}",
        ) {
            for of in [Named::Metric, Named::Label] {
                let same = plain_name(&left, of) == plain_name(&right, of);
                prop_assert_eq!(same, left == right, "{} {}", left, right);
                let same = escape_name(&left, of) == escape_name(&right, of);
                prop_assert_eq!(same, left == right, "{} {}", left, right);
            }
        }
    }
}
