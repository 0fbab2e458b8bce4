//! Signed batches: kept as proof, and every way to change them afterwards is found.

use data_encoding::HEXLOWER;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use xiezhi_evidence::{PublicKey, judge};
use xiezhi_model::*;
use xiezhi_protocol::batch::{Stream, encode_signed_events, read_events};
use xiezhi_protocol::event::{self, Event, kinds};
use xiezhi_protocol::signature::{BatchSignature, Statement};
use xiezhi_store::{
    AuditQuery, AuditVerdict, BatchOutcome, BatchProof, EventBatch, EventQuery, EvidenceQuery,
    EvidenceReport, KeptEvents, Store,
};

use crate::support::*;

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

/// A host that enrolled with the key of `seed`.
async fn signing_host(store: &Store, seed: u8) -> HostId {
    let [site, ..] = province(store).await;
    let id = store.reserve_host_id().await.unwrap();
    let token_id = format!("token-{id}");
    store
        .create_token(&token(&token_id, site, 1), entry("token.created"))
        .await
        .unwrap();
    let host = NewHostOf(id, token_id, pair(seed));
    let audit = AuditEntry {
        subject: format!("host:{id}"),
        ..entry("host.enrolled")
    };
    store.enrol(&host.into_host(), NOW, audit).await.unwrap().id
}

struct NewHostOf(HostId, String, Ed25519KeyPair);

impl NewHostOf {
    fn into_host(self) -> xiezhi_store::NewHost {
        let mut host = new_host(self.0, &self.1);
        host.evidence_key = HEXLOWER.encode(self.2.public_key().as_ref());
        host
    }
}

/// A batch of two logins as an agent signs it; `signer` is a seed, `None` for an older agent.
fn signed(host: HostId, key: &str, seq: u64, signer: Option<u8>) -> EventBatch {
    let login = |user: &str| {
        Event::new(NOW, kinds::LOGIN, event::Severity::Notice, "in").with("user", user)
    };
    let events = [login(&format!("u{seq}")), login("li")];
    let mut bytes = Vec::new();
    let sign = |content: &[u8]| {
        let digest = ring::digest::digest(&ring::digest::SHA256, content);
        let statement = Statement {
            host: &host.to_string(),
            epoch: 1,
            stream: Stream::Security,
            seq,
            time_ms: NOW,
            content_sha256: digest.as_ref().try_into().unwrap(),
        };
        let signature = pair(signer?).sign(statement.to_text().as_bytes());
        Some(BatchSignature {
            host: host.to_string(),
            epoch: 1,
            bytes: signature.as_ref().try_into().unwrap(),
        })
    };
    let info = encode_signed_events(seq, NOW, &events, &mut bytes, sign).unwrap();
    let read = read_events(&bytes).unwrap();
    EventBatch {
        checksum: info.checksum,
        proof: Some(BatchProof {
            signature: judge(key, Stream::Security, &read),
            batch: bytes,
        }),
        ..batch(host, seq, 0, KeptEvents::of(read.events).events)
    }
}

/// A store with five signed batches of one host.
async fn five() -> (Fresh, HostId, String) {
    let fresh = fresh().await;
    let host = signing_host(&fresh, 7).await;
    let key = fresh.host(host).await.unwrap().unwrap().evidence_key;
    for seq in 1..=5 {
        let batch = signed(host, &key, seq, Some(7));
        let outcome = fresh.insert_batches(&[batch], NOW + seq as i64).await;
        assert_eq!(outcome.unwrap(), [BatchOutcome::Stored]);
    }
    (fresh, host, key)
}

async fn verified(store: &Store) -> EvidenceReport {
    verified_at(store, NOW + 10).await
}

async fn verified_at(store: &Store, now_ms: i64) -> EvidenceReport {
    let query = EvidenceQuery::default();
    store.verify_evidence(&query, now_ms).await.unwrap()
}

#[tokio::test]
async fn what_was_signed_verifies_and_nothing_else_is_needed() {
    let (fresh, _, _) = five().await;
    fresh.anchor_evidence(NOW).await.unwrap();
    fresh.anchor_evidence(NOW).await.unwrap();
    let report = verified(&fresh).await;
    assert_eq!(report.failures, []);
    assert_eq!((report.links, report.batches, report.good), (5, 5, 5));
    assert_eq!((report.events, report.anchors, report.first), (10, 1, 1));
    let page = fresh
        .search_events(&EventQuery::default(), &Scope::Province)
        .await
        .unwrap();
    assert!(page.events.iter().all(|e| e.signature == Signature::Good));
    let one = fresh.event_proof(page.events[0].id).await.unwrap().unwrap();
    let key = PublicKey::from_hex(&one.evidence_key).unwrap();
    let text = one.signed_text.unwrap();
    assert!(key.has_signed(text.as_bytes(), &one.signature_bytes.unwrap()));
    let events: Vec<Event> = serde_json::from_slice(&one.content).unwrap();
    assert_eq!(
        events[usize::try_from(one.index).unwrap()].fields,
        page.events[0].fields
    );
    assert!(one.record.is_intact() && one.record.detail_matches(one.detail.as_bytes()));
    assert_eq!(fresh.event_proof(9_999).await.unwrap(), None);
}

#[tokio::test]
async fn the_chains_head_is_anchored_once_a_day_while_it_moves() {
    let (fresh, host, key) = five().await;
    let anchors = async || {
        let query = AuditQuery {
            action: Some("evidence.anchored".to_owned()),
            ..AuditQuery::default()
        };
        fresh.audit(&query).await.unwrap().len()
    };
    let steps = [(0, 1), (DAY - 1, 1), (DAY, 2), (5 * DAY, 2)];
    for (at, expected) in steps {
        fresh.anchor_evidence(NOW + at).await.unwrap();
        assert_eq!(anchors().await, expected, "{at}");
        if at < DAY {
            let seq = 6 + u64::from(at > 0);
            let batch = signed(host, &key, seq, Some(7));
            fresh.insert_batches(&[batch], NOW + at).await.unwrap();
        }
    }
    assert_eq!(verified(&fresh).await.anchors, 2);
}

#[tokio::test]
async fn every_change_behind_the_stores_back_is_found() {
    let changes = [
        (
            "an event's text",
            "UPDATE events SET message = 'out' WHERE id = 3",
        ),
        (
            "an event's host's field",
            "UPDATE events SET fields = '{}' WHERE id = 4",
        ),
        ("an event removed", "DELETE FROM events WHERE id = 5"),
        (
            "a bad one made good",
            "UPDATE events SET signature = 3 WHERE id = 2",
        ),
        (
            "a batch's bytes",
            "UPDATE batch_proofs SET batch = 'AgAA' WHERE seq = 2",
        ),
        (
            "no base64",
            "UPDATE batch_proofs SET batch = '*' WHERE seq = 2",
        ),
        (
            "the judgement",
            "UPDATE batch_proofs SET signature = 3 WHERE seq = 2",
        ),
        (
            "the time",
            "UPDATE batch_proofs SET time_ms = 5 WHERE seq = 2",
        ),
        (
            "which events",
            "UPDATE batch_proofs SET first_event = 5 WHERE seq = 2",
        ),
        ("a batch removed", "DELETE FROM batch_proofs WHERE seq = 3"),
        (
            "the newest removed",
            "DELETE FROM batch_proofs WHERE seq = 5",
        ),
        (
            "the key",
            "UPDATE hosts SET evidence_key = \
             '19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1'",
        ),
    ];
    for (name, sql) in changes {
        let (fresh, _, _) = five().await;
        fresh.anchor_evidence(NOW).await.unwrap();
        fresh.tamper(sql).await;
        let report = verified(&fresh).await;
        assert!(report.failed > 0, "{name}");
        assert_eq!(report.failed, report.failures.len() as u64, "{name}");
    }
}

#[tokio::test]
async fn an_event_that_no_batch_brought_is_found() {
    let (fresh, _, key) = five().await;
    let forged = "INSERT INTO events SELECT 50, host_id, stream, time_ms, received_ms, kind, \
                  severity, message, fields, signature FROM events WHERE id = 5";
    fresh.tamper(forged).await;
    fresh
        .tamper("UPDATE counters SET value = 60 WHERE name = 'events'")
        .await;
    assert_eq!(
        verified(&fresh).await.failed,
        0,
        "behind the last batch: not yet told"
    );
    let host = HostId(1);
    let next = signed(host, &key, 6, Some(7));
    fresh.insert_batches(&[next], NOW + 6).await.unwrap();
    let report = verified(&fresh).await;
    assert_eq!(report.failures[0].what, "1 security events are of no batch");
}

#[tokio::test]
async fn a_chain_that_was_rewritten_whole_contradicts_the_audit_record() {
    let (fresh, _, key) = five().await;
    fresh.anchor_evidence(NOW).await.unwrap();
    // Whoever writes the database makes a new chain that holds in itself.
    fresh
        .tamper(
            "DELETE FROM batch_proofs; DELETE FROM events; DELETE FROM event_batches; \
             DELETE FROM event_streams",
        )
        .await;
    for seq in 1..=5 {
        let batch = signed(HostId(1), &key, seq, None);
        fresh.insert_batches(&[batch], NOW).await.unwrap();
    }
    let report = verified(&fresh).await;
    assert_eq!(report.failed, 1);
    assert!(report.failures[0].what.contains("audit record"));
}

#[tokio::test]
async fn unsigned_and_wrongly_signed_batches_are_kept_marked_and_audited_once() {
    let (fresh, host, key) = five().await;
    for seq in 6..=9 {
        let unsigned = signed(host, &key, seq, None);
        let wrong = signed(host, &key, seq + 100, Some(8));
        fresh.insert_batches(&[unsigned, wrong], NOW).await.unwrap();
    }
    let report = verified(&fresh).await;
    assert_eq!((report.good, report.missing, report.bad), (5, 4, 4));
    assert_eq!(
        report.failed, 0,
        "marked so when they came: nothing was changed since"
    );
    let page = fresh
        .search_events(&EventQuery::default(), &Scope::Province)
        .await
        .unwrap();
    for (signature, count) in [(Signature::Missing, 8), (Signature::Bad, 8)] {
        let marked = page.events.iter().filter(|e| e.signature == signature);
        assert_eq!(marked.count(), count);
    }
    for action in ["host.evidence_unsigned", "host.evidence_signature_bad"] {
        let query = AuditQuery {
            action: Some(action.to_owned()),
            ..AuditQuery::default()
        };
        assert_eq!(fresh.audit(&query).await.unwrap().len(), 1, "{action}");
    }
}

#[tokio::test]
async fn a_batch_that_is_counted_in_a_later_epoch_stays_good() {
    let (fresh, host, key) = five().await;
    let audit = entry("host.rolled_back_or_cloned");
    let epoch = fresh.open_epoch(host, 1, audit).await.unwrap();
    let moved = EventBatch {
        epoch,
        ..signed(host, &key, 6, Some(7))
    };
    fresh.insert_batches(&[moved], NOW + 6).await.unwrap();
    let report = verified(&fresh).await;
    assert_eq!((report.good, report.failed), (6, 0));
}

#[tokio::test]
async fn a_batch_that_comes_twice_is_one_proof() {
    let (fresh, host, key) = five().await;
    let again = signed(host, &key, 3, Some(7));
    let outcome = fresh.insert_batches(&[again], NOW).await.unwrap();
    assert_eq!(outcome, [BatchOutcome::Replay]);
    assert_eq!(verified(&fresh).await.links, 5);
}

#[tokio::test]
async fn what_expires_goes_from_the_front_and_the_rest_still_holds() {
    let (fresh, host, key) = five().await;
    fresh.anchor_evidence(NOW + 1).await.unwrap();
    let later = NOW + 170 * DAY;
    for seq in 6..=8 {
        let batch = signed(host, &key, seq, Some(7));
        fresh.insert_batches(&[batch], later).await.unwrap();
    }
    let after = NOW + 181 * DAY;
    while fresh.delete_expired_events(after, 3).await.unwrap() > 0 {
        // Half-way too: events may be gone whose batch is still here.
        assert_eq!(verified_at(&fresh, after).await.failures, []);
    }
    let report = verified_at(&fresh, after).await;
    assert_eq!((report.first, report.links, report.events), (6, 3, 6));
    // Everything expires; the chain goes on from its head all the same.
    let end = later + 200 * DAY;
    while fresh.delete_expired_events(end, 100).await.unwrap() > 0 {}
    let last = signed(host, &key, 9, Some(7));
    fresh.insert_batches(&[last], end).await.unwrap();
    let report = verified_at(&fresh, end).await;
    assert_eq!((report.first, report.head.unwrap().0), (8, 9));
    assert_eq!(report.failures, []);
    assert!(matches!(
        fresh.verify_audit().await.unwrap(),
        AuditVerdict::Intact { .. }
    ));
}

#[tokio::test]
async fn one_host_or_the_latest_can_be_asked_for() {
    let (fresh, host, _) = five().await;
    let asked = [
        (Some(host), None, 5),
        (Some(HostId(77)), None, 0),
        (None, Some(NOW + 4), 2),
    ];
    for (host, from_ms, batches) in asked {
        let query = EvidenceQuery { host, from_ms };
        let report = fresh.verify_evidence(&query, NOW).await.unwrap();
        assert_eq!((report.batches, report.links), (batches, 5));
    }
}
