//! Filters of the audit log: each page is what a look at every entry finds, however the clock went.

use xiezhi_model::AuditRecord;
use xiezhi_store::{AuditQuery, AuditVerdict, Store};

use crate::support::*;

/// 3,500 entries, a second apart, of three people; the clock is set back by half an hour in the middle, and
/// the newest of all were written by one that was a day late.
const FILL: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3500) \
    INSERT INTO audit (seq, previous, time_ms, actor, action, subject, detail, detail_hash, hash) \
    SELECT i, '', 1000000000 + i * 1000 - CASE WHEN i > 3450 THEN 86400000 WHEN i > 1700 THEN 1800000 ELSE 0 END, \
    CASE WHEN i = 77 THEN 'user:rare' WHEN i / 3 * 3 = i THEN 'user:one' ELSE 'user:two' END, \
    CASE WHEN i / 500 * 500 = i THEN 'register.change' WHEN i / 2 * 2 = i THEN 'host.revoke' \
    WHEN i = 1234 THEN 'hosts.export' ELSE 'host.seen' END, \
    CASE WHEN i / 7 * 7 = i THEN 'host:7' ELSE 'x' END, \
    CASE WHEN i / 1000 * 1000 = i THEN '{\"item\":\"12\"}' ELSE '{\"item_of\":\"12\"}' END, '', '' FROM n; \
    INSERT INTO audit_spans (block, least_ms, most_ms) \
    SELECT seq / 1000, MIN(time_ms), MAX(time_ms) FROM audit GROUP BY seq / 1000; \
    INSERT INTO register_changes (id, item_id, line, time_ms, actor, action, changes) \
    SELECT seq, 12, 0, time_ms, actor, 'change', '[]' FROM audit WHERE seq / 1000 * 1000 = seq;";

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn matches(query: &AuditQuery, entry: &AuditRecord) -> bool {
    let same = |asked: &Option<String>, is: &str| asked.as_ref().is_none_or(|asked| asked == is);
    let item = query.item.map(|item| item.to_string());
    same(&query.subject, &entry.subject)
        && same(&query.actor, &entry.actor)
        && query
            .action
            .as_ref()
            .is_none_or(|start| entry.action.starts_with(start))
        && query.from_ms.is_none_or(|from| entry.time_ms >= from)
        && query.to_ms.is_none_or(|to| entry.time_ms <= to)
        && query.before.is_none_or(|before| entry.position < before)
        && item.is_none_or(|item| entry.detail.get("item") == Some(&item))
}

async fn whole(store: &Store) -> Vec<AuditRecord> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let query = AuditQuery {
            before,
            limit: 1000,
            ..Default::default()
        };
        let page = store.audit(&query).await.unwrap();
        let Some(last) = page.last() else { return all };
        before = Some(last.position);
        all.extend(page);
    }
}

#[tokio::test]
async fn every_filter_gives_the_pages_that_a_look_at_all_entries_finds() {
    let fresh = fresh().await;
    fresh.tamper(FILL).await;
    let all = whole(&fresh).await;
    assert_eq!(all.len(), 3500);
    let second = |at: i64| Some(1_000_000_000 + at * 1000);
    let mut queries = vec![
        AuditQuery::default(),
        AuditQuery {
            subject: text("host:7"),
            ..Default::default()
        },
        AuditQuery {
            action: text("host."),
            ..Default::default()
        },
        AuditQuery {
            action: text("host"),
            ..Default::default()
        },
        AuditQuery {
            action: text("h_st"),
            ..Default::default()
        },
        AuditQuery {
            actor: text("user:rare"),
            ..Default::default()
        },
        AuditQuery {
            actor: text("user:one"),
            action: text("host.s"),
            ..Default::default()
        },
        AuditQuery {
            actor: text("user:nobody"),
            ..Default::default()
        },
        AuditQuery {
            item: Some(12),
            ..Default::default()
        },
        AuditQuery {
            item: Some(12),
            actor: text("user:one"),
            ..Default::default()
        },
        AuditQuery {
            subject: text("host:7"),
            actor: text("user:two"),
            action: text("host.r"),
            ..Default::default()
        },
    ];
    let spans = [
        (second(100), second(120)),
        (None, second(1650)),
        (second(1600), None),
        (second(-90_000), second(-80_000)),
        (second(90_000), None),
        (None, second(-90_000)),
    ];
    let timed = queries.clone();
    for (from_ms, to_ms) in spans {
        let with = timed.iter().cloned();
        queries.extend(with.map(|query| AuditQuery {
            from_ms,
            to_ms,
            ..query
        }));
    }
    let paged = queries.clone().into_iter();
    queries.extend(paged.map(|query| AuditQuery {
        before: Some(1701),
        ..query
    }));
    let mut found = 0;
    for query in queries {
        let query = AuditQuery { limit: 40, ..query };
        let expected: Vec<_> = all.iter().filter(|entry| matches(&query, entry)).collect();
        let page = fresh.audit(&query).await.unwrap();
        let page: Vec<_> = page.iter().collect();
        assert_eq!(page, expected[..expected.len().min(40)], "{query:?}");
        let count = fresh.audit_count(&query).await.unwrap();
        assert_eq!(count, expected.len() as u64, "{query:?}");
        found += expected.len();
    }
    assert!(found > 10_000, "{found}");
}

#[tokio::test]
async fn kept_times_that_would_hide_an_entry_break_the_chain() {
    let fresh = fresh().await;
    for action in ["one.thing", "another.thing"] {
        fresh.append_audit(entry(action)).await.unwrap();
    }
    let since = AuditQuery {
        from_ms: Some(NOW),
        ..Default::default()
    };
    assert_eq!(fresh.audit(&since).await.unwrap().len(), 2);
    assert!(matches!(
        fresh.verify_audit().await.unwrap(),
        AuditVerdict::Intact { .. }
    ));
    for hidden in [
        "UPDATE audit_spans SET most_ms = 5",
        "DELETE FROM audit_spans",
    ] {
        fresh.tamper(hidden).await;
        assert!(fresh.audit(&since).await.unwrap().is_empty());
        let verdict = fresh.verify_audit().await.unwrap();
        assert!(
            matches!(&verdict, AuditVerdict::Broken { position: 1, reason } if reason.contains("times")),
            "{verdict:?}"
        );
    }
}
