//! A retired site stays empty: nothing of the register, no account, no role and no token comes to it, even if
//! whoever asks saw it in use a moment ago.

use xiezhi_model::*;
use xiezhi_store::{AccountError, RegisterError, Store, StoreError};

use crate::register::{imported, made, named, row};
use crate::support::*;

use RegisterKind::Asset;

async fn retire(store: &Store, id: SiteId) {
    let tree = store.site_tree().await.unwrap();
    let site = tree.get(id).unwrap();
    let parent = site.parent.and_then(|parent| tree.get(parent));
    let wanted = NewSite {
        key: site.key.clone(),
        name: site.name.clone(),
        tier: site.tier,
        parent: parent.map(|parent| parent.key.clone()),
        court_code: site.court_code.clone(),
    };
    let done = store.change_site(&wanted, true, site.version, entry("site.change"));
    done.await.unwrap();
}

#[tokio::test]
async fn nothing_in_use_comes_to_a_retired_site_by_any_way() {
    let fresh = fresh().await;
    let [_, court, other, _] = province(&fresh).await;
    let is_retired =
        |error: &RegisterError| matches!(error, RegisterError::Store(StoreError::Retired(_)));
    // One asset that its own import retires, one that is moved, one that comes anew.
    made(&fresh, Asset, other, &named("A-1", "a")).await;
    let gone = [(Field::Code, "A-1"), (Field::State, "retired")];
    let undoable = imported(&fresh, &[row(2, other, &gone)]).await.unwrap();
    let moving = made(&fresh, Asset, court, &named("A-2", "b")).await;
    let rows = [row(7, other, &[(Field::Code, "A-3"), (Field::Name, "c")])];
    let asked = entry("register.upload");
    let sites = [other].into();
    let kept = fresh.keep_import(Asset, "f", "[]", &sites, asked);
    let waiting = kept.await.unwrap();
    let digest = fresh.plan_import(Asset, &rows).await.unwrap().digest();
    let below = fresh.site_tree().await.unwrap().subtree(other);
    for site in below.into_iter().rev() {
        retire(&fresh, site).await;
    }

    let plan = fresh.plan_import(Asset, &rows).await.unwrap();
    let told = &plan.problems[0];
    assert_eq!(
        (told.line, told.field, &told.problem),
        (7, None, &RowProblem::RetiredSite)
    );
    let applied = fresh
        .apply_import(waiting, &rows, &digest, entry("x"))
        .await;
    assert!(matches!(applied, Err(RegisterError::Moved)), "{applied:?}");
    let new = named("A-4", "d");
    let created = fresh.create_item(Asset, other, &new, entry("x")).await;
    assert!(is_retired(&created.unwrap_err()));
    let moved = fresh
        .change_item(&moving, other, &moving.values, entry("x"))
        .await;
    assert!(is_retired(&moved.unwrap_err()));
    let undone = fresh.undo_import(undoable, entry("x")).await;
    let Err(RegisterError::NotUndone(rows)) = undone else {
        panic!("it was undone");
    };
    assert_eq!(rows[0].why, "its site is retired by now");
    // What is retired may be written down and put in order there.
    let mut old = named("A-5", "e");
    old.insert(Field::State, "retired".to_owned());
    let old = made(&fresh, Asset, other, &old).await;
    let back = fresh
        .change_item(&old, other, &named("A-5", "e"), entry("x"))
        .await;
    assert!(is_retired(&back.unwrap_err()));
    let line = [
        (Field::Code, "A-5"),
        (Field::Name, "f"),
        (Field::State, "retired"),
    ];
    imported(&fresh, &[row(2, other, &line)]).await.unwrap();
}

#[tokio::test]
async fn nobody_gets_a_home_a_role_or_a_token_at_a_retired_site() {
    let fresh = fresh().await;
    let [_, _, _, tribunal] = province(&fresh).await;
    let mut new = new_user("old");
    new.grants = Grants::default();
    new.home = Some(tribunal);
    let made = fresh.create_user(&new, None, entry("user.create")).await;
    let old = made.unwrap().user.id;
    let disable = fresh.change_account(old, AccountChange::Disable, None, None, entry("x"));
    disable.await.unwrap();
    retire(&fresh, tribunal).await;

    let is_retired =
        |error: AccountError| matches!(error, AccountError::Store(StoreError::Retired(_)));
    let mut new = new_user("new");
    new.grants = Grants::default();
    new.home = Some(tribunal);
    let made = fresh.create_user(&new, None, entry("user.create")).await;
    assert!(is_retired(made.unwrap_err()));
    new.home = None;
    let user = fresh.create_user(&new, None, entry("user.create")).await;
    let user = user.unwrap().user.id;
    let grant = AccountChange::Grant(Grant::at(Role::Technician, tribunal));
    let granted = fresh.change_account(user, grant, None, None, entry("x"));
    assert!(is_retired(granted.await.unwrap_err()));
    // Its court is gone: whoever belonged to it gets a new account.
    let enabled = fresh.change_account(old, AccountChange::Enable, None, None, entry("x"));
    assert!(is_retired(enabled.await.unwrap_err()));
    let wanted = token("t", tribunal, 1);
    let made = fresh.create_token(&wanted, entry("x"));
    assert!(matches!(made.await, Err(StoreError::Retired(_))));
}
