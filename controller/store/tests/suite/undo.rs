//! Taking imports of the register back: what it would do, what is in the way, and that all of it is done.

use xiezhi_model::*;
use xiezhi_store::{RegisterError, RegisterQuery, UndoRow};

use RegisterKind::{Asset, Room};

use crate::register::{codes, imported, imported_as, row};
use crate::support::*;

#[tokio::test]
async fn what_taking_back_would_do_is_told_by_row_and_field_with_the_later_change() {
    let fresh = fresh().await;
    let [root, court, ..] = province(&fresh).await;
    let old = [row(
        2,
        court,
        &[
            (Field::Code, "A-1"),
            (Field::Name, "旧"),
            (Field::Note, "n"),
        ],
    )];
    imported(&fresh, &old).await.unwrap();
    let rows = [
        row(
            2,
            court,
            &[(Field::Code, "A-1"), (Field::Name, "新"), (Field::Note, "")],
        ),
        row(3, court, &[(Field::Code, "A-2"), (Field::Name, "b")]),
    ];
    let id = imported(&fresh, &rows).await.unwrap();
    let plan = fresh.undo_plan(id).await.unwrap();
    assert_eq!(plan.import.id, id);
    assert!(plan.rows.iter().all(|row| row.obstacle.is_none()));
    let fields = |row: &UndoRow| -> Vec<(String, String, String, String)> {
        let fields = row.fields.iter();
        let word = |field: Option<Field>| field.map_or("site", Field::word).to_owned();
        fields
            .map(|one| {
                (
                    word(one.field),
                    one.imported.clone(),
                    one.now.clone(),
                    one.back.clone(),
                )
            })
            .collect()
    };
    let own = |texts: [&str; 4]| {
        let [a, b, c, d] = texts.map(str::to_owned);
        (a, b, c, d)
    };
    let [first, second] = &plan.rows[..] else {
        panic!("{plan:?}")
    };
    assert_eq!((first.line, &*first.code, first.is_new), (2, "A-1", false));
    assert_eq!(
        fields(first),
        [own(["name", "新", "新", "旧"]), own(["note", "", "", "n"])]
    );
    assert!(second.is_new && second.site == Some(court));

    // Somebody gives it another name, and moves the other one away.
    let query = RegisterQuery::default();
    let page = fresh
        .register_page(Asset, &query, &Scope::Province)
        .await
        .unwrap();
    let mut values = page.items[0].values.clone();
    values.insert(Field::Name, "更新".to_owned());
    fresh
        .change_item(&page.items[0], court, &values, entry("x"))
        .await
        .unwrap();
    let other = &page.items[1];
    fresh
        .change_item(other, root, &other.values, entry("x"))
        .await
        .unwrap();
    let plan = fresh.undo_plan(id).await.unwrap();
    let [first, second] = &plan.rows[..] else {
        panic!("{plan:?}")
    };
    assert_eq!(fields(first)[0], own(["name", "新", "更新", "旧"]));
    let found = first.obstacle.as_ref().unwrap();
    assert_eq!((found.word, found.count), ("changed", 1));
    assert_eq!(found.fields, [Some(Field::Name)]);
    assert_eq!(found.later[0].changes[0].after, "更新");
    assert_eq!(found.to_string(), "row 2 \"A-1\": changed since (name)");
    let found = second.obstacle.as_ref().unwrap();
    assert_eq!(
        (found.fields.as_slice(), second.site),
        (&[None][..], Some(root))
    );
    let Err(RegisterError::NotUndone(told)) = fresh.undo_import(id, entry("x")).await else {
        panic!("it was undone");
    };
    assert_eq!(told.len(), 2);

    // Back as the import left them: nothing is in the way any more.
    let page = fresh
        .register_page(Asset, &query, &Scope::Province)
        .await
        .unwrap();
    for item in &page.items {
        let mut values = item.values.clone();
        if item.site == court {
            values.insert(Field::Name, "新".to_owned());
        }
        fresh
            .change_item(item, court, &values, entry("x"))
            .await
            .unwrap();
    }
    fresh.undo_import(id, entry("x")).await.unwrap();
    let page = fresh
        .register_page(Asset, &query, &Scope::Province)
        .await
        .unwrap();
    let left: Vec<_> = page
        .items
        .iter()
        .map(|item| item.value(Field::Name))
        .collect();
    assert_eq!(left, ["旧"]);
    assert_eq!(page.items[0].value(Field::Note), "n");
    assert!(matches!(
        fresh.undo_plan(id).await,
        Err(RegisterError::Over)
    ));
}

#[tokio::test]
async fn an_import_below_another_is_taken_back_after_that_one_was() {
    let fresh = fresh().await;
    let [_, court, ..] = province(&fresh).await;
    let first = [row(2, court, &[(Field::Code, "A-1"), (Field::Name, "a")])];
    let first = imported(&fresh, &first).await.unwrap();
    let second = [row(2, court, &[(Field::Code, "A-1"), (Field::Name, "b")])];
    let second = imported(&fresh, &second).await.unwrap();
    let plan = fresh.undo_plan(first).await.unwrap();
    let found = plan.rows[0].obstacle.as_ref().unwrap();
    assert_eq!(found.later[0].import, Some(second));
    fresh.undo_import(second, entry("x")).await.unwrap();
    fresh.undo_import(first, entry("x")).await.unwrap();
    assert!(
        codes(&fresh, &RegisterQuery::default(), &Scope::Province)
            .await
            .is_empty()
    );
}

/// A room that an import took into use again, and that others name since.
#[tokio::test]
async fn taking_back_retires_nothing_that_others_name() {
    let fresh = fresh().await;
    let [_, court, ..] = province(&fresh).await;
    let values = |state: &'static str| {
        [
            (Field::Code, "301"),
            (Field::Name, "机房"),
            (Field::State, state),
        ]
    };
    let retired = values("retired").map(|(field, text)| (field, text.to_owned()));
    fresh
        .create_item(Room, court, &retired.into(), entry("x"))
        .await
        .unwrap();
    let rows = [row(2, court, &values("in_use"))];
    let id = imported_as(&fresh, Room, &rows).await.unwrap();
    let asset = [
        (Field::Code, "A-1"),
        (Field::Name, "a"),
        (Field::Room, "301"),
        (Field::State, "in_use"),
    ];
    let asset = asset.map(|(field, text)| (field, text.to_owned()));
    let asset = fresh
        .create_item(Asset, court, &asset.into(), entry("x"))
        .await
        .unwrap();
    let plan = fresh.undo_plan(id).await.unwrap();
    let found = plan.rows[0].obstacle.as_ref().unwrap();
    assert_eq!((found.word, found.count), ("named", 1));
    assert_eq!(
        found.namers,
        [(Asset, asset.id, "A-1".to_owned(), "a".to_owned())]
    );
    let refused = fresh.undo_import(id, entry("x")).await;
    assert!(
        matches!(refused, Err(RegisterError::NotUndone(_))),
        "{refused:?}"
    );
}
