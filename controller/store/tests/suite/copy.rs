//! A whole store carried over to another database.

use xiezhi_model::{ApiRight, EventStream, Tier};
use xiezhi_store::{AuditVerdict, EventBatch, EventQuery, NewApiToken, Store, StoreError};

use crate::support::*;

/// A store with something in every table, empty columns included.
pub(crate) async fn filled() -> Fresh {
    let fresh = fresh().await;
    let [root, court, ..] = province(&fresh).await;
    // A court that came later, more than a page of rows away, stands above an earlier one.
    let between: Vec<_> = (0..600)
        .map(|number| new_site(&format!("t-{number}"), Tier::Tribunal, Some("gs")))
        .collect();
    fresh
        .import_sites(&between, entry("sites.imported"))
        .await
        .unwrap();
    let later = [
        new_site("gs-09", Tier::IntermediateCourt, Some("gs")),
        new_site("gs-01", Tier::BasicCourt, Some("gs-09")),
    ];
    fresh
        .import_sites(&later, entry("sites.imported"))
        .await
        .unwrap();
    let host = enrolled(&fresh, court).await;
    enrolled(&fresh, root).await;
    let mut batches = Vec::new();
    for seq in 1..=600_u64 {
        let message = format!("第 {seq} 次\t'; DROP TABLE hosts; -- \"Ärger\" 😀");
        let events = vec![event(NOW + 1, "login", &message)];
        let facts = (seq == 600).then(|| "{\"os\":\"银河麒麟\"}".to_owned());
        batches.push(EventBatch {
            facts,
            stream: EventStream::Events,
            ..batch(host, seq, 7, events)
        });
    }
    fresh.insert_batches(&batches, NOW).await.unwrap();
    let wanted = NewApiToken {
        name: "grafana".to_owned(),
        secret_hash: "digest".to_owned(),
        right: ApiRight::ReadMetrics,
        site: None,
        expires_ms: NOW,
    };
    fresh
        .create_api_token(&wanted, entry("api_token.create"))
        .await
        .unwrap();
    for _ in 0..3 {
        fresh
            .append_repeated_audit(&entry("api_token.refuse"))
            .await
            .unwrap();
    }
    fresh.tamper(THE_REST).await;
    fresh
}

/// What takes a whole story to happen.
const THE_REST: &str = "
    INSERT INTO host_seen VALUES (1, 5), (2, -9223372036854775808);
    INSERT INTO approvals SELECT 1, token_id, 'key', 'a', 'b', 'c', 1, 'waiting', '', NULL, NULL
        FROM hosts WHERE id = 1;
    INSERT INTO revocations VALUES (1, 1, NULL, 3, 'why'), (2, 1, 'serial', 3, '为什么');
    INSERT INTO gaps VALUES (1, 1, 'events', 1, 9223372036854775807, 3, 4, 'full', 5);
    INSERT INTO users (id, name, password_hash, created_ms, password_changed_ms)
        VALUES (1, 'admin', 'hash', 1, 2), (2, '王芳', 'hash', 1, 2);
    INSERT INTO grants VALUES (1, 'province_admin', 0, 1, 'console'), (2, 'technician', 2, 1, 'a');
    INSERT INTO account_ties VALUES (2, 1, 5);
    INSERT INTO acts VALUES (1, 2, 'disable', '', 0, '原因', 1, 2, 3, 'pending', NULL, NULL);
    INSERT INTO second_factors VALUES (1, 'sealed', 1, NULL, 0);
    INSERT INTO recovery_codes VALUES ('digest', 1);
    INSERT INTO named_requests VALUES (1, 'a', 'sealed', 1, 2, 3), (1, 'B', 'sealed', 0, 2, 3);
    INSERT INTO web_sessions VALUES ('A', 1, 1, 2, 3, '', ''), ('a', 1, 1, 2, 3, 'x', '浏览器'), ('_', 1, 1, 2, 3, '', '');
    INSERT INTO saved_views VALUES (1, 1, '/fleet', '停用的', 'state=down');
    INSERT INTO broken_glass VALUES (1, 1, 2, 'disable', '离职');
    INSERT INTO register_items VALUES (1, 3, 1, 'A-1', 'in_use', '', '', '{}', 'a-1', 1, 2, 1);
    INSERT INTO devices VALUES (1, 1, 'core-1', NULL, 1, 'silent', 'no_answer', 1, 2, 3, NULL, 60, 'switch',
        'h3c-switch', 'S5560', '0', 0);
    INSERT INTO device_said VALUES (1, '{\"name\":\"甘\"}');
    INSERT INTO register_changes VALUES (1, 1, NULL, 0, 1, 'console', 'create', '[]');
    INSERT INTO register_imports VALUES (1, 3, '资产.xlsx', 'waiting', '[]', 1, 'console', NULL, '', 0, 0, 0, 0);
    INSERT INTO register_import_sites VALUES (1, 1);
    INSERT INTO site_imports VALUES (1, '法院.xlsx', 'waiting', '[]', 1, 'console', NULL, '', 0, 0, 0);
    INSERT INTO settings VALUES ('event_retention_days', 1, '365', 'source');
    INSERT INTO batch_proofs VALUES (1, 'p', 1, 1, 1, 1, 0, 1, 1, 'AAAA', 'h');";

/// Copies, and says what must be alike.
pub(crate) async fn copied(from: &Store, into: &Store) {
    let copied = from.copy_to(into, |_| {}).await.unwrap();
    assert_eq!(copied.len(), 38);
    for table in &copied {
        assert!(table.rows > 0, "{table:?}");
    }
    let events = copied.iter().find(|table| table.name == "events").unwrap();
    assert_eq!(events.rows, 600);
    let head = from.verify_audit().await.unwrap();
    assert!(matches!(head, AuditVerdict::Intact { position, .. } if position > 5));
    assert_eq!(into.verify_audit().await.unwrap(), head);
    let query = EventQuery::default();
    let page = into
        .search_events(&query, &xiezhi_model::Scope::Province)
        .await
        .unwrap();
    assert_eq!(
        page,
        from.search_events(&query, &xiezhi_model::Scope::Province)
            .await
            .unwrap()
    );
    assert_eq!(into.sites().await.unwrap(), from.sites().await.unwrap());
}

#[tokio::test]
async fn a_copy_holds_every_row_and_goes_on_where_the_other_stood() {
    let fresh = filled().await;
    let (_folder, url) = unopened().await;
    let target = Store::open(&url).await.unwrap();
    copied(&fresh, &target).await;

    let [here, there] = [
        fresh.reserve_host_id().await.unwrap(),
        target.reserve_host_id().await.unwrap(),
    ];
    assert_eq!(here, there, "numbers go on");
    target.append_audit(entry("here.now")).await.unwrap();
    let verdict = target.verify_audit().await.unwrap();
    assert!(matches!(verdict, AuditVerdict::Intact { .. }));

    // A second time it is in use, and stays as it is.
    let again = fresh.copy_to(&target, |_| {}).await.unwrap_err();
    assert!(matches!(again, StoreError::NotEmpty(_)), "{again:?}");
    let changed = target.verify_audit().await.unwrap();
    assert_eq!(changed, verdict);
}

#[tokio::test]
async fn a_target_with_a_single_entry_is_refused_and_a_failed_copy_leaves_it_empty() {
    let fresh = filled().await;
    let (_folder, url) = unopened().await;
    let target = Store::open(&url).await.unwrap();
    target.append_audit(entry("mine")).await.unwrap();
    let error = fresh.copy_to(&target, |_| {}).await.unwrap_err();
    assert!(matches!(error, StoreError::NotEmpty("audit")), "{error:?}");

    // Something is wrong with a table near the end of the list.
    let (_folder, url) = unopened().await;
    let target = Store::open(&url).await.unwrap();
    fresh.tamper("ALTER TABLE audit ADD COLUMN more TEXT").await;
    fresh.copy_to(&target, |_| {}).await.unwrap_err();
    assert!(target.sites().await.unwrap().is_empty());
    let kept = target.setting_history("event_retention_days").await;
    assert_eq!(kept.unwrap().len(), 1, "what a new store has is there");
}
