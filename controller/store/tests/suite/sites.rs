//! The organisation tree as people change it: one site at a time and by lists, with its history.

use xiezhi_model::*;
use xiezhi_store::{ImportState, NewApiToken, Older, SiteError, SiteHistoryEntry, SiteUse, Store};

use crate::support::*;

async fn history(store: &Store, site: SiteId) -> Vec<SiteHistoryEntry> {
    store.site_history(site, None, 100).await.unwrap()
}

async fn site(store: &Store, id: SiteId) -> Site {
    store.site(id).await.unwrap().unwrap()
}

fn wanted(site: &Site, parent: Option<&str>) -> NewSite {
    NewSite {
        key: site.key.clone(),
        name: site.name.clone(),
        tier: site.tier,
        parent: parent.map(str::to_owned),
        court_code: site.court_code.clone(),
    }
}

#[tokio::test]
async fn a_site_is_made_renamed_and_moved_and_its_history_says_where_it_stood() {
    let fresh = fresh().await;
    let [_, court, other, _] = province(&fresh).await;
    let mut new = new_site("gs-01-02", Tier::BasicCourt, Some("gs-01"));
    let made = fresh.create_site(&new, entry("site.create")).await.unwrap();
    assert_eq!(made.parent, Some(court));
    let taken = fresh.create_site(&new, entry("site.create")).await;
    assert!(matches!(taken, Err(SiteError::Taken(key)) if key == "gs-01-02"));

    new.name = "城关区法院".to_owned();
    let before = fresh.authority_changes().await.unwrap();
    let renamed = fresh
        .change_site(&new, false, made.version, entry("site.change"))
        .await;
    let renamed = renamed.unwrap();
    new.parent = Some("gs-02".to_owned());
    let late = fresh
        .change_site(&new, false, made.version, entry("site.change"))
        .await;
    assert!(matches!(late, Err(SiteError::Stale)), "{late:?}");
    let moved = fresh
        .change_site(&new, false, renamed.version, entry("site.change"))
        .await;
    let moved = moved.unwrap();
    assert_eq!(moved.parent, Some(other));
    assert!(
        fresh.authority_changes().await.unwrap() > before,
        "scopes moved"
    );
    let same = fresh
        .change_site(&new, false, moved.version, entry("site.change"))
        .await;
    assert_eq!(
        same.unwrap(),
        moved,
        "what changes nothing is not written down"
    );

    let entries = history(&fresh, made.id).await;
    let actions: Vec<&str> = entries.iter().map(|one| one.action.as_str()).collect();
    assert_eq!(actions, ["move", "change", "create"]);
    let stood = &entries[0].changes[0];
    assert_eq!(
        (stood.field, stood.before.as_str(), stood.after.as_str()),
        (SiteField::Parent, "gs-01", "gs-02")
    );
    assert_eq!(
        fresh
            .site_history(made.id, Some(entries[0].id), 1)
            .await
            .unwrap(),
        entries[1..2]
    );
    let audited = fresh.audit(&Default::default()).await.unwrap();
    assert_eq!(audited[0].action, "site.move");
    assert_eq!(audited[0].subject, format!("site:{}", made.id));
    assert_eq!(audited[0].detail["from"], "gs-01");
}

#[tokio::test]
async fn what_would_break_the_tree_is_refused_with_words() {
    let fresh = fresh().await;
    let [root, court, ..] = province(&fresh).await;
    let (root, court) = (site(&fresh, root).await, site(&fresh, court).await);
    let cases = [
        (wanted(&root, Some("gs-01")), "cannot stand below"),
        (wanted(&court, Some("gs-02")), "cannot stand below"),
        (wanted(&court, Some("nowhere")), "no site has the id"),
        (wanted(&court, Some("gs-01")), "circle"),
    ];
    for (wanted, expected) in cases {
        let version = if wanted.key == "gs" {
            root.version
        } else {
            court.version
        };
        let error = fresh
            .change_site(&wanted, false, version, entry("site.change"))
            .await;
        let error = error.unwrap_err();
        assert!(matches!(error, SiteError::Refused { .. }), "{error:?}");
        let told = error.to_string();
        assert!(told.contains(expected), "{told}");
    }
    assert_eq!(site(&fresh, court.id).await, court);
}

#[tokio::test]
async fn a_site_is_retired_when_nothing_in_use_is_there_and_comes_back() {
    let fresh = fresh().await;
    let [_, court, other, tribunal] = province(&fresh).await;
    enrolled(&fresh, other).await;
    let at_court = site(&fresh, court).await;
    let retire = wanted(&at_court, Some("gs"));
    let refused = fresh
        .change_site(&retire, true, at_court.version, entry("site.change"))
        .await;
    assert!(
        matches!(&refused, Err(SiteError::StillUsed(uses)) if *uses == [(SiteUse::Sites, 1)]),
        "{refused:?}"
    );
    let at_other = site(&fresh, other).await;
    let refused = fresh
        .change_site(
            &wanted(&at_other, Some("gs")),
            true,
            at_other.version,
            entry("site.change"),
        )
        .await;
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("1 hosts"), "{told}");

    let below = site(&fresh, tribunal).await;
    let retired = fresh
        .change_site(
            &wanted(&below, Some("gs-01")),
            true,
            below.version,
            entry("site.change"),
        )
        .await
        .unwrap();
    assert_eq!(retired.retired_ms, Some(NOW));
    let gone = fresh
        .change_site(&retire, true, at_court.version, entry("site.change"))
        .await;
    gone.unwrap();
    let early = fresh
        .change_site(
            &wanted(&below, Some("gs-01")),
            false,
            retired.version,
            entry("site.change"),
        )
        .await;
    assert!(early.unwrap_err().to_string().contains("is retired"));
    // A list that names both brings both back.
    let both = [
        new_site("gs-01-t", Tier::Tribunal, Some("gs-01")),
        new_site("gs-01", Tier::IntermediateCourt, Some("gs")),
    ];
    let done = fresh
        .import_sites(&both, entry("sites.import"))
        .await
        .unwrap();
    assert_eq!((done.added, done.changed), (0, 2));
    assert_eq!(history(&fresh, tribunal).await[0].action, "restore");
}

fn rows(sites: &[NewSite]) -> Vec<SiteRow> {
    let row = |(at, site): (usize, &NewSite)| SiteRow {
        line: at as u32 + 2,
        site: site.clone(),
        retired: false,
    };
    sites.iter().enumerate().map(row).collect()
}

async fn import(store: &Store, sites: &[NewSite]) -> i64 {
    let rows = rows(sites);
    let (_, digest) = store.plan_sites(&rows).await.unwrap();
    let id = store
        .keep_site_import("法院.xlsx", "[]", entry("sites.upload"))
        .await
        .unwrap();
    let done = store
        .apply_site_import(id, &rows, &digest, entry("sites.import"))
        .await;
    assert_eq!(done.unwrap().state, ImportState::Applied);
    id
}

#[tokio::test]
async fn an_import_is_done_as_it_was_seen_and_taken_back_whole() {
    let fresh = fresh().await;
    let [_, court, other, tribunal] = province(&fresh).await;
    let before = fresh.sites().await.unwrap();
    let list = [
        new_site("n-t", Tier::Tribunal, Some("n")),
        new_site("n", Tier::BasicCourt, Some("gs-02")),
        new_site("gs-01-t", Tier::Tribunal, Some("n")),
    ];
    let seen = rows(&list);
    let (plan, digest) = fresh.plan_sites(&seen).await.unwrap();
    assert_eq!((plan.added(), plan.moved()), (2, 1));
    let id = fresh
        .keep_site_import("a.csv", "[]", entry("sites.upload"))
        .await
        .unwrap();
    let other_digest = fresh
        .apply_site_import(id, &seen, "x", entry("sites.import"))
        .await;
    assert!(
        matches!(other_digest, Err(SiteError::Moved)),
        "{other_digest:?}"
    );
    // Somebody moves one of the sites meanwhile.
    let there = site(&fresh, tribunal).await;
    let moved = fresh
        .change_site(
            &wanted(&there, Some("gs-02")),
            false,
            there.version,
            entry("site.change"),
        )
        .await
        .unwrap();
    let late = fresh
        .apply_site_import(id, &seen, &digest, entry("sites.import"))
        .await;
    assert!(matches!(late, Err(SiteError::Moved)), "{late:?}");
    let back = wanted(&there, Some("gs-01"));
    fresh
        .change_site(&back, false, moved.version, entry("site.change"))
        .await
        .unwrap();
    let asked_ms = entry("sites.upload").time_ms;
    let mut later = entry("sites.import");
    later.time_ms = asked_ms + 86_400_000 + 1;
    let late = fresh.apply_site_import(id, &seen, &digest, later).await;
    assert!(matches!(late, Err(SiteError::Over)), "{late:?}");
    fresh
        .apply_site_import(id, &seen, &digest, entry("sites.import"))
        .await
        .unwrap();
    let tree = fresh.site_tree().await.unwrap();
    assert_eq!(tree.ancestors(tribunal).len(), 3);
    let twice = fresh
        .apply_site_import(id, &seen, &digest, entry("sites.import"))
        .await;
    assert!(matches!(twice, Err(SiteError::Over)), "{twice:?}");

    let undone = fresh
        .undo_site_import(id, entry("sites.undo"))
        .await
        .unwrap();
    assert_eq!(undone.state, ImportState::Undone);
    let plain = |sites: Vec<Site>| -> Vec<Site> {
        sites
            .into_iter()
            .map(|site| Site { version: 0, ..site })
            .collect()
    };
    assert_eq!(plain(fresh.sites().await.unwrap()), plain(before));
    let entries = history(&fresh, tribunal).await;
    assert_eq!(entries[0].action, "undo");
    assert_eq!(entries[0].changes[0].after, "gs-01");
    assert_eq!(
        fresh.site_imports(Older::default()).await.unwrap()[0]
            .done
            .added,
        2
    );
    let _ = (court, other);
}

#[tokio::test]
async fn an_import_stays_once_something_of_it_was_changed_or_used() {
    let fresh = fresh().await;
    province(&fresh).await;
    let list = [new_site("n", Tier::BasicCourt, Some("gs-02"))];
    let id = import(&fresh, &list).await;
    let new = fresh.site_by_key("n").await.unwrap().unwrap();
    enrolled(&fresh, new.id).await;
    let used = fresh.undo_site_import(id, entry("sites.undo")).await;
    assert!(
        matches!(&used, Err(SiteError::NotUndone(rows))
            if rows[0].word == "hosts" && rows[0].why.contains("retire the site instead")),
        "{used:?}"
    );
    let mut renamed = wanted(&new, Some("gs-02"));
    renamed.name = "新名".to_owned();
    fresh
        .change_site(&renamed, false, new.version, entry("site.change"))
        .await
        .unwrap();
    let changed = fresh.undo_site_import(id, entry("sites.undo")).await;
    assert!(
        matches!(&changed, Err(SiteError::NotUndone(rows)) if rows[0].why == "changed since"),
        "{changed:?}"
    );
    assert!(fresh.site_by_key("n").await.unwrap().is_some());
}

/// The first day goes wrong, and is taken back in the order in which it was done, the other way round.
#[tokio::test]
async fn courts_go_once_the_rooms_that_were_imported_for_them_are_taken_back() {
    let fresh = fresh().await;
    let [_, _, above, _] = province(&fresh).await;
    let list = [
        new_site("n", Tier::BasicCourt, Some("gs-02")),
        new_site("n-t", Tier::Tribunal, Some("n")),
    ];
    let id = import(&fresh, &list).await;
    let new = fresh.site_by_key("n").await.unwrap().unwrap().id;
    let tribunal = fresh.site_by_key("n-t").await.unwrap().unwrap().id;
    let rows = [
        crate::register::row(2, new, &[(Field::Code, "A-1"), (Field::Name, "电话")]),
        crate::register::row(3, tribunal, &[(Field::Code, "A-2"), (Field::Name, "电话")]),
    ];
    let rooms = crate::register::imported(&fresh, &rows).await.unwrap();
    let refused = fresh.undo_site_import(id, entry("sites.undo")).await;
    let Err(SiteError::NotUndone(told)) = refused else {
        panic!("{refused:?}");
    };
    let told: Vec<_> = told
        .iter()
        .map(|one| (one.code.as_str(), one.word))
        .collect();
    assert_eq!(told, [("n", "register"), ("n-t", "register")]);
    fresh
        .undo_import(rooms, entry("register.undo"))
        .await
        .unwrap();
    // One that waits has its reader's decision to come.
    let asked = entry("register.upload");
    let sites = [new].into();
    let waits = fresh.keep_import(RegisterKind::Asset, "资产.xlsx", "[]", &sites, asked);
    let waits = waits.await.unwrap();
    let refused = fresh.undo_site_import(id, entry("sites.undo")).await;
    assert!(
        matches!(&refused, Err(SiteError::NotUndone(told)) if told.len() == 1 && told[0].word == "imports"),
        "{refused:?}"
    );
    let mut late = entry("register.upload");
    late.time_ms += 2 * DAY;
    let other = [above].into();
    let kept = fresh.keep_import(RegisterKind::Asset, "b", "[]", &other, late);
    kept.await.unwrap();
    let province = Scope::Province;
    assert_eq!(
        fresh.import(waits, &province).await.unwrap(),
        None,
        "forgotten"
    );
    fresh
        .undo_site_import(id, entry("sites.undo"))
        .await
        .unwrap();
    assert_eq!(fresh.site_by_key("n").await.unwrap(), None);
    assert_eq!(fresh.site_by_key("n-t").await.unwrap(), None);
    // What was done and taken back is on record where it was seen before, and nowhere else.
    let of = |site: SiteId| Scope::Sites(std::sync::Arc::new([site].into()));
    let file = fresh.import(rooms, &of(above)).await.unwrap();
    assert_eq!(file.unwrap().0.state, ImportState::Undone);
    assert_eq!(fresh.import(rooms, &of(SiteId(999))).await.unwrap(), None);
}

/// The same where one list made the whole tree: nothing above the courts stays.
#[tokio::test]
async fn a_whole_tree_goes_and_the_provinces_readers_alone_keep_its_files() {
    let fresh = fresh().await;
    let list = [
        new_site("p", Tier::HighCourt, None),
        new_site("p-1", Tier::IntermediateCourt, Some("p")),
    ];
    let id = import(&fresh, &list).await;
    let [top, court] = [
        fresh.site_by_key("p").await.unwrap().unwrap().id,
        fresh.site_by_key("p-1").await.unwrap().unwrap().id,
    ];
    let rows = [
        crate::register::row(2, top, &[(Field::Code, "A-1"), (Field::Name, "电话")]),
        crate::register::row(3, court, &[(Field::Code, "A-2"), (Field::Name, "电话")]),
    ];
    let rooms = crate::register::imported(&fresh, &rows).await.unwrap();
    fresh
        .undo_import(rooms, entry("register.undo"))
        .await
        .unwrap();
    // What waits holds its site while somebody may decide on it, and no longer.
    let (asked, of) = (entry("register.upload"), [court].into());
    let waits = fresh.keep_import(RegisterKind::Asset, "a", "[]", &of, asked);
    let waits = waits.await.unwrap();
    let mut undo = entry("sites.undo");
    let refused = fresh.undo_site_import(id, undo.clone()).await;
    assert!(
        matches!(refused, Err(SiteError::NotUndone(_))),
        "{refused:?}"
    );
    undo.time_ms += DAY + 1;
    let undone = fresh.undo_site_import(id, undo).await;
    assert_eq!(undone.unwrap().state, ImportState::Undone);
    assert_eq!(fresh.import(waits, &Scope::Province).await.unwrap(), None);
    assert_eq!(fresh.site_by_key("p").await.unwrap(), None);
    let kept = fresh.import(rooms, &Scope::Province).await.unwrap();
    assert_eq!(kept.unwrap().0.state, ImportState::Undone);
    // Its sites are named no more, which must not make it everybody's.
    for sites in [vec![], vec![top], vec![top, court]] {
        let scope = Scope::Sites(std::sync::Arc::new(sites.into_iter().collect()));
        assert_eq!(fresh.import(rooms, &scope).await.unwrap(), None);
        let page = xiezhi_store::Older::default();
        assert_eq!(fresh.imports(&scope, page).await.unwrap(), []);
    }
}

#[tokio::test]
async fn two_changes_that_together_make_a_circle_are_not_both_done() {
    let fresh = fresh().await;
    province(&fresh).await;
    let places = [
        new_site("x", Tier::Other, Some("gs")),
        new_site("y", Tier::Other, Some("gs")),
    ];
    fresh
        .import_sites(&places, entry("sites.import"))
        .await
        .unwrap();
    // The preview is of a tree in which y does not stand below x yet.
    let seen = rows(&[new_site("x", Tier::Other, Some("y"))]);
    let (plan, digest) = fresh.plan_sites(&seen).await.unwrap();
    assert_eq!(plan.problems, []);
    let id = fresh
        .keep_site_import("a", "[]", entry("sites.upload"))
        .await
        .unwrap();
    let y = fresh.site_by_key("y").await.unwrap().unwrap();
    let below = wanted(&y, Some("x"));
    fresh
        .change_site(&below, false, y.version, entry("site.change"))
        .await
        .unwrap();
    let late = fresh
        .apply_site_import(id, &seen, &digest, entry("sites.import"))
        .await;
    assert!(matches!(late, Err(SiteError::Moved)), "{late:?}");
    assert!(fresh.site_tree().await.unwrap().sites_below(y.id) == 0);
}

/// Anybody makes a token for themselves, who may change nothing of the tree.
#[tokio::test]
async fn a_token_that_acts_for_an_account_keeps_no_site() {
    let fresh = fresh().await;
    province(&fresh).await;
    let list = [
        new_site("n", Tier::BasicCourt, Some("gs-02")),
        new_site("n-t", Tier::Tribunal, Some("n")),
    ];
    let id = import(&fresh, &list).await;
    let new = fresh.site_by_key("n").await.unwrap().unwrap().id;
    let tribunal = fresh.site_by_key("n-t").await.unwrap().unwrap();
    let reader = crate::accounts::holding("reader", &[Grant::province(Role::ReadOnly)]);
    let made = fresh.create_user(&reader, None, entry("user.create")).await;
    let user = made.unwrap().user;
    let on_behalf = OnBehalf {
        user: user.id,
        role: Role::ReadOnly,
    };
    for (name, site) in [("valid", tribunal.id), ("withdrawn", new)] {
        let token = NewApiToken {
            name: name.to_owned(),
            secret_hash: name.to_owned(),
            right: ApiRight::UseApi,
            site: Some(site),
            expires_ms: NOW + DAY,
        };
        let audit = entry("api_token.create");
        let made = fresh.create_own_api_token(&token, on_behalf, &user.password_hash, audit);
        let made = made.await.unwrap();
        if name == "withdrawn" {
            let audit = entry("api_token.revoke");
            let done = fresh.revoke_own_api_token(user.id, made.id, audit);
            done.await.unwrap();
        }
    }
    let retire = wanted(&tribunal, Some("n"));
    let retired = fresh.change_site(&retire, true, tribunal.version, entry("site.change"));
    let retired = retired.await.unwrap();
    let back = fresh.change_site(&retire, false, retired.version, entry("site.change"));
    back.await.unwrap();
    let other = import(&fresh, &[new_site("m", Tier::BasicCourt, Some("gs-02"))]).await;
    let here = fresh.site_by_key("m").await.unwrap().unwrap().id;
    let token = NewApiToken {
        name: "there".to_owned(),
        secret_hash: "there".to_owned(),
        right: ApiRight::UseApi,
        site: Some(here),
        expires_ms: NOW + DAY,
    };
    let audit = entry("api_token.create");
    let made = fresh.create_own_api_token(&token, on_behalf, &user.password_hash, audit);
    made.await.unwrap();
    fresh
        .undo_site_import(other, entry("sites.undo"))
        .await
        .unwrap();
    assert_eq!(fresh.site_by_key("m").await.unwrap(), None);
    assert_eq!(fresh.api_token_by_hash("there").await.unwrap(), None);
    assert!(fresh.api_token_by_hash("valid").await.unwrap().is_some());
    // The first list's courts were changed since: nothing of theirs went.
    drop(fresh.undo_site_import(id, entry("sites.undo")).await);
    assert!(fresh.site_by_key("n").await.unwrap().is_some());
}
