//! Lists of things that people make: page by page, each thing once, and none of another court.

use std::collections::BTreeSet;

use serde_json::Value;
use xiezhi_model::{
    AccountChange, ApiRight, EnrolmentToken, Gap, Grant, RegisterKind, Role, SiteId,
};
use xiezhi_store::{ApprovalRequest, NewApiToken};

use super::bench::*;

/// More than two pages of two.
const MANY: i64 = 5;

async fn fill(bench: &Bench, key: &str) -> SiteId {
    let site = bench.site(key).await.id;
    let host = bench.host(key, &format!("{key}-host"), false).await;
    let (asker, _) = bench.account(&format!("{key}-asker"), &[]).await;
    for number in 0..MANY {
        let store = &bench.store;
        let token = EnrolmentToken {
            id: format!("{key}-{number}"),
            secret_hash: "00".repeat(32),
            site,
            uses: 5,
            uses_left: 5,
            expires_ms: bench.now_ms() + 600_000,
            needs_approval: true,
            simulated: false,
            // Some are of the same moment.
            created_ms: bench.now_ms() + number / 2,
            created_by: "system".to_owned(),
            revoked_ms: None,
        };
        let made = store.create_token(&token, by_system("token.create"));
        made.await.unwrap();
        let asked = ApprovalRequest {
            token: token.id,
            evidence_key: format!("{key}-{number}"),
            hostname: format!("{key}-{number}"),
            machine: "m".to_owned(),
            version: "0.1.0".to_owned(),
        };
        let asked = store.request_approval(&asked, by_system("approval.ask"));
        asked.await.unwrap();
        let gap = |stream: &str| Gap {
            host: host.id,
            epoch: 1,
            stream: stream.to_owned(),
            first: number as u64 * 10,
            last: number as u64 * 10 + 1,
            from_ms: bench.now_ms() - 1000,
            to_ms: bench.now_ms(),
            reason: "full".to_owned(),
        };
        let gaps = [gap("events"), gap("security")];
        store.insert_gaps(&gaps, bench.now_ms()).await.unwrap();
        let mut new = new_user(&format!("{key}-{number}"), &[]);
        new.home = Some(site);
        let made = store.create_user(&new, None, by_system("user.create"));
        let user = made.await.unwrap().user.id;
        let change = AccountChange::Disable;
        let act = store.ask_for_act(user, change, "why", asker, by_system("act.ask"));
        act.await.unwrap();
        let (sites, asked) = ([site].into(), by_system("register.upload"));
        let kept = store.keep_import(RegisterKind::Asset, "f", "[]", &sites, asked);
        kept.await.unwrap();
    }
    site
}

/// All of a list, two at a time.
async fn walk(bench: &Bench, cookie: &str, path: &str) -> Vec<Value> {
    let and = if path.contains('?') { '&' } else { '?' };
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = bench
            .read(cookie, &format!("{path}{and}limit=2{cursor}"))
            .await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2, "{path}");
        all.extend(items.iter().cloned());
        match &page["next"] {
            Value::Null => return all,
            Value::String(next) => cursor = format!("&cursor={next}"),
            next => cursor = format!("&cursor={next}"),
        }
        assert_eq!(items.len(), 2, "{path}: a page before the last is full");
    }
}

#[tokio::test]
async fn every_list_of_what_people_make_is_walked_page_by_page() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    let site = fill(&bench, "gs-01").await;
    fill(&bench, "gs-02").await;
    for number in 0..MANY {
        let token = NewApiToken {
            name: format!("t{number}"),
            secret_hash: format!("{number:064x}"),
            right: ApiRight::ReadMetrics,
            site: None,
            expires_ms: bench.now_ms() + 600_000,
        };
        let made = bench
            .store
            .create_api_token(&token, by_system("api_token.create"));
        made.await.unwrap();
        let kept = bench
            .store
            .keep_site_import("f", "[]", by_system("sites.upload"));
        kept.await.unwrap();
    }
    let grants = [Grant::at(Role::CourtAdministrator, site)];
    let (_, court) = bench.account("zz-court", &grants).await;
    for (path, of_two, of_one) in [
        ("/api/v1/tokens", 2 * MANY + 2, MANY + 1),
        ("/api/v1/approvals", 2 * MANY, MANY),
        ("/api/v1/gaps", 4 * MANY, 2 * MANY),
        ("/api/v1/acts", 2 * MANY, MANY),
        ("/api/v1/imports", 2 * MANY, MANY),
        ("/api/v1/api-tokens", MANY, 0),
        ("/api/v1/site-imports", MANY, 0),
    ] {
        let whole = bench.read(&admin, path).await;
        assert_eq!(whole["next"], Value::Null, "{path}");
        let pages = walk(&bench, &admin, path).await;
        assert_eq!(whole["items"].as_array().unwrap(), &pages, "{path}");
        let once: BTreeSet<String> = pages.iter().map(Value::to_string).collect();
        assert_eq!(
            (once.len() as i64, pages.len() as i64),
            (of_two, of_two),
            "{path}"
        );
        if of_one > 0 {
            let pages = walk(&bench, &court, path).await;
            assert_eq!(pages.len() as i64, of_one, "{path}");
            let text = Value::from(pages).to_string();
            assert!(!text.contains("gs-02"), "{path}: {text}");
        }
    }
    for path in ["/api/v1/tokens", "/api/v1/gaps", "/api/v1/acts"] {
        let wrong = bench.get(&admin, &format!("{path}?cursor=x")).await;
        assert_eq!(wrong.code(), "bad_request", "{path}");
    }
}
