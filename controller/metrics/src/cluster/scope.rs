//! A caller's scope as matchers: what the embedded engine does by choosing hosts, a cluster does by
//! `host_id`.
//!
//! The hosts are those that are at the caller's sites *now*, so a host that moved takes its history
//! along for its readers. For the same reason the selector's own matchers on `site` and `site_id` are
//! answered here and not sent: in the cluster these labels say where a host was.
//!
//! Series of devices and of foreign sources have no `host_id`. A selector that names a `device_id` or a
//! `source_id` is held to the devices or sources of the caller's sites instead; one that names neither sees
//! hosts only.

use std::collections::BTreeMap;

use xiezhi_promql::{MatchOp, Matcher, format_matchers, rewrite_selectors};
use xiezhi_series::LabelledHost;

use crate::directory::{DEVICE, Origins, SOURCE, Scope};
use crate::queries::Failure;

/// What every series of ours has, except the controller's own.
const HOST_ID: &str = "host_id";
/// Labels that change when a host moves.
const MOVING: [&str; 2] = ["site", "site_id"];
/// No host has this id.
const NOBODY: &str = "-";

/// A query within a scope: as it came for the whole province, otherwise with hosts in each selector.
pub(crate) fn query(text: &str, scope: &Scope, origins: &Origins) -> Result<String, Failure> {
    if *scope == Scope::Province {
        return match xiezhi_promql::check_query(text) {
            Ok(()) => Ok(text.to_owned()),
            Err(error) => Err(Failure::Query(error.into())),
        };
    }
    let hosts = seen(scope, origins);
    let limited = rewrite_selectors::<Parse>(text, &mut |matchers| Ok(limit(matchers, &hosts)));
    limited.map_err(|error| Failure::Query(error.0.into()))
}

/// A selection within a scope, as `match[]` takes it; `None` if it is everything.
pub(super) fn selection(matchers: &[Matcher], scope: &Scope, origins: &Origins) -> Option<String> {
    let matchers = match scope {
        Scope::Province => matchers.to_vec(),
        Scope::Sites(_) => limit(matchers.to_vec(), &seen(scope, origins)),
    };
    (!matchers.is_empty()).then(|| format_matchers(&matchers))
}

struct Parse(xiezhi_promql::ParseError);

impl From<xiezhi_promql::ParseError> for Parse {
    fn from(error: xiezhi_promql::ParseError) -> Self {
        Self(error)
    }
}

fn seen<'o>(scope: &Scope, origins: &'o Origins) -> Vec<&'o LabelledHost> {
    let each = origins.hosts.iter().zip(origins.sites.iter());
    let seen = each.filter(|(_, site)| scope.sees(**site));
    seen.map(|(host, _)| host).collect()
}

fn label<'h>(host: &'h LabelledHost, name: &str) -> &'h str {
    let found = host.labels.iter().find(|label| &*label.name == name);
    found.map_or("", |label| &label.value)
}

fn limit(matchers: Vec<Matcher>, hosts: &[&LabelledHost]) -> Vec<Matcher> {
    let is_moving = |matcher: &Matcher| MOVING.contains(&&*matcher.name);
    let (moving, mut kept): (Vec<_>, Vec<_>) = matchers.into_iter().partition(is_moving);
    let holds = |host: &&&LabelledHost| {
        let mut all = moving.iter();
        all.all(|matcher| matcher.matches(label(host, &matcher.name)))
    };
    let is_named = |name: &&str| {
        let mut all = kept.iter();
        all.any(|matcher| &*matcher.name == *name && !matcher.matches(""))
    };
    let name = [DEVICE, SOURCE].into_iter().find(is_named);
    let name = name.unwrap_or(HOST_ID);
    let ids = hosts.iter().filter(holds).map(|host| label(host, name));
    let mut ids: Vec<&str> = ids.filter(|id| !id.is_empty()).collect();
    ids.sort_unstable();
    ids.dedup();
    kept.push(match ids.as_slice() {
        [] => Matcher::equal(name, NOBODY),
        [one] => Matcher::equal(name, *one),
        many => Matcher::written(name, MatchOp::Regex, one_of(many)),
    });
    kept
}

/// A pattern for exactly these texts of digits: a list, which clusters look up fastest, or digit
/// classes where that is less than half as long.
fn one_of(ids: &[&str]) -> String {
    let list = ids.join("|");
    if !ids
        .iter()
        .all(|id| id.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return list;
    }
    let mut by_length: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for id in ids {
        by_length.entry(id.len()).or_default().push(id);
    }
    let packed: Vec<String> = by_length.values().map(|ids| pack(ids)).collect();
    let packed = packed.join("|");
    if packed.len() * 2 < list.len() {
        packed
    } else {
        list
    }
}

/// Texts of one length, by their first digit and what may follow it.
fn pack(ids: &[&str]) -> String {
    let mut followers: BTreeMap<char, Vec<&str>> = BTreeMap::new();
    for id in ids {
        let mut rest = id.chars();
        if let Some(first) = rest.next() {
            followers.entry(first).or_default().push(rest.as_str());
        }
    }
    let mut firsts: BTreeMap<String, Vec<char>> = BTreeMap::new();
    for (first, rest) in followers {
        firsts.entry(pack(&rest)).or_default().push(first);
    }
    let parts: Vec<String> = firsts
        .into_iter()
        .map(|(rest, firsts)| class(&firsts) + &rest)
        .collect();
    match parts.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        many => format!("(?:{})", many.join("|")),
    }
}

/// Ascending digits as a class.
fn class(digits: &[char]) -> String {
    if let [one] = digits {
        return one.to_string();
    }
    let mut out = String::from("[");
    let follows = |left: &char, right: &char| u32::from(*left) + 1 == u32::from(*right);
    for run in digits.chunk_by(follows) {
        match run {
            [first, .., last] => out += &format!("{first}-{last}"),
            one => out.extend(one),
        }
    }
    out + "]"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use xiezhi_promql::Label;

    fn origins() -> Origins {
        let host = |id: i64, site: &str, site_id: i64| {
            let pairs = [
                ("host_id", id.to_string()),
                ("instance", format!("h{id}")),
                ("site", site.to_owned()),
                ("site_id", site_id.to_string()),
            ];
            let label = |(name, value): (&str, String)| Label {
                name: name.into(),
                value: value.into(),
            };
            LabelledHost {
                host: id,
                labels: pairs.map(label).into(),
            }
        };
        let own = LabelledHost {
            host: 0,
            labels: Vec::new(),
        };
        let source = |id: &str| LabelledHost {
            host: -id.parse::<i64>().unwrap(),
            labels: vec![Label {
                name: SOURCE.into(),
                value: id.into(),
            }],
        };
        let device = |id: i64| LabelledHost {
            host: xiezhi_series::device_key(id),
            labels: vec![Label {
                name: DEVICE.into(),
                value: id.to_string().into(),
            }],
        };
        Origins {
            hosts: [
                device(6),
                device(5),
                source("8"),
                source("7"),
                own,
                host(1, "a", 10),
                host(2, "a", 10),
                host(3, "b", 11),
            ]
            .into(),
            sites: [11, 10, 11, 10, 0, 10, 10, 11].into(),
        }
    }

    fn sites(sites: &[i64]) -> Scope {
        Scope::Sites(Arc::new(sites.iter().copied().collect()))
    }

    #[test]
    fn each_selector_is_held_to_the_hosts_of_the_scope() {
        for (scope, text, expected) in [
            (Scope::Province, "sum( up )", "sum( up )"),
            (sites(&[10]), "up", "up{host_id=~\"1|2\"}"),
            (sites(&[11]), "a/b", "a{host_id=\"3\"} / b{host_id=\"3\"}"),
            (sites(&[99]), "up", "up{host_id=\"-\"}"),
            (
                sites(&[10, 11]),
                "rate(a{site=\"b\",x=\"y\"}[5m] offset 1h)",
                "rate(a{x=\"y\",host_id=\"3\"}[5m] offset 1h)",
            ),
            (sites(&[10]), "a{site_id=\"11\"}", "a{host_id=\"-\"}"),
            (
                sites(&[10, 11]),
                "max_over_time((a or b{site!~\"a\"})[1h:1m])",
                "max_over_time((a{host_id=~\"1|2|3\"} or b{host_id=\"3\"})[1h:1m])",
            ),
            (
                sites(&[10]),
                "a{source_id=~\".+\"}",
                "a{source_id=~\".+\",source_id=\"7\"}",
            ),
            (
                sites(&[10]),
                "a{source_id!=\"8\"}",
                "a{source_id!=\"8\",host_id=~\"1|2\"}",
            ),
            (
                sites(&[10]),
                "a{device_id!=\"\"}",
                "a{device_id!=\"\",device_id=\"5\"}",
            ),
            (
                sites(&[10]),
                "a{device_id=\"6\"}",
                "a{device_id=\"6\",device_id=\"5\"}",
            ),
            (
                sites(&[10]),
                "a{device_id=\"\"}",
                "a{device_id=\"\",host_id=~\"1|2\"}",
            ),
            // A caller's own choice of hosts narrows and never widens.
            (
                sites(&[11]),
                "a{host_id=\"1\"}",
                "a{host_id=\"1\",host_id=\"3\"}",
            ),
        ] {
            assert_eq!(query(text, &scope, &origins()).unwrap(), expected);
        }
        assert!(query("sum(", &sites(&[10]), &origins()).is_err());
        assert!(query("sum(", &Scope::Province, &origins()).is_err());
    }

    #[test]
    fn lists_are_held_to_the_scope_too() {
        let all = |scope: &Scope| selection(&[], scope, &origins());
        assert_eq!(all(&Scope::Province), None);
        assert_eq!(all(&sites(&[10])).unwrap(), "{host_id=~\"1|2\"}");
        assert_eq!(all(&sites(&[])).unwrap(), "{host_id=\"-\"}");
    }

    #[test]
    fn neighbours_share_a_class() {
        let ids: Vec<String> = (100..=20_099).map(|id| id.to_string()).collect();
        let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        ids.sort_unstable();
        assert!(one_of(&ids).len() < 200, "{}", one_of(&ids));
    }

    proptest! {
        #[test]
        fn a_pattern_matches_its_ids_and_no_other(
            ids in prop::collection::btree_set(1u32..3000, 2..400),
            dense in prop::collection::vec((1u32..2000, 1u32..300), 0..4),
        ) {
            let mut ids: BTreeSet<u32> = ids;
            dense.into_iter().for_each(|(start, length)| ids.extend(start..start + length));
            let texts: BTreeSet<String> = ids.iter().map(u32::to_string).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let packed = Matcher::new("x", MatchOp::Regex, pack_all(&texts)).unwrap();
            let chosen = Matcher::new("x", MatchOp::Regex, one_of(&texts)).unwrap();
            for id in 0..3500u32 {
                let text = id.to_string();
                prop_assert_eq!(packed.matches(&text), ids.contains(&id), "{}", id);
                prop_assert_eq!(chosen.matches(&text), ids.contains(&id), "{}", id);
            }
        }
    }

    /// The digit classes, whether they are shorter or not.
    fn pack_all(ids: &[&str]) -> String {
        let lengths = 1..=5;
        let of = |length: usize| ids.iter().copied().filter(move |id| id.len() == length);
        let packed = lengths.map(|length| pack(&of(length).collect::<Vec<_>>()));
        packed
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("|")
    }
}
