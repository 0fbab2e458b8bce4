//! Tokens of programs as those see them who keep accounts: whose, where, used when; and who withdraws which.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use xiezhi_model::{Account, ApiRight, Grant, Role};
use xiezhi_store::AuditQuery;

use super::bench::*;
use super::live::open;
use super::prometheus::token;

const ALL: &str = "/api/v1/api-tokens";

async fn withdraw(bench: &Bench, by: &str, id: i64) -> Got {
    let path = format!("{ALL}/{id}");
    bench.ask(request(Method::DELETE, &path, by, None)).await
}

/// Names of the tokens that somebody sees.
async fn seen(bench: &Bench, by: &str, more: &str) -> Vec<String> {
    let list = bench.read(by, &format!("{ALL}{more}")).await;
    let rows = list["items"].as_array().unwrap().iter();
    let mut names: Vec<String> = rows
        .map(|row| row["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

async fn row(bench: &Bench, by: &str, id: i64) -> Value {
    let list = bench.read(by, ALL).await;
    let rows = list["items"].as_array().unwrap();
    rows.iter().find(|row| row["id"] == id).unwrap().clone()
}

async fn newest(bench: &Bench, action: &str) -> xiezhi_model::AuditRecord {
    let query = AuditQuery {
        action: Some(action.to_owned()),
        ..AuditQuery::default()
    };
    bench.store.audit(&query).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_token_is_listed_with_whose_it_is_where_it_reaches_and_when_it_was_used() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    let court = bench.site("gs-01").await;
    let grant = Grant::at(Role::Technician, court.id);
    let (user, own) = bench.account("wang", &[grant]).await;
    let (id, secret) = bench.acting(user, "台账同步", grant).await;
    let before = row(&bench, &admin, id).await;
    assert_eq!(before["owner"]["name"], "wang");
    assert_eq!(before["owner"]["id"], user);
    assert_eq!(before["role"], "technician");
    assert_eq!(before["site"]["id"], court.id.0);
    assert_eq!(before["created_ms"], START_MS);
    assert_eq!(before["expires_ms"], START_MS + 86_400_000);
    assert_eq!(before["state"], "valid");
    assert_eq!(before["last_used_ms"], Value::Null);
    let accounts = bench.read(&admin, &format!("/api/v1/users/{user}")).await;
    assert_eq!(accounts["tokens"], 1);

    bench.advance_ms(5_000);
    bench.read(&secret, "/api/v1/hosts").await;
    // To the minute: what comes within it is no write.
    bench.advance_ms(30_000);
    bench.read(&secret, "/api/v1/hosts").await;
    let own_row = &bench.read(&own, "/api/v1/me/api-tokens").await["items"][0];
    for after in [&row(&bench, &admin, id).await, own_row] {
        assert_eq!(after["last_used_ms"], START_MS + 5_000);
        assert_eq!(after["last_used_from"], "10.1.1.1");
    }
    bench.advance_ms(60_000);
    bench.read(&secret, "/api/v1/hosts").await;
    let later = row(&bench, &admin, id).await;
    assert_eq!(later["last_used_ms"], START_MS + 95_000);

    // One for metrics is nobody's; its use is told as well.
    let (metrics, secret) = token(&bench, ApiRight::ReadMetrics, Some("gs-01")).await;
    let bearer = format!("Bearer {secret}");
    bench.get(&bearer, "/api/v1/query?query=1").await;
    let listed = row(&bench, &admin, metrics).await;
    assert_eq!(listed["owner"], Value::Null);
    assert_eq!(listed["last_used_from"], "10.1.1.1");
    assert_eq!(
        seen(&bench, &admin, &format!("?user={user}")).await,
        ["台账同步"]
    );
}

#[tokio::test]
async fn tokens_are_seen_with_their_accounts_and_withdrawn_by_who_may_ask_to_disable_those() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    let (here, there) = (bench.site("gs-01").await.id, bench.site("gs-02").await.id);
    let at = |role, site| Grant::at(role, site);
    // At home where the first role is; of no home are those of the province, which no court changes.
    let account = async |name: &str, grants: &[Grant]| {
        let mut new = new_user(name, grants);
        new.home = grants.first().and_then(|grant| grant.site);
        let made = bench
            .store
            .create_user(&new, None, by_system("user.create"));
        let user = made.await.unwrap().user.id;
        (user, bench.session_of(user).await)
    };
    let (tech, _) = account("tech", &[at(Role::Technician, here)]).await;
    let (far, _) = account("far", &[at(Role::Technician, there)]).await;
    let both = [at(Role::Technician, here), at(Role::Technician, there)];
    let (both, _) = account("both", &both).await;
    let (officer, _) = account("officer", &[at(Role::SecurityOfficer, here)]).await;
    let chief = [Grant::province(Role::SecurityAdministrator)];
    let (_, chief) = account("chief", &chief).await;
    let auditor = [Grant::province(Role::AuditAdministrator)];
    let (_, auditor) = account("auditor", &auditor).await;
    let (court_user, court) = account("court", &[at(Role::CourtAdministrator, here)]).await;
    let (_, reader) = account("reader", &[at(Role::ReadOnly, here)]).await;
    let acting =
        async |user, name: &str, role, site| bench.acting(user, name, at(role, site)).await.0;
    let of_tech = acting(tech, "tech", Role::Technician, here).await;
    let of_far = acting(far, "far", Role::Technician, there).await;
    let of_both = acting(both, "both-here", Role::Technician, here).await;
    acting(both, "both-there", Role::Technician, there).await;
    let of_officer = acting(officer, "officer", Role::SecurityOfficer, here).await;
    let of_court = acting(court_user, "court", Role::CourtAdministrator, here).await;
    let (metrics, _) = token(&bench, ApiRight::ReadMetrics, Some("gs-01")).await;
    let name = row(&bench, &admin, metrics).await["name"].clone();
    let name = name.as_str().unwrap();

    // What is held elsewhere is not named, and metrics are the province's.
    let part = ["both-here", "court", "officer", "tech"];
    assert_eq!(seen(&bench, &court, "").await, part);
    let mut whole = [&part[..], &["both-there", "far", name]].concat();
    whole.sort_unstable();
    for all in [&admin, &chief, &auditor] {
        assert_eq!(seen(&bench, all, "").await, whole);
    }
    assert_eq!(seen(&bench, &court, "?limit=2").await.len(), 2);
    let refused = bench.get(&reader, ALL).await;
    assert_eq!(refused.code(), "not_allowed");

    for (who, id, code) in [
        (&reader, of_tech, "not_allowed"),
        (&court, of_far, "not_found"),
        (&court, metrics, "not_found"),
        (&court, 999, "not_found"),
        // Somebody who also serves another court, and the security duty.
        (&court, of_both, "beyond_scope"),
        (&court, of_officer, "not_allowed"),
        (&admin, of_officer, "not_allowed"),
        (&chief, of_tech, "not_allowed"),
        (&chief, metrics, "not_allowed"),
        (&auditor, of_tech, "not_allowed"),
        (&auditor, metrics, "not_allowed"),
    ] {
        let got = withdraw(&bench, who, id).await;
        assert_eq!(got.code(), code, "{id}: {got:?}");
    }
    for (who, may) in [
        (&court, vec![of_tech, of_court]),
        (&chief, vec![of_officer]),
        (&auditor, vec![]),
    ] {
        let list = bench.read(who, ALL).await;
        let rows = list["items"].as_array().unwrap().iter();
        let mut offered: Vec<i64> = rows
            .filter(|row| row["withdrawable"] == true)
            .map(|row| row["id"].as_i64().unwrap())
            .collect();
        offered.sort_unstable();
        assert_eq!(offered, may);
    }
    for (who, by, id, of) in [
        (&court, "court", of_tech, "tech"),
        (&court, "court", of_court, "court"),
        (&chief, "chief", of_officer, "officer"),
        (&admin, "admin", of_both, "both"),
    ] {
        let got = withdraw(&bench, who, id).await;
        assert_eq!(got.status, StatusCode::NO_CONTENT, "{got:?}");
        let told = newest(&bench, "api_token.revoke").await;
        assert_eq!(told.actor, format!("user:{by}"));
        assert_eq!(told.subject, format!("api-token:{id}"));
        assert_eq!(told.detail["user"], of);
    }
    let gone = withdraw(&bench, &admin, metrics).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
    let left = seen(&bench, &admin, "?valid=true").await;
    assert_eq!(left, ["both-there", "far"]);
    let account = bench.read(&admin, &format!("/api/v1/users/{tech}")).await;
    assert_eq!(account["tokens"], 0);
}

#[tokio::test]
async fn what_is_open_for_a_program_ends_when_an_administrator_withdraws_its_token() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    let grant = Grant::at(Role::Technician, bench.site("gs-01").await.id);
    let (user, _) = bench.account("wang", &[grant]).await;
    let (id, secret) = bench.acting(user, "a", grant).await;
    let mut page = open(&bench, &secret, "", "").await;
    page.next().await.unwrap();
    let done = withdraw(&bench, &admin, id).await;
    assert_eq!(done.status, StatusCode::NO_CONTENT);
    assert_eq!(page.next_but_heartbeats().await.unwrap().event, "ended");
    assert!(page.next().await.is_none());
}

#[tokio::test]
async fn a_program_that_comes_with_an_ended_token_is_written_down_with_which_and_why() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    let court = bench.site("gs-01").await.id;
    let grant = Grant::at(Role::Technician, court);
    let (user, _) = bench.account("wang", &[grant]).await;
    let told = async |id: i64| {
        let entry = newest(&bench, "api_token.refuse").await;
        assert_eq!(entry.subject, format!("api-token:{id}"));
        assert_eq!(entry.actor, "address:10.1.1.1");
        (entry.detail["name"].clone(), entry.detail["reason"].clone())
    };
    let (revoked, secret) = bench.acting(user, "withdrawn", grant).await;
    withdraw(&bench, &admin, revoked).await;
    for _ in 0..5 {
        let got = bench.get(&secret, "/api/v1/hosts").await;
        assert_eq!(got.code(), "unknown_token");
    }
    assert_eq!(
        told(revoked).await,
        ("withdrawn".into(), "token_revoked".into())
    );
    let query = AuditQuery {
        action: Some("api_token.refuse".to_owned()),
        ..AuditQuery::default()
    };
    assert_eq!(bench.store.audit(&query).await.unwrap().len(), 1);

    // The tree puts its site out of its owner's reach.
    let below = bench.site("gs-01-01").await;
    let narrow = Grant::at(Role::Technician, below.id);
    let (void, secret) = bench.acting(user, "void", narrow).await;
    let wanted = xiezhi_model::NewSite {
        key: below.key,
        name: below.name,
        tier: below.tier,
        parent: Some("gs-02".to_owned()),
        court_code: below.court_code,
    };
    let moved = bench
        .store
        .change_site(&wanted, false, below.version, by_system("site.change"));
    moved.await.unwrap();
    let got = bench.get(&secret, "/api/v1/hosts").await;
    assert_eq!(got.code(), "unknown_token", "{got:?}");
    assert_eq!(told(void).await, ("void".into(), "token_void".into()));
    assert_eq!(row(&bench, &admin, void).await["state"], "void");

    let (over, secret) = bench.acting(user, "over", grant).await;
    bench.advance_ms(2 * 86_400_000);
    bench.get(&secret, "/api/v1/hosts").await;
    assert_eq!(told(over).await, ("over".into(), "token_expired".into()));
}

#[tokio::test]
async fn what_a_program_is_refused_is_written_down_with_its_token() {
    let bench = Bench::new().await;
    let grant = Grant::province(Role::ProvinceAdministrator);
    let (user, cookie) = bench.account("wang", &[grant]).await;
    let (one, first) = bench.acting(user, "first", grant).await;
    let (two, second) = bench.acting(user, "second", grant).await;
    for by in [&first, &first, &second, &cookie] {
        let wrong = json!({"name": "x", "roles": [{"role": "sec_admin"}]});
        let got = bench.post(by, "/api/v1/users", wrong).await;
        assert_eq!(got.status, StatusCode::FORBIDDEN, "{got:?}");
    }
    let query = AuditQuery {
        action: Some("request.refuse".to_owned()),
        ..AuditQuery::default()
    };
    let mut entries = bench.store.audit(&query).await.unwrap();
    entries.reverse();
    let by: Vec<_> = entries
        .iter()
        .map(|entry| {
            assert_eq!(entry.actor, "user:wang");
            entry.detail.get("by_token").cloned()
        })
        .collect();
    let told = |id: i64, name: &str| Some(format!("{id} {name}"));
    assert_eq!(by, [told(one, "first"), told(two, "second"), None]);
}

#[tokio::test]
async fn what_ends_tokens_by_the_way_says_how_many() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    let grant = Grant::at(Role::Technician, bench.site("gs-01").await.id);
    let (user, _) = bench.account("wang", &[grant]).await;
    bench.acting(user, "a", grant).await;
    bench.acting(user, "b", grant).await;
    let path = format!("/api/v1/users/{user}/changes");
    let disabled = bench
        .post(&admin, &path, json!({"change": "disable"}))
        .await;
    assert_eq!(disabled.status, StatusCode::OK, "{disabled:?}");
    let told = newest(&bench, "user.disable").await;
    assert_eq!(told.detail["tokens"], "2");
    let account: Account = bench.store.account(user).await.unwrap().unwrap();
    assert!(account.user.disabled_ms.is_some());
}
