//! What the first page of the register costs with 20,000 sites and 500,000 assets, whatever the scope.
//!
//! `cargo run --release -p xiezhi-store --example register_scale [-- ADDRESS [ASSETS]]`
//!
//! The address is that of an empty database; without one it is a file in a temporary folder. The assets
//! are imported as people import them, 20,000 at a time.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use xiezhi_model::{Actor, AuditEntry, Field, NewSite, RegisterKind, Scope, SiteId, Tier, Values};
use xiezhi_store::{ImportRow, RegisterCursor, RegisterQuery, Store};

const NOW: i64 = 1_790_000_000_000;
const SITES: usize = 20_000;
const AT_ONCE: usize = 20_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("state.db").display().to_string();
    let mut words = std::env::args().skip(1);
    let address = words.next().unwrap_or(file);
    let assets = words.next().map_or(Ok(500_000), |text| text.parse())?;
    let store = Store::open(&address).await?;
    let sites = tree(&store).await?;
    let started = Instant::now();
    for first in (0..assets).step_by(AT_ONCE) {
        import(&store, &sites, first, AT_ONCE.min(assets - first)).await?;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{assets} assets imported in {seconds:.1} s");
    let part = |from: usize, step: usize| -> BTreeSet<SiteId> {
        sites.iter().skip(from).step_by(step).copied().collect()
    };
    let scopes = [
        ("province", Scope::Province),
        ("one court", limited(part(SITES - 1, 1))),
        ("every second site", limited(part(0, 2))),
        ("the last half", limited(part(SITES / 2, 1))),
        ("every hundredth site", limited(part(99, 100))),
    ];
    for (name, scope) in &scopes {
        pages(&store, name, scope, &sites).await?;
    }
    Ok(())
}

fn limited(sites: BTreeSet<SiteId>) -> Scope {
    Scope::Sites(Arc::new(sites))
}

fn audit(action: &str) -> AuditEntry {
    AuditEntry::new(NOW, Actor::Console, action, "")
}

async fn tree(store: &Store) -> Outcome<Vec<SiteId>> {
    let site = |number: usize| NewSite {
        key: format!("s-{number}"),
        name: format!("法庭{number}"),
        tier: Tier::Other,
        parent: (number > 0).then(|| format!("s-{}", number / 10)),
        court_code: String::new(),
    };
    let sites: Vec<NewSite> = (0..SITES).map(site).collect();
    store.import_sites(&sites, audit("sites.import")).await?;
    Ok(store.sites().await?.iter().map(|site| site.id).collect())
}

async fn import(store: &Store, sites: &[SiteId], first: usize, count: usize) -> Outcome<()> {
    let row = |number: usize| {
        let state = if number.is_multiple_of(1000) {
            "repair"
        } else {
            "in_use"
        };
        let values: Values = [
            (Field::Code, format!("A-{number}")),
            (Field::Name, "服务器".to_owned()),
            (Field::Model, "RH2288".to_owned()),
            (Field::Serial, format!("SN{number}")),
            (Field::State, state.to_owned()),
        ]
        .into();
        let site = sites
            .get(number % sites.len())
            .copied()
            .unwrap_or(SiteId(0));
        let line = u32::try_from(number - first + 2).unwrap_or(0);
        ImportRow { line, site, values }
    };
    let rows: Vec<ImportRow> = (first..first + count).map(row).collect();
    let digest = store
        .plan_import(RegisterKind::Asset, &rows)
        .await?
        .digest();
    let touched = rows.iter().map(|row| row.site).take(1).collect();
    let asked = audit("register.upload");
    let id = store.keep_import(RegisterKind::Asset, "scale", "", &touched, asked);
    let id = id.await?;
    let asked = audit("register.import");
    store.apply_import(id, &rows, &digest, asked).await?;
    Ok(())
}

async fn pages(store: &Store, name: &str, scope: &Scope, sites: &[SiteId]) -> Outcome<()> {
    let middle = sites.get(SITES / 2).copied().unwrap_or(SiteId(0));
    let whole = RegisterQuery::default;
    let state = |state: &str| RegisterQuery {
        state: Some(state.to_owned()),
        ..whole()
    };
    let after = RegisterCursor {
        site: middle,
        code: "A-2".to_owned(),
    };
    let text = |text: &str| RegisterQuery {
        text: Some(text.to_owned()),
        ..whole()
    };
    let queries = [
        ("first page", RegisterKind::Asset, whole()),
        ("first page of no rooms", RegisterKind::Room, whole()),
        ("in repair", RegisterKind::Asset, state("repair")),
        ("retired: none", RegisterKind::Asset, state("retired")),
        (
            "a page in the middle",
            RegisterKind::Asset,
            RegisterQuery {
                after: Some(after),
                ..whole()
            },
        ),
        ("text of many", RegisterKind::Asset, text("服务器")),
        ("text of none", RegisterKind::Asset, text("nowhere")),
    ];
    for (what, kind, query) in queries {
        let mut slowest = 0.0_f64;
        let mut found = 0;
        for _ in 0..5 {
            let started = Instant::now();
            found = store.register_page(kind, &query, scope).await?.items.len();
            slowest = slowest.max(started.elapsed().as_secs_f64() * 1000.0);
        }
        println!("{name:<22} {what:<24} {found:>4} items, slowest of 5: {slowest:7.1} ms");
    }
    Ok(())
}
