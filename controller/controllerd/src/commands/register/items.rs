//! Single items and lists of them: shown, made, changed, written to a file.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use xiezhi_inventory::Language;
use xiezhi_inventory::register::{export_header, export_row};
use xiezhi_model::{Field, FieldProblem, Item, RegisterKind, Scope, SiteTree, Values};
use xiezhi_store::{RegisterPage, RegisterQuery, Store};

use super::super::files::ListFile;
use super::super::{by_console, change_told, local_time, one_line};
use super::named;
use crate::cli::{Listed, Narrowed, OneItem};
use crate::terminal::say;

/// Items that are in memory at one time.
const SLICE: u32 = 1000;

/// Changes of an item that are shown.
const SHOWN: u32 = 200;

/// What the options ask for.
pub(super) async fn query(store: &Store, narrowed: Narrowed) -> Result<RegisterQuery> {
    let sites = match &narrowed.site {
        None => None,
        Some(key) => {
            let site = named(store, key).await?;
            Some(match narrowed.below {
                true => store.site_tree().await?.subtree(site),
                false => [site].into(),
            })
        }
    };
    Ok(RegisterQuery {
        sites,
        state: narrowed.state,
        room: narrowed.room,
        owner: narrowed.owner,
        text: narrowed.search,
        after: None,
        limit: SLICE,
    })
}

/// The next page; `None` after the last one.
pub(super) async fn next(
    store: &Store,
    kind: RegisterKind,
    query: &mut Option<RegisterQuery>,
) -> Result<Option<Vec<Item>>> {
    let Some(asked) = query else { return Ok(None) };
    let RegisterPage { items, next } = store.register_page(kind, asked, &Scope::Province).await?;
    match next {
        Some(_) => asked.after = next,
        None => *query = None,
    }
    Ok(Some(items))
}

fn key(item: &Item, tree: &SiteTree) -> String {
    let site = tree.get(item.site);
    site.map_or_else(|| item.site.to_string(), |site| site.key.clone())
}

pub(super) async fn list(store: &Store, which: Listed) -> Result<()> {
    let tree = store.site_tree().await?;
    let mut query = Some(query(store, which.narrowed).await?);
    while let Some(items) = next(store, which.kind, &mut query).await? {
        for item in items {
            say!(
                "{:<12} {:<16} {:<10} {}",
                key(&item, &tree),
                one_line(item.value(Field::Code)),
                item.value(Field::State),
                one_line(item.value(Field::Name))
            );
        }
    }
    Ok(())
}

pub(super) async fn export(
    store: &Store,
    file: &Path,
    language: Language,
    which: Listed,
) -> Result<()> {
    let tree = store.site_tree().await?;
    let audit = by_console("register.export", which.kind.word());
    let audit = audit.with("filter", which.narrowed.told());
    let mut query = Some(query(store, which.narrowed).await?);
    let mut list = ListFile::begin_importable(file, &export_header(which.kind, language))?;
    while let Some(items) = next(store, which.kind, &mut query).await? {
        let row = |item: &Item| export_row(which.kind, &key(item, &tree), &item.values, language);
        list.push(items.iter().map(row).collect())?;
    }
    list.finish(store, audit).await
}

/// The item that has exactly this code.
async fn find(store: &Store, wanted: &OneItem) -> Result<Item> {
    let site = named(store, &wanted.site).await?;
    let mut query = Some(RegisterQuery {
        sites: Some([site].into()),
        text: Some(wanted.code.clone()),
        limit: SLICE,
        ..RegisterQuery::default()
    });
    while let Some(items) = next(store, wanted.kind, &mut query).await? {
        let found = items.into_iter();
        let mut found = found.filter(|item| item.value(Field::Code) == wanted.code);
        if let Some(item) = found.next() {
            return Ok(item);
        }
    }
    let (noun, site, code) = (wanted.kind.noun(), &wanted.site, &wanted.code);
    bail!("{site} has no {noun} with the code {code:?}: see `register list`")
}

pub(super) async fn show(store: &Store, wanted: &OneItem) -> Result<()> {
    let item = find(store, wanted).await?;
    tell(&item, &store.site_tree().await?);
    for change in store.register_history(item.id, None, SHOWN).await? {
        let changes = change.changes.iter().map(|one| {
            let field = one.field.map_or("site", Field::word);
            change_told(field, &one.before, &one.after)
        });
        let changes: Vec<String> = changes.collect();
        say!(
            "  {} {} by {}: {}",
            local_time(change.time_ms),
            change.action,
            one_line(&change.actor),
            changes.join(", ")
        );
    }
    Ok(())
}

fn tell(item: &Item, tree: &SiteTree) {
    say!("{} {} of {}", item.kind.noun(), item.id, key(item, tree));
    for field in item.kind.fields() {
        let value = item.value(*field);
        if !value.is_empty() {
            say!("  {:<9} {}", field.word(), one_line(value));
        }
    }
}

pub(super) async fn add(
    store: &Store,
    wanted: &OneItem,
    given: Vec<(Field, String)>,
) -> Result<()> {
    let site = named(store, &wanted.site).await?;
    let mut values: Values = given.into_iter().collect();
    values.insert(Field::Code, wanted.code.clone());
    let values = checked(wanted.kind, &values)?;
    let audit = by_console("register.create", wanted.kind.word());
    let made = store.create_item(wanted.kind, site, &values, audit).await?;
    tell(&made, &store.site_tree().await?);
    Ok(())
}

pub(super) async fn change(
    store: &Store,
    wanted: &OneItem,
    given: Vec<(Field, String)>,
    to: Option<&str>,
) -> Result<()> {
    if given.is_empty() && to.is_none() {
        bail!("say what to change: FIELD=VALUE, or --to SITE");
    }
    let item = find(store, wanted).await?;
    let site = match to {
        Some(key) => named(store, key).await?,
        None => item.site,
    };
    let mut values = item.values.clone();
    values.extend(given);
    let values = checked(wanted.kind, &values)?;
    let audit = by_console("register.change", wanted.kind.word());
    let changed = store.change_item(&item, site, &values, audit).await?;
    tell(&changed, &store.site_tree().await?);
    Ok(())
}

fn checked(kind: RegisterKind, values: &Values) -> Result<Values> {
    let told = |(field, problem): &(Field, FieldProblem)| format!("{} {problem}", field.word());
    kind.check(values)
        .map_err(|problems| {
            let told: Vec<String> = problems.iter().map(told).collect();
            anyhow::anyhow!(told.join("\n"))
        })
        .context("nothing was written down")
}

#[cfg(test)]
mod tests {
    use xiezhi_inventory::demo_courts;
    use xiezhi_inventory::register::read_register;

    use super::*;

    fn one(kind: RegisterKind, code: &str) -> OneItem {
        OneItem {
            kind,
            site: "gs-01".to_owned(),
            code: code.to_owned(),
        }
    }

    fn all(kind: RegisterKind) -> Listed {
        Listed {
            kind,
            narrowed: Narrowed {
                site: None,
                below: false,
                search: None,
                state: None,
                room: None,
                owner: None,
            },
        }
    }

    #[tokio::test]
    async fn items_are_made_changed_exported_and_labelled_without_a_browser() {
        use RegisterKind::{Asset, Room};
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let url = format!("sqlite://{}", path("state.db").display());
        let store = Store::open(&url).await.unwrap();
        let courts = demo_courts().unwrap();
        let audit = by_console("sites.import", "test");
        store.import_sites(&courts, audit).await.unwrap();
        let named = |name: &str| (Field::Name, name.to_owned());
        add(&store, &one(Room, "301"), vec![named("机房")])
            .await
            .unwrap();
        let given = vec![named("=交换机"), (Field::Room, "301".to_owned())];
        add(&store, &one(Asset, "A-1"), given.clone())
            .await
            .unwrap();
        add(&store, &one(Asset, "A-10"), given.clone())
            .await
            .unwrap();
        let twice = add(&store, &one(Asset, "A-1"), given).await;
        assert!(twice.is_err());

        let wrong = vec![(Field::Warranty, "soon".to_owned())];
        let wrong = change(&store, &one(Asset, "A-1"), wrong, None).await;
        assert!(format!("{:?}", wrong.unwrap_err()).contains("warranty"));
        let away = change(&store, &one(Asset, "A-1"), Vec::new(), Some("gs-02")).await;
        assert!(away.is_err(), "its room is not there");
        let retired = vec![(Field::State, "retired".to_owned())];
        change(&store, &one(Asset, "A-1"), retired, None)
            .await
            .unwrap();
        let item = find(&store, &one(Asset, "A-1")).await.unwrap();
        assert_eq!(item.value(Field::State), "retired");
        assert_eq!(item.value(Field::Room), "301");
        assert!(find(&store, &one(Asset, "A-2")).await.is_err());

        let tree = store.site_tree().await.unwrap();
        let files = [("a.csv", Language::Chinese), ("a.xlsx", Language::English)];
        for (name, language) in files {
            export(&store, &path(name), language, all(Asset))
                .await
                .unwrap();
            let bytes = std::fs::read(path(name)).unwrap();
            let read = read_register(Asset, &bytes, &tree, None);
            assert_eq!(read.problems, [], "{name}");
            let names = read.sheet.rows.iter().map(|row| &row.values[&Field::Name]);
            assert_eq!(names.collect::<Vec<_>>(), ["=交换机"; 2], "{name}");
        }
        let labels = path("labels.html");
        let address = "https://c:8444";
        let which = all(Asset).narrowed;
        super::super::paper::labels(&store, &labels, address, Language::English, which)
            .await
            .unwrap();
        let text = std::fs::read_to_string(labels).unwrap();
        assert_eq!(text.matches("<svg").count(), 2);
        assert!(text.contains("兰州") || text.contains("法院"), "{text}");
    }
}
