//! Users, browser sessions, settings.

use xiezhi_model::{Actor, Setting, WebSession};
use xiezhi_store::{AccountError, SessionsEnded, StoreError, VIEWS_OF_ACCOUNT, VIEWS_OF_PAGE};

use crate::support::*;

fn session(id: &str, user: i64) -> WebSession {
    WebSession {
        id_hash: id.to_owned(),
        user,
        created_ms: NOW,
        last_used_ms: NOW,
        expires_ms: NOW + 1000,
        address: "10.0.0.1".to_owned(),
        browser: "浏览器".to_owned(),
    }
}

#[tokio::test]
async fn a_user_is_made_once_and_found_by_name() {
    let fresh = fresh().await;
    assert_eq!(fresh.users().await.unwrap(), []);
    let made = fresh
        .create_user(&new_user("管理员"), None, entry("user.created"))
        .await
        .unwrap()
        .user;
    assert_eq!(
        fresh.user_by_name("管理员").await.unwrap(),
        Some(made.clone())
    );
    assert_eq!(fresh.user_by_name("nobody").await.unwrap(), None);
    let again = fresh
        .create_user(&new_user("管理员"), None, entry("x"))
        .await
        .unwrap_err();
    let taken = matches!(again, AccountError::Store(StoreError::Exists(_)));
    assert!(taken, "{again:?}");
    assert_eq!(fresh.users().await.unwrap(), [made]);
}

#[tokio::test]
async fn sessions_end_when_they_expire_are_ended_or_the_password_changes() {
    let fresh = fresh().await;
    let user = fresh
        .create_user(&new_user("a"), None, entry("user.created"))
        .await
        .unwrap()
        .user;
    for id in ["one", "two", "three"] {
        fresh
            .create_web_session(&session(id, user.id), None, entry("user.signed_in"))
            .await
            .unwrap();
    }
    let (found, owner) = fresh.web_session("one", NOW).await.unwrap().unwrap();
    assert_eq!((found, owner.name.as_str()), (session("one", user.id), "a"));
    assert_eq!(fresh.web_session("one", NOW + 1000).await.unwrap(), None);
    assert_eq!(fresh.web_session("unknown", NOW).await.unwrap(), None);
    fresh.touch_web_session("one", NOW + 5).await.unwrap();
    assert_eq!(
        fresh
            .web_session("one", NOW)
            .await
            .unwrap()
            .unwrap()
            .0
            .last_used_ms,
        NOW + 5
    );
    fresh
        .delete_web_session("one", entry("user.signed_out"))
        .await
        .unwrap();
    fresh
        .delete_web_session("one", entry("user.signed_out"))
        .await
        .unwrap();
    assert_eq!(fresh.web_session("one", NOW).await.unwrap(), None);
    let signed_out = fresh.audit(&Default::default()).await.unwrap();
    assert_eq!(
        signed_out
            .iter()
            .filter(|e| e.action == "user.signed_out")
            .count(),
        1
    );
    assert_eq!(fresh.delete_expired_web_sessions(NOW).await.unwrap(), 0);
    fresh
        .set_password(user.id, "new", None, entry("user.password_changed"))
        .await
        .unwrap();
    assert_eq!(fresh.web_session("two", NOW).await.unwrap(), None);
    fresh
        .create_web_session(&session("four", user.id), None, entry("user.signed_in"))
        .await
        .unwrap();
    assert_eq!(
        fresh.delete_expired_web_sessions(NOW + 1000).await.unwrap(),
        1
    );
    let missing = fresh
        .set_password(99, "x", None, entry("x"))
        .await
        .unwrap_err();
    assert!(matches!(missing, StoreError::NotFound(_)), "{missing:?}");
}

#[tokio::test]
async fn the_newest_setting_whose_date_has_come_applies() {
    let fresh = fresh().await;
    let value = |value: &str, valid_from_ms| Setting {
        key: "k".to_owned(),
        value: value.to_owned(),
        valid_from_ms,
        source: "order 7".to_owned(),
    };
    for setting in [value("b", NOW), value("c", NOW + 10), value("a", NOW - 10)] {
        fresh
            .add_setting(&setting, entry("setting.added"))
            .await
            .unwrap();
    }
    for (now_ms, expected) in [
        (NOW - 11, None),
        (NOW - 1, Some("a")),
        (NOW, Some("b")),
        (NOW + 99, Some("c")),
    ] {
        let found = fresh.setting("k", now_ms).await.unwrap();
        assert_eq!(
            found.as_ref().map(|setting| setting.value.as_str()),
            expected
        );
        let among = fresh.settings_at(now_ms).await.unwrap();
        assert_eq!(
            among.iter().find(|setting| setting.key == "k"),
            found.as_ref()
        );
    }
    assert_eq!(fresh.setting_history("k").await.unwrap().len(), 3);
    let again = fresh
        .add_setting(&value("d", NOW), entry("x"))
        .await
        .unwrap_err();
    assert!(matches!(again, StoreError::Exists(_)), "{again:?}");
}

#[tokio::test]
async fn an_accounts_sessions_are_listed_and_ended_together() {
    let fresh = fresh().await;
    let mut ids = Vec::new();
    for name in ["a", "b"] {
        let made = fresh.create_user(&new_user(name), None, entry("x")).await;
        ids.push(made.unwrap().user.id);
    }
    let [own, other] = ids[..] else { panic!() };
    for (id, user) in [
        ("one", own),
        ("two", own),
        ("three", own),
        ("theirs", other),
    ] {
        let begun = session(id, user);
        fresh
            .create_web_session(&begun, None, entry("s"))
            .await
            .unwrap();
    }
    fresh.touch_web_session("two", NOW + 5).await.unwrap();
    let listed = fresh.web_sessions_of(own, NOW).await.unwrap();
    let names: Vec<&str> = listed.iter().map(|one| one.id_hash.as_str()).collect();
    assert_eq!(names, ["two", "one", "three"]);
    assert_eq!(listed[1], session("one", own));
    assert_eq!(fresh.web_sessions_of(own, NOW + 1000).await.unwrap(), []);
    let before = fresh.authority_changes().await.unwrap();
    let ended = fresh.end_web_sessions(own, "two", entry("session.end_all"));
    assert_eq!(ended.await.unwrap(), 2);
    assert!(fresh.authority_changes().await.unwrap() > before);
    assert_eq!(fresh.web_sessions_of(own, NOW).await.unwrap().len(), 1);
    assert_eq!(fresh.web_sessions_of(other, NOW).await.unwrap().len(), 1);
    let ended = fresh.end_web_sessions(own, "", entry("session.end_all"));
    assert_eq!(ended.await.unwrap(), 1);
}

#[tokio::test]
async fn filters_are_kept_with_their_account_within_bounds() {
    let fresh = fresh().await;
    let mut ids = Vec::new();
    for name in ["a", "b"] {
        let made = fresh.create_user(&new_user(name), None, entry("x")).await;
        ids.push(made.unwrap().user.id);
    }
    let [own, other] = ids[..] else { panic!() };
    let save = async |user, page: &str, name: String| {
        fresh.save_view(user, page, &name, "q=1").await.unwrap()
    };
    assert!(save(own, "/fleet", "停用的\u{0}".to_owned()).await);
    assert!(save(own, "/events", "停用的".to_owned()).await);
    assert!(save(other, "/fleet", "x".to_owned()).await);
    fresh
        .save_view(own, "/fleet", "停用的\u{0}", "q=2")
        .await
        .unwrap();
    let views = fresh.saved_views(own).await.unwrap();
    let told: Vec<_> = views
        .iter()
        .map(|one| (one.page.as_str(), one.query.as_str()))
        .collect();
    assert_eq!(told, [("/fleet", "q=2"), ("/events", "q=1")]);
    let id = views[0].id;
    assert!(!fresh.forget_view(other, id).await.unwrap(), "another's");
    assert!(fresh.forget_view(own, id).await.unwrap());
    for number in 0..VIEWS_OF_PAGE {
        assert!(save(own, "/fleet", number.to_string()).await);
    }
    assert!(!save(own, "/fleet", "one too many".to_owned()).await);
    // One that is there is changed all the same.
    assert!(save(own, "/fleet", "3".to_owned()).await);
    assert!(save(own, "/register/rooms", "1".to_owned()).await);
    let mut number = 0;
    while fresh.saved_views(own).await.unwrap().len() < VIEWS_OF_ACCOUNT {
        let page = format!("/page/{}", number / VIEWS_OF_PAGE);
        let saved = fresh.save_view(own, &page, &number.to_string(), "").await;
        assert!(saved.unwrap());
        number += 1;
    }
    assert!(!save(own, "/new", "one too many".to_owned()).await);
    assert_eq!(fresh.saved_views(other).await.unwrap().len(), 1);
}

#[tokio::test]
async fn another_ends_an_accounts_sessions_twice_a_day_at_most() {
    let fresh = fresh().await;
    let made = fresh.create_user(&new_user("wang"), None, entry("x")).await;
    let user = made.unwrap().user.id;
    let by = |name: &str, at_ms: i64| {
        let mut audit = entry("session.end_all");
        audit.actor = Actor::User(name.to_owned());
        audit.subject = "user:wang".to_owned();
        audit.time_ms = at_ms;
        audit
    };
    let mut number = 0;
    let mut end = async |name: &str, at_ms: i64| {
        number += 1;
        let begun = session(&format!("session-{number}"), user);
        let begun = fresh.create_web_session(&begun, None, entry("s"));
        begun.await.unwrap();
        let ended = fresh.end_sessions_of_other(user, by(name, at_ms));
        ended.await.unwrap()
    };
    assert_eq!(end("li", NOW).await, SessionsEnded::Ended(1));
    assert_eq!(end("li", NOW + 1000).await, SessionsEnded::Ended(1));
    assert_eq!(
        end("li", NOW + 5000).await,
        SessionsEnded::TooOften(DAY - 5000)
    );
    // The session that was spared is there yet, and another administrator may end it.
    assert_eq!(end("zhao", NOW + 5000).await, SessionsEnded::Ended(2));
    assert_eq!(end("li", NOW + DAY).await, SessionsEnded::Ended(1));
    assert_eq!(end("li", NOW + DAY + 1).await, SessionsEnded::TooOften(999));
    let audit = fresh.audit(&Default::default()).await.unwrap();
    let ended = audit.iter().filter(|one| one.action == "session.end_all");
    assert_eq!(ended.count(), 4);
}
