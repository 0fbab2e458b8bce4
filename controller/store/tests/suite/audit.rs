//! The audit chain: complete, in order, and tamper-evident.

use xiezhi_store::{AuditQuery, AuditVerdict};

use crate::support::*;

async fn ten_entries() -> Fresh {
    let fresh = fresh().await;
    for number in 1..=10i64 {
        let subject = format!("host:{}", number % 2);
        let entry = xiezhi_model::AuditEntry {
            subject,
            ..entry("host.renamed")
        };
        let entry = entry.with("number", number.to_string());
        assert_eq!(fresh.append_audit(entry).await.unwrap(), number);
    }
    fresh
}

#[tokio::test]
async fn entries_are_listed_newest_first_by_page_subject_and_action() {
    let fresh = ten_entries().await;
    fresh.append_audit(entry("token.created")).await.unwrap();
    let positions = |query| {
        let store = fresh.store.clone();
        async move {
            let page = store.audit(&query).await.unwrap();
            let counted = store.audit_count(&query).await.unwrap();
            let most = if query.limit == 0 { 100 } else { query.limit };
            assert_eq!(page.len() as u64, counted.min(u64::from(most)));
            page.into_iter()
                .map(|entry| entry.position)
                .collect::<Vec<_>>()
        }
    };
    let all = AuditQuery::default;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        positions(AuditQuery { limit: 3, ..all() }).await,
        [11, 10, 9]
    );
    assert_eq!(
        positions(AuditQuery {
            before: Some(3),
            ..all()
        })
        .await,
        [2, 1]
    );
    assert_eq!(
        positions(AuditQuery {
            subject: text("host:1"),
            ..all()
        })
        .await,
        [9, 7, 5, 3, 1]
    );
    assert_eq!(
        positions(AuditQuery {
            action: text("token."),
            ..all()
        })
        .await,
        [11]
    );
    assert_eq!(
        positions(AuditQuery {
            action: text("token_"),
            ..all()
        })
        .await,
        [0; 0]
    );
    let newest = fresh
        .audit(&AuditQuery {
            subject: text("host:0"),
            ..all()
        })
        .await
        .unwrap();
    assert_eq!(newest[0].detail["number"], "10");
}

#[tokio::test]
async fn entries_are_found_by_who_did_it_when_and_on_which_item() {
    let fresh = fresh().await;
    let acts = [
        ("admin", 1_000, "12"),
        ("wang", 2_000, "2"),
        ("admin", 3_000, "x\",\"item\":\"12"),
    ];
    for (name, time_ms, item) in acts {
        let actor = xiezhi_model::Actor::User(name.to_owned());
        let act = xiezhi_model::AuditEntry::new(time_ms, actor, "register.change", "assets");
        fresh.append_audit(act.with("item", item)).await.unwrap();
    }
    // As the act itself writes it beside its entry.
    let change = "INSERT INTO register_changes (id, item_id, line, time_ms, actor, action, changes) \
                  VALUES (1, 12, 0, 1000, 'user:admin', 'change', '[]'), \
                  (2, 2, 0, 2000, 'user:wang', 'change', '[]')";
    fresh.tamper(change).await;
    let found = async |query: AuditQuery| {
        let page = fresh.audit(&query).await.unwrap();
        assert_eq!(fresh.audit_count(&query).await.unwrap(), page.len() as u64);
        page.iter().map(|entry| entry.position).collect::<Vec<_>>()
    };
    let all = AuditQuery::default;
    let actor = |name: &str| Some(name.to_owned());
    assert_eq!(
        found(AuditQuery {
            actor: actor("user:admin"),
            ..all()
        })
        .await,
        [3, 1]
    );
    assert_eq!(
        found(AuditQuery {
            actor: actor("user:adm"),
            ..all()
        })
        .await,
        [0; 0]
    );
    assert_eq!(
        found(AuditQuery {
            from_ms: Some(2_000),
            ..all()
        })
        .await,
        [3, 2]
    );
    assert_eq!(
        found(AuditQuery {
            to_ms: Some(2_000),
            ..all()
        })
        .await,
        [2, 1]
    );
    let both = AuditQuery {
        from_ms: Some(2_000),
        to_ms: Some(2_999),
        ..all()
    };
    assert_eq!(found(both).await, [2]);
    assert_eq!(
        found(AuditQuery {
            item: Some(12),
            ..all()
        })
        .await,
        [1]
    );
    assert_eq!(
        found(AuditQuery {
            item: Some(2),
            actor: actor("user:wang"),
            ..all()
        })
        .await,
        [2]
    );
}

#[tokio::test]
async fn an_untouched_chain_verifies_and_its_head_is_the_newest_entry() {
    let fresh = ten_entries().await;
    let newest = fresh.audit(&AuditQuery::default()).await.unwrap().remove(0);
    let expected = AuditVerdict::Intact {
        position: 10,
        hash: newest.hash,
    };
    assert_eq!(fresh.verify_audit().await.unwrap(), expected);
}

#[tokio::test]
async fn every_kind_of_tampering_is_named_by_its_place() {
    let cases = [
        ("UPDATE audit SET subject = 'host:9' WHERE seq = 4", 4),
        ("UPDATE audit SET detail = '{}' WHERE seq = 5", 5),
        ("UPDATE audit SET time_ms = 0 WHERE seq = 1", 1),
        ("UPDATE audit SET hash = 'no digest' WHERE seq = 7", 7),
        ("DELETE FROM audit WHERE seq = 3", 3),
        ("UPDATE audit SET seq = 100 WHERE seq = 10", 10),
        ("DELETE FROM audit WHERE seq > 7", 8),
        ("DELETE FROM audit WHERE seq = 10", 10),
        ("DELETE FROM audit", 1),
        (
            "UPDATE audit_head SET seq = 9, hash = (SELECT hash FROM audit WHERE seq = 9)",
            10,
        ),
        (
            "UPDATE audit_head SET hash = (SELECT hash FROM audit WHERE seq = 9)",
            10,
        ),
        ("DELETE FROM audit_head", 0),
    ];
    for (sql, expected) in cases {
        let fresh = ten_entries().await;
        fresh.tamper(sql).await;
        let verdict = fresh.verify_audit().await.unwrap();
        let AuditVerdict::Broken { position, .. } = verdict else {
            panic!("{sql}: {verdict:?}")
        };
        assert_eq!(position, expected, "{sql}");
    }
}

#[tokio::test]
async fn an_erased_detail_leaves_the_chain_intact() {
    let fresh = ten_entries().await;
    fresh
        .tamper("UPDATE audit SET detail = NULL WHERE seq = 5")
        .await;
    let verdict = fresh.verify_audit().await.unwrap();
    assert!(
        matches!(verdict, AuditVerdict::Intact { position: 10, .. }),
        "{verdict:?}"
    );
    assert_eq!(fresh.audit(&AuditQuery::default()).await.unwrap().len(), 10);
}

#[tokio::test]
async fn hostile_names_are_cut_and_still_recorded() {
    let fresh = fresh().await;
    let actor = xiezhi_model::Actor::User("院\0".repeat(2000));
    let entry = xiezhi_model::AuditEntry::new(NOW, actor, "user.refused", "x".repeat(5000));
    fresh
        .append_audit(entry.with("na\0me", "\0"))
        .await
        .unwrap();
    let verdict = fresh.verify_audit().await.unwrap();
    assert!(
        matches!(verdict, AuditVerdict::Intact { position: 1, .. }),
        "{verdict:?}"
    );
}

/// Who cuts the newest entries off and lets the controller go on leaves a hole.
#[tokio::test]
async fn a_cut_tail_is_found_after_the_chain_went_on() {
    let fresh = ten_entries().await;
    fresh.tamper("DELETE FROM audit WHERE seq > 7").await;
    assert_eq!(fresh.append_audit(entry("host.renamed")).await.unwrap(), 11);
    let verdict = fresh.verify_audit().await.unwrap();
    let AuditVerdict::Broken { position, .. } = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(position, 8);
}

#[tokio::test]
async fn the_lines_of_a_file_hold_without_the_database() {
    let fresh = ten_entries().await;
    let head = fresh.audit_head().await.unwrap();
    let mut text = xiezhi_evidence::first_line("audit");
    for line in fresh.audit_lines(0).await.unwrap() {
        text.push_str(&line.to_line());
    }
    text.push_str(&xiezhi_evidence::last_line(head));
    let found = xiezhi_evidence::verify_file("audit", text.as_bytes(), Some(head.hash));
    assert_eq!(found.unwrap().head, head);
    let later = fresh.audit_lines(8).await.unwrap();
    assert_eq!(later.len(), 2);
    let tenth = fresh.audit_position(&head.hash).await.unwrap();
    assert_eq!(tenth, Some(10));
}
