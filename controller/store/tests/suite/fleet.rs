//! Sites, hosts' sessions and epochs, last-seen times, gaps.

use xiezhi_model::{Gap, HostId, Scope, Tier};
use xiezhi_store::{
    IdentityConflict, LastSeen, SessionOutcome, SessionRequest, SiteError, SiteImport,
};

use crate::support::*;

#[tokio::test]
async fn an_import_adds_changes_and_leaves_alone_whatever_the_order() {
    let fresh = fresh().await;
    let [root, court, other, tribunal] = province(&fresh).await;
    let tree = fresh.site_tree().await.unwrap();
    assert_eq!(tree.roots(), [root]);
    assert_eq!(tree.ancestors(tribunal), [court, root]);
    let mut renamed = new_site("gs-02", Tier::IntermediateCourt, Some("gs"));
    renamed.name = "新名".to_owned();
    let sites = [
        renamed,
        new_site("gs", Tier::HighCourt, None),
        new_site("dc", Tier::Other, Some("gs")),
    ];
    let import = fresh
        .import_sites(&sites, entry("sites.imported"))
        .await
        .unwrap();
    assert_eq!(
        import,
        SiteImport {
            added: 1,
            changed: 1,
            unchanged: 1
        }
    );
    assert_eq!(fresh.site(other).await.unwrap().unwrap().name, "新名");
    assert_eq!(fresh.sites().await.unwrap().len(), 5, "unnamed sites stay");
    let audited = fresh.audit(&Default::default()).await.unwrap();
    assert_eq!(audited[0].detail["changed"], "1");
}

#[tokio::test]
async fn an_import_with_an_unknown_parent_changes_nothing() {
    let fresh = fresh().await;
    let sites = [
        new_site("a", Tier::Other, None),
        new_site("b", Tier::Other, Some("nowhere")),
    ];
    let error = fresh.import_sites(&sites, entry("x")).await.unwrap_err();
    assert!(
        matches!(&error, SiteError::Unfit(plan) if plan.problems[0].2.to_string().contains("nowhere")),
        "{error:?}"
    );
    assert_eq!(fresh.sites().await.unwrap(), []);
    // The writing connection is usable at once.
    province(&fresh).await;
}

fn request(host: HostId, session: &str, previous: &str, spool_epoch: u64) -> SessionRequest {
    SessionRequest {
        host,
        session: session.to_owned(),
        previous_session: previous.to_owned(),
        spool_epoch,
        hostname: "renamed\0host".to_owned(),
        version: "0.2.0".to_owned(),
        policy_root: String::new(),
        now_ms: NOW,
    }
}

#[tokio::test]
async fn sessions_of_an_honest_agent_never_mark_it() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    let started = |epoch| SessionOutcome::Started {
        epoch,
        conflict: None,
    };
    let steps = [
        ("s1", "", 0, started(1)),
        ("s2", "s1", 1, started(1)),
        ("s3", "s1", 1, started(1)),
    ];
    for (session, previous, epoch, expected) in steps {
        let outcome = fresh
            .start_sessions(&[request(id, session, previous, epoch)])
            .await
            .unwrap();
        assert_eq!(outcome, [expected], "{session}");
    }
    fresh
        .confirm_sessions(&[(id, "s3".to_owned()), (id, "old".to_owned())])
        .await
        .unwrap();
    let host = fresh.host(id).await.unwrap().unwrap();
    assert_eq!(
        (
            host.session_confirmed.as_str(),
            host.session_issued.as_str()
        ),
        ("s3", "s3")
    );
    assert_eq!(
        (host.hostname.as_str(), host.version.as_str()),
        ("renamed host", "0.2.0")
    );
    assert_eq!(host.identity_conflict_ms, None);
}

#[tokio::test]
async fn a_host_that_enrolled_again_with_its_old_spool_is_not_marked() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    // Its first welcome is lost: it still remembers only what it was before.
    let requests = [
        request(id, "s1", "of its earlier enrolment", 3),
        request(id, "s2", "of its earlier enrolment", 3),
        request(id, "s3", "s2", 4),
    ];
    for outcome in fresh.start_sessions(&requests).await.unwrap() {
        let conflict = None;
        assert_eq!(outcome, SessionOutcome::Started { epoch: 4, conflict });
    }
    assert_eq!(
        fresh.host(id).await.unwrap().unwrap().identity_conflict_ms,
        None
    );
    // From here it is bound to sessions of its own.
    let late = [request(id, "s4", "of its earlier enrolment", 3)];
    let conflict = Some(IdentityConflict::Session);
    assert_eq!(
        fresh.start_sessions(&late).await.unwrap(),
        [SessionOutcome::Started { epoch: 4, conflict }]
    );
}

#[tokio::test]
async fn two_machines_with_one_identity_are_marked_until_a_person_settles_it() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    fresh
        .start_sessions(&[request(id, "s1", "", 0)])
        .await
        .unwrap();
    // Both machines remember s1; the second to come back has been overtaken twice.
    let both = [
        request(id, "s2", "s1", 1),
        request(id, "s3", "s2", 1),
        request(id, "s4", "s1", 1),
    ];
    let outcomes = fresh.start_sessions(&both).await.unwrap();
    let conflict = Some(IdentityConflict::Session);
    assert_eq!(outcomes[2], SessionOutcome::Started { epoch: 1, conflict });
    assert_eq!(
        fresh.host(id).await.unwrap().unwrap().identity_conflict_ms,
        Some(NOW)
    );
    let audited = fresh.audit(&Default::default()).await.unwrap();
    assert_eq!(audited[0].action, "host.identity_conflict");
    assert_eq!(audited[0].subject, format!("host:{id}"));
    fresh
        .settle_identity_conflict(id, entry("host.conflict_settled"))
        .await
        .unwrap();
    assert_eq!(
        fresh.host(id).await.unwrap().unwrap().identity_conflict_ms,
        None
    );
}

#[tokio::test]
async fn revoked_and_unknown_hosts_get_no_session() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    fresh
        .revoke_host(id, "x", entry("host.revoked"))
        .await
        .unwrap();
    let requests = [request(id, "s", "", 0), request(HostId(77), "s", "", 0)];
    let outcomes = fresh.start_sessions(&requests).await.unwrap();
    assert_eq!(
        outcomes,
        [SessionOutcome::Revoked, SessionOutcome::UnknownHost]
    );
}

#[tokio::test]
async fn an_epoch_is_opened_once_for_all_streams() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    assert_eq!(
        fresh
            .open_epoch(id, 1, entry("host.identity_conflict"))
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        fresh
            .open_epoch(id, 1, entry("host.identity_conflict"))
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        fresh
            .open_epoch(id, 2, entry("host.identity_conflict"))
            .await
            .unwrap(),
        3
    );
    assert!(
        fresh
            .host(id)
            .await
            .unwrap()
            .unwrap()
            .identity_conflict_ms
            .is_some()
    );
}

#[tokio::test]
async fn last_seen_only_moves_forward() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let mut hosts = Vec::new();
    for _ in 0..3 {
        hosts.push(enrolled(&fresh, root).await);
    }
    let seen = |host, time_ms| LastSeen { host, time_ms };
    fresh
        .set_last_seen(&[seen(hosts[0], 50), seen(hosts[1], 60)])
        .await
        .unwrap();
    fresh
        .set_last_seen(&[seen(hosts[0], 40), seen(hosts[1], 70)])
        .await
        .unwrap();
    let all = fresh.hosts().await.unwrap();
    assert_eq!(
        all.iter().map(|host| host.last_seen_ms).collect::<Vec<_>>(),
        [50, 70, 0]
    );
}

#[tokio::test]
async fn gaps_that_are_reported_again_stay_one_and_grow() {
    let fresh = fresh().await;
    let [root, ..] = province(&fresh).await;
    let id = enrolled(&fresh, root).await;
    let gap = |first, last, from_ms, to_ms| Gap {
        host: id,
        epoch: 1,
        stream: "samples".to_owned(),
        first,
        last,
        from_ms,
        to_ms,
        reason: "full".to_owned(),
    };
    fresh
        .insert_gaps(&[gap(1, 5, 100, 200), gap(9, 9, 0, 0)], NOW)
        .await
        .unwrap();
    fresh
        .insert_gaps(&[gap(1, 8, 100, 300), gap(1, 3, 100, 150)], NOW)
        .await
        .unwrap();
    let all = fresh
        .gaps(Some(id), &Scope::Province, 0, 1000)
        .await
        .unwrap();
    assert_eq!(all, [gap(9, 9, 0, 0), gap(1, 8, 100, 300)]);
    assert_eq!(
        fresh.gaps(None, &Scope::Province, 301, 1000).await.unwrap(),
        [gap(9, 9, 0, 0)]
    );
    assert_eq!(
        fresh
            .gaps(Some(HostId(99)), &Scope::Province, 0, 1000)
            .await
            .unwrap(),
        []
    );
}
