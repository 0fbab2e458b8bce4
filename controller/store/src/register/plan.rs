//! What an import would do: each row against what is there. Making a plan changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use xiezhi_evidence::Hash;
use xiezhi_model::{
    Field, FieldChange, Item, RegisterKind, RowProblem, SiteId, Values, differences,
};

use super::items::{goes, to_look_up};
use super::rows::{ByCode, Source, by_codes, namers_of, storable};
use crate::{Store, StoreError, row};

/// One row of a spreadsheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportRow {
    /// Where it stands in the file, from 1.
    pub line: u32,
    /// Whose it is.
    pub site: SiteId,
    /// Checked values of the columns that the file has. An empty one takes away what is there; a field
    /// without a column stays as it is.
    pub values: Values,
}

/// A row that cannot be imported as things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanProblem {
    /// Row of the file.
    pub line: u32,
    /// In which column; `None` is that of the site.
    pub field: Option<Field>,
    /// What.
    pub problem: RowProblem,
}

/// A row that adds or changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRow {
    /// Row of the file.
    pub line: u32,
    /// What is there now.
    pub before: Option<Item>,
    /// Whose it is.
    pub site: SiteId,
    /// What it will hold.
    pub values: Values,
    /// What differs.
    pub changes: Vec<FieldChange>,
}

/// What an import would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Rows that add or change something, in the file's order.
    pub rows: Vec<PlannedRow>,
    /// Rows that are so already.
    pub unchanged: usize,
    /// What stands against it; with any of these nothing is imported.
    pub problems: Vec<PlanProblem>,
}

impl Plan {
    /// How many rows add something.
    #[must_use]
    pub fn added(&self) -> usize {
        let new = self.rows.iter().filter(|row| row.before.is_none());
        new.count()
    }

    /// Digest of all that it would do: who consents names the plan that he saw.
    #[must_use]
    pub fn digest(&self) -> String {
        let told = self.rows.iter().map(|row| {
            let item = row.before.as_ref().map_or(0, |item| item.id);
            format!("{} {item} {} {:?}\n", row.line, row.site, row.changes)
        });
        Hash::of(told.collect::<String>().as_bytes()).to_string()
    }
}

impl Store {
    /// What an import of these rows would do now. No two of them may name the same item.
    ///
    /// # Errors
    /// If the database fails. Problems of rows are in the plan.
    pub async fn plan_import(
        &self,
        kind: RegisterKind,
        rows: &[ImportRow],
    ) -> Result<Plan, StoreError> {
        plan(&mut Source::Reading(&self.database), kind, rows).await
    }
}

pub(super) async fn plan(
    source: &mut Source<'_>,
    kind: RegisterKind,
    rows: &[ImportRow],
) -> Result<Plan, StoreError> {
    let codes = rows
        .iter()
        .filter_map(|row| Some((row.site, row.values.get(&Field::Code)?.as_str())));
    let known = by_codes(source, kind, codes).await?;
    let pairs: Vec<(Option<&Item>, Item)> =
        rows.iter().map(|row| pair(kind, row, &known)).collect();
    let named = named(source, &pairs).await?;
    let retired_sites = retired_sites(source).await?;
    let going = pairs.iter().filter_map(|(before, after)| {
        let before: &Item = (*before)?;
        goes(before, after).then_some(before)
    });
    let namers = namers_of(source, kind, going).await?;
    let mut plan = Plan::default();
    for (row, (before, after)) in rows.iter().zip(pairs) {
        let about = |field, problem| PlanProblem {
            line: row.line,
            field,
            problem,
        };
        let add = |field, problem| about(Some(field), problem);
        if after.value(Field::Name).is_empty() {
            plan.problems.push(add(Field::Name, RowProblem::Empty));
        }
        for (field, kind) in to_look_up(&after, before) {
            let code = after.value(field).to_owned();
            let known = named
                .get(&kind)
                .is_some_and(|known| known.contains(&(row.site, code.clone())));
            if !known {
                plan.problems.push(add(field, RowProblem::Unknown(code)));
            }
        }
        if let Some(before) = before.filter(|before| goes(before, &after)) {
            let code = before.value(Field::Code).to_owned();
            let count = namers.get(&(before.site, code)).copied();
            let problem = count.map(RowProblem::StillNamed);
            plan.problems
                .extend(problem.map(|problem| add(Field::State, problem)));
        }
        let none = Values::new();
        let changes = differences(before.map_or(&none, |item| &item.values), &after.values);
        if after.is_in_use() && !changes.is_empty() && retired_sites.contains(&row.site) {
            plan.problems.push(about(None, RowProblem::RetiredSite));
        }
        match changes.is_empty() {
            true => plan.unchanged += 1,
            false => plan.rows.push(PlannedRow {
                line: row.line,
                before: before.cloned(),
                site: row.site,
                values: after.values,
                changes,
            }),
        }
    }
    Ok(plan)
}

pub(super) async fn retired_sites(source: &mut Source<'_>) -> Result<BTreeSet<SiteId>, StoreError> {
    let sql = "SELECT id FROM sites WHERE retired_ms IS NOT NULL";
    let rows = source.rows(sql.to_owned(), Vec::new()).await?;
    let id = |found| row::number(found, "id").map(SiteId);
    rows.iter().map(id).collect()
}

/// What is there, and what will be.
fn pair<'k>(kind: RegisterKind, row: &ImportRow, known: &'k ByCode) -> (Option<&'k Item>, Item) {
    let code = row.values.get(&Field::Code).cloned().unwrap_or_default();
    let before = known.get(&(row.site, code));
    let mut values = before.map(|item| item.values.clone()).unwrap_or_default();
    for (field, text) in storable(&row.values) {
        match text.is_empty() {
            true => drop(values.remove(&field)),
            false => drop(values.insert(field, text)),
        }
    }
    let usual = || xiezhi_model::register::IN_USE.to_owned();
    values.entry(Field::State).or_insert_with(usual);
    let new = Item {
        id: 0,
        kind,
        site: row.site,
        values: Values::new(),
        created_ms: 0,
        changed_ms: 0,
        version: 0,
    };
    let after = Item {
        values,
        ..before.cloned().unwrap_or(new)
    };
    (before, after)
}

/// The codes of rooms and staff that are named anew and are in use.
async fn named(
    source: &mut Source<'_>,
    pairs: &[(Option<&Item>, Item)],
) -> Result<BTreeMap<RegisterKind, BTreeSet<(SiteId, String)>>, StoreError> {
    let mut asked: BTreeMap<RegisterKind, BTreeSet<(SiteId, &str)>> = BTreeMap::new();
    for (before, after) in pairs {
        for (field, kind) in to_look_up(after, *before) {
            asked
                .entry(kind)
                .or_default()
                .insert((after.site, after.value(field)));
        }
    }
    let mut known = BTreeMap::new();
    for (kind, codes) in asked {
        let found = by_codes(source, kind, codes).await?;
        let in_use = found.into_iter().filter(|(_, item)| item.is_in_use());
        known.insert(kind, in_use.map(|(code, _)| code).collect());
    }
    Ok(known)
}
