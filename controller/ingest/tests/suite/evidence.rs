//! Signatures, gaps and holes: what makes a record of a host complete and provable.

use std::time::Duration;

use bytes::Bytes;
use ring::signature::Ed25519KeyPair;
use xiezhi_ingest::IngestOptions;
use xiezhi_model::{Gap, Scope, Signature};
use xiezhi_protocol::batch::{Stream, encode_signed_events};
use xiezhi_protocol::event::{Event, Severity, kinds};
use xiezhi_protocol::message::{Directive, DirectiveOutcome, Dropped, SpoolStatus, Status};
use xiezhi_protocol::record::{self, Kind};
use xiezhi_protocol::signature::{BatchSignature, Statement};
use xiezhi_store::{EventQuery, EvidenceQuery};

use crate::agent::{Agent, Down, Identity, enrol_request, prove};
use crate::port::{Port, options, until};

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

/// Enrols a host whose evidence key is that of seed 7.
async fn enrol(port: &Port) -> Identity {
    let token = port.token().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let mut request = enrol_request(&token, &key, "one");
    prove(&mut request, &pair(7));
    let xiezhi_protocol::enrol::EnrolResponse::Issued(issued) =
        port.try_enrol(&request).await.unwrap()
    else {
        panic!("not issued")
    };
    Identity {
        host: issued.host.parse().unwrap(),
        key,
        issued,
    }
}

/// Sends a batch of one login, signed with the key of `seed`.
fn send(agent: &mut Agent, host: &str, seq: u64, seed: Option<u8>) {
    let event = Event::new(1_000, kinds::LOGIN, Severity::Notice, "in").with("user", "li");
    let sign = |content: &[u8]| {
        let digest = ring::digest::digest(&ring::digest::SHA256, content);
        let statement = Statement {
            host,
            epoch: 0,
            stream: Stream::Security,
            seq,
            time_ms: 1_000,
            content_sha256: digest.as_ref().try_into().unwrap(),
        };
        let signature = pair(seed?).sign(statement.to_text().as_bytes());
        Some(BatchSignature {
            host: host.to_owned(),
            epoch: 0,
            bytes: signature.as_ref().try_into().unwrap(),
        })
    };
    let mut bytes = Vec::new();
    encode_signed_events(seq, 1_000, &[event], &mut bytes, sign).unwrap();
    agent.send(Kind::Security, &bytes);
}

async fn acked(agent: &mut Agent) -> Vec<(u64, u64)> {
    let ack = agent.down.next().await.ack();
    assert_eq!(ack.stream, Stream::Security);
    ack.ranges.ranges().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_unsigned_and_forged_batches_are_all_kept_and_told_apart() {
    let port = Port::start().await;
    let identity = enrol(&port).await;
    let host = identity.host.to_string();
    let mut agent = port.session(&identity).await;
    for (seq, seed) in [(1, Some(7)), (2, None), (3, Some(8))] {
        send(&mut agent, &host, seq, seed);
        assert_eq!(acked(&mut agent).await, [(seq, seq)]);
    }
    // What an older agent sends is a batch of version 1.
    agent.login(4, "li");
    assert_eq!(acked(&mut agent).await, [(4, 4)]);
    let (all, whole) = (EventQuery::default(), EvidenceQuery::default());
    let mut marks = port
        .store
        .search_events(&all, &Scope::Province)
        .await
        .unwrap()
        .events;
    marks.sort_by_key(|event| event.id);
    let marks: Vec<_> = marks.iter().map(|event| event.signature).collect();
    let (good, missing, bad) = (Signature::Good, Signature::Missing, Signature::Bad);
    assert_eq!(marks, [good, missing, bad, missing]);
    assert_eq!(port.counter("xiezhi_ingest_signatures_total"), 4.0);
    assert_eq!(port.audited("host.evidence_unsigned").await, 1);
    assert_eq!(port.audited("host.evidence_signature_bad").await, 1);
    let report = port.store.verify_evidence(&whole, port.now_ms());
    let report = report.await.unwrap();
    assert_eq!((report.good, report.missing, report.bad), (1, 2, 1));
    assert_eq!(report.failures, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_durable_before_anything_behind_it_is_acknowledged() {
    let port = Port::start().await;
    let identity = enrol(&port).await;
    let mut agent = port.session(&identity).await;
    for seq in [5, 9, 14] {
        let dropped = Dropped {
            stream: Stream::Security,
            first: seq - 2,
            last: seq - 1,
            from_ms: 0,
            to_ms: 0,
            reason: "full".to_owned(),
        };
        let status = Status {
            spool: SpoolStatus {
                dropped: vec![dropped],
                ..SpoolStatus::default()
            },
            ..Status::default()
        };
        agent.send(Kind::Status, &serde_json::to_vec(&status).unwrap());
        agent.login(seq, "li");
        assert_eq!(acked(&mut agent).await, [(seq, seq)]);
        // At once: whoever was acknowledged forgets what it reported.
        let gaps = port
            .store
            .gaps(Some(identity.host), &Scope::Province, 0, i64::MAX)
            .await;
        let is_there = |gap: &Gap| gap.first == seq - 2 && gap.reason == "full";
        assert!(gaps.unwrap().iter().any(is_there), "{seq}");
    }
}

/// A port that looks for holes all the time, and judges by its own clock.
async fn watchful() -> Port {
    let options = IngestOptions {
        hole_interval: Duration::from_millis(100),
        ..options()
    };
    Port::start_with(options, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_is_asked_for_and_closes_when_the_host_still_has_the_batches() {
    let port = watchful().await;
    let identity = enrol(&port).await;
    let mut agent = port.session(&identity).await;
    let (mut up, mut down) = agent.directives().await;
    for seq in [1, 2, 6] {
        agent.login(seq, "li");
        acked(&mut agent).await;
    }
    port.advance(Duration::from_secs(1));
    let Down::Directive(message) = down.next().await else {
        panic!("no directive")
    };
    let (stream, first, last) = (Stream::Security, 3, 5);
    let resend = Directive::Resend {
        stream,
        first,
        last,
    };
    assert_eq!(message.directive, resend);
    let outcome = DirectiveOutcome {
        id: message.id,
        outcome: "done".to_owned(),
        detail: "3 batches are still here".to_owned(),
    };
    let mut bytes = Vec::new();
    let payload = serde_json::to_vec(&outcome).unwrap();
    record::write(&mut bytes, Kind::Outcome, &payload);
    up.send_data(Bytes::from(bytes), false).unwrap();
    for seq in 3..=5 {
        agent.login(seq, "li");
    }
    until("all six are stored", async || {
        port.store.count_events().await.unwrap() == 6
    })
    .await;
    assert!(port.store.event_holes().await.unwrap().is_empty());
    assert_eq!(port.audited("host.resend_asked").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_that_stays_gets_a_reason_and_is_not_asked_for_again() {
    let port = watchful().await;
    let identity = enrol(&port).await;
    let mut agent = port.session(&identity).await;
    let (_up, mut down) = agent.directives().await;
    for seq in [1, 101] {
        agent.login(seq, "li");
        acked(&mut agent).await;
    }
    port.advance(Duration::from_secs(1));
    assert!(matches!(down.next().await, Down::Directive(_)));
    let gaps = async || {
        let gaps = port
            .store
            .gaps(Some(identity.host), &Scope::Province, 0, i64::MAX)
            .await;
        gaps.unwrap()
    };
    until("the hole is recorded", async || !gaps().await.is_empty()).await;
    let gap = gaps().await.remove(0);
    assert_eq!(
        (gap.first, gap.last, gap.reason.as_str()),
        (2, 100, "missing")
    );
    assert!(gap.from_ms > 0 && gap.to_ms >= gap.from_ms);
    assert!(port.store.event_holes().await.unwrap().is_empty());
    assert_eq!(port.audited("host.resend_asked").await, 1);

    // The batches come after all, first some and then the rest: so closes the gap.
    for seq in 40..=100 {
        agent.login(seq, "li");
    }
    until("what came is no gap any more", async || {
        let ranges: Vec<_> = gaps()
            .await
            .iter()
            .map(|gap| (gap.first, gap.last))
            .collect();
        ranges == [(2, 39)]
    })
    .await;
    for seq in 2..40 {
        agent.login(seq, "li");
    }
    until("the gap is closed", async || gaps().await.is_empty()).await;
    assert!(port.store.event_holes().await.unwrap().is_empty());
}
