//! Exactly once: what is acknowledged is stored, and stored once.

use std::time::Duration;

use xiezhi_ingest::IngestOptions;
use xiezhi_model::{HostId, Scope};
use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::codec::{Decoder, Encoder};
use xiezhi_protocol::message::Hello;
use xiezhi_protocol::record::Kind;
use xiezhi_store::EventQuery;

use crate::agent::{Agent, report};
use crate::port::{Port, options, until};

/// Points of one series that can be read back.
fn points(port: &Port, host: HostId) -> Vec<(i64, f64)> {
    let load = |series: &str| series == "node_load1";
    let found = port.series.range(host.0, 0, i64::MAX, &load).unwrap();
    found.into_iter().flat_map(|series| series.points).collect()
}

fn resumed(port: &Port, agent: &Agent) -> Hello {
    let (epoch, session) = (agent.welcome.epoch, agent.welcome.session.clone());
    Hello {
        epoch,
        previous_session: session,
        ..port.hello()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_stored_before_it_is_acknowledged_and_its_host_is_up() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    assert_eq!(
        (agent.welcome.epoch, agent.welcome.version.as_str()),
        (1, "9.9.9")
    );
    agent.live(1, port.now_ms(), 250.0);
    agent.flush();
    assert_eq!(agent.acked().await, (1, vec![(1, 1)]));
    assert_eq!(points(&port, identity.host), [(port.now_ms(), 250.0)]);
    let fleet = port.fleet();
    until("the host is up", async || {
        fleet.get(identity.host).unwrap().presence.presence == xiezhi_model::Presence::Up
    })
    .await;
    let view = fleet.get(identity.host).unwrap();
    assert_eq!(
        (view.headline.load1, view.headline.memory_used_percent),
        (Some(250.0), Some(75.0))
    );
    assert_eq!((view.skew_ms, view.hostname.as_str()), (Some(0), "host"));
    port.ingest.stop().await;
    let stored = port.store.host(identity.host).await.unwrap().unwrap();
    assert_eq!(stored.last_seen_ms, port.now_ms());
}

#[tokio::test(flavor = "multi_thread")]
async fn four_live_frames_share_one_acknowledgement() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    for seq in 1..=3 {
        agent.live(seq, seq as i64 * 15_000, 1.0);
    }
    until("three frames are durable", async || {
        port.series.frames(identity.host.0).unwrap().len() == 3
    })
    .await;
    agent.live(4, 60_000, 1.0);
    assert_eq!(agent.acked().await, (1, vec![(1, 4)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lonely_frame_is_acknowledged_when_its_time_is_over() {
    let options = IngestOptions {
        ack_interval: Duration::from_millis(50),
        ..options()
    };
    let port = Port::start_with(options, None).await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    agent.live(1, 15_000, 1.0);
    assert_eq!(agent.acked().await, (1, vec![(1, 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_beside_the_live_lane_arrives_whole() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    agent.live(201, 201 * 15_000, 201.0);
    let mut backlog = Encoder::new(15_000);
    for seq in 1..=200u64 {
        let mut bytes = Vec::new();
        backlog.encode(seq, &report(seq as i64 * 15_000, seq as f64), &mut bytes);
        agent.send(Kind::BacklogSamples, &bytes);
        if seq % 50 == 0 {
            agent.live(201 + seq / 50, (201 + seq as i64 / 50) * 15_000, 0.0);
        }
    }
    agent.flush();
    let mut acked = xiezhi_protocol::range_set::RangeSet::new();
    while acked.len() < 205 {
        for (first, last) in agent.acked().await.1 {
            acked.insert_range(first, last);
        }
    }
    assert_eq!(acked.ranges(), [(1, 205)]);
    assert_eq!(points(&port, identity.host).len(), 205);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_acknowledged_and_changes_nothing() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    let mut decoder = Decoder::new();
    for seq in 1..=3 {
        let frame = agent.frame(seq, seq as i64 * 15_000, seq as f64);
        decoder.decode(&frame, &mut |name| name.into()).unwrap();
        agent.send(Kind::LiveSamples, &frame);
    }
    agent.flush();
    assert_eq!(agent.acked().await, (1, vec![(1, 3)]));
    let hello = resumed(&port, &agent);
    drop(agent);
    let mut agent = port.session_with(&identity, hello).await.unwrap();
    // Other bytes, the same batch: frame 3 as the start of a chain.
    let mut again = Vec::new();
    decoder.encode_key(&mut again).unwrap();
    agent.send(Kind::BacklogSamples, &again);
    agent.flush();
    assert_eq!(agent.acked().await, (1, vec![(3, 3)]));
    assert_eq!(
        points(&port, identity.host),
        [(15_000, 1.0), (30_000, 2.0), (45_000, 3.0)]
    );
    assert_eq!(port.counter("xiezhi_ingest_replays_total") as u64, 1);
    assert_eq!(
        port.fleet()
            .get(identity.host)
            .unwrap()
            .identity_conflict_ms,
        None
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_back_host_gets_a_new_epoch_and_loses_nothing() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    for seq in 1..=20 {
        agent.live(seq, seq as i64 * 15_000, 1.0);
    }
    agent.flush();
    let mut acked = 0;
    while acked < 20 {
        acked = agent.acked().await.1.last().unwrap().1;
    }
    // The disk is set back to number 10; what comes then has other content, and goes beyond 20.
    let hello = resumed(&port, &agent);
    drop(agent);
    let mut agent = port.session_with(&identity, hello).await.unwrap();
    for seq in 11..=30 {
        agent.live(seq, (1000 + seq as i64) * 15_000, 2.0);
    }
    agent.flush();
    let mut seen = xiezhi_protocol::range_set::RangeSet::new();
    while seen.len() < 20 {
        let (epoch, ranges) = agent.acked().await;
        assert_eq!(epoch, 2);
        for (first, last) in ranges {
            seen.insert_range(first, last);
        }
    }
    assert_eq!(seen.ranges(), [(11, 30)]);
    let points = points(&port, identity.host);
    assert_eq!(points.iter().filter(|(_, value)| *value == 1.0).count(), 20);
    assert_eq!(points.iter().filter(|(_, value)| *value == 2.0).count(), 20);
    assert!(
        port.fleet()
            .get(identity.host)
            .unwrap()
            .identity_conflict_ms
            .is_some()
    );
    assert_eq!(port.audited("host.rolled_back_or_cloned").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_in_the_middle_of_a_chain_asks_for_a_new_one() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    let mut frames = Vec::new();
    for seq in 1..=6 {
        frames.push(agent.frame(seq, seq as i64 * 15_000, 1.0));
        agent.send(Kind::LiveSamples, &frames[seq as usize - 1].clone());
    }
    agent.flush();
    while agent.acked().await.1.last().unwrap().1 < 6 {}
    let hello = resumed(&port, &agent);
    drop(agent);
    let mut agent = port.session_with(&identity, hello).await.unwrap();
    // 1 to 3 are replays, 4 begins to differ.
    let mut encoder = Encoder::new(15_000);
    for seq in 1..=8u64 {
        let time_ms = if seq <= 3 {
            seq as i64 * 15_000
        } else {
            (100 + seq as i64) * 15_000
        };
        let value = if seq <= 3 { 1.0 } else { 2.0 };
        let mut bytes = Vec::new();
        encoder.encode(seq, &report(time_ms, value), &mut bytes);
        agent.send(Kind::BacklogSamples, &bytes);
    }
    let mut refused = std::collections::BTreeSet::new();
    while refused.len() < 5 {
        match agent.down.next().await {
            crate::agent::Down::Refused(one) => {
                assert!(one.resend, "{one:?}");
                refused.insert(one.seq.unwrap());
            }
            crate::agent::Down::Ack(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused.into_iter().collect::<Vec<_>>(), [4, 5, 6, 7, 8]);
    let mut encoder = Encoder::new(15_000);
    for seq in 4..=8u64 {
        let mut bytes = Vec::new();
        encoder.encode(seq, &report((100 + seq as i64) * 15_000, 2.0), &mut bytes);
        agent.send(Kind::BacklogSamples, &bytes);
    }
    agent.flush();
    let mut last = (0, 0);
    while last != (2, 8) {
        let (epoch, ranges) = agent.acked().await;
        last = (epoch, ranges.last().unwrap().1);
    }
    let points = points(&port, identity.host);
    assert_eq!(points.iter().filter(|(_, value)| *value == 1.0).count(), 6);
    assert_eq!(points.iter().filter(|(_, value)| *value == 2.0).count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn security_events_are_acknowledged_at_once_and_kept_once() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    agent.login(1, "zhangsan");
    let ack = agent.down.next().await.ack();
    assert_eq!(
        (ack.stream, ack.ranges.ranges()),
        (Stream::Security, [(1, 1)].as_slice())
    );
    agent.login(1, "zhangsan");
    assert_eq!(agent.down.next().await.ack().ranges.ranges(), [(1, 1)]);
    assert_eq!(port.counter("xiezhi_ingest_replays_total") as u64, 1);
    agent.login(1, "lisi");
    let ack = agent.down.next().await.ack();
    assert_eq!((ack.epoch, ack.ranges.ranges()), (2, [(1, 1)].as_slice()));
    let page = port
        .store
        .search_events(&EventQuery::default(), &Scope::Province)
        .await
        .unwrap();
    let users: Vec<_> = page
        .events
        .iter()
        .map(|event| event.fields["user"].as_str())
        .collect();
    assert_eq!(users.len(), 2, "{users:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_spool_gave_up_becomes_a_gap_with_its_reason() {
    use xiezhi_protocol::message::{Dropped, SpoolStatus, Status};
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    let dropped = Dropped {
        stream: Stream::Samples,
        first: 5,
        last: 9,
        from_ms: 75_000,
        to_ms: 135_000,
        reason: "full".to_owned(),
    };
    let spool = SpoolStatus {
        dropped: vec![dropped],
        ..SpoolStatus::default()
    };
    let status = Status {
        spool,
        clock_ms: port.now_ms() + 90_000,
        ..Status::default()
    };
    for _ in 0..2 {
        agent.send(Kind::Status, &serde_json::to_vec(&status).unwrap());
    }
    until("the gap is on record", async || {
        port.store
            .gaps(Some(identity.host), &Scope::Province, 0, i64::MAX)
            .await
            .unwrap()
            .len()
            == 1
    })
    .await;
    let view = port.fleet().get(identity.host).unwrap();
    assert_eq!((view.skew_ms, view.spool.dropped.len()), (Some(90_000), 1));
}
