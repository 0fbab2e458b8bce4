//! Orders of the list of hosts, and the cursors that go on where a page ended, although hosts move
//! while someone reads.

use std::cmp::Ordering;

use data_encoding::BASE64URL_NOPAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use xiezhi_ingest::HostView;
use xiezhi_model::{Presence, SiteTree};

use crate::problem::Problem;
use crate::rows::dropped_of;

/// By what hosts are ordered.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sort {
    #[default]
    Hostname,
    Site,
    /// Worst first.
    Presence,
    LastReport,
    Version,
    Cpu,
    Memory,
    Disk,
    AgentMemory,
    AgentCpu,
    /// By size, whatever the sign.
    Skew,
    Dropped,
    Pending,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Direction {
    #[default]
    Asc,
    Desc,
}

/// What a host is ordered by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Key {
    /// Nothing is known: last in either direction.
    Missing,
    Number(f64),
    Text(String),
}

impl Key {
    fn number(value: Option<f64>) -> Self {
        value.map_or(Self::Missing, Self::Number)
    }

    fn text(value: &str) -> Self {
        if value.is_empty() {
            Self::Missing
        } else {
            Self::Text(value.to_lowercase())
        }
    }
}

impl Sort {
    pub(super) fn key(self, host: &HostView, tree: &SiteTree, agent_cpu: Option<f64>) -> Key {
        let headline = &host.headline;
        match self {
            Self::Hostname => Key::text(&host.hostname),
            Self::Site => Key::text(tree.get(host.site).map_or("", |site| site.name.as_str())),
            Self::Presence => Key::Number(match host.presence.presence {
                Presence::Down => 0.0,
                Presence::Unknown => 1.0,
                Presence::Stale => 2.0,
                Presence::Up => 3.0,
            }),
            Self::LastReport => Key::number(host.presence.last_report_ms.map(|ms| ms as f64)),
            Self::Version => Key::text(&host.version),
            Self::Cpu => Key::number(headline.cpu_busy_percent),
            Self::Memory => Key::number(headline.memory_used_percent),
            Self::Disk => Key::number(headline.filesystem_used_percent),
            Self::AgentMemory => Key::number(host.footprint.map(|cost| cost.memory_bytes as f64)),
            Self::AgentCpu => Key::number(agent_cpu),
            Self::Skew => Key::number(host.skew_ms.map(|skew| skew.unsigned_abs() as f64)),
            Self::Dropped => Key::Number(dropped_of(host) as f64),
            Self::Pending => Key::Number(host.spool.pending as f64),
        }
    }
}

impl Direction {
    /// Compares keys and, where they are equal, the hosts' numbers.
    pub(super) fn compare(self, a: (&Key, i64), b: (&Key, i64)) -> Ordering {
        let by_key = match (a.0, b.0) {
            (Key::Missing, Key::Missing) => Ordering::Equal,
            (Key::Missing, _) => Ordering::Greater,
            (_, Key::Missing) => Ordering::Less,
            (Key::Number(a), Key::Number(b)) => self.turn(a.total_cmp(b)),
            (Key::Text(a), Key::Text(b)) => self.turn(a.cmp(b)),
            (Key::Number(_), Key::Text(_)) => Ordering::Less,
            (Key::Text(_), Key::Number(_)) => Ordering::Greater,
        };
        by_key.then_with(|| a.1.cmp(&b.1))
    }

    fn turn(self, ordering: Ordering) -> Ordering {
        match self {
            Self::Asc => ordering,
            Self::Desc => ordering.reverse(),
        }
    }
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) key: Key,
    pub(super) id: i64,
}

impl Cursor {
    pub(super) fn to_text(&self) -> String {
        BASE64URL_NOPAD.encode(&serde_json::to_vec(self).unwrap_or_default())
    }

    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| {
                Problem::bad_request(
                    "`cursor` is not a page's end: start from the first page again",
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_comes_last_in_either_direction() {
        let keys = [Key::Number(2.0), Key::Missing, Key::Number(1.0)];
        for (direction, expected) in [(Direction::Asc, [2, 0, 1]), (Direction::Desc, [0, 2, 1])] {
            let mut order = [0, 1, 2];
            order.sort_by(|&a, &b| direction.compare((&keys[a], 0), (&keys[b], 0)));
            assert_eq!(order, expected);
        }
    }

    #[test]
    fn a_cursor_survives_its_way_through_an_address() {
        for key in [
            Key::Missing,
            Key::Number(0.1 + 0.2),
            Key::Text("城关区".into()),
        ] {
            let cursor = Cursor { key, id: 7 };
            assert_eq!(Cursor::parse(&cursor.to_text()).unwrap(), cursor);
        }
        assert!(Cursor::parse("%%%").is_err() && Cursor::parse("").is_err());
    }
}
