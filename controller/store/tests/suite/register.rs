//! The register: items, their history, imports and taking them back.

use std::collections::BTreeSet;
use std::sync::Arc;

use xiezhi_model::*;
use xiezhi_store::{ImportRow, ImportState, Older, RegisterError, RegisterQuery, Store};

use crate::support::*;

use RegisterKind::{Asset, Room, Staff};

fn values(given: &[(Field, &str)]) -> Values {
    let owned = given
        .iter()
        .map(|(field, text)| (*field, (*text).to_owned()));
    owned.collect()
}

pub(crate) fn named(code: &str, name: &str) -> Values {
    let given = [
        (Field::Code, code),
        (Field::Name, name),
        (Field::State, "in_use"),
    ];
    values(&given)
}

pub(crate) async fn made(store: &Store, kind: RegisterKind, site: SiteId, values: &Values) -> Item {
    let made = store.create_item(kind, site, values, entry("register.create"));
    made.await.unwrap()
}

pub(crate) fn row(line: u32, site: SiteId, given: &[(Field, &str)]) -> ImportRow {
    let values = values(given);
    ImportRow { line, site, values }
}

/// Keeps, plans and applies an import of assets.
pub(crate) async fn imported(store: &Store, rows: &[ImportRow]) -> Result<i64, RegisterError> {
    imported_as(store, Asset, rows).await
}

pub(crate) async fn imported_as(
    store: &Store,
    kind: RegisterKind,
    rows: &[ImportRow],
) -> Result<i64, RegisterError> {
    let sites = rows.iter().map(|row| row.site).collect();
    let asked = entry("register.upload");
    let kept = store.keep_import(kind, "资产.xlsx", "[]", &sites, asked);
    let id = kept.await?;
    let digest = store.plan_import(kind, rows).await?.digest();
    let done = store.apply_import(id, rows, &digest, entry("register.import"));
    done.await.map(|import| import.id)
}

pub(crate) async fn codes(store: &Store, query: &RegisterQuery, scope: &Scope) -> Vec<String> {
    let page = store.register_page(Asset, query, scope).await.unwrap();
    let code = |item: &Item| format!("{}/{}", item.site, item.value(Field::Code));
    page.items.iter().map(code).collect()
}

#[tokio::test]
async fn an_item_is_made_changed_and_retired_and_its_history_says_by_whom_and_what() {
    let fresh = fresh().await;
    let [root, court, ..] = province(&fresh).await;
    made(&fresh, Room, court, &named("301", "机房")).await;
    made(&fresh, Staff, court, &named("7", "王芳")).await;
    let mut wanted = named("A-1", "核心交换机\0");
    wanted.insert(Field::Room, "301".to_owned());
    let asset = made(&fresh, Asset, court, &wanted).await;
    assert_eq!(asset.value(Field::Name), "核心交换机 ");

    wanted.insert(Field::Owner, "7".to_owned());
    wanted.insert(Field::State, "repair".to_owned());
    let changed = fresh
        .change_item(&asset, court, &wanted, entry("register.change"))
        .await
        .unwrap();
    let again = fresh.change_item(&asset, court, &wanted, entry("x")).await;
    assert!(matches!(again, Err(RegisterError::Stale)), "{again:?}");
    let same = fresh
        .change_item(&changed, court, &wanted, entry("x"))
        .await;
    assert_eq!(
        same.unwrap(),
        changed,
        "what changes nothing leaves no trace"
    );

    let found = fresh.register_item(Asset, asset.id, &Scope::Province).await;
    assert_eq!(found.unwrap().as_ref(), Some(&changed));
    let elsewhere = Scope::Sites(Arc::new([root].into()));
    let hidden = fresh.register_item(Asset, asset.id, &elsewhere).await;
    assert_eq!(hidden.unwrap(), None);
    let history = fresh.register_history(asset.id, None, 10).await.unwrap();
    let told: Vec<&str> = history.iter().map(|one| one.action.as_str()).collect();
    assert_eq!(told, ["change", "create"]);
    let fields: Vec<_> = history[0]
        .changes
        .iter()
        .map(|change| {
            (
                change.field.unwrap().word(),
                change.before.as_str(),
                change.after.as_str(),
            )
        })
        .collect();
    let expected = [
        ("name", "核心交换机 ", "核心交换机 "),
        ("owner", "", "7"),
        ("state", "in_use", "repair"),
    ];
    assert_eq!(fields, expected[1..]);
    assert_eq!(history[0].actor, "console");
    let audit = fresh.audit(&Default::default()).await.unwrap();
    assert_eq!(audit[0].action, "register.change");
    assert_eq!(audit[0].detail["code"], "A-1");
}

#[tokio::test]
async fn what_cannot_be_so_is_refused() {
    let fresh = fresh().await;
    let [_, court, other, _] = province(&fresh).await;
    let room = made(&fresh, Room, court, &named("301", "机房")).await;
    let mut wanted = named("A-1", "服务器");
    wanted.insert(Field::Room, "301".to_owned());
    let asset = made(&fresh, Asset, court, &wanted).await;

    let twice = fresh.create_item(Asset, court, &wanted, entry("x")).await;
    assert!(
        matches!(twice, Err(RegisterError::Taken { .. })),
        "{twice:?}"
    );
    // The same code at another court is another thing, but the room is not there.
    let away = fresh.create_item(Asset, other, &wanted, entry("x")).await;
    assert!(
        matches!(
            away,
            Err(RegisterError::Unknown {
                field: Field::Room,
                ..
            })
        ),
        "{away:?}"
    );
    let moved = fresh.change_item(&asset, other, &wanted, entry("x")).await;
    assert!(
        matches!(moved, Err(RegisterError::Unknown { .. })),
        "{moved:?}"
    );
    let mut renamed = wanted.clone();
    renamed.insert(Field::Code, "A-2".to_owned());
    let renamed = fresh.change_item(&asset, court, &renamed, entry("x")).await;
    assert!(
        matches!(renamed, Err(RegisterError::CodeStays)),
        "{renamed:?}"
    );

    let mut retired = room.values.clone();
    retired.insert(Field::State, "retired".to_owned());
    let kept = fresh.change_item(&room, court, &retired, entry("x")).await;
    assert!(
        matches!(kept, Err(RegisterError::StillNamed { count: 1 })),
        "{kept:?}"
    );
    wanted.remove(&Field::Room);
    let free = fresh
        .change_item(&asset, other, &wanted, entry("register.change"))
        .await;
    let history = fresh
        .register_history(free.unwrap().id, None, 1)
        .await
        .unwrap();
    assert_eq!(history[0].changes[0].field, None);
    fresh
        .change_item(&room, court, &retired, entry("x"))
        .await
        .unwrap();
    wanted.insert(Field::Room, "301".to_owned());
    let gone = fresh.create_item(Asset, court, &wanted, entry("x")).await;
    assert!(
        matches!(gone, Err(RegisterError::Unknown { .. })),
        "{gone:?}"
    );
}

#[tokio::test]
async fn pages_follow_one_another_within_a_scope_whatever_is_asked() {
    let fresh = fresh().await;
    let [root, court, other, tribunal] = province(&fresh).await;
    let mut rows = Vec::new();
    for (at, site) in [root, court, other, tribunal].into_iter().enumerate() {
        for number in 0..7 {
            let code = format!("A-{number}");
            let serial = format!("SN{at}{number}_X");
            let state = if number % 3 == 0 { "repair" } else { "in_use" };
            let given = [
                (Field::Code, code.as_str()),
                (Field::Name, "打印机"),
                (Field::Serial, &serial),
                (Field::State, state),
            ];
            rows.push(row(rows.len() as u32 + 2, site, &given));
        }
    }
    imported(&fresh, &rows).await.unwrap();
    let two: BTreeSet<SiteId> = [court, tribunal].into();
    let scopes = [Scope::Province, Scope::Sites(Arc::new(two.clone()))];
    for scope in &scopes {
        for sites in [None, Some(two.clone()), Some([other].into())] {
            for state in [None, Some("repair".to_owned())] {
                let query = RegisterQuery {
                    sites: sites.clone(),
                    state,
                    limit: 1000,
                    ..RegisterQuery::default()
                };
                let whole = codes(&fresh, &query, scope).await;
                let mut paged = Vec::new();
                let mut after = None;
                loop {
                    let query = RegisterQuery {
                        after,
                        limit: 3,
                        ..query.clone()
                    };
                    let page = fresh.register_page(Asset, &query, scope).await.unwrap();
                    paged.extend(codes(&fresh, &query, scope).await);
                    after = page.next.map(|next| next.to_string().parse().unwrap());
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(paged, whole, "{query:?} in {scope:?}");
                let mut sorted = whole.clone();
                sorted.sort();
                sorted.dedup();
                assert_eq!(sorted, whole);
                let of = |site: &SiteId| {
                    sites.as_ref().is_none_or(|sites| sites.contains(site)) && scope.sees(*site)
                };
                let seen = [root, court, other, tribunal]
                    .iter()
                    .filter(|site| of(site))
                    .count();
                let each = if query.state.is_some() { 3 } else { 7 };
                assert_eq!(whole.len(), seen * each);
                let counted = fresh.register_count(Asset, &query, scope).await.unwrap();
                assert_eq!(counted, whole.len() as u64, "{query:?} in {scope:?}");
            }
        }
    }
    let find = |text: &str| RegisterQuery {
        text: Some(text.to_owned()),
        ..Default::default()
    };
    assert_eq!(
        codes(&fresh, &find("sn13_"), &scopes[0]).await,
        [format!("{court}/A-3")]
    );
    assert_eq!(codes(&fresh, &find("打印"), &scopes[1]).await.len(), 14);
    assert_eq!(codes(&fresh, &find("%"), &scopes[0]).await, [""; 0]);
}

#[tokio::test]
async fn an_import_adds_changes_and_leaves_and_can_be_taken_back_whole() {
    let fresh = fresh().await;
    let [_, court, ..] = province(&fresh).await;
    made(&fresh, Room, court, &named("301", "机房")).await;
    let mut old = named("A-1", "服务器");
    old.insert(Field::Serial, "S1".to_owned());
    let kept = made(&fresh, Asset, court, &old).await;
    made(&fresh, Asset, court, &named("A-2", "打印机")).await;
    let rows = [
        // No name here: it stays. The serial number goes.
        row(
            2,
            court,
            &[
                (Field::Code, "A-1"),
                (Field::Serial, ""),
                (Field::Room, "301"),
            ],
        ),
        row(3, court, &[(Field::Code, "A-2"), (Field::Name, "打印机")]),
        row(4, court, &[(Field::Code, "A-3"), (Field::Name, "电话")]),
    ];
    let plan = fresh.plan_import(Asset, &rows).await.unwrap();
    assert_eq!((plan.added(), plan.rows.len(), plan.unchanged), (1, 2, 1));
    let id = imported(&fresh, &rows).await.unwrap();
    let changed = fresh
        .register_item(Asset, kept.id, &Scope::Province)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(changed.value(Field::Name), "服务器");
    assert_eq!(
        (changed.value(Field::Serial), changed.value(Field::Room)),
        ("", "301")
    );
    let history = fresh.register_history(kept.id, None, 10).await.unwrap();
    assert_eq!((history[0].import, history[1].import), (Some(id), None));

    let undone = fresh.undo_import(id, entry("register.undo")).await.unwrap();
    assert_eq!(
        (undone.state, undone.added, undone.changed),
        (ImportState::Undone, 1, 1)
    );
    let back = fresh
        .register_item(Asset, kept.id, &Scope::Province)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(back.values, kept.values);
    let all = codes(&fresh, &RegisterQuery::default(), &Scope::Province).await;
    assert_eq!(all, [format!("{court}/A-1"), format!("{court}/A-2")]);
    let twice = fresh.undo_import(id, entry("x")).await;
    assert!(matches!(twice, Err(RegisterError::Over)), "{twice:?}");
}

#[tokio::test]
async fn an_import_is_not_done_otherwise_than_it_was_seen() {
    let fresh = fresh().await;
    let [_, court, ..] = province(&fresh).await;
    let rows = [
        row(2, court, &[(Field::Code, "A-1")]),
        row(
            3,
            court,
            &[(Field::Code, "A-2"), (Field::Name, "a"), (Field::Room, "9")],
        ),
    ];
    let plan = fresh.plan_import(Asset, &rows).await.unwrap();
    let told: Vec<_> = plan
        .problems
        .iter()
        .map(|one| (one.line, one.field, &one.problem))
        .collect();
    let unknown = RowProblem::Unknown("9".to_owned());
    assert_eq!(
        told,
        [
            (2, Some(Field::Name), &RowProblem::Empty),
            (3, Some(Field::Room), &unknown)
        ]
    );
    let refused = imported(&fresh, &rows).await;
    assert!(matches!(refused, Err(RegisterError::Moved)), "{refused:?}");

    let rows = [row(2, court, &[(Field::Code, "A-1"), (Field::Name, "a")])];
    let digest = fresh.plan_import(Asset, &rows).await.unwrap().digest();
    let (sites, asked) = ([court].into(), entry("x"));
    let kept = fresh.keep_import(Asset, "f", "[]", &sites, asked);
    let id = kept.await.unwrap();
    made(&fresh, Asset, court, &named("A-1", "b")).await;
    let other = fresh.apply_import(id, &rows, &digest, entry("x")).await;
    assert!(matches!(other, Err(RegisterError::Moved)), "{other:?}");
    let seen = fresh
        .imports(&Scope::Sites(Arc::new([court].into())), Older::default())
        .await
        .unwrap();
    assert_eq!(seen.len(), 2, "both wait still");
    let elsewhere = Scope::Sites(Arc::new([SiteId(999)].into()));
    assert_eq!(
        fresh.imports(&elsewhere, Older::default()).await.unwrap(),
        []
    );
    assert_eq!(fresh.import(id, &elsewhere).await.unwrap(), None);
}

#[tokio::test]
async fn what_was_changed_since_is_not_taken_back_and_named_by_its_row() {
    let fresh = fresh().await;
    let [_, court, ..] = province(&fresh).await;
    let rows = [
        row(2, court, &[(Field::Code, "A-1"), (Field::Name, "a")]),
        row(5, court, &[(Field::Code, "A-2"), (Field::Name, "b")]),
    ];
    let id = imported(&fresh, &rows).await.unwrap();
    let page = fresh
        .register_page(Asset, &RegisterQuery::default(), &Scope::Province)
        .await;
    let item = &page.unwrap().items[1];
    let mut values = item.values.clone();
    values.insert(Field::Note, "移交".to_owned());
    fresh
        .change_item(item, court, &values, entry("x"))
        .await
        .unwrap();
    let Err(RegisterError::NotUndone(rows)) = fresh.undo_import(id, entry("x")).await else {
        panic!("it was undone");
    };
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.line, row.code.as_str()))
        .collect();
    assert_eq!(told, [(5, "A-2")]);
    assert_eq!(
        codes(&fresh, &RegisterQuery::default(), &Scope::Province)
            .await
            .len(),
        2
    );
}

/// Uploads a file that waits.
async fn uploaded(store: &Store, court: SiteId, actor: &str, time_ms: i64) -> i64 {
    let actor = Actor::User(actor.to_owned());
    let entry = AuditEntry::new(time_ms, actor, "register.upload", "");
    let sites = [court].into();
    let kept = store.keep_import(Asset, "f", "[]", &sites, entry);
    kept.await.unwrap()
}

#[tokio::test]
async fn a_file_that_nobody_decides_on_is_forgotten_after_a_day() {
    let fresh = fresh().await;
    let [_, court, ..] = province(&fresh).await;
    let old = uploaded(&fresh, court, "a", NOW).await;
    uploaded(&fresh, court, "b", NOW + DAY).await;
    assert!(fresh.import(old, &Scope::Province).await.unwrap().is_some());
    uploaded(&fresh, court, "b", NOW + DAY + 1).await;
    assert_eq!(fresh.import(old, &Scope::Province).await.unwrap(), None);
}

#[tokio::test]
async fn what_waited_for_more_than_a_day_is_not_done_any_more() {
    let fresh = fresh().await;
    let [_, court, ..] = province(&fresh).await;
    let id = uploaded(&fresh, court, "a", NOW).await;
    let rows = [row(2, court, &[(Field::Code, "A-1"), (Field::Name, "a")])];
    let digest = fresh.plan_import(Asset, &rows).await.unwrap().digest();
    let at = |time_ms| AuditEntry::new(time_ms, Actor::Console, "register.import", "x");
    let late = fresh.apply_import(id, &rows, &digest, at(NOW + DAY + 1));
    let late = late.await;
    assert!(matches!(late, Err(RegisterError::Over)), "{late:?}");
    let there = codes(&fresh, &RegisterQuery::default(), &Scope::Province).await;
    assert!(there.is_empty());
    let done = fresh.apply_import(id, &rows, &digest, at(NOW + DAY));
    done.await.unwrap();
}

#[tokio::test]
async fn who_uploads_much_pushes_out_nobody_elses_file_and_the_log_says_what_went() {
    let fresh = fresh().await;
    let [_, court, other, _] = province(&fresh).await;
    let theirs = uploaded(&fresh, other, "b", NOW).await;
    let mut own = Vec::new();
    for number in 0..60 {
        own.push(uploaded(&fresh, court, "a", NOW + number).await);
    }
    let waiting = fresh
        .imports(&Scope::Province, Older::default())
        .await
        .unwrap();
    let mut expected: Vec<i64> = own.iter().rev().take(10).copied().collect();
    expected.push(theirs);
    let ids: Vec<i64> = waiting.iter().map(|import| import.id).collect();
    assert_eq!(ids, expected);
    let audit = fresh.audit(&Default::default()).await.unwrap();
    let told: Vec<_> = audit
        .iter()
        .take(2)
        .map(|one| (one.action.as_str(), one.subject.clone(), one.actor.as_str()))
        .collect();
    let gone = format!("import:{}", own[49]);
    let kept = format!("import:{}", own[59]);
    assert_eq!(
        told,
        [
            ("register.upload", kept, "user:a"),
            ("register.forget", gone, "system"),
        ]
    );
    assert_eq!(audit[1].detail["asked_by"], "user:a");

    for number in 0..12 {
        let actor = Actor::User("a".to_owned());
        let entry = AuditEntry::new(NOW + number, actor, "sites.upload", "");
        fresh.keep_site_import("f", "[]", entry).await.unwrap();
    }
    let actor = Actor::User("b".to_owned());
    let entry = AuditEntry::new(NOW, actor, "sites.upload", "");
    fresh.keep_site_import("f", "[]", entry).await.unwrap();
    assert_eq!(
        fresh.site_imports(Older::default()).await.unwrap().len(),
        11
    );
    let audit = fresh.audit(&Default::default()).await.unwrap();
    assert_eq!(
        (audit[0].action.as_str(), audit[2].action.as_str()),
        ("sites.upload", "sites.forget")
    );
}

#[tokio::test]
async fn an_import_retires_no_room_that_something_in_use_stands_in() {
    let fresh = fresh().await;
    let [_, court, other, _] = province(&fresh).await;
    for (site, code) in [(court, "301"), (court, "302"), (other, "301")] {
        made(&fresh, Room, site, &named(code, "机房")).await;
    }
    for code in ["A-1", "A-2"] {
        let mut wanted = named(code, "服务器");
        wanted.insert(Field::Room, "301".to_owned());
        made(&fresh, Asset, court, &wanted).await;
    }
    let retired = |line, site, code| {
        let state = [(Field::Code, code), (Field::State, "retired")];
        row(line, site, &state)
    };
    let rows = [
        retired(2, court, "301"),
        retired(3, court, "302"),
        retired(4, other, "301"),
    ];
    let plan = fresh.plan_import(Room, &rows).await.unwrap();
    let told: Vec<_> = plan
        .problems
        .iter()
        .map(|one| (one.line, one.field, &one.problem))
        .collect();
    let named = RowProblem::StillNamed(2);
    assert_eq!(told, [(2, Some(Field::State), &named)]);
}
