//! Bodies made with the same messages, through snappy and back.

use proptest::prelude::*;
use prost::Message;

use super::super::message::{Ignored, Label, MetadataV2, Sample, SeriesV1, SeriesV2};
use super::super::{Protocol, decode, descriptions};
use super::*;

const RULES: Rules<'_> = Rules {
    oldest_ms: 1_000,
    newest_ms: 9_000,
    assigned: &["host_id", "site_id"],
};

/// `prometheus.WriteRequest`, as a sender writes it.
#[derive(Clone, PartialEq, Message)]
struct RequestV1 {
    #[prost(message, repeated, tag = "1")]
    series: Vec<SeriesV1>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Ignored>,
}

/// `io.prometheus.write.v2.Request`.
#[derive(Clone, PartialEq, Message)]
struct RequestV2 {
    #[prost(bytes = "bytes", repeated, tag = "4")]
    symbols: Vec<Bytes>,
    #[prost(message, repeated, tag = "5")]
    series: Vec<SeriesV2>,
}

fn compressed(message: &impl prost::Message) -> Vec<u8> {
    let plain = message.encode_to_vec();
    snap::raw::Encoder::new().compress_vec(&plain).unwrap()
}

fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> SeriesV1 {
    let labels = labels.iter().map(|(name, value)| Label {
        name: Bytes::copy_from_slice(name.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    });
    let samples = samples
        .iter()
        .map(|&(time_ms, value)| Sample { value, time_ms });
    SeriesV1 {
        labels: labels.collect(),
        samples: samples.collect(),
        ..SeriesV1::default()
    }
}

fn checked(series: Vec<SeriesV1>) -> Checked {
    let metadata = vec![Ignored {}];
    let body = compressed(&RequestV1 { series, metadata });
    check(&decode(Protocol::V1, &body).unwrap(), &RULES).unwrap()
}

fn reasons(checked: &Checked) -> Vec<(Refusal, u64)> {
    let by_reason = checked.refusals.by_reason.iter();
    by_reason
        .map(|(refusal, (count, _))| (*refusal, *count))
        .collect()
}

#[test]
fn one_bad_series_costs_only_itself() {
    let good = [("__name__", "up"), ("job", "node"), ("empty", "")];
    let answer = checked(vec![
        series(&good, &[(2_000, 1.0), (3_000, f64::NAN)]),
        series(&[("job", "node")], &[(2_000, 1.0)]),
        series(&[("__name__", "up"), ("", "x")], &[(2_000, 1.0)]),
        series(
            &[("__name__", "up"), ("a", "x"), ("a", "y")],
            &[(2_000, 1.0)],
        ),
        series(
            &[("__name__", "up"), ("a", &"x".repeat(5_000))],
            &[(2_000, 1.0)],
        ),
        series(
            &[("__name__", "up")],
            &[(500, 1.0), (5_000, 2.0), (9_500, 3.0)],
        ),
    ]);
    assert_eq!(answer.series.len(), 2);
    assert_eq!(answer.series[0].name, "up");
    assert_eq!(
        answer.series[0].labels,
        [("job".to_owned(), "node".to_owned())]
    );
    assert_eq!(answer.series[1].samples, [(5_000, 2.0)]);
    assert_eq!(
        reasons(&answer),
        [
            (Refusal::NoName, 1),
            (Refusal::BadLabel, 1),
            (Refusal::RepeatedLabel, 1),
            (Refusal::TooLong, 1),
            (Refusal::TooOld, 1),
            (Refusal::TooNew, 1),
        ]
    );
    let told = answer.refusals.to_string();
    assert!(told.contains("check the sender's clock"), "{told}");
}

#[test]
fn names_of_any_signs_are_taken_and_escaped_in_the_text() {
    let labels = [
        ("__name__", "http.server.duration"),
        ("service.name", "审判\"一\""),
        ("案号", "x"),
        ("a", "y"),
    ];
    let answer = checked(vec![series(&labels, &[(2_000, 1.0)])]);
    assert_eq!(reasons(&answer), []);
    let text = answer.series[0].text();
    assert_eq!(
        text,
        "U__http_2e_server_2e_duration{U___6848__53f7_=\"x\",U__service_2e_name=\"审判\\\"一\\\"\",a=\"y\"}"
    );
    assert!(xiezhi_protocol::report::parse_series(&text).is_some());
    let long = "法".repeat(700);
    let answer = checked(vec![series(
        &[("__name__", "up"), (&long, "x")],
        &[(2_000, 1.0)],
    )]);
    assert_eq!(reasons(&answer), [(Refusal::TooLong, 1)]);
}

#[test]
fn a_sender_cannot_claim_another_host() {
    let claims = [("__name__", "up"), ("host_id", "7"), ("site_id", "1")];
    let answer = checked(vec![series(&claims, &[(2_000, 1.0)])]);
    assert_eq!(answer.series[0].labels, []);
}

#[test]
fn samples_are_sorted_and_the_first_of_a_time_wins() {
    let labels = [("__name__", "up")];
    let answer = checked(vec![series(
        &labels,
        &[(3_000, 3.0), (2_000, 1.0), (2_000, 2.0)],
    )]);
    assert_eq!(answer.series[0].samples, [(2_000, 1.0), (3_000, 3.0)]);
    assert_eq!(answer.doubled.contradicted, 1);
    assert!(answer.doubled.example.contains("up"), "{answer:?}");
}

#[test]
fn the_same_sample_twice_is_no_contradiction_and_a_stale_marker_is_no_other_nan() {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let samples = [
        (2_000, stale),
        (2_000, stale),
        (2_000, f64::NAN),
        (3_000, 1.0),
        (3_000, 2.0),
    ];
    let answer = checked(vec![series(&[("__name__", "up")], &samples)]);
    assert_eq!(answer.series[0].samples.len(), 2);
    let doubled = &answer.doubled;
    assert_eq!((doubled.repeated, doubled.contradicted), (1, 2));
}

#[test]
fn labels_that_are_not_utf8_cost_only_their_series() {
    let mut bad = series(&[("__name__", "up")], &[(2_000, 1.0)]);
    bad.labels[0].value = Bytes::from_static(&[0xff, 0xfe]);
    let answer = checked(vec![bad, series(&[("__name__", "up")], &[(2_000, 1.0)])]);
    assert_eq!(answer.series.len(), 1);
    assert_eq!(reasons(&answer), [(Refusal::BadText, 1)]);
}

#[test]
fn version_two_is_read_through_its_symbols() {
    let symbols =
        ["", "__name__", "up", "job", "node"].map(|text| Bytes::from_static(text.as_bytes()));
    let sample = Sample {
        value: 1.0,
        time_ms: 2_000,
    };
    let of = |label_positions: &[u32]| SeriesV2 {
        label_positions: label_positions.to_vec(),
        samples: vec![sample],
        histograms: vec![Ignored {}],
        exemplars: Vec::new(),
        metadata: None,
    };
    let body = compressed(&RequestV2 {
        symbols: symbols.to_vec(),
        series: vec![of(&[1, 2, 3, 4]), of(&[1, 99]), of(&[1])],
    });
    let answer = check(&decode(Protocol::V2, &body).unwrap(), &RULES).unwrap();
    assert_eq!(answer.series.len(), 1);
    assert_eq!(
        answer.series[0].labels,
        [("job".to_owned(), "node".to_owned())]
    );
    assert_eq!(
        reasons(&answer),
        [(Refusal::BadText, 2), (Refusal::Histogram, 3)]
    );
}

#[test]
fn bodies_that_cannot_be_read_say_why() {
    let not_snappy = decode(Protocol::V1, b"\x0a\x00garbage").unwrap_err();
    assert!(matches!(not_snappy, BodyError::Snappy(_)), "{not_snappy}");
    let garbage = snap::raw::Encoder::new().compress_vec(&[0xff; 40]).unwrap();
    let not_protobuf = decode(Protocol::V1, &garbage).unwrap_err();
    assert!(
        matches!(not_protobuf, BodyError::Protobuf(_)),
        "{not_protobuf}"
    );
    // A header that claims 4 GB allocates nothing.
    let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    let too_large = decode(Protocol::V1, &bomb).unwrap_err();
    assert!(
        matches!(too_large, BodyError::TooLarge { .. }),
        "{too_large}"
    );
    let huge = vec![0; super::super::MAX_BODY_BYTES + 1];
    assert!(matches!(
        decode(Protocol::V1, &huge),
        Err(BodyError::TooLarge { .. })
    ));
}

#[test]
fn millions_of_empty_parts_are_refused_before_they_take_memory() {
    let empty_series = [0x0a, 0x00].repeat(200_001);
    let body = snap::raw::Encoder::new()
        .compress_vec(&empty_series)
        .unwrap();
    let refused = decode(Protocol::V1, &body).unwrap_err();
    assert!(matches!(refused, BodyError::TooLarge { .. }), "{refused}");
    let one = series(&[("__name__", &"x".repeat(1 << 20))], &[(2_000, 1.0)]);
    let body = compressed(&RequestV1 {
        series: vec![one],
        metadata: Vec::new(),
    });
    let refused = check(&decode(Protocol::V1, &body).unwrap(), &RULES).unwrap_err();
    assert!(matches!(refused, BodyError::TooLarge { .. }), "{refused}");
}

/// Series that all have the same labels, by their positions.
fn sharing(symbols: &[&str], label_positions: &[u32], count: usize) -> Vec<u8> {
    let symbols = symbols.iter();
    let sample = Sample {
        value: 1.0,
        time_ms: 2_000,
    };
    let one = SeriesV2 {
        label_positions: label_positions.to_vec(),
        samples: vec![sample],
        ..SeriesV2::default()
    };
    compressed(&RequestV2 {
        symbols: symbols
            .map(|text| Bytes::copy_from_slice(text.as_bytes()))
            .collect(),
        series: vec![one; count],
    })
}

#[test]
fn a_symbol_of_megabytes_is_refused_before_any_label_names_it() {
    let body = sharing(&["", &"x".repeat(4 << 20)], &[1; 300], 1);
    assert!(body.len() < 300_000);
    let refused = decode(Protocol::V2, &body).unwrap_err();
    assert!(
        matches!(refused, BodyError::LongSymbol { found: 4_194_304 }),
        "{refused}"
    );
    let long_enough = sharing(&["", &"x".repeat(64 << 10)], &[1; 2], 1);
    decode(Protocol::V2, &long_enough).unwrap();
}

#[test]
fn an_example_of_long_labels_is_short_and_cheap() {
    let long = "\u{1f980}".repeat(16 << 10);
    let body = sharing(
        &["", "__name__", "up", &long],
        &[&[1, 2][..], &[3; 100_000]].concat(),
        1,
    );
    let answer = check(&decode(Protocol::V2, &body).unwrap(), &RULES).unwrap();
    let (count, example) = &answer.refusals.by_reason[&Refusal::TooManyLabels];
    assert_eq!((*count, example.chars().count()), (1, 202));
    assert!(
        example.starts_with("{__name__=\"up\",\u{1f980}"),
        "{example}"
    );
    // Not even the first label was formatted whole.
    assert!(example.len() < 1000);
}

#[test]
fn a_small_body_whose_labels_take_much_memory_is_refused() {
    let long = "x".repeat(4_000);
    let long = ["", "__name__", "up", "a", &long];
    let few = sharing(&long, &[1, 2, 3, 4], 1_000);
    assert_eq!(
        check(&decode(Protocol::V2, &few).unwrap(), &RULES)
            .map(|checked| checked.series.len())
            .ok(),
        Some(1_000)
    );
    let names: Vec<String> = (0..60).map(|number| format!("l{number}")).collect();
    let mut short = vec!["", "__name__", "up", "v"];
    short.extend(names.iter().map(String::as_str));
    let pairs = (4..64).flat_map(|name| [name, 3]);
    let many_labels: Vec<u32> = [1, 2].into_iter().chain(pairs).collect();
    for body in [
        sharing(&long, &[1, 2, 3, 4], 50_000),
        sharing(&short, &many_labels, 50_000),
    ] {
        assert!(body.len() < 1 << 20);
        let refused = check(&decode(Protocol::V2, &body).unwrap(), &RULES).unwrap_err();
        assert!(matches!(refused, BodyError::ManyLabels { .. }), "{refused}");
        assert!(refused.to_string().contains("send fewer series"));
    }
}

#[test]
fn descriptions_of_version_two_are_cut_and_never_read_whole() {
    let help = "\u{e9}".repeat(30_000);
    let symbols = ["", "__name__", "up", "seconds", &help];
    let described = |unit| SeriesV2 {
        label_positions: vec![1, 2],
        metadata: Some(MetadataV2 {
            kind: 2,
            help: 4,
            unit,
        }),
        ..SeriesV2::default()
    };
    let body = compressed(&RequestV2 {
        symbols: symbols
            .iter()
            .map(|text| Bytes::copy_from_slice(text.as_bytes()))
            .collect(),
        series: vec![described(3), described(4)],
    });
    let told = descriptions(&decode(Protocol::V2, &body).unwrap());
    assert_eq!(told.len(), 1);
    let (name, description) = &told[0];
    assert_eq!(
        (name.as_str(), description.unit.as_str()),
        ("up", "seconds")
    );
    assert_eq!(description.help, "\u{e9}".repeat(512));
}

#[test]
fn content_types_choose_the_version() {
    let of = |text| Protocol::of_content_type(text).ok();
    assert_eq!(of("application/x-protobuf"), Some(Protocol::V1));
    assert_eq!(
        of("application/x-protobuf;proto=prometheus.WriteRequest"),
        Some(Protocol::V1)
    );
    assert_eq!(
        of("application/x-protobuf; proto=io.prometheus.write.v2.Request"),
        Some(Protocol::V2)
    );
    assert_eq!(of("application/json"), None);
    assert_eq!(of("application/x-protobuf;proto=other"), None);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..300), two in any::<bool>()) {
        let protocol = if two { Protocol::V2 } else { Protocol::V1 };
        for body in [bytes.clone(), snap::raw::Encoder::new().compress_vec(&bytes).unwrap()] {
            if let Ok(request) = decode(protocol, &body) {
                let Ok(checked) = check(&request, &RULES) else { continue };
                for written in checked.series {
                    prop_assert!(!written.samples.is_empty());
                    prop_assert!(written.samples.is_sorted_by(|a, b| a.0 < b.0));
                    prop_assert!(written.labels.is_sorted_by(|a, b| a.0 < b.0));
                }
            }
        }
    }
}
