//! What takes two people and is done without them, where no two are left.

use xiezhi_model::{AccountChange, Grant, Role, TIE_DAYS};
use xiezhi_store::{AccountError, NewUser};

use crate::support::*;

const SECURITY: Grant = Grant::province(Role::SecurityAdministrator);
const RESET: AccountChange = AccountChange::ResetPassword;

async fn administrator(fresh: &Fresh, name: &str, by: Option<i64>) -> i64 {
    let new = NewUser {
        grants: [SECURITY].into_iter().collect(),
        ..new_user(name)
    };
    let made = fresh.create_user(&new, by, entry("user.create")).await;
    made.unwrap().user.id
}

async fn break_glass(
    fresh: &Fresh,
    user: i64,
    change: AccountChange,
    absent: &[&str],
) -> Result<(), AccountError> {
    let absent: Vec<String> = absent.iter().map(|&name| name.to_owned()).collect();
    let audit = entry("user.break_glass");
    let done = fresh.break_glass(user, change, &absent, Some("once"), "院长令", audit);
    done.await.map(drop)
}

#[tokio::test]
async fn with_two_administrators_one_forgotten_password_has_a_way_back() {
    let fresh = fresh().await;
    administrator(&fresh, "first", None).await;
    let second = administrator(&fresh, "second", None).await;
    break_glass(&fresh, second, RESET, &[]).await.unwrap();
    let user = fresh.user(second).await.unwrap().unwrap();
    assert_eq!(
        (user.password_hash.as_str(), user.password_once),
        ("once", true)
    );
    let told = fresh.broken_glass(NOW - DAY).await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].user.as_str(), told[0].reason.as_str()),
        ("second", "院长令")
    );
    assert_eq!(fresh.broken_glass(NOW).await.unwrap(), []);
    let audited = fresh.audit(&Default::default()).await.unwrap().remove(0);
    assert_eq!(audited.action, "user.break_glass");
}

#[tokio::test]
async fn a_leaver_among_two_administrators_is_disabled() {
    let fresh = fresh().await;
    administrator(&fresh, "first", None).await;
    let leaver = administrator(&fresh, "leaver", None).await;
    break_glass(&fresh, leaver, AccountChange::Disable, &[])
        .await
        .unwrap();
    let user = fresh.user(leaver).await.unwrap().unwrap();
    assert_eq!(user.disabled_ms, Some(NOW));
}

#[tokio::test]
async fn it_is_refused_while_two_independent_people_can_do_it() {
    let fresh = fresh().await;
    let first = administrator(&fresh, "first", None).await;
    administrator(&fresh, "second", None).await;
    let third = administrator(&fresh, "third", None).await;
    let refused = break_glass(&fresh, third, RESET, &[]).await;
    assert!(
        matches!(refused, Err(AccountError::TwoCan { .. })),
        "{refused:?}"
    );
    assert_eq!(fresh.broken_glass(0).await.unwrap(), []);

    // Two who are tied are no two; a month later they are.
    administrator(&fresh, "fourth", Some(first)).await;
    for name in ["second", "third"] {
        let user = fresh.user_by_name(name).await.unwrap().unwrap().id;
        fresh
            .change_account(user, AccountChange::Disable, None, None, entry("x"))
            .await
            .unwrap();
    }
    let fifth = administrator(&fresh, "fifth", None).await;
    break_glass(&fresh, fifth, RESET, &[]).await.unwrap();
    let mut later = entry("user.break_glass");
    later.time_ms += (TIE_DAYS + 1) * DAY;
    let refused = fresh
        .break_glass(fifth, RESET, &[], Some("x"), "why", later)
        .await;
    assert!(
        matches!(refused, Err(AccountError::TwoCan { .. })),
        "{refused:?}"
    );
}

/// The same `days` after everything else.
async fn later(fresh: &Fresh, days: i64, user: i64, absent: &[&str]) -> Result<(), AccountError> {
    let absent: Vec<String> = absent.iter().map(|&name| name.to_owned()).collect();
    let mut audit = entry("user.break_glass");
    audit.time_ms += days * DAY;
    let done = fresh.break_glass(user, RESET, &absent, Some("once"), "院长令", audit);
    done.await.map(drop)
}

#[tokio::test]
async fn who_is_said_to_be_absent_counts_only_after_a_week_without_signing_in() {
    let fresh = fresh().await;
    let first = administrator(&fresh, "first", None).await;
    administrator(&fresh, "second", None).await;
    let third = administrator(&fresh, "third", None).await;
    let mut begun = entry("session.begin");
    begun.subject = "second".to_owned();
    begun.time_ms = NOW + 2 * DAY;
    fresh.append_audit(begun).await.unwrap();
    let refused = later(&fresh, 8, third, &["second"]).await;
    assert!(
        matches!(refused, Err(AccountError::NotAway(_))),
        "{refused:?}"
    );
    // A session that began long ago and is used yet.
    let used = xiezhi_model::WebSession {
        id_hash: "used".to_owned(),
        user: first,
        created_ms: NOW,
        last_used_ms: NOW + 2 * DAY,
        expires_ms: NOW + 30 * DAY,
        address: String::new(),
        browser: String::new(),
    };
    let kept = entry("session.begin");
    fresh.create_web_session(&used, None, kept).await.unwrap();
    let refused = later(&fresh, 8, third, &["first"]).await;
    assert!(
        matches!(refused, Err(AccountError::NotAway(_))),
        "{refused:?}"
    );
    later(&fresh, 10, third, &["first"]).await.unwrap();
}

#[tokio::test]
async fn who_has_been_somebody_for_less_than_a_week_is_not_taken_for_absent() {
    let fresh = fresh().await;
    administrator(&fresh, "first", None).await;
    let second = administrator(&fresh, "second", None).await;
    let third = administrator(&fresh, "third", None).await;
    let refused = async |days, name: &str| {
        let refused = later(&fresh, days, third, &["second"]).await;
        assert!(
            matches!(&refused, Err(AccountError::TooNew(who)) if who == "second"),
            "{name}: {refused:?}"
        );
    };
    refused(6, "just made").await;
    let consent = |days: i64| {
        let mut audit = entry("act.consent");
        audit.subject = "user:second".to_owned();
        audit.time_ms += days * DAY;
        audit
    };
    let change = async |change, days| {
        let audit = consent(days);
        let changed = fresh.change_account(second, change, None, Some("x"), audit);
        changed.await.unwrap();
    };
    let mut silent = consent(20);
    silent.action = "user.reset_password".to_owned();
    let reset = fresh.change_account(second, RESET, None, Some("x"), silent);
    reset.await.unwrap();
    refused(26, "a new password").await;
    let mut silent = consent(40);
    silent.action = "user.grant".to_owned();
    let officer = AccountChange::Grant(Grant::province(Role::SecurityOfficer));
    let granted = fresh.change_account(second, officer, None, Some("x"), silent);
    granted.await.unwrap();
    refused(46, "a new role").await;
    change(AccountChange::Disable, 50).await;
    change(AccountChange::Enable, 60).await;
    refused(66, "its account back").await;
    later(&fresh, 68, third, &["second"]).await.unwrap();
}

#[tokio::test]
async fn what_one_person_may_do_breaks_no_glass() {
    let fresh = fresh().await;
    let made = fresh.create_user(&new_user("wang"), None, entry("x")).await;
    let refused = break_glass(&fresh, made.unwrap().user.id, RESET, &[]).await;
    assert!(
        matches!(refused, Err(AccountError::TakesOne)),
        "{refused:?}"
    );
}
