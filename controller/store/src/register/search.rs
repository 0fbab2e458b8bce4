//! Lists of the register, in the order of site and code, page by page.
//!
//! A page is a walk along one index from where the page before ended: first the rest of the site in which
//! that was, then the sites behind it that have anything. No page is counted, and little is sorted, so that
//! the first page of half a million costs as much as that of a hundred. Only a text that is nowhere is
//! looked for everywhere.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;

use xiezhi_model::{Field, Item, RegisterKind, Scope, SiteId};

use super::rows::{Source, Value};
use crate::{Store, StoreError, row};

/// Items per page where the query does not say.
const USUAL_PAGE: u32 = 100;

/// Most items per page.
const LARGEST_PAGE: u32 = 1000;

/// Sites that one statement names.
const SITES_AT_ONCE: usize = 4000;

/// What to list. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegisterQuery {
    /// Only these sites; `None` is all of the scope.
    pub sites: Option<BTreeSet<SiteId>>,
    /// Only this state.
    pub state: Option<String>,
    /// Only what names this room.
    pub room: Option<String>,
    /// Only what names this owner.
    pub owner: Option<String>,
    /// Text that occurs in a code, name, model, serial number or note, whatever its case.
    pub text: Option<String>,
    /// Go on after the page that returned this.
    pub after: Option<RegisterCursor>,
    /// Items per page, at most 1,000; 0 means 100.
    pub limit: u32,
}

/// Where a page ended. Its text is for addresses: `SITE_CODE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterCursor {
    /// Site of the page's last item.
    pub site: SiteId,
    /// Its code.
    pub code: String,
}

impl fmt::Display for RegisterCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}", self.site, self.code)
    }
}

impl FromStr for RegisterCursor {
    type Err = crate::event_search::CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = crate::event_search::CursorError;
        let (site, code) = text.split_once('_').ok_or(wrong)?;
        Ok(Self {
            site: SiteId(site.parse().map_err(|_| wrong)?),
            code: code.to_owned(),
        })
    }
}

/// One page of items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegisterPage {
    /// By site and code.
    pub items: Vec<Item>,
    /// Where to go on; `None` on the last page.
    pub next: Option<RegisterCursor>,
}

impl Store {
    /// One page of the items of a scope that match.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn register_page(
        &self,
        kind: RegisterKind,
        query: &RegisterQuery,
        scope: &Scope,
    ) -> Result<RegisterPage, StoreError> {
        let limit = match query.limit {
            0 => USUAL_PAGE,
            asked => asked.min(LARGEST_PAGE),
        } as usize;
        let sites = sites_of(query, scope);
        let mut source = Source::Reading(&self.database);
        let mut items = Vec::new();
        // One more than the page tells whether there is a next one.
        let mut parts = parts(sites, query.after.as_ref());
        while let Some(part) = parts.pop_front() {
            let left = limit + 1 - items.len();
            if left == 0 {
                break;
            }
            match part {
                Part::Many(sites) => {
                    let filled = filled_sites(&mut source, kind, query, &sites, left).await?;
                    parts.extend(groups(&filled));
                }
                part => {
                    let (condition, values) = statement(kind, query, part, left);
                    items.extend(source.items(&condition, values).await?);
                }
            }
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let last = items.last().filter(|_| more);
        let next = last.map(|item| RegisterCursor {
            site: item.site,
            code: item.value(Field::Code).to_owned(),
        });
        Ok(RegisterPage { items, next })
    }
}

impl Store {
    /// How many items of a scope match now, on all pages: for what is written down about a whole list. Each of
    /// them is looked at.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn register_count(
        &self,
        kind: RegisterKind,
        query: &RegisterQuery,
        scope: &Scope,
    ) -> Result<u64, StoreError> {
        let (condition, values) = condition(kind, query);
        let sql = format!("SELECT COUNT(*) AS items FROM register_items WHERE {condition}");
        let statements: Vec<String> = match sites_of(query, scope) {
            None => vec![sql],
            Some(sites) => {
                let sites: Vec<SiteId> = sites.into_iter().collect();
                let some = sites.chunks(SITES_AT_ONCE);
                some.map(|some| format!("{sql} AND site_id IN ({})", numbers(some)))
                    .collect()
            }
        };
        let mut source = Source::Reading(&self.database);
        let mut all = 0_u64;
        for sql in statements {
            for found in source.rows(sql, values.clone()).await? {
                all += row::number(&found, "items")?.unsigned_abs();
            }
        }
        Ok(all)
    }
}

/// The sites to look at; `None` is every one.
fn sites_of(query: &RegisterQuery, scope: &Scope) -> Option<BTreeSet<SiteId>> {
    match (&query.sites, scope.sites()) {
        (None, None) => None,
        (Some(asked), None) => Some(asked.clone()),
        (None, Some(seen)) => Some(seen.clone()),
        (Some(asked), Some(seen)) => Some(asked.intersection(seen).copied().collect()),
    }
}

/// A stretch of the index.
enum Part {
    /// The codes of one site after this one.
    RestOf(SiteId, String),
    /// All of these few.
    Sites(Vec<SiteId>),
    /// Those of these that have anything.
    Many(Vec<SiteId>),
    /// All after this one.
    After(i64),
}

fn parts(sites: Option<BTreeSet<SiteId>>, after: Option<&RegisterCursor>) -> VecDeque<Part> {
    let mut parts = VecDeque::new();
    if let Some(RegisterCursor { site, code }) = after
        && sites.as_ref().is_none_or(|sites| sites.contains(site))
    {
        parts.push_back(Part::RestOf(*site, code.clone()));
    }
    let from = after.map_or(i64::MIN, |cursor| cursor.site.0);
    match sites {
        None => parts.push_back(Part::After(from)),
        Some(sites) => {
            let behind = sites.into_iter().filter(|site| site.0 > from);
            parts.push_back(Part::Many(behind.collect()));
        }
    }
    parts
}

/// The first of the sites that have anything that matches: as many as a page could need. A database that
/// is given thousands of sites at once may walk along all items of the province for them.
async fn filled_sites(
    source: &mut Source<'_>,
    kind: RegisterKind,
    query: &RegisterQuery,
    sites: &[SiteId],
    most: usize,
) -> Result<Vec<SiteId>, StoreError> {
    let mut filled = Vec::new();
    for some in sites.chunks(SITES_AT_ONCE) {
        let (condition, values) = condition(kind, query);
        let left = most - filled.len();
        let sql = format!(
            "SELECT s.id AS id FROM sites s WHERE s.id IN ({}) AND EXISTS \
             (SELECT 1 FROM register_items WHERE {condition} AND site_id = s.id) \
             ORDER BY s.id LIMIT {left}",
            numbers(some)
        );
        for found in source.rows(sql, values).await? {
            filled.push(SiteId(row::number(&found, "id")?));
        }
        if filled.len() >= most {
            break;
        }
    }
    Ok(filled)
}

/// One site, two, four and so on: a large site fills a page alone, and many small ones are few statements.
fn groups(sites: &[SiteId]) -> Vec<Part> {
    let (mut groups, mut rest, mut size) = (Vec::new(), sites, 1);
    while !rest.is_empty() {
        let (group, behind) = rest.split_at(size.min(rest.len()));
        groups.push(Part::Sites(group.to_vec()));
        (rest, size) = (behind, size * 2);
    }
    groups
}

/// Numbers only: they may stand in a statement's text.
fn numbers(sites: &[SiteId]) -> String {
    let numbers: Vec<String> = sites.iter().map(ToString::to_string).collect();
    numbers.join(", ")
}

/// Everything but the sites: a condition, and what is bound to it.
fn condition(kind: RegisterKind, query: &RegisterQuery) -> (String, Vec<Value>) {
    let mut values = vec![Value::Number(kind.number())];
    let mut sql = String::from("kind = $1");
    let text = query.text.as_deref().map(str::trim);
    let text = text.filter(|text| !text.is_empty());
    let text = text.map(|text| row::pattern(&text.to_lowercase()));
    let same = |text: &Option<String>| text.as_deref().map(row::storable);
    // A search reads the index that holds the texts; the one of states would lead to every row.
    let state = match text {
        Some(_) => "state || '' = ?",
        None => "state = ?",
    };
    for (condition, text) in [
        (state, same(&query.state)),
        ("room = ? AND room <> ''", same(&query.room)),
        ("owner = ? AND owner <> ''", same(&query.owner)),
        ("search LIKE ? ESCAPE '!'", text),
    ] {
        if let Some(text) = text {
            values.push(Value::Text(text));
            let place = format!("${}", values.len());
            sql.push_str(&format!(" AND {}", condition.replace('?', &place)));
        }
    }
    (sql, values)
}

/// The condition of a part with its order, and what is bound to it.
fn statement(
    kind: RegisterKind,
    query: &RegisterQuery,
    part: Part,
    limit: usize,
) -> (String, Vec<Value>) {
    let (mut sql, mut values) = condition(kind, query);
    match part {
        Part::RestOf(site, code) => {
            values.push(Value::Text(row::storable(&code)));
            let place = values.len();
            sql.push_str(&format!(" AND site_id = {site} AND code > ${place}"));
        }
        Part::Sites(sites) | Part::Many(sites) => {
            sql.push_str(&format!(" AND site_id IN ({})", numbers(&sites)));
        }
        Part::After(site) => sql.push_str(&format!(" AND site_id > {site}")),
    }
    const ORDER: &str = "ORDER BY site_id, code";
    sql.push_str(&format!(" {ORDER} LIMIT {}", row::signed(limit as u64)));
    if query.text.is_some() {
        // Numbers can be found in the index alone, and rows then by their numbers.
        sql = format!("id IN (SELECT id FROM register_items WHERE {sql}) {ORDER}");
    }
    (sql, values)
}
