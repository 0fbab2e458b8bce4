//! Valid inputs: a fuzzer that begins with them reaches deep at once.

use std::sync::Arc;

use xiezhi_protocol::batch::{BatchInfo, Stream, encode_events};
use xiezhi_protocol::codec::Encoder;
use xiezhi_protocol::enrol::Token;
use xiezhi_protocol::event::{Event, Severity, kinds};
use xiezhi_protocol::message::Ack;
use xiezhi_protocol::range_set::RangeSet;
use xiezhi_protocol::record::{self, Kind};
use xiezhi_protocol::report::Report;
use xiezhi_series::{ForeignSeries, Frame, Sealing, SeriesOptions, SeriesStore};
use xiezhi_spool::{Limits, Spool};

use crate::disk::Memory;

fn chain() -> Vec<(BatchInfo, Vec<u8>)> {
    let mut encoder = Encoder::new(15_000);
    let mut report = Report::new();
    let frame = |seq: u64| {
        report.start(1_700_000_000_000 + seq as i64 * 15_000);
        report
            .push("node_load1", &[], seq as f64 / 4.0)
            .expect("a sample");
        report
            .push("node_memory_MemFree_bytes", &[], 4096.0 * seq as f64)
            .expect("a sample");
        report
            .push(
                "node_cpu_seconds_total",
                &[("cpu", "0")],
                std::f64::consts::PI,
            )
            .expect("a sample");
        if seq.is_multiple_of(2) {
            report.push("up", &[("job", "a")], 1.0).expect("a sample");
        }
        let mut bytes = Vec::new();
        (encoder.encode(seq, &report, &mut bytes), bytes)
    };
    (1..6).map(frame).collect()
}

pub(crate) fn frames() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (_, frame) in chain() {
        all.extend_from_slice(&(frame.len() as u16).to_le_bytes());
        all.extend_from_slice(&frame);
    }
    vec![all]
}

pub(crate) fn events() -> Vec<Vec<u8>> {
    let events = [
        Event::new(
            1_700_000_000_123,
            kinds::LOGIN,
            Severity::Info,
            "张三 logged in",
        )
        .with("user", "a"),
        Event::new(1_700_000_000_456, kinds::SUDO, Severity::Notice, "sudo"),
    ];
    let mut bytes = Vec::new();
    encode_events(7, 1_700_000_001_000, &events, &mut bytes).expect("a batch");
    vec![bytes]
}

pub(crate) fn records() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    record::write(&mut bytes, Kind::Hello, b"{}");
    record::write(&mut bytes, Kind::LiveSamples, &[1; 200]);
    record::write(&mut bytes, Kind::Flush, b"");
    vec![bytes]
}

pub(crate) fn acks() -> Vec<Vec<u8>> {
    let mut ranges = RangeSet::new();
    ranges.insert_range(1, 100);
    ranges.insert_range(200, 1 << 40);
    let mut bytes = Vec::new();
    record::write_ack(
        &mut bytes,
        &Ack {
            stream: Stream::Samples,
            epoch: 3,
            ranges,
        },
    );
    vec![bytes]
}

pub(crate) fn messages() -> Vec<Vec<u8>> {
    let texts = [
        r#"{"status":"pending","retry_after_s":5}"#,
        r#"{"code":"token_unknown","detail":"ask for a new token"}"#,
        r#"{"csr_pem":"-----BEGIN"}"#,
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(crate) fn token() -> Vec<Vec<u8>> {
    let token = Token {
        id: [1; 8],
        secret: [2; 16],
        root_fingerprint: [3; 32],
    };
    vec![token.to_text().into_bytes()]
}

pub(crate) fn spool() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut spool = Spool::open(folder.path(), Limits::default(), 0).expect("a spool");
    for (index, (batch, frame)) in chain().into_iter().enumerate() {
        spool
            .append(Stream::Samples, batch, index == 0, &frame)
            .expect("a batch");
    }
    drop(spool);
    let mut seeds = Vec::new();
    for entry in std::fs::read_dir(folder.path())
        .expect("a folder")
        .flatten()
    {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "seg")
        {
            let mut bytes = vec![Stream::Samples.number()];
            bytes.extend(std::fs::read(entry.path()).expect("a segment"));
            seeds.push(bytes);
        }
    }
    assert!(!seeds.is_empty(), "the spool wrote no segment");
    seeds
}

pub(crate) fn log() -> Vec<Vec<u8>> {
    let disk = Memory::default();
    let options = SeriesOptions {
        segment_bytes: 500,
        sealing: Sealing::Manual,
        ..SeriesOptions::default()
    };
    let store = SeriesStore::open_on(Arc::new(disk.clone()), options).expect("a store");
    let points = [(1_700_000_000_000, 0.5), (1_700_000_015_000, 7.0)];
    let series = ["a", "b{x=\"1\"}"].map(|text| ForeignSeries {
        text,
        points: &points,
    });
    store
        .append_foreign(-1, &series)
        .expect("memory does not fail");
    for host in 1..3 {
        for (index, (batch, bytes)) in chain().iter().enumerate() {
            let frame = Frame {
                host,
                epoch: 1,
                batch: *batch,
                key: index == 0,
                bytes,
            };
            store.append(&[frame]).expect("memory");
        }
    }
    let logs = disk
        .names()
        .into_iter()
        .filter(|name| name == "wal-0000000001.log");
    let mut seeds: Vec<Vec<u8>> = logs.map(|name| disk.get(&name)).collect();
    store.maintain().expect("memory");
    seeds.push(disk.get("block-0000000001-0000000001.xzb"));
    seeds.push(disk.get("dedup.checkpoint"));
    assert!(
        seeds.len() == 3 && seeds.iter().all(|seed| !seed.is_empty()),
        "a file is missing"
    );
    seeds
}

/// Values of a counter and of a gauge, and the block that a store makes.
pub(crate) fn chunks() -> Vec<Vec<u8>> {
    let counter = (0..60u32).flat_map(|row| f64::from(row * 37 + row % 5).to_le_bytes());
    let gauge = (0..60u32).flat_map(|row| (f64::from(row * 7919 % 100) / 8.0).to_le_bytes());
    let mut seeds = vec![counter.collect(), gauge.collect()];
    seeds.extend(log().into_iter().nth(1));
    seeds
}

pub(crate) fn store() -> Vec<Vec<u8>> {
    let appends = |action: u8| (1..40u8).flat_map(move |seq| [action, 0, seq, seq]);
    let mut plain: Vec<u8> = appends(0).chain([5, 0, 0, 0, 6, 0, 0, 0]).collect();
    plain.extend(appends(8).chain([5, 0, 0, 0]).chain(appends(0)));
    plain.extend(
        appends(4)
            .chain([5, 0, 0, 0, 6, 0, 0, 0])
            .chain(appends(12)),
    );
    let mut damaged = plain.clone();
    damaged.extend([7, 1, 100, 0, 7, 2, 60, 0, 6, 0, 0, 0, 5, 0, 0, 0]);
    damaged.extend(appends(1));
    vec![plain, damaged]
}

pub(crate) fn config() -> Vec<Vec<u8>> {
    let text = "text: a\nrequired: b\nflag: true\nnumber: 7\nspan: 15s\nsize: 1MB\nchoice: one\n\
                texts: [a, b]\ninner: {required: c}\nlist:\n  - required: d\n  - unknown: 3\n";
    vec![text.as_bytes().to_vec()]
}

pub(crate) fn remote_write() -> Vec<Vec<u8>> {
    use xiezhi_metrics::remote_write::encode;
    let points = [(1_700_000_000_000, 1.5), (1_700_000_015_000, f64::NAN)];
    let series = ["up{job=\"a\"}", "b_total{x=\"\\\"\\n\"}", "9 bad"];
    let bodies = [
        encode::body(series.map(|text| (text, &points[..])), &[("site_id", "4")]),
        encode::description("b_total", 1, "help"),
    ];
    let plain = bodies.map(|body| {
        let plain = snap::raw::Decoder::new().decompress_vec(&body);
        [vec![0], plain.expect("a body of ours")].concat()
    });
    let mut all = plain.to_vec();
    // Version 2.0: symbols "", "__name__", "up", then a series with a sample and a description.
    let second = b"\x01\x22\x00\x22\x08__name__\x22\x02up\x2a\x17\x0a\x02\x01\x02\x12\x0b\x09\
                   \x00\x00\x00\x00\x00\x00\xf0\x3f\x10\x05\x2a\x04\x08\x02\x18\x02";
    all.push(second.to_vec());
    all
}

pub(crate) fn promql() -> Vec<Vec<u8>> {
    [
        "sum by (host) (rate(requests_total{code=~\"5..\"}[5m] offset 1m)) > bool 0.5",
        "histogram_quantile(0.9, sum by (le) (rate(wait_bucket[1m])))",
        "up * on (host) group_left (code) requests_total or vector(1) unless up == 0",
        "max_over_time(deriv(requests_total[2m])[5m:30s] @ end()) - -2 ^ 3 % 4",
        "label_replace(up, \"x\", \"$1-y\", \"host\", \"(.*)\")",
        "topk(1, up) and absent({\"no.such\"}) # a comment",
        "count_values(\"v\", requests_total @ 100) + ignoring (v) group_right up",
        "predict_linear(requests_total[1h], 1h30m) / scalar(up{host=\"a\"})",
        "quantile_over_time(0.5, up[10m:1ms])",
        "'a\\xff\\u00e9'",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

pub(crate) fn spreadsheet() -> Vec<Vec<u8>> {
    let assets =
        "资产台账\n资产编号,资产名称,类型,单位,购置日期\nA-1,服务器,server,gs,2024-05-01\n";
    let sites =
        "id,name,tier,parent_id,court_code\ngs-01,中级人民法院,intermediate_court,gs,甘01\n";
    let (gb18030, _, _) = encoding_rs::GB18030.encode(assets);
    let cells = |row: u32, texts: [&str; 3]| -> String {
        let one = |(column, text): (char, &str)| {
            format!("<c r=\"{column}{row}\" t=\"inlineStr\"><is><t>{text}</t></is></c>")
        };
        let cells: String = ('A'..).zip(texts).map(one).collect();
        format!("<row r=\"{row}\">{cells}<c r=\"D{row}\"><v>45413</v></c></row>")
    };
    let sheet = format!(
        "<worksheet><sheetData>{}{}</sheetData><mergeCells><mergeCell ref=\"A1:B1\"/></mergeCells>\
         </worksheet>",
        cells(1, ["资产编号", "资产名称", "单位"]),
        cells(2, ["A-1", "服务器", "gs"])
    );
    let book = crate::spreadsheet::workbook(sheet.as_bytes());
    let texts = [assets, sites].map(|text| text.as_bytes().to_vec());
    let mut all = texts.to_vec();
    all.extend([gb18030.into_owned(), format!("0{sheet}").into_bytes(), book]);
    all
}
