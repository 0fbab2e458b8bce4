//! Accounts, roles, acts of two people, second factors.

use xiezhi_model::{
    AccountChange, ActState, Grant, GrantRefusal, Grants, NotIndependent, Role, TIE_DAYS,
};
use xiezhi_store::{AccountError, NewUser, StoreError};

use crate::support::*;

pub(crate) fn holding(name: &str, grants: &[Grant]) -> NewUser {
    NewUser {
        grants: grants.iter().copied().collect(),
        ..new_user(name)
    }
}

/// An account made on the console, which ties nobody.
async fn made(fresh: &Fresh, name: &str, grants: &[Grant]) -> i64 {
    let new = holding(name, grants);
    let made = fresh.create_user(&new, None, entry("user.create")).await;
    made.unwrap().user.id
}

fn session(id: &str, user: i64) -> xiezhi_model::WebSession {
    xiezhi_model::WebSession {
        id_hash: id.into(),
        user,
        created_ms: NOW,
        last_used_ms: NOW,
        expires_ms: NOW + DAY,
        address: "10.0.0.1".to_owned(),
        browser: "浏览器".to_owned(),
    }
}

const SECURITY: Grant = Grant::province(Role::SecurityAdministrator);
const ADMINISTRATOR: Grant = Grant::province(Role::ProvinceAdministrator);
const OFFICER: AccountChange = AccountChange::Grant(Grant::province(Role::SecurityOfficer));

#[tokio::test]
async fn accounts_are_read_with_their_roles() {
    let fresh = fresh().await;
    let [_, court, ..] = province(&fresh).await;
    let technician = Grant::at(Role::Technician, court);
    let id = made(&fresh, "wang", &[technician, ADMINISTRATOR]).await;
    let account = fresh.account(id).await.unwrap().unwrap();
    let expected: Grants = [technician, ADMINISTRATOR].into_iter().collect();
    assert_eq!(account.grants, expected);
    assert_eq!(fresh.accounts().await.unwrap(), [account]);
    assert_eq!(fresh.account(99).await.unwrap(), None);
}

#[tokio::test]
async fn a_change_of_roles_ends_sessions_and_is_counted() {
    let fresh = fresh().await;
    let [_, court, ..] = province(&fresh).await;
    let id = made(&fresh, "wang", &[]).await;
    fresh
        .create_web_session(&session("s", id), None, entry("s"))
        .await
        .unwrap();
    let before = fresh.authority_changes().await.unwrap();
    let change = AccountChange::Grant(Grant::at(Role::Technician, court));
    let change_it = || fresh.change_account(id, change, None, None, entry("user.grant"));
    change_it().await.unwrap();
    assert!(fresh.authority_changes().await.unwrap() > before);
    assert_eq!(fresh.web_session("s", NOW).await.unwrap(), None);
    let again = change_it().await.unwrap_err();
    assert!(matches!(again, AccountError::AlreadySo), "{again:?}");
    let nowhere = AccountChange::Grant(Grant::at(Role::Technician, xiezhi_model::SiteId(999)));
    let nowhere = fresh
        .change_account(id, nowhere, None, None, entry("x"))
        .await;
    let missing = matches!(nowhere, Err(AccountError::Store(StoreError::NotFound(_))));
    assert!(missing, "{nowhere:?}");
}

#[tokio::test]
async fn a_disabled_account_has_no_session_and_the_last_administrator_stays() {
    let fresh = fresh().await;
    let first = made(&fresh, "first", &[ADMINISTRATOR]).await;
    let disable = |id| fresh.change_account(id, AccountChange::Disable, None, None, entry("x"));
    let last = disable(first).await.unwrap_err();
    assert!(matches!(last, AccountError::Last(_)), "{last:?}");
    let withdrawn = AccountChange::Withdraw(ADMINISTRATOR);
    let last = fresh
        .change_account(first, withdrawn, None, None, entry("x"))
        .await;
    assert!(matches!(last, Err(AccountError::Last(_))), "{last:?}");
    made(&fresh, "second", &[ADMINISTRATOR]).await;
    let account = disable(first).await.unwrap();
    assert_eq!(account.user.disabled_ms, Some(NOW));
    let enabled = fresh
        .change_account(first, AccountChange::Enable, None, None, entry("x"))
        .await;
    assert_eq!(enabled.unwrap().user.disabled_ms, None);
}

#[tokio::test]
async fn duties_exclude_one_another_whenever_a_role_comes() {
    let fresh = fresh().await;
    let refused = holding("both", &[ADMINISTRATOR, SECURITY]);
    let refused = fresh.create_user(&refused, None, entry("x")).await;
    let expected = GrantRefusal::TwoDuties;
    assert!(matches!(refused, Err(AccountError::Grants(why)) if why == expected));
    let id = made(&fresh, "one", &[ADMINISTRATOR]).await;
    let change = AccountChange::Grant(SECURITY);
    let refused = fresh
        .change_account(id, change, None, None, entry("x"))
        .await;
    assert!(matches!(refused, Err(AccountError::Grants(why)) if why == expected));
    let refused = fresh.ask_for_act(id, change, "why", id, entry("x")).await;
    assert!(matches!(refused, Err(AccountError::Grants(why)) if why == expected));
    assert_eq!(
        fresh.grants(id).await.unwrap(),
        [ADMINISTRATOR].into_iter().collect()
    );
}

#[tokio::test]
async fn an_act_is_done_only_by_a_second_independent_person() {
    let fresh = fresh().await;
    let first = made(&fresh, "first", &[SECURITY]).await;
    let second = made(&fresh, "second", &[SECURITY]).await;
    let other = made(&fresh, "other", &[]).await;
    let act = fresh
        .ask_for_act(other, OFFICER, "new officer", first, entry("act.ask"))
        .await;
    let act = act.unwrap();
    let twice = fresh
        .ask_for_act(other, OFFICER, "again", second, entry("act.ask"))
        .await;
    assert!(matches!(twice, Err(AccountError::AlreadySo)), "{twice:?}");
    let consent = |by| fresh.consent_to_act(act.id, by, Some("once"), entry("act.consent"));
    for (by, expected) in [
        (first, NotIndependent::Same),
        (other, NotIndependent::Concerned),
    ] {
        let refused = consent(by).await;
        assert!(matches!(refused, Err(AccountError::NotIndependent(why)) if why == expected));
    }
    assert!(fresh.grants(other).await.unwrap().is_empty());
    let account = consent(second).await.unwrap();
    assert!(account.grants.holds(Grant::province(Role::SecurityOfficer)));
    assert_eq!(
        fresh.act(act.id).await.unwrap().unwrap().state,
        ActState::Done
    );
    let again = consent(second).await;
    assert!(matches!(again, Err(AccountError::Over)), "{again:?}");
}

#[tokio::test]
async fn who_made_the_other_does_not_consent_for_thirty_days() {
    let fresh = fresh().await;
    let first = made(&fresh, "first", &[SECURITY]).await;
    let new = holding("puppet", &[SECURITY]);
    let puppet = fresh
        .create_user(&new, Some(first), entry("user.create"))
        .await;
    let puppet = puppet.unwrap().user.id;
    let other = made(&fresh, "other", &[]).await;
    let asked = fresh
        .ask_for_act(other, OFFICER, "why", first, entry("act.ask"))
        .await;
    let refused = fresh
        .consent_to_act(asked.unwrap().id, puppet, Some("once"), entry("x"))
        .await;
    let tied = NotIndependent::Tied;
    assert!(matches!(refused, Err(AccountError::NotIndependent(why)) if why == tied));

    let mut later = entry("act.ask");
    later.time_ms += (TIE_DAYS + 1) * DAY;
    let act = fresh
        .ask_for_act(other, OFFICER, "why", first, later.clone())
        .await
        .unwrap();
    fresh
        .consent_to_act(act.id, puppet, Some("once"), later)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_act_ends_by_time_refusal_or_withdrawal() {
    let fresh = fresh().await;
    let first = made(&fresh, "first", &[SECURITY]).await;
    let second = made(&fresh, "second", &[SECURITY]).await;
    let other = made(&fresh, "other", &[]).await;
    let ask = || fresh.ask_for_act(other, OFFICER, "why", first, entry("act.ask"));
    let act = ask().await.unwrap();
    let mut late = entry("act.consent");
    late.time_ms = act.expires_ms;
    let over = fresh.consent_to_act(act.id, second, None, late).await;
    assert!(matches!(over, Err(AccountError::Over)), "{over:?}");
    let end = |id, by| fresh.end_act(id, by, entry("act.end"));
    assert_eq!(end(act.id, second).await.unwrap().state, ActState::Refused);
    let act = ask().await.unwrap();
    assert_eq!(end(act.id, first).await.unwrap().state, ActState::Withdrawn);
    assert!(matches!(end(act.id, first).await, Err(AccountError::Over)));
    let states: Vec<ActState> = fresh
        .acts(Default::default())
        .await
        .unwrap()
        .iter()
        .map(|act| act.state)
        .collect();
    assert_eq!(states, [ActState::Withdrawn, ActState::Refused]);
    assert!(fresh.grants(other).await.unwrap().is_empty());
}

#[tokio::test]
async fn who_was_refused_the_same_twice_asks_no_third_time_within_a_week() {
    let fresh = fresh().await;
    let first = made(&fresh, "first", &[SECURITY]).await;
    let second = made(&fresh, "second", &[SECURITY]).await;
    let other = made(&fresh, "other", &[]).await;
    let ask = |by, change, days: i64| {
        let mut audit = entry("act.ask");
        audit.time_ms += days * DAY;
        fresh.ask_for_act(other, change, "why", by, audit)
    };
    for _ in 0..2 {
        let act = ask(first, OFFICER, 0).await.unwrap().id;
        fresh
            .end_act(act, second, entry("act.refuse"))
            .await
            .unwrap();
    }
    let third = ask(first, OFFICER, 6).await;
    assert!(
        matches!(third, Err(AccountError::RefusedTwice)),
        "{third:?}"
    );
    let act = ask(second, OFFICER, 0).await.unwrap().id;
    fresh
        .end_act(act, second, entry("act.withdraw"))
        .await
        .unwrap();
    ask(first, AccountChange::Disable, 0).await.unwrap();
    ask(first, OFFICER, 8).await.unwrap();
}

/// Who made the account may know its password, sit in a session of it, or have its second factor.
#[tokio::test]
async fn what_others_set_of_an_account_is_void_once_it_gets_a_role_of_trust() {
    for role in [Role::SecurityOfficer, Role::AuditAdministrator] {
        let fresh = fresh().await;
        let first = made(&fresh, "first", &[SECURITY]).await;
        let second = made(&fresh, "second", &[SECURITY]).await;
        let admin = made(&fresh, "admin", &[ADMINISTRATOR]).await;
        let asker = match role {
            Role::AuditAdministrator => admin,
            _ => first,
        };
        let id = made(&fresh, "puppet", &[]).await;
        let makers = session("maker", id);
        let begin = || fresh.create_web_session(&makers, None, entry("s"));
        begin().await.unwrap();
        fresh
            .offer_second_factor(id, "sealed", None, NOW)
            .await
            .unwrap();
        let codes = ["recovery".to_owned()];
        let confirmed = fresh.confirm_second_factor(id, 5, &codes, None, entry("factor"));
        confirmed.await.unwrap();

        let change = AccountChange::Grant(Grant::province(role));
        let ask = fresh.ask_for_act(id, change, "why", asker, entry("act.ask"));
        let act = ask.await.unwrap().id;
        let bare = fresh.consent_to_act(act, second, None, entry("x")).await;
        assert!(bare.is_err(), "a grant without a new password");
        assert!(fresh.grants(id).await.unwrap().is_empty());
        begin().await.unwrap_err();
        let account = fresh
            .consent_to_act(act, second, Some("new"), entry("act.consent"))
            .await
            .unwrap();
        assert!(account.user.password_once);
        assert_eq!(account.user.password_hash, "new");
        assert_eq!(fresh.web_session("maker", NOW).await.unwrap(), None);
        assert_eq!(fresh.second_factor(id).await.unwrap(), None);
        let used = fresh.use_recovery_code(id, "recovery", entry("x")).await;
        assert!(!used.unwrap());
    }
}

/// Whoever proved the old password a moment before it became void comes too late.
#[tokio::test]
async fn nothing_is_set_by_a_password_that_became_void_meanwhile() {
    let fresh = fresh().await;
    let id = made(&fresh, "puppet", &[]).await;
    let old = fresh.user(id).await.unwrap().unwrap().password_hash;
    fresh
        .offer_second_factor(id, "sealed", Some(&old), NOW)
        .await
        .unwrap();
    let reset = AccountChange::ResetPassword;
    let changed = fresh.change_account(id, reset, None, Some("new"), entry("user.reset"));
    changed.await.unwrap();

    let proved = Some(old.as_str());
    let begun = session("late", id);
    let outcomes = [
        fresh.set_password(id, "mine", proved, entry("x")).await,
        fresh.offer_second_factor(id, "mine", proved, NOW).await,
        fresh
            .confirm_second_factor(id, 5, &[], proved, entry("x"))
            .await,
        fresh
            .remove_second_factor(id, "late", proved, entry("x"))
            .await,
        fresh.create_web_session(&begun, proved, entry("x")).await,
    ];
    for outcome in outcomes {
        assert!(
            matches!(outcome, Err(StoreError::PasswordChanged)),
            "{outcome:?}"
        );
    }
    let user = fresh.user(id).await.unwrap().unwrap();
    assert_eq!(
        (user.password_hash.as_str(), user.password_once),
        ("new", true)
    );
    assert_eq!(fresh.web_session("late", NOW).await.unwrap(), None);
}

#[tokio::test]
async fn another_role_leaves_the_password_and_the_second_factor() {
    let fresh = fresh().await;
    let [_, court, ..] = province(&fresh).await;
    let id = made(&fresh, "wang", &[]).await;
    fresh
        .offer_second_factor(id, "sealed", None, NOW)
        .await
        .unwrap();
    let before = fresh.user(id).await.unwrap().unwrap();
    let change = AccountChange::Grant(Grant::at(Role::Technician, court));
    fresh
        .change_account(id, change, None, None, entry("user.grant"))
        .await
        .unwrap();
    assert_eq!(fresh.user(id).await.unwrap().unwrap(), before);
    assert!(fresh.second_factor(id).await.unwrap().is_some());
}

/// What the two held when the act was asked for counts for nothing.
#[tokio::test]
async fn an_act_is_not_done_for_who_may_not_ask_or_consent_any_more() {
    let fresh = fresh().await;
    let first = made(&fresh, "first", &[SECURITY]).await;
    let second = made(&fresh, "second", &[SECURITY]).await;
    made(&fresh, "third", &[SECURITY]).await;
    let other = made(&fresh, "other", &[]).await;
    let asked = fresh.ask_for_act(other, OFFICER, "why", first, entry("act.ask"));
    let act = asked.await.unwrap().id;
    let change = |user, change| fresh.change_account(user, change, None, Some("x"), entry("x"));
    let consent = || fresh.consent_to_act(act, second, Some("once"), entry("act.consent"));
    for (gone, back) in [
        (AccountChange::Disable, AccountChange::Enable),
        (
            AccountChange::Withdraw(SECURITY),
            AccountChange::Grant(SECURITY),
        ),
    ] {
        change(first, gone).await.unwrap();
        let refused = consent().await;
        assert!(
            matches!(refused, Err(AccountError::AskerGone)),
            "{refused:?}"
        );
        change(first, back).await.unwrap();
        change(second, gone).await.unwrap();
        let refused = consent().await;
        assert!(matches!(refused, Err(AccountError::MayNot)), "{refused:?}");
        change(second, back).await.unwrap();
    }
    assert!(fresh.grants(other).await.unwrap().is_empty());
    consent().await.unwrap();
}

/// What one person was shown may be old: a role of the security duty came in between.
#[tokio::test]
async fn nobody_alone_changes_an_account_that_takes_two_by_now() {
    let fresh = fresh().await;
    let admin = made(&fresh, "admin", &[]).await;
    let grant = AccountChange::Grant(Grant::province(Role::SecurityOfficer));
    let id = made(&fresh, "wang", &[]).await;
    fresh
        .change_account(id, grant, None, Some("once"), entry("user.grant"))
        .await
        .unwrap();
    for change in [AccountChange::ResetPassword, AccountChange::Disable] {
        let alone = fresh
            .change_account(id, change, Some(admin), Some("mine"), entry("x"))
            .await;
        assert!(matches!(alone, Err(AccountError::TakesTwo)), "{alone:?}");
    }
    let user = fresh.user(id).await.unwrap().unwrap();
    assert_ne!(user.password_hash, "mine");
}

#[tokio::test]
async fn a_reset_password_is_for_one_use_until_its_owner_sets_one() {
    let fresh = fresh().await;
    let id = made(&fresh, "wang", &[]).await;
    let reset = AccountChange::ResetPassword;
    let account = fresh
        .change_account(id, reset, None, Some("once"), entry("user.reset"))
        .await;
    let user = account.unwrap().user;
    assert!(user.password_once);
    assert_eq!(user.password_hash, "once");
    fresh
        .set_password(id, "own", None, entry("user.password"))
        .await
        .unwrap();
    assert!(!fresh.user(id).await.unwrap().unwrap().password_once);
}

#[tokio::test]
async fn a_second_factor_is_asked_for_once_it_is_proved_and_no_code_is_good_twice() {
    let fresh = fresh().await;
    let id = made(&fresh, "wang", &[]).await;
    assert_eq!(fresh.second_factor(id).await.unwrap(), None);
    fresh
        .offer_second_factor(id, "sealed-1", None, NOW)
        .await
        .unwrap();
    fresh
        .offer_second_factor(id, "sealed-2", None, NOW)
        .await
        .unwrap();
    let offered = fresh.second_factor(id).await.unwrap().unwrap();
    assert_eq!(
        (offered.sealed.as_str(), offered.confirmed_ms),
        ("sealed-2", None)
    );
    assert!(!fresh.use_code_of_step(id, 6).await.unwrap());
    let codes = ["r1".to_owned(), "r2".to_owned()];
    let confirm = || fresh.confirm_second_factor(id, 5, &codes, None, entry("factor"));
    confirm().await.unwrap();
    assert!(confirm().await.is_err());
    assert!(
        fresh
            .offer_second_factor(id, "sealed-3", None, NOW)
            .await
            .is_err()
    );
    assert_eq!(fresh.users_with_second_factor().await.unwrap(), [id]);
    assert!(!fresh.use_code_of_step(id, 5).await.unwrap());
    assert!(fresh.use_code_of_step(id, 7).await.unwrap());
    assert!(!fresh.use_code_of_step(id, 6).await.unwrap());
    assert!(
        fresh
            .use_recovery_code(id, "r1", entry("recovery"))
            .await
            .unwrap()
    );
    assert!(
        !fresh
            .use_recovery_code(id, "r1", entry("recovery"))
            .await
            .unwrap()
    );
    for one in ["this one", "another"] {
        let begun = session(one, id);
        fresh
            .create_web_session(&begun, None, entry("s"))
            .await
            .unwrap();
    }
    fresh
        .remove_second_factor(id, "this one", None, entry("factor"))
        .await
        .unwrap();
    assert!(fresh.web_session("this one", NOW).await.unwrap().is_some());
    assert_eq!(fresh.web_session("another", NOW).await.unwrap(), None);
    assert_eq!(fresh.second_factor(id).await.unwrap(), None);
    assert!(
        !fresh
            .use_recovery_code(id, "r2", entry("recovery"))
            .await
            .unwrap()
    );
}
