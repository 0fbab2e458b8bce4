//! Tables of polls become series of their devices.

use std::collections::BTreeMap;

use xiezhi_model::DeviceId;
use xiezhi_protocol::poll::{Poll, PollTable};
use xiezhi_protocol::report::Report;
use xiezhi_series::{
    ForeignReport, ForeignSeries, ForeignSource, SeriesError, SeriesStore, device_key,
};

/// Labels that the controller gives: whoever asks a device speaks for nobody else.
const OURS: [&str; 7] = [
    "device_id",
    "host_id",
    "instance",
    "job",
    "site",
    "site_id",
    "source_id",
];

/// One sample as a series of its own.
type Point<'a> = (&'a str, [(i64, f64); 1]);

/// Samples of many devices. A device that comes several times, because its polls waited, is one source.
#[derive(Debug, Default)]
pub(super) struct Sources {
    devices: BTreeMap<i64, Vec<Report>>,
    /// Values that became no sample: their names and labels are too long, or name nothing.
    pub(super) refused: u64,
}

impl Sources {
    /// Takes the samples of a poll in.
    pub(super) fn add(&mut self, device: DeviceId, poll: &Poll) {
        let mut report = Report::new();
        report.start(poll.time_ms);
        for table in &poll.tables {
            add_table(table, &mut report);
        }
        self.refused += report.refused();
        self.devices.entry(device.0).or_default().push(report);
    }

    /// Stores all of it with one write; what became of each device's samples.
    pub(super) fn append(
        &self,
        store: &SeriesStore,
    ) -> Result<Vec<(i64, ForeignReport)>, SeriesError> {
        let points: Vec<Vec<Point<'_>>> = self
            .devices
            .values()
            .map(|reports| reports.iter().flat_map(points_of).collect())
            .collect();
        let series: Vec<Vec<ForeignSeries<'_>>> = points
            .iter()
            .map(|points| points.iter().map(series_of).collect())
            .collect();
        let sources: Vec<ForeignSource<'_>> = (self.devices.keys().zip(&series))
            .map(|(device, series)| ForeignSource {
                source: device_key(*device),
                series,
            })
            .collect();
        let reports = store.append_sources(&sources)?;
        Ok(self.devices.keys().copied().zip(reports).collect())
    }
}

fn points_of(report: &Report) -> impl Iterator<Item = Point<'_>> {
    let time_ms = report.time_ms();
    report
        .iter()
        .map(move |(text, value)| (text, [(time_ms, value)]))
}

fn series_of<'a>((text, points): &'a Point<'_>) -> ForeignSeries<'a> {
    ForeignSeries { text, points }
}

fn add_table(table: &PollTable, report: &mut Report) {
    let mut labels: Vec<(&str, &str)> = Vec::with_capacity(table.labels.len());
    for (place, row) in table.rows.iter().enumerate() {
        labels.clear();
        let pairs = table.labels.iter().zip(row);
        let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_str()));
        // An empty label is none.
        labels.extend(pairs.filter(|(name, value)| !value.is_empty() && !OURS.contains(name)));
        labels.sort_unstable();
        for column in &table.columns {
            let Some(value) = column.values.get(place).copied().flatten() else {
                continue;
            };
            // The report counts what it refuses.
            let _counted = report.push(&column.name, &labels, value.as_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xiezhi_protocol::poll::{PollColumn, PollValue};

    #[test]
    fn tables_become_series_and_labels_of_ours_are_left_out() {
        let text = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let table = PollTable {
            labels: text(&["ifName", "site", "ifAlias"]),
            rows: vec![
                text(&["eth0", "elsewhere", "法庭"]),
                text(&["eth1", "x", ""]),
            ],
            columns: vec![
                PollColumn {
                    name: "ifHCInOctets".to_owned(),
                    counter: true,
                    values: vec![Some(PollValue::Unsigned(1 << 40)), None],
                },
                PollColumn {
                    name: "ifSpeed".to_owned(),
                    counter: false,
                    values: vec![None, Some(PollValue::Integer(-1))],
                },
            ],
        };
        let mut report = Report::new();
        report.start(5);
        add_table(&table, &mut report);
        let found: Vec<_> = points_of(&report).collect();
        assert_eq!(
            found,
            [
                (
                    "ifHCInOctets{ifAlias=\"法庭\",ifName=\"eth0\"}",
                    [(5, 1_099_511_627_776.0)]
                ),
                ("ifSpeed{ifName=\"eth1\"}", [(5, -1.0)]),
            ]
        );
    }
}
