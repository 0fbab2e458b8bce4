//! An interval becomes the tables of a poll, as those of devices are.
//!
//! The link is the poll's source: its name with `link:` before it. Times are seconds, counters count since
//! the link began to be measured by this program, and the label `direction` is `forward` from here to the
//! other end and `backward` from there to here.

use std::collections::BTreeMap;

use xiezhi_protocol::poll::{
    About, DeviceState, MeasureAbout, Poll, PollColumn, PollTable, PollValue, link_source,
};

use crate::interval::{Spread, Summary};
use crate::packet::Refusal;
use crate::sender::{Measured, Totals};

/// What the samples of a link are called, in Chinese and English, and what they are counted in.
const NAMES: &[(&str, &str, &str, &str)] = &[
    (
        "stamp_rtt_min_seconds",
        "最小往返时延",
        "least round trip",
        "seconds",
    ),
    (
        "stamp_rtt_median_seconds",
        "往返时延中位数",
        "median round trip",
        "seconds",
    ),
    (
        "stamp_rtt_p95_seconds",
        "往返时延 P95",
        "round trip, 95th percentile",
        "seconds",
    ),
    (
        "stamp_rtt_max_seconds",
        "最大往返时延",
        "longest round trip",
        "seconds",
    ),
    (
        "stamp_rtt_ipdv_seconds",
        "往返抖动",
        "jitter of the round trip",
        "seconds",
    ),
    (
        "stamp_ipdv_seconds",
        "单向抖动（相邻报文）",
        "jitter between neighbours",
        "seconds",
    ),
    (
        "stamp_pdv_p95_seconds",
        "单向时延变化 P95",
        "delay variation, 95th percentile",
        "seconds",
    ),
    (
        "stamp_delay_median_seconds",
        "单向时延中位数",
        "median delay",
        "seconds",
    ),
    (
        "stamp_delay_error_seconds",
        "单向时延误差上限",
        "most that the delay may be wrong",
        "seconds",
    ),
    ("stamp_sent_total", "已发送探测报文", "packets sent", ""),
    (
        "stamp_answered_total",
        "按时收到应答",
        "packets answered in time",
        "",
    ),
    ("stamp_lost_total", "丢失报文", "packets lost", ""),
    (
        "stamp_lost_by_direction_total",
        "分方向丢失报文",
        "packets lost on one way",
        "",
    ),
    (
        "stamp_late_total",
        "超时到达报文",
        "answers after their time",
        "",
    ),
    (
        "stamp_duplicates_total",
        "重复报文",
        "answers that came twice",
        "",
    ),
    (
        "stamp_reordered_total",
        "乱序报文",
        "packets that were overtaken",
        "",
    ),
    ("stamp_refused_total", "拒收报文", "packets refused", ""),
    (
        "stamp_unreachable_total",
        "对端不可达通知",
        "notices that it cannot be reached",
        "",
    ),
    (
        "stamp_unsent_total",
        "本机未能发出的报文",
        "packets that this host could not send",
        "",
    ),
    (
        "stamp_clock_steps_total",
        "时钟跳变次数",
        "times that a clock was set",
        "",
    ),
    (
        "stamp_reflector_restarts_total",
        "对端重启次数",
        "times that the other end began again",
        "",
    ),
];

/// The numbers of an interval as a poll.
#[must_use]
pub fn poll(measured: &Measured) -> Poll {
    let (totals, before) = (&measured.totals, &measured.before);
    let mut tables = Tables::default();
    let (state, problem) = state(totals, before);
    let up = PollValue::Integer(i64::from(state == DeviceState::Answered));
    tables.put("", "", ("up", false, up));
    gauges(&measured.summary, &mut tables);
    counters(measured, &mut tables);
    Poll {
        device: link_source(&measured.link.name),
        time_ms: measured.time_ms,
        part: (0, 1),
        about: Some(about(measured, state, problem)),
        tables: tables.finish(),
    }
}

/// How the other end answered in the interval, and why not.
#[must_use]
pub fn state(totals: &Totals, before: &Totals) -> (DeviceState, &'static str) {
    let answered = totals.counts.answered - before.counts.answered;
    let grown = |of: fn(&Totals) -> u64| of(totals) > of(before);
    if answered > 0 {
        (DeviceState::Answered, "")
    } else if refused(totals, Refusal::Signature) > refused(before, Refusal::Signature) {
        (DeviceState::Refused, "wrong_key")
    } else if grown(|totals| totals.closed) {
        (DeviceState::Unreachable, "nobody_listens")
    } else if grown(|totals| totals.unreachable + totals.unsent) {
        (DeviceState::Unreachable, "no_way")
    } else if grown(|totals| totals.counts.sent) {
        (DeviceState::Silent, "no_answer")
    } else {
        // Nothing was judged yet.
        (DeviceState::Unknown, "")
    }
}

fn refused(totals: &Totals, which: Refusal) -> u64 {
    let each = Refusal::ALL.iter().zip(totals.refused);
    each.filter(|(refusal, _)| **refusal == which)
        .map(|(_, count)| count)
        .sum()
}

fn gauges(summary: &Summary, tables: &mut Tables) {
    if let Some(spread) = summary.round_trip {
        let Spread {
            min,
            median,
            p95,
            max,
        } = spread;
        for (name, ns) in [
            ("stamp_rtt_min_seconds", min),
            ("stamp_rtt_median_seconds", median),
            ("stamp_rtt_p95_seconds", p95),
            ("stamp_rtt_max_seconds", max),
        ] {
            tables.put("", "", (name, false, seconds(ns)));
        }
    }
    if let Some(ns) = summary.ipdv_mean {
        tables.put("", "", ("stamp_rtt_ipdv_seconds", false, seconds(ns)));
    }
    if let Some(ns) = summary.error {
        tables.put("", "", ("stamp_delay_error_seconds", false, seconds(ns)));
    }
    for (direction, way) in ["forward", "backward"].into_iter().zip(&summary.ways) {
        for (name, ns) in [
            ("stamp_ipdv_seconds", way.ipdv_mean),
            ("stamp_pdv_p95_seconds", way.pdv_p95),
            (
                "stamp_delay_median_seconds",
                way.delay.map(|spread| spread.median),
            ),
        ] {
            if let Some(ns) = ns {
                tables.put("direction", direction, (name, false, seconds(ns)));
            }
        }
    }
}

fn counters(measured: &Measured, tables: &mut Tables) {
    let totals = &measured.totals;
    let counts = &totals.counts;
    for (name, count) in [
        ("stamp_sent_total", counts.sent),
        ("stamp_answered_total", counts.answered),
        ("stamp_lost_total", counts.lost),
        ("stamp_late_total", counts.late),
        ("stamp_duplicates_total", counts.duplicates),
        (
            "stamp_unreachable_total",
            totals.closed + totals.unreachable,
        ),
        ("stamp_unsent_total", totals.unsent),
        ("stamp_clock_steps_total", counts.clock_steps),
        ("stamp_reflector_restarts_total", counts.restarts),
    ] {
        tables.put("", "", (name, true, PollValue::Unsigned(count)));
    }
    let lost = [
        ("forward", counts.lost_forward),
        ("backward", counts.lost_backward),
        ("unknown", counts.lost_somewhere),
    ];
    for (direction, count) in lost {
        let value = PollValue::Unsigned(count);
        tables.put(
            "direction",
            direction,
            ("stamp_lost_by_direction_total", true, value),
        );
    }
    // Without a count of the other end's, nobody knows on which way one packet overtook another.
    let reordered = if measured.link.stateful {
        vec![
            ("forward", counts.reordered_forward),
            ("backward", counts.reordered_backward),
        ]
    } else {
        vec![("unknown", counts.reordered_backward)]
    };
    for (direction, count) in reordered {
        let value = PollValue::Unsigned(count);
        tables.put(
            "direction",
            direction,
            ("stamp_reordered_total", true, value),
        );
    }
    for refusal in [
        Refusal::Short,
        Refusal::Long,
        Refusal::Signature,
        Refusal::Unasked,
        Refusal::Replayed,
    ] {
        let value = PollValue::Unsigned(refused(totals, refusal));
        tables.put(
            "reason",
            refusal.word(),
            ("stamp_refused_total", true, value),
        );
    }
}

fn seconds(ns: i64) -> PollValue {
    PollValue::Real(ns as f64 / 1e9)
}

fn about(measured: &Measured, state: DeviceState, problem: &str) -> About {
    let link = &measured.link;
    let mut facts = BTreeMap::new();
    let mut fact = |name: &str, value: String| facts.insert(name.to_owned(), value);
    let mode = if link.key.is_some() {
        "authenticated"
    } else {
        "unauthenticated"
    };
    fact("mode", mode.to_owned());
    let counts = if link.stateful {
        "stateful"
    } else {
        "stateless"
    };
    fact("reflector", counts.to_owned());
    fact("packets_per_second", link.rate.to_string());
    fact("packet_bytes", link.size.to_string());
    fact("timeout_ms", link.timeout.as_millis().to_string());
    if let Some(source) = link.source {
        fact("source", source.to_string());
    }
    if !link.note.is_empty() {
        fact("note", link.note.clone());
    }
    let measures = NAMES.iter().map(|(name, zh, en, unit)| MeasureAbout {
        name: (*name).to_owned(),
        zh: (*zh).to_owned(),
        en: (*en).to_owned(),
        unit: (*unit).to_owned(),
        ..MeasureAbout::default()
    });
    About {
        state,
        problem: problem.to_owned(),
        address: link.peer.to_string(),
        kind: "link".to_owned(),
        label_zh: "线路质量测量（STAMP）".to_owned(),
        label_en: "Link measured by STAMP".to_owned(),
        name: link.name.clone(),
        facts,
        every_s: u32::try_from(link.every.as_secs()).unwrap_or(u32::MAX),
        measures: measures.collect(),
        ..About::default()
    }
}

/// Tables under way: one for each label.
#[derive(Default)]
struct Tables(BTreeMap<&'static str, PollTable>);

impl Tables {
    /// Puts a value at the row that has this value of this label; an empty label is the link itself.
    fn put(
        &mut self,
        label: &'static str,
        row: &str,
        (name, counter, value): (&str, bool, PollValue),
    ) {
        let table = self.0.entry(label).or_insert_with(|| PollTable {
            labels: if label.is_empty() {
                Vec::new()
            } else {
                vec![label.to_owned()]
            },
            ..PollTable::default()
        });
        let cells: Vec<String> = table.labels.iter().map(|_| row.to_owned()).collect();
        let place = table
            .rows
            .iter()
            .position(|one| *one == cells)
            .unwrap_or_else(|| {
                table.rows.push(cells);
                table.rows.len() - 1
            });
        let known = table.columns.iter().position(|column| column.name == name);
        let at = known.unwrap_or_else(|| {
            table.columns.push(PollColumn {
                name: name.to_owned(),
                counter,
                values: Vec::new(),
            });
            table.columns.len() - 1
        });
        if let Some(column) = table.columns.get_mut(at) {
            column
                .values
                .resize(column.values.len().max(place + 1), None);
            if let Some(cell) = column.values.get_mut(place) {
                *cell = Some(value);
            }
        }
    }

    fn finish(self) -> Vec<PollTable> {
        let mut tables: Vec<PollTable> = self.0.into_values().collect();
        for table in &mut tables {
            for column in &mut table.columns {
                column.values.resize(table.rows.len(), None);
            }
        }
        tables
    }
}

#[cfg(test)]
mod tests;
