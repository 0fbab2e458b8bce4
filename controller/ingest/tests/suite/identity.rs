//! Who gets in: enrolment, renewal, revocation, clones.

use std::net::Ipv4Addr;
use std::time::Duration;

use rcgen::KeyPair;
use xiezhi_protocol::enrol::{EnrolResponse, Problem};
use xiezhi_protocol::message::Hello;
use xiezhi_protocol::{DIRECTIVES_PATH, RENEW_PATH, UPLINK_PATH};

use crate::agent::{Down, Identity, enrol_request, post};
use crate::port::{Port, entry, until};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_wrong_expired_used_up_or_withdrawn_enrols_nobody() {
    let port = Port::start().await;
    let key = KeyPair::generate().unwrap();
    let good = port.token().await;
    let mut wrong = good.clone();
    wrong.secret[0] ^= 1;
    let expired = port.token_with(|token| token.expires_ms = 1).await;
    let single = port
        .token_with(|token| (token.uses, token.uses_left) = (1, 1))
        .await;
    port.try_enrol(&enrol_request(&single, &key, "first"))
        .await
        .unwrap();
    let withdrawn = port.token().await;
    port.store
        .revoke_token(&withdrawn.id_text(), entry("token.revoked"))
        .await
        .unwrap();
    let cases = [
        (wrong, "token_unknown"),
        (expired, "token_expired"),
        (single, "token_used_up"),
        (withdrawn, "token_revoked"),
    ];
    for (token, code) in cases {
        let problem = port
            .try_enrol(&enrol_request(&token, &key, "other"))
            .await
            .unwrap_err();
        assert_eq!(problem.code, code);
    }
    assert_eq!(port.audited("host.enrolment_refused").await, 4);
    assert_eq!(port.fleet().snapshot().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_never_takes_over_a_host_and_a_lost_answer_is_given_again() {
    let port = Port::start().await;
    let token = port.token().await;
    let (key, thief) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let issued = |response| match response {
        EnrolResponse::Issued(issued) => issued,
        other => panic!("{other:?}"),
    };
    let request = enrol_request(&token, &key, "one");
    let first = issued(port.try_enrol(&request).await.unwrap());
    let again = issued(port.try_enrol(&request).await.unwrap());
    assert_eq!(
        (&again.host, &again.chain_pem),
        (&first.host, &first.chain_pem)
    );
    let problem = port
        .try_enrol(&enrol_request(&token, &thief, "one"))
        .await
        .unwrap_err();
    assert_eq!(problem.code, "host_exists");
    assert_eq!(
        port.store
            .token(&token.id_text())
            .await
            .unwrap()
            .unwrap()
            .uses_left,
        99
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_needs_approval_waits_for_a_person() {
    let port = Port::start().await;
    let token = port.token_with(|token| token.needs_approval = true).await;
    let key = KeyPair::generate().unwrap();
    let request = enrol_request(&token, &key, "one");
    for _ in 0..2 {
        let answer = port.try_enrol(&request).await.unwrap();
        assert!(
            matches!(answer, EnrolResponse::Pending { .. }),
            "{answer:?}"
        );
    }
    let waiting = port
        .store
        .approvals(None, &xiezhi_model::Scope::Province)
        .await
        .unwrap();
    assert_eq!(waiting.len(), 1);
    port.store
        .decide_approval(waiting[0].id, true, entry("host.approved"))
        .await
        .unwrap();
    let answer = port.try_enrol(&request).await.unwrap();
    assert!(matches!(answer, EnrolResponse::Issued(_)), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evidence_key_is_recorded_only_for_who_holds_it() {
    let port = Port::start().await;
    let token = port.token().await;
    let owner = port.enrol("owner").await;
    let key = KeyPair::generate().unwrap();
    let good = enrol_request(&token, &key, "thief");

    // The key of another host, with a proof by the thief's own, and with the owner's proof for the
    // owner's request.
    let theirs = enrol_request(&token, &owner.key, "owner");
    let mut wrong = good.clone();
    wrong.evidence_key = theirs.evidence_key.clone();
    let mut overheard = wrong.clone();
    overheard.evidence_proof = theirs.evidence_proof.clone();
    let mut cut = good.clone();
    cut.evidence_proof.truncate(100);
    for request in [&wrong, &overheard, &cut] {
        let problem = port.try_enrol(request).await.unwrap_err();
        assert_eq!(problem.code, "evidence_key_unproven");
    }
    // An agent of the first release proves nothing, and may not name a key that another host has.
    let mut old = wrong.clone();
    old.evidence_proof.clear();
    let problem = port.try_enrol(&old).await.unwrap_err();
    assert_eq!(problem.code, "evidence_key_in_use");
    old.evidence_key = good.evidence_key.clone();
    port.try_enrol(&old).await.unwrap();

    let actions = port.audit("host.enrolled").await;
    let proofs: Vec<_> = actions
        .iter()
        .map(|entry| entry.detail.get("evidence_proof").map(String::as_str))
        .collect();
    assert_eq!(proofs, [Some("missing"), Some("good")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_and_oversized_enrolments_are_refused() {
    let port = Port::start().await;
    let token = port.token().await;
    let key = KeyPair::generate().unwrap();
    let good = enrol_request(&token, &key, "one");
    let mut requests = vec![good.clone(), good.clone(), good.clone(), good];
    requests[0].csr_pem = "no request".to_owned();
    requests[0].evidence_proof.clear();
    requests[1].evidence_key = "00".to_owned();
    requests[2].hostname = "x".repeat(300);
    requests[3].token_id = "../../etc/passwd".to_owned();
    for request in requests {
        assert_eq!(
            port.try_enrol(&request).await.unwrap_err().code,
            "malformed"
        );
    }
    let mut http = port.connect(None).await.unwrap();
    let (status, _) = post(&mut http, xiezhi_protocol::ENROL_PATH, &"x".repeat(70_000)).await;
    assert_eq!(status, http::StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn enrolment_is_limited_per_address() {
    let options = xiezhi_ingest::IngestOptions {
        enrolments_per_second: 0.2,
        ..crate::port::options()
    };
    let port = Port::start_with(options, None).await;
    let token = port.token().await;
    let key = KeyPair::generate().unwrap();
    port.try_enrol(&enrol_request(&token, &key, "one"))
        .await
        .unwrap();
    port.try_enrol(&enrol_request(&token, &key, "two"))
        .await
        .unwrap();
    let problem = port
        .try_enrol(&enrol_request(&token, &key, "three"))
        .await
        .unwrap_err();
    assert_eq!(problem.code, "rate_limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_use_up_the_rate_of_a_token() {
    let options = xiezhi_ingest::IngestOptions {
        enrolments_per_second: 0.1,
        ..crate::port::options()
    };
    let port = Port::start_with(options, None).await;
    let token = port.token().await;
    let key = KeyPair::generate().unwrap();
    let mut guess = token.clone();
    guess.secret[0] ^= 1;
    for last in 2..20 {
        let problem = port
            .try_enrol_from(
                Ipv4Addr::new(127, 0, 0, last),
                &enrol_request(&guess, &key, "stranger"),
            )
            .await
            .unwrap_err();
        assert_eq!(problem.code, "token_unknown");
    }
    let answer = port.try_enrol(&enrol_request(&token, &key, "one")).await;
    assert!(matches!(answer, Ok(EnrolResponse::Issued(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_of_a_token_is_limited_whoever_shows_it() {
    let options = xiezhi_ingest::IngestOptions {
        enrolments_per_second: 0.1,
        ..crate::port::options()
    };
    let port = Port::start_with(options, None).await;
    let token = port.token().await;
    let key = KeyPair::generate().unwrap();
    let mut limited = false;
    for last in 2..30 {
        let name = format!("host-{last}");
        let answer = port
            .try_enrol_from(
                Ipv4Addr::new(127, 0, 0, last),
                &enrol_request(&token, &key, &name),
            )
            .await;
        limited |= answer.is_err_and(|problem| problem.code == "rate_limited");
    }
    assert!(limited);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_only_enrolment_is_open() {
    let port = Port::start().await;
    let mut http = port.connect(None).await.unwrap();
    for path in [UPLINK_PATH, DIRECTIVES_PATH, RENEW_PATH] {
        let (status, body) = post(&mut http, path, &()).await;
        assert_eq!(status, http::StatusCode::UNAUTHORIZED, "{path}");
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.code, "certificate_required");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_only_renews_and_the_renewed_one_opens_a_session() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    port.advance(40 * DAY);
    let problem = port
        .session_with(&identity, port.hello())
        .await
        .err()
        .unwrap();
    assert_eq!(problem.code, "certificate_expired");
    let renewed = port.renew(&identity).await.unwrap();
    assert_ne!(renewed.issued.chain_pem, identity.issued.chain_pem);
    port.session(&renewed).await;
    assert_eq!(port.audited("host.certificate_renewed").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_on_record_is_refused() {
    let port = Port::start().await;
    let known = port.enrol("one").await;
    let key = KeyPair::generate().unwrap();
    // Signed by the authority, but its answer never reached the store.
    let made = port
        .authority
        .issue_host(&crate::agent::csr(&key), known.host, port.now_ms() / 1000)
        .unwrap();
    let issued = xiezhi_protocol::enrol::Issued {
        chain_pem: made.chain_pem,
        ..known.issued
    };
    let stray = Identity {
        host: known.host,
        key,
        issued,
    };
    let problem = port.session_with(&stray, port.hello()).await.err().unwrap();
    assert_eq!(problem.code, "certificate_unknown");
    assert_eq!(
        port.renew(&stray).await.err().unwrap().code,
        "certificate_unknown"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_ends_the_open_session_and_closes_every_way_back() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    port.store
        .revoke_host(identity.host, "stolen", entry("host.revoked"))
        .await
        .unwrap();
    let refused = agent.down.next().await.refused();
    assert!(refused.reason.starts_with("revoked"), "{refused:?}");
    assert!(matches!(agent.down.next().await, Down::End));
    let problem = port
        .session_with(&identity, port.hello())
        .await
        .err()
        .unwrap();
    assert_eq!(problem.code, "revoked");
    assert_eq!(port.renew(&identity).await.err().unwrap().code, "revoked");
    until("the fleet shows it", async || {
        let view = port.fleet().get(identity.host).unwrap();
        view.presence.reason == xiezhi_model::PresenceReason::Revoked
            && view.connected_since_ms.is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_ends_a_session_while_every_write_is_held_up() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    let other = port.other_process().await;
    // The writing connection goes to the second as soon as the first lets go, and is kept by it
    // without a lock on the file, because nothing drives it any further.
    let mut first = Box::pin(port.store.append_audit(entry("first")));
    begin(&mut first).await;
    let mut second = Box::pin(port.store.append_audit(entry("second")));
    begin(&mut second).await;
    drop(first);
    let store = port.store.clone();
    let third = tokio::spawn(async move { store.append_audit(entry("third")).await });
    // Presence was judged once more after a report, which leaves something to be written down.
    let mut changes = port.fleet().changes();
    agent.live(1, port.now_ms(), 1.0);
    changes.recv().await.unwrap();
    other
        .revoke_host(identity.host, "stolen", entry("host.revoked"))
        .await
        .unwrap();
    let refused = agent.down.next().await.refused();
    assert!(refused.reason.starts_with("revoked"), "{refused:?}");
    assert!(!third.is_finished(), "the writes were not held up");
    drop(second);
    third.await.unwrap().unwrap();
}

/// Drives `write` up to its first wait.
async fn begin<T>(write: &mut std::pin::Pin<Box<impl Future<Output = T>>>) {
    std::future::poll_fn(|task| {
        assert!(write.as_mut().poll(task).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloned_identity_is_marked_and_the_newer_session_takes_over() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut first = port.session(&identity).await;
    first.live(1, 15_000, 1.0);
    first.flush();
    first.acked().await;
    until(
        "the first session is written down as confirmed",
        async || {
            let host = port.store.host(identity.host).await.unwrap().unwrap();
            !host.session_confirmed.is_empty()
        },
    )
    .await;
    // The copy knows nothing of the session that the original was given since.
    let hello = Hello {
        epoch: 1,
        previous_session: "0123".to_owned(),
        ..port.hello()
    };
    let mut copy = port.session_with(&identity, hello).await.unwrap();
    let refused = first.down.next().await.refused();
    assert!(refused.reason.starts_with("superseded"), "{refused:?}");
    assert!(
        port.fleet()
            .get(identity.host)
            .unwrap()
            .identity_conflict_ms
            .is_some()
    );
    assert!(port.audited("host.").await >= 2);
    copy.live(2, 30_000, 1.0);
    copy.flush();
    copy.acked().await;
    assert!(
        port.fleet()
            .get(identity.host)
            .unwrap()
            .connected_since_ms
            .is_some()
    );
}
