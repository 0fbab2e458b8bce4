//! Tokens, approvals, enrolment, certificates, revocation.

use xiezhi_model::{Actor, ApprovalState, AuditEntry, HostId, Scope};
use xiezhi_store::{ApprovalRequest, EnrolError, EnrolRefusal, StoreError};

use crate::support::*;

fn refusal(error: EnrolError) -> EnrolRefusal {
    match error {
        EnrolError::Refused(refusal) => refusal,
        EnrolError::Store(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn an_enrolled_host_is_listed_with_its_certificate_and_its_audit_entry() {
    let fresh = fresh().await;
    let [_, court, ..] = province(&fresh).await;
    let id = enrolled(&fresh, court).await;
    let host = fresh.host(id).await.unwrap().unwrap();
    assert_eq!((host.site, host.epoch, host.last_seen_ms), (court, 1, 0));
    assert_eq!(host.certificate_expires_s, certificate(id, "").not_after_s);
    let serial = format!("{id:?}-1");
    assert_eq!(fresh.certificate(&serial).await.unwrap().unwrap().host, id);
    let entries = fresh.audit(&Default::default()).await.unwrap();
    assert_eq!(entries[0].action, "host.enrolled");
    assert_eq!(entries[0].detail["serial"], serial);
    assert_eq!(
        fresh
            .token(&format!("token-{id}"))
            .await
            .unwrap()
            .unwrap()
            .uses_left,
        0
    );
}

/// Whoever reaches the agents' port may name any token, also with a sign that PostgreSQL refuses.
#[tokio::test]
async fn a_name_that_no_database_keeps_is_that_of_no_token() {
    let fresh = fresh().await;
    province(&fresh).await;
    let name = "to\0ken";
    assert_eq!(fresh.token(name).await.unwrap(), None);
    let error = fresh.revoke_token(name, entry("token.revoked")).await;
    assert!(matches!(error, Err(StoreError::NotFound(_))), "{error:?}");
}

#[tokio::test]
async fn every_reason_against_a_token_is_its_own() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    for (id, uses) in [("once", 1), ("withdrawn", 5), ("late", 5)] {
        fresh
            .create_token(&token(id, root, uses), entry("token.created"))
            .await
            .unwrap();
    }
    fresh
        .revoke_token("withdrawn", entry("token.revoked"))
        .await
        .unwrap();
    fresh
        .enrol(&new_host(HostId(100), "once"), NOW, entry("e"))
        .await
        .unwrap();
    let cases = [
        ("once", NOW, EnrolRefusal::UsedUpToken),
        ("withdrawn", NOW, EnrolRefusal::RevokedToken),
        ("late", NOW + DAY, EnrolRefusal::ExpiredToken),
        ("none", NOW, EnrolRefusal::UnknownToken),
    ];
    for (token, now_ms, expected) in cases {
        let host = new_host(HostId(101), token);
        let names = (host.hostname.as_str(), host.machine.as_str());
        let asked = fresh
            .may_enrol(token, &host.evidence_key, names.0, names.1, now_ms)
            .await;
        assert_eq!(refusal(asked.unwrap_err()), expected);
        let tried = fresh.enrol(&host, now_ms, entry("e")).await;
        assert_eq!(refusal(tried.unwrap_err()), expected);
    }
    assert_eq!(fresh.hosts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_of_three_uses_enrols_three_hosts_however_many_ask_at_once() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    fresh
        .create_token(&token("three", root, 3), entry("token.created"))
        .await
        .unwrap();
    let tasks = (1..=8).map(|number| {
        let store = fresh.store.clone();
        let host = new_host(HostId(number), "three");
        tokio::spawn(async move { store.enrol(&host, NOW, entry("host.enrolled")).await })
    });
    let mut enrolled = 0;
    for task in tasks.collect::<Vec<_>>() {
        match task.await.unwrap() {
            Ok(_) => enrolled += 1,
            Err(error) => assert_eq!(refusal(error), EnrolRefusal::UsedUpToken),
        }
    }
    assert_eq!(enrolled, 3);
    assert_eq!(fresh.hosts().await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_token_never_takes_over_an_existing_host() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    fresh
        .create_token(&token("many", root, 9), entry("token.created"))
        .await
        .unwrap();
    let first = fresh
        .enrol(&new_host(HostId(1), "many"), NOW, entry("e"))
        .await
        .unwrap();
    let mut again = new_host(HostId(2), "many");
    (again.hostname, again.machine) = (first.hostname.clone(), first.machine.clone());
    let refused = refusal(fresh.enrol(&again, NOW, entry("e")).await.unwrap_err());
    assert_eq!(refused, EnrolRefusal::HostExists(first.id));
    // A clone that was renamed is another host; a revoked one makes room.
    again.hostname = "renamed".to_owned();
    fresh.enrol(&again, NOW, entry("e")).await.unwrap();
    fresh
        .revoke_host(first.id, "reinstalled", entry("host.revoked"))
        .await
        .unwrap();
    let mut third = new_host(HostId(3), "many");
    (third.hostname, third.machine) = (first.hostname.clone(), first.machine);
    fresh.enrol(&third, NOW, entry("e")).await.unwrap();
    let token = fresh.token("many").await.unwrap().unwrap();
    assert_eq!(token.uses_left, 6, "refused attempts use nothing up");
}

#[tokio::test]
async fn machines_without_an_id_may_share_a_name() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    fresh
        .create_token(&token("many", root, 9), entry("token.created"))
        .await
        .unwrap();
    for number in [1, 2] {
        let mut host = new_host(HostId(number), "many");
        "localhost".clone_into(&mut host.hostname);
        xiezhi_protocol::enrol::NO_MACHINE.clone_into(&mut host.machine);
        fresh.enrol(&host, NOW, entry("e")).await.unwrap();
    }
}

#[tokio::test]
async fn an_enrolment_that_fails_half_way_leaves_nothing() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let there = enrolled(&fresh, root).await;
    fresh
        .create_token(&token("t", root, 1), entry("token.created"))
        .await
        .unwrap();
    let mut host = new_host(HostId(50), "t");
    host.certificate.serial = format!("{there:?}-1");
    let error = fresh
        .enrol(&host, NOW, entry("host.enrolled"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, EnrolError::Store(StoreError::Exists(_))),
        "{error:?}"
    );
    assert_eq!(fresh.host(HostId(50)).await.unwrap(), None);
    assert_eq!(fresh.token("t").await.unwrap().unwrap().uses_left, 1);
}

#[tokio::test]
async fn an_agent_whose_answer_was_lost_finds_its_enrolment() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    let (token, key) = (format!("token-{id}"), format!("key-{id}"));
    let (host, found) = fresh
        .earlier_enrolment(&token, &key)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((host.id, found.host), (id, id));
    assert_eq!(
        fresh.earlier_enrolment(&token, "other key").await.unwrap(),
        None
    );
    fresh
        .revoke_host(id, "gone", entry("host.revoked"))
        .await
        .unwrap();
    assert_eq!(fresh.earlier_enrolment(&token, &key).await.unwrap(), None);
}

#[tokio::test]
async fn a_host_that_needs_approval_enrols_after_it_and_once() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let asks = xiezhi_model::EnrolmentToken {
        needs_approval: true,
        ..token("a", root, 9)
    };
    fresh
        .create_token(&asks, entry("token.created"))
        .await
        .unwrap();
    let request = |number: i64| ApprovalRequest {
        token: "a".to_owned(),
        evidence_key: format!("key-{}", HostId(number)),
        hostname: "h".to_owned(),
        machine: "m".to_owned(),
        version: "1".to_owned(),
    };
    let enrol = |number| {
        let (store, host) = (fresh.store.clone(), new_host(HostId(number), "a"));
        async move { store.enrol(&host, NOW, entry("host.enrolled")).await }
    };
    assert_eq!(
        refusal(enrol(1).await.unwrap_err()),
        EnrolRefusal::NotApproved
    );
    let asked = fresh
        .request_approval(&request(1), entry("approval.requested"))
        .await
        .unwrap();
    let again = fresh
        .request_approval(&request(1), entry("approval.requested"))
        .await
        .unwrap();
    assert_eq!(asked, again);
    assert_eq!(
        refusal(enrol(1).await.unwrap_err()),
        EnrolRefusal::NotApproved
    );
    let decision = AuditEntry::new(NOW, Actor::User("admin".into()), "approval.decided", "");
    let decided = fresh
        .decide_approval(asked.id, true, decision)
        .await
        .unwrap();
    assert_eq!(
        (decided.state, decided.decided_by.as_str()),
        (ApprovalState::Approved, "user:admin")
    );
    // Deciding again changes nothing.
    assert_eq!(
        fresh
            .decide_approval(asked.id, false, entry("x"))
            .await
            .unwrap(),
        decided
    );
    enrol(1).await.unwrap();
    let other = fresh
        .request_approval(&request(2), entry("approval.requested"))
        .await
        .unwrap();
    fresh
        .decide_approval(other.id, false, entry("approval.decided"))
        .await
        .unwrap();
    assert_eq!(
        refusal(enrol(2).await.unwrap_err()),
        EnrolRefusal::ApprovalRefused
    );
    let listed = fresh
        .approvals(Some(ApprovalState::Enrolled), &Scope::Province)
        .await
        .unwrap();
    assert_eq!(
        listed.iter().map(|a| a.host).collect::<Vec<_>>(),
        [Some(HostId(1))]
    );
    assert_eq!(
        fresh.approvals(None, &Scope::Province).await.unwrap().len(),
        2
    );
}

#[tokio::test]
async fn no_more_hosts_wait_for_approval_than_the_token_has_uses() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    for (id, uses) in [("two", 2), ("other", 1)] {
        let asks = xiezhi_model::EnrolmentToken {
            needs_approval: true,
            ..token(id, root, uses)
        };
        fresh.create_token(&asks, entry("t")).await.unwrap();
    }
    let ask = async |token: &str, number: u32| {
        let request = ApprovalRequest {
            token: token.to_owned(),
            evidence_key: format!("key-{number}"),
            hostname: "h".to_owned(),
            machine: "m".to_owned(),
            version: "1".to_owned(),
        };
        let asked = fresh.request_approval(&request, entry("approval.requested"));
        asked.await.map_err(refusal)
    };
    let first = ask("two", 1).await.unwrap();
    ask("two", 2).await.unwrap();
    for _ in 0..2 {
        let refused = ask("two", 3).await.unwrap_err();
        assert_eq!(refused, EnrolRefusal::TooManyPending);
        assert!(refused.to_string().contains("approve or refuse"));
    }
    assert_eq!(
        fresh.approvals(None, &Scope::Province).await.unwrap().len(),
        2
    );
    // Who waits already is answered, and other tokens have room of their own.
    assert_eq!(ask("two", 1).await.unwrap(), first);
    ask("other", 3).await.unwrap();
    // A decision makes room.
    fresh
        .decide_approval(first.id, false, entry("approval.decided"))
        .await
        .unwrap();
    ask("two", 3).await.unwrap();
    let refused = ask("none", 1).await.unwrap_err();
    assert_eq!(refused, EnrolRefusal::UnknownToken);
}

#[tokio::test]
async fn revocations_are_numbered_and_found_by_whoever_asks_later() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let (one, two) = (enrolled(&fresh, root).await, enrolled(&fresh, root).await);
    assert_eq!(fresh.latest_revocation().await.unwrap(), 0);
    let first = fresh
        .revoke_host(one, "stolen", entry("host.revoked"))
        .await
        .unwrap();
    let serial = format!("{two:?}-1");
    let other_process = xiezhi_store::Store::open(&fresh.url).await.unwrap();
    let audit = entry("certificate.revoked");
    let second = other_process
        .revoke_certificate(&serial, "leaked", audit)
        .await
        .unwrap();
    assert_eq!((first, second), (1, 2));
    let found = fresh.revocations_since(0).await.unwrap();
    assert_eq!(
        found.iter().map(|r| (r.change, r.host)).collect::<Vec<_>>(),
        [(1, one), (2, two)]
    );
    assert_eq!(
        (found[0].serial.clone(), found[1].serial.clone()),
        (None, Some(serial.clone()))
    );
    assert_eq!(fresh.revocations_since(1).await.unwrap().len(), 1);
    assert_eq!(fresh.latest_revocation().await.unwrap(), 2);
    assert_eq!(
        fresh.host(one).await.unwrap().unwrap().revoked_ms,
        Some(NOW)
    );
    assert!(
        fresh
            .certificates_of(one)
            .await
            .unwrap()
            .iter()
            .all(|c| c.revoked_ms.is_some())
    );
    assert_eq!(fresh.host(two).await.unwrap().unwrap().revoked_ms, None);
    let missing = fresh
        .revoke_host(HostId(999), "x", entry("x"))
        .await
        .unwrap_err();
    assert!(matches!(missing, StoreError::NotFound(_)), "{missing:?}");
}

#[tokio::test]
async fn a_renewed_certificate_stands_beside_the_old_one() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    let mut next = certificate(id, "next");
    next.not_after_s += 1000;
    fresh
        .add_certificate(&next, entry("certificate.renewed"))
        .await
        .unwrap();
    let all = fresh.certificates_of(id).await.unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0], next);
    let host = fresh.host(id).await.unwrap().unwrap();
    assert_eq!(host.certificate_expires_s, next.not_after_s);
    let again = fresh.add_certificate(&next, entry("x")).await.unwrap_err();
    assert!(matches!(again, StoreError::Exists(_)), "{again:?}");
    fresh
        .revoke_host(id, "x", entry("host.revoked"))
        .await
        .unwrap();
    let late = fresh
        .add_certificate(&certificate(id, "late"), entry("x"))
        .await
        .unwrap_err();
    assert!(matches!(late, StoreError::NotFound(_)), "{late:?}");
}
