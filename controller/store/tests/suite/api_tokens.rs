//! Tokens of programs.

use xiezhi_model::{Actor, ApiRight, AuditEntry, SiteId, Tier};
use xiezhi_store::{NewApiToken, StoreError};

use crate::support::*;

fn wanted(name: &str, hash: &str, site: Option<SiteId>) -> NewApiToken {
    NewApiToken {
        name: name.to_owned(),
        secret_hash: hash.to_owned(),
        right: ApiRight::WriteMetrics,
        site,
        expires_ms: NOW + DAY,
    }
}

#[tokio::test]
async fn a_token_is_found_by_its_digest_until_it_ends() {
    let fresh = fresh().await;
    let audit = AuditEntry::new(NOW, Actor::User("王".to_owned()), "api_token.create", "");
    let made = fresh
        .create_api_token(&wanted("机房 Prometheus", "d1", None), audit)
        .await
        .unwrap();
    assert_eq!(made.created_by, "user:王");
    assert_eq!(
        fresh.api_token_by_hash("d1").await.unwrap(),
        Some(made.clone())
    );
    assert_eq!(fresh.api_token_by_hash("d2").await.unwrap(), None);
    assert!(made.is_valid(NOW) && !made.is_valid(NOW + DAY));

    fresh
        .revoke_api_token(made.id, entry("api_token.revoke"))
        .await
        .unwrap();
    let revoked = fresh.api_token_by_hash("d1").await.unwrap().unwrap();
    assert_eq!(revoked.revoked_ms, Some(NOW));
    assert!(!revoked.is_valid(NOW));
    assert_eq!(fresh.api_tokens().await.unwrap(), [revoked]);
}

#[tokio::test]
async fn a_token_of_an_unknown_site_is_refused_and_leaves_nothing() {
    let fresh = fresh().await;
    let refused = fresh
        .create_api_token(
            &wanted("x", "d", Some(SiteId(99))),
            entry("api_token.create"),
        )
        .await
        .unwrap_err();
    assert!(matches!(refused, StoreError::NotFound(_)), "{refused:?}");
    assert_eq!(fresh.api_tokens().await.unwrap(), []);
    let missing = fresh.revoke_api_token(7, entry("x")).await.unwrap_err();
    assert!(matches!(missing, StoreError::NotFound(_)), "{missing:?}");
}

#[tokio::test]
async fn sources_keep_their_numbers() {
    let fresh = fresh().await;
    let sites = [new_site("a", Tier::HighCourt, None)];
    fresh
        .import_sites(&sites, entry("sites.import"))
        .await
        .unwrap();
    let site = fresh.site_by_key("a").await.unwrap().unwrap().id;
    let mut numbers = Vec::new();
    for hash in ["d1", "d2"] {
        let token = wanted("same name", hash, Some(site));
        let made = fresh
            .create_api_token(&token, entry("api_token.create"))
            .await
            .unwrap();
        assert_eq!(made.site, Some(site));
        numbers.push(made.id);
    }
    assert_eq!(numbers, [1, 2]);
}
