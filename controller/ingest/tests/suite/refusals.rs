//! Bad input: a reason, a counter, and nothing else lost.

use std::net::Ipv4Addr;

use bytes::Bytes;
use rcgen::KeyPair;
use xiezhi_ingest::IngestOptions;
use xiezhi_protocol::batch::{Stream, encode_events};
use xiezhi_protocol::codec::Encoder;
use xiezhi_protocol::event::{Event, Severity};
use xiezhi_protocol::record::Kind;
use xiezhi_protocol::report::Report;

use crate::agent::{Down, enrol_request, report};
use crate::port::{Port, options, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_frame_is_refused_and_the_other_lane_and_agents_go_on() {
    let port = Port::start().await;
    let (one, two) = (port.enrol("one").await, port.enrol("two").await);
    let (mut agent, mut other) = (port.session(&one).await, port.session(&two).await);
    let mut frame = agent.frame(1, 15_000, 1.0);
    let middle = frame.len() / 2;
    frame[middle] ^= 0x55;
    agent.send(Kind::LiveSamples, &frame);
    let refused = agent.down.next().await.refused();
    assert_eq!(
        (refused.stream, refused.seq, refused.resend),
        (Stream::Samples, Some(1), true)
    );
    let mut backlog = Vec::new();
    Encoder::new(15_000).encode(1, &report(15_000, 1.0), &mut backlog);
    agent.send(Kind::BacklogSamples, &backlog);
    agent.flush();
    assert_eq!(agent.acked().await, (1, vec![(1, 1)]));
    other.live(1, 15_000, 1.0);
    other.flush();
    assert_eq!(other.acked().await, (1, vec![(1, 1)]));
    assert!(port.counter("xiezhi_ingest_refused_total") >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_out_of_order_are_asked_for_again() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    let frames: Vec<_> = (1..=3)
        .map(|seq| agent.frame(seq, seq as i64 * 15_000, seq as f64))
        .collect();
    for at in [0, 2, 1] {
        agent.send(Kind::LiveSamples, &frames[at]);
    }
    let refused = agent.down.next().await.refused();
    assert_eq!((refused.seq, refused.resend), (Some(3), true));
    agent.flush();
    assert_eq!(agent.acked().await, (1, vec![(1, 2)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_frame_and_an_unknown_record_cost_nothing_else() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    agent.send(Kind::LiveSamples, &[1]);
    let refused = agent.down.next().await.refused();
    assert_eq!((refused.seq, refused.resend), (None, false));
    // A kind that a newer agent may have.
    agent.raw(vec![3, 27, 1, 2]);
    agent.send(Kind::Status, b"no json");
    agent.live(1, 15_000, 1.0);
    agent.flush();
    assert_eq!(agent.acked().await, (1, vec![(1, 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_record_ends_the_session_with_a_reason() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    agent.raw(vec![0xff, 0xff, 0xff, 0xff, 0x7f]);
    let refused = agent.down.next().await.refused();
    assert_eq!(refused.seq, None);
    assert!(refused.reason.contains("exceeds the limit"), "{refused:?}");
    assert!(matches!(agent.down.next().await, Down::End));
    let mut agent = port
        .session_with(&identity, {
            let previous_session = agent.welcome.session.clone();
            xiezhi_protocol::message::Hello {
                epoch: 1,
                previous_session,
                ..port.hello()
            }
        })
        .await
        .unwrap();
    agent.live(1, 15_000, 1.0);
    agent.flush();
    assert_eq!(agent.acked().await, (1, vec![(1, 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_series_are_left_out_and_the_rest_is_kept() {
    let options = IngestOptions {
        series_per_host: 100,
        ..options()
    };
    let port = Port::start_with(options, None).await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    let mut report = Report::new();
    report.start(15_000);
    for number in 0..5_000 {
        report
            .push("runaway", &[("id", &number.to_string())], 1.0)
            .unwrap();
    }
    let mut frame = Vec::new();
    Encoder::new(15_000).encode(1, &report, &mut frame);
    agent.send(Kind::LiveSamples, &frame);
    let refused = agent.down.next().await.refused();
    assert!(refused.reason.starts_with("series_limit"), "{refused:?}");
    assert_eq!((refused.seq, refused.resend), (None, false));
    agent.flush();
    assert_eq!(agent.acked().await, (1, vec![(1, 1)]));
    let kept = port
        .series
        .range(identity.host.0, 0, i64::MAX, &|_| true)
        .unwrap();
    assert_eq!(kept.len(), 100);
    assert_eq!(
        port.fleet().get(identity.host).unwrap().series_refused,
        4_900
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_from_two_years_ahead_is_refused_and_security_events_are_kept() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    agent.live(1, port.now_ms() + 2 * 365 * 86_400_000, 1.0);
    let refused = agent.down.next().await.refused();
    assert!(refused.reason.starts_with("clock"), "{refused:?}");
    assert_eq!((refused.seq, refused.resend), (Some(1), false));
    agent.login(1, "zhangsan");
    assert_eq!(agent.down.next().await.ack().stream, Stream::Security);
    agent.live(2, port.now_ms(), 1.0);
    agent.flush();
    assert_eq!(agent.acked().await, (1, vec![(2, 2)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_unsound_event_does_not_cost_its_batch() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    let mut long = Event::new(1, "login", Severity::Info, "");
    long.message = "x".repeat(10_000);
    let sound = Event::new(2, "login", Severity::Info, "sound");
    let mut bytes = Vec::new();
    encode_events(1, 1, &[long, sound], &mut bytes).unwrap();
    agent.send(Kind::Security, &bytes);
    assert_eq!(agent.down.next().await.ack().ranges.ranges(), [(1, 1)]);
    let page = port
        .store
        .search_events(&Default::default(), &xiezhi_model::Scope::Province)
        .await
        .unwrap();
    assert_eq!(
        page.events
            .iter()
            .map(|event| event.message.as_str())
            .collect::<Vec<_>>(),
        ["sound"]
    );
    let mut damaged = bytes.clone();
    let end = damaged.len() - 8;
    damaged[end] ^= 1;
    agent.send(Kind::Events, &damaged);
    let refused = agent.down.next().await.refused();
    assert_eq!(
        (refused.stream, refused.seq, refused.resend),
        (Stream::Events, Some(1), false)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_protocol_and_a_missing_hello_are_refused_clearly() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let hello = xiezhi_protocol::message::Hello {
        protocol: 0,
        ..port.hello()
    };
    let problem = port.session_with(&identity, hello).await.err().unwrap();
    assert_eq!(problem.code, "protocol_unsupported");
    let mut http = port.connect(Some(&identity)).await.unwrap();
    let uplink = http::Request::post(format!(
        "https://{}{}",
        xiezhi_protocol::CONTROLLER_NAME,
        xiezhi_protocol::UPLINK_PATH
    ));
    let (response, mut up) = http.send_request(uplink.body(()).unwrap(), false).unwrap();
    let mut bytes = Vec::new();
    xiezhi_protocol::record::write(&mut bytes, Kind::Flush, &[]);
    up.send_data(Bytes::from(bytes), false).unwrap();
    let status = tokio::time::timeout(crate::port::DEADLINE, response)
        .await
        .unwrap()
        .unwrap()
        .status();
    assert_eq!(status, http::StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_audited_once_however_often_it_comes() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let two_years_ms = 2 * 365 * 86_400_000;
    for _ in 0..2 {
        let mut agent = port.session(&identity).await;
        for seq in 1..=3 {
            let time_ms = port.now_ms() + two_years_ms + seq as i64 * 15_000;
            let mut frame = Vec::new();
            Encoder::new(15_000).encode(seq, &report(time_ms, 1.0), &mut frame);
            agent.send(Kind::LiveSamples, &frame);
            let refused = agent.down.next().await.refused();
            assert!(
                !refused.resend && refused.reason.contains("clock"),
                "{refused:?}"
            );
        }
    }
    until("the refusal is on record", async || {
        port.audited("host.batch_refused").await == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_without_certificates_does_not_stop_the_enrolment_of_others() {
    const SHARE: usize = 64;
    let port = Port::start().await;
    let (crowd, other) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let mut held = Vec::new();
    for _ in 0..SHARE {
        held.push(port.connect_from(crowd, None).await.unwrap());
    }
    // The handshake is over before its place is looked for, so the client may see either.
    let beyond = port.connect_from(crowd, None).await;
    until("one more is refused", async || {
        port.counter("xiezhi_ingest_refused_total") as u64 == 1
    })
    .await;
    let request = enrol_request(&port.token().await, &KeyPair::generate().unwrap(), "other");
    port.try_enrol_from(other, &request).await.unwrap();
    drop((held, beyond));
}
