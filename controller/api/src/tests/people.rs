//! Accounts: made, handed over, changed by one or by two, and what happens to what they had open.

use axum::http::{Method, StatusCode, header};
use serde_json::{Value, json};
use xiezhi_identity::second_factor::{FactorSecret, STEP_SECONDS};
use xiezhi_model::{AccountChange, Grant, Role};

use super::bench::*;
use super::live::open;

const OWN: &str = "a phrase of my own choosing";

async fn sign_in(bench: &Bench, user: &str, password: &str, code: Option<&str>) -> Got {
    let body = json!({"user": user, "password": password, "code": code});
    bench.post("", "/api/v1/login", body).await
}

/// Makes an account through the interface and yields its number and the password for one use.
async fn made(bench: &Bench, by: &str, body: Value) -> (i64, String) {
    let got = bench.post(by, "/api/v1/users", body).await;
    assert_eq!(got.status, StatusCode::CREATED, "{got:?}");
    let made = got.json();
    let password = made["password"].as_str().unwrap().to_owned();
    (made["account"]["id"].as_i64().unwrap(), password)
}

async fn change(bench: &Bench, by: &str, user: i64, body: Value) -> Got {
    bench
        .post(by, &format!("/api/v1/users/{user}/changes"), body)
        .await
}

#[tokio::test]
async fn a_handed_over_password_is_for_setting_an_own_one_and_for_nothing_else() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    let site = bench.site("gs-01").await.id.0;
    let body = json!({"name": "wang.fang", "display_name": "王芳", "home": site,
        "roles": [{"role": "technician", "site": site}]});
    let (_, once) = made(&bench, &admin, body).await;
    let first = sign_in(&bench, "wang.fang", &once, None).await;
    assert_eq!(first.json()["user"]["password_once"], true);
    let cookie = cookie_of(&first);
    for path in ["/api/v1/overview", "/api/v1/hosts", "/api/v1/live"] {
        let got = bench.get(&cookie, path).await;
        assert_eq!(got.code(), "password_must_change", "{path}");
    }
    let asked = bench.get(&cookie, "/api/v1/query?query=1").await;
    assert_eq!(asked.status, StatusCode::FORBIDDEN);
    let body = json!({"old": "not it", "new": OWN});
    let wrong = bench.post(&cookie, "/api/v1/me/password", body).await;
    assert_eq!(wrong.code(), "wrong_password");
    let body = json!({"old": once, "new": "short"});
    let weak = bench.post(&cookie, "/api/v1/me/password", body).await;
    assert_eq!(weak.code(), "password_too_short");
    let body = json!({"old": once, "new": OWN});
    let set = bench.post(&cookie, "/api/v1/me/password", body).await;
    assert_eq!(set.status, StatusCode::NO_CONTENT);
    // All sessions ended, and the old password with them.
    assert_eq!(
        bench.get(&cookie, "/api/v1/me").await.status,
        StatusCode::UNAUTHORIZED
    );
    let old = sign_in(&bench, "wang.fang", &once, None).await;
    assert_eq!(old.code(), "wrong_credentials");
    let cookie = cookie_of(&sign_in(&bench, "wang.fang", OWN, None).await);
    let me = bench.read(&cookie, "/api/v1/me").await;
    assert_eq!(me["user"]["roles"][0]["role"], "technician");
    assert_eq!(me["user"]["roles"][0]["site"]["id"], site);
    bench.read(&cookie, "/api/v1/overview").await;
}

#[tokio::test]
async fn a_password_for_one_use_ends_after_three_days_and_only_its_holder_is_told() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    let (_, once) = made(&bench, &admin, json!({"name": "late"})).await;
    bench.advance_ms(73 * 3_600_000);
    assert_eq!(
        sign_in(&bench, "late", &once, None).await.code(),
        "password_expired"
    );
    assert_eq!(
        sign_in(&bench, "late", "a guess", None).await.code(),
        "wrong_credentials"
    );
}

#[tokio::test]
async fn a_second_factor_is_set_up_asked_for_and_good_once() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let body = json!({"password": PASSWORD});
    let offer = bench
        .post(&cookie, "/api/v1/me/second-factor", body.clone())
        .await
        .json();
    assert!(
        offer["uri"]
            .as_str()
            .unwrap()
            .starts_with("otpauth://totp/")
    );
    assert!(offer["qr"]["rows"].as_array().unwrap().len() > 20);
    // Not asked for before it was proved.
    bench.sign_in().await;
    let secret = data_encoding::BASE32_NOPAD.decode(offer["secret"].as_str().unwrap().as_bytes());
    let secret = FactorSecret::from_bytes(&secret.unwrap()).unwrap();
    let code = |bench: &Bench| secret.code(bench.now_ms() / 1000 / STEP_SECONDS);
    let confirm = "/api/v1/me/second-factor/confirm";
    let wrong = bench
        .post(&cookie, confirm, json!({"code": "000000"}))
        .await;
    assert_eq!(wrong.code(), "wrong_second_code");
    let codes = bench
        .post(&cookie, confirm, json!({"code": code(&bench)}))
        .await
        .json();
    let recovery = codes["recovery_codes"][0].as_str().unwrap();

    assert_eq!(bench.try_password(PASSWORD).await.code(), "code_needed");
    let used = sign_in(&bench, "admin", PASSWORD, Some(&code(&bench))).await;
    assert_eq!(
        used.code(),
        "wrong_second_code",
        "the code of the set-up is used up"
    );
    bench.advance_ms(STEP_SECONDS * 1000);
    let fresh = code(&bench);
    cookie_of(&sign_in(&bench, "admin", PASSWORD, Some(&fresh)).await);
    let twice = sign_in(&bench, "admin", PASSWORD, Some(&fresh)).await;
    assert_eq!(twice.code(), "wrong_second_code");
    // A wrong password is not told that its code was right.
    let wrong = sign_in(&bench, "admin", "wrong password!", Some(&fresh)).await;
    assert_eq!(wrong.code(), "wrong_credentials");
    let cookie = cookie_of(&sign_in(&bench, "admin", PASSWORD, Some(recovery)).await);
    let again = sign_in(&bench, "admin", PASSWORD, Some(recovery)).await;
    assert_eq!(again.code(), "wrong_second_code");
    // Neither the password alone takes it off, nor a code that was used.
    let remove = "/api/v1/me/second-factor/remove";
    let spare = codes["recovery_codes"][1].as_str().unwrap();
    let body = |code: &str| json!({"password": PASSWORD, "code": code});
    // A program's token, which lives for months, is not made by the password alone either.
    let mut wanted = json!({"name": "x", "role": "province_admin", "password": PASSWORD});
    let own = "/api/v1/me/api-tokens";
    let alone = bench.post(&cookie, own, wanted.clone()).await;
    assert_eq!(alone.code(), "code_needed");
    wanted["code"] = json!(codes["recovery_codes"][6]);
    let both = bench.post(&cookie, own, wanted).await;
    assert_eq!(both.status, StatusCode::CREATED, "{both:?}");
    let without = bench.post(&cookie, remove, body("")).await;
    assert_eq!(without.code(), "code_needed");
    for code in [&fresh, recovery, "000000"] {
        let refused = bench.post(&cookie, remove, body(code)).await;
        assert_eq!(refused.code(), "wrong_second_code", "{code}");
    }
    // Such a guess is written down by name.
    let audit = bench.store.audit(&Default::default()).await.unwrap();
    let guess = &audit[0];
    assert_eq!(
        (guess.actor.as_str(), guess.subject.as_str()),
        ("user:admin", "POST /api/v1/me/second-factor/remove")
    );
    assert_eq!(guess.detail["code"], "wrong_second_code");
    let elsewhere = sign_in(
        &bench,
        "admin",
        PASSWORD,
        codes["recovery_codes"][2].as_str(),
    )
    .await;
    let elsewhere = cookie_of(&elsewhere);
    let off = bench.post(&cookie, remove, body(spare)).await;
    assert_eq!(off.status, StatusCode::NO_CONTENT, "{off:?}");
    bench.read(&cookie, "/api/v1/me").await;
    let ended = bench.get(&elsewhere, "/api/v1/me").await;
    assert_eq!(ended.status, StatusCode::UNAUTHORIZED);
    bench.sign_in().await;
}

#[tokio::test]
async fn a_leaver_who_still_knows_the_password_is_written_down_by_name() {
    let mut bench = Bench::new().await;
    bench.peer = "2001:db8::7".parse().unwrap();
    let admin = bench.sign_in().await;
    let (user, once) = made(&bench, &admin, json!({"name": "leaver"})).await;
    let disabled = change(&bench, &admin, user, json!({"change": "disable"})).await;
    assert_eq!(disabled.status, StatusCode::OK);
    let refused = sign_in(&bench, "leaver", &once, None).await;
    assert_eq!(refused.code(), "account_disabled");
    let audit = bench.store.audit(&Default::default()).await.unwrap();
    let tried = &audit[0];
    assert_eq!(
        (tried.actor.as_str(), tried.subject.as_str()),
        ("user:leaver", "POST /api/v1/login")
    );
    assert_eq!(tried.detail["code"], "account_disabled");
    assert_eq!(tried.detail["address"], "2001:db8::7");
}

#[tokio::test]
async fn guesses_at_the_second_factor_are_slowed_like_guesses_at_the_password() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let body = json!({"password": PASSWORD});
    let offer = bench
        .post(&cookie, "/api/v1/me/second-factor", body)
        .await
        .json();
    let secret = data_encoding::BASE32_NOPAD.decode(offer["secret"].as_str().unwrap().as_bytes());
    let secret = FactorSecret::from_bytes(&secret.unwrap()).unwrap();
    let code = secret.code(bench.now_ms() / 1000 / STEP_SECONDS);
    let confirm = "/api/v1/me/second-factor/confirm";
    bench.post(&cookie, confirm, json!({"code": code})).await;
    let mut last = String::new();
    for _ in 0..8 {
        // Asking without a code in between forgives nothing.
        bench.try_password(PASSWORD).await;
        last = sign_in(&bench, "admin", PASSWORD, Some("123456"))
            .await
            .code();
    }
    assert_eq!(last, "too_many_attempts");
}

#[tokio::test]
async fn security_roles_take_two_security_administrators() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    let grant = Grant::province(Role::SecurityAdministrator);
    let (_, first) = bench.account("first", &[grant]).await;
    let (_, second) = bench.account("second", &[grant]).await;
    let (officer, makers) = made(&bench, &admin, json!({"name": "officer"})).await;
    // Who may only ask for such a role is offered that.
    let row = bench.get(&first, &format!("/api/v1/users/{officer}")).await;
    assert_eq!(row.json()["manageable"], true, "{row:?}");
    let ask = json!({"change": "grant", "role": {"role": "security_officer"}, "reason": "new"});
    let refused = change(&bench, &admin, officer, ask.clone()).await;
    assert_eq!(refused.code(), "not_allowed");
    let refused = json!({"name": "x", "roles": [{"role": "security_officer"}]});
    let refused = bench.post(&admin, "/api/v1/users", refused).await;
    assert_eq!(refused.code(), "second_person_needed");
    let unsaid = json!({"change": "grant", "role": {"role": "security_officer"}});
    assert_eq!(
        change(&bench, &first, officer, unsaid).await.code(),
        "bad_request"
    );

    let asked = change(&bench, &first, officer, ask.clone()).await;
    assert_eq!(asked.status, StatusCode::OK, "{asked:?}");
    assert_eq!(asked.json()["outcome"], "asked");
    assert_eq!(
        change(&bench, &second, officer, ask).await.code(),
        "already_so"
    );
    let act = asked.json()["id"].as_i64().unwrap();
    let consent = format!("/api/v1/acts/{act}/consent");
    assert_eq!(
        bench.post(&first, &consent, json!({})).await.code(),
        "not_independent"
    );
    assert_eq!(
        bench.post(&admin, &consent, json!({})).await.code(),
        "not_allowed"
    );
    let done = bench.post(&second, &consent, json!({})).await;
    assert_eq!(done.json()["act"]["state"], "done", "{done:?}");
    // Its maker's password opens nothing any more; the new one went to who consented.
    assert_eq!(
        sign_in(&bench, "officer", &makers, None).await.code(),
        "wrong_credentials"
    );
    let handed = done.json()["password"].as_str().unwrap().to_owned();
    let me = sign_in(&bench, "officer", &handed, None).await.json();
    assert_eq!(me["user"]["password_once"], true);
    assert_eq!(
        bench.post(&second, &consent, json!({})).await.code(),
        "over"
    );

    // The account belongs to the security duty now: its password is no system administrator's to set.
    let reset = json!({"change": "reset_password", "reason": "forgot"});
    assert_eq!(
        change(&bench, &admin, officer, reset.clone()).await.code(),
        "not_allowed"
    );
    let asked = change(&bench, &second, officer, reset).await.json();
    let consent = format!("/api/v1/acts/{}/consent", asked["id"]);
    let done = bench.post(&first, &consent, json!({})).await.json();
    let once = done["password"].as_str().unwrap();
    cookie_of(&sign_in(&bench, "officer", once, None).await);
}

#[tokio::test]
async fn a_court_administrator_manages_the_court_and_nobody_who_also_serves_another() {
    let bench = Bench::new().await;
    let (own, other) = (bench.site("gs-01").await.id, bench.site("gs-02").await.id);
    let grant = Grant::at(Role::CourtAdministrator, own);
    let (me, cookie) = bench.account("court", &[grant]).await;
    let body = json!({"name": "tech", "home": own.0,
        "roles": [{"role": "technician", "site": own.0}]});
    let (tech, _) = made(&bench, &cookie, body).await;
    for body in [
        json!({"name": "a", "home": other.0}),
        json!({"name": "b", "home": own.0, "roles": [{"role": "technician", "site": other.0}]}),
        json!({"name": "c", "home": own.0, "roles": [{"role": "read_only"}]}),
        json!({"name": "d"}),
    ] {
        let got = bench.post(&cookie, "/api/v1/users", body).await;
        assert_eq!(got.code(), "beyond_scope");
    }
    let everywhere = json!({"change": "grant", "role": {"role": "province_admin"}});
    assert_eq!(
        change(&bench, &cookie, tech, everywhere).await.code(),
        "beyond_scope"
    );
    let disable = json!({"change": "disable"});
    assert_eq!(
        change(&bench, &cookie, me, disable.clone()).await.code(),
        "own_account"
    );
    assert_eq!(
        change(&bench, &cookie, tech, disable.clone()).await.status,
        StatusCode::OK
    );
    let both = [
        Grant::at(Role::Technician, own),
        Grant::at(Role::Technician, other),
    ];
    let (both, _) = bench.account("both", &both).await;
    assert_eq!(
        change(&bench, &cookie, both, disable.clone()).await.code(),
        "beyond_scope"
    );
    let (foreign, _) = bench
        .account("foreign", &[Grant::at(Role::Technician, other)])
        .await;
    assert_eq!(
        change(&bench, &cookie, foreign, disable).await.code(),
        "not_found"
    );
}

#[tokio::test]
async fn bad_names_and_roles_are_told() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    for name in ["", "two words", "new\nline", "<b>", &"x".repeat(65)] {
        let got = bench
            .post(&admin, "/api/v1/users", json!({"name": name}))
            .await;
        assert_eq!(got.code(), "bad_fields", "{name:?}");
        let told = &got.json()["fields"][0];
        assert_eq!(told["field"], "name", "{told}");
        assert_eq!(told["word"], "no_account_name", "{told}");
    }
    let long = json!({"name": "x", "display_name": "王".repeat(65)});
    let long = bench.post(&admin, "/api/v1/users", long).await;
    assert_eq!(long.json()["fields"][0]["field"], "display_name");
    let taken = bench
        .post(&admin, "/api/v1/users", json!({"name": "admin"}))
        .await;
    assert_eq!(taken.code(), "exists");
    let body = json!({"name": "x", "roles": [{"role": "root"}]});
    let unknown = bench.post(&admin, "/api/v1/users", body).await;
    assert!(
        unknown.json()["detail"]
            .as_str()
            .unwrap()
            .contains("technician")
    );
    let site = bench.site("gs-01").await.id.0;
    let body = json!({"name": "x", "roles": [{"role": "province_admin", "site": site}]});
    let nowhere = bench.post(&admin, "/api/v1/users", body).await;
    assert_eq!(nowhere.code(), "roles_exclude");
}

#[tokio::test]
async fn a_live_page_is_told_of_its_scope_alone_and_ends_with_the_role() {
    let bench = Bench::new().await;
    let own = bench.site("gs-01").await.id;
    let (user, cookie) = bench
        .account("tech", &[Grant::at(Role::Technician, own)])
        .await;
    let mut page = open(&bench, &cookie, "", "").await;
    assert_eq!(page.next().await.unwrap().event, "snapshot");
    bench.host("gs-02", "elsewhere", false).await;
    let host = bench.host("gs-01", "here", false).await;
    let delta = page.next_but_heartbeats().await.unwrap();
    assert_eq!(delta.data["counts"]["unknown"], 1);
    assert_eq!(delta.data["sites"], json!([[own.0, 0, 0, 0, 1]]));
    let rows: Vec<&Value> = delta.data["hosts"].as_array().unwrap().iter().collect();
    assert!(rows.iter().all(|row| row["id"] == host.id.0), "{rows:?}");

    let withdraw = AccountChange::Withdraw(Grant::at(Role::Technician, own));
    let changed = bench
        .store
        .change_account(user, withdraw, None, None, by_system("x"));
    changed.await.unwrap();
    assert_eq!(page.next_but_heartbeats().await.unwrap().event, "ended");
    assert!(page.next().await.is_none());
}

/// By whatever process: here the store is changed behind the interface's back.
#[tokio::test]
async fn a_live_page_of_a_session_that_was_ended_elsewhere_ends() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let mut page = open(&bench, &cookie, "", "").await;
    page.next().await.unwrap();
    let admin = bench.store.user_by_name("admin").await.unwrap().unwrap().id;
    let hash = "not a password's".to_owned();
    let set = bench
        .store
        .set_password(admin, &hash, None, by_system("user.set_password"));
    set.await.unwrap();
    assert_eq!(page.next_but_heartbeats().await.unwrap().event, "ended");
}

#[tokio::test]
async fn a_wall_counts_and_names_no_host() {
    let bench = Bench::new().await;
    let (_, cookie) = bench.account("wall", &[Grant::province(Role::Wall)]).await;
    bench.host("gs-01", "secret-name", false).await;
    let overview = bench.read(&cookie, "/api/v1/overview").await;
    assert_eq!(overview["counts"]["unknown"], 1);
    assert!(!overview.to_string().contains("secret-name"));
    let mut page = open(&bench, &cookie, "", "").await;
    assert_eq!(page.next().await.unwrap().event, "snapshot");
    bench.host("gs-01", "another", false).await;
    // The first host may still be on its way too.
    loop {
        let message = page.next_but_heartbeats().await.unwrap();
        assert_eq!(message.data["hosts"], json!([]));
        if message.data["counts"]["unknown"] == 2 {
            break;
        }
    }
}

#[tokio::test]
async fn a_session_that_somebody_fixed_beforehand_is_not_taken() {
    let bench = Bench::new().await;
    let fixed = format!("xiezhi_session={}", "a".repeat(64));
    let body = json!({"user": "admin", "password": PASSWORD});
    let got = bench
        .ask(request(Method::POST, "/api/v1/login", &fixed, Some(body)))
        .await;
    let set = got.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(!set.contains(&"a".repeat(64)), "{set}");
    assert_eq!(
        bench.get(&fixed, "/api/v1/me").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_write_is_judged_again_once_its_body_is_there() {
    let bench = Bench::new().await;
    let role = [Grant::province(Role::ProvinceAdministrator)];
    let (chief, cookie) = bench.account("chief", &role).await;
    let store = bench.store.clone();
    let slow = async move {
        let disable = AccountChange::Disable;
        let change = store.change_account(chief, disable, None, None, by_system("user.disable"));
        change.await.unwrap();
        let friend = json!({"name": "friend", "display_name": "", "home": null, "roles": []});
        Ok::<_, std::io::Error>(axum::body::Bytes::from(friend.to_string()))
    };
    let mut asked = request(Method::POST, "/api/v1/users", &cookie, Some(json!({})));
    *asked.body_mut() = axum::body::Body::from_stream(futures_util::stream::once(slow));
    asked.headers_mut().remove(header::CONTENT_LENGTH);
    let got = bench.ask(asked).await;
    assert_eq!(got.status, StatusCode::UNAUTHORIZED, "{got:?}");
    assert!(bench.store.user_by_name("friend").await.unwrap().is_none());
}
