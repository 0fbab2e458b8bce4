//! A profile with the parts of those that it extends.

use std::collections::BTreeMap;

use xiezhi_document::{Problems, Said};

use crate::profile::read::Draft;
use crate::profile::{Metric, Profile, Table};

/// Deepest chain of profiles that extend one another.
const MAX_DEPTH: usize = 8;

type Drafts = BTreeMap<String, (Draft, Problems)>;

/// The profile `name` with all that it extends; `None` if it or one of them cannot be used, which is
/// then among its problems.
pub(super) fn merged(name: &str, drafts: &mut Drafts) -> Option<Profile> {
    let mut path = Vec::new();
    match assemble(name, drafts, &mut path) {
        Ok(profile) => Some(profile),
        Err(None) => None,
        Err(Some(said)) => {
            let (draft, problems) = drafts.get_mut(name)?;
            let (line, column) = draft.places.extends;
            problems.add(line, column, said);
            None
        }
    }
}

/// `Err(None)` if the profile's own file has problems, which are told there.
fn assemble(
    name: &str,
    drafts: &mut Drafts,
    path: &mut Vec<String>,
) -> Result<Profile, Option<Said>> {
    let Some((draft, problems)) = drafts.get(name) else {
        return Err(Some(Said::new(
            format!("there is no profile `{name}`"),
            format!("没有名为 `{name}` 的配置"),
        )));
    };
    if !problems.is_empty() {
        return Err(path.last().map(|_| {
            Said::new(
                format!("`{name}` cannot be used; mend it first"),
                format!("`{name}` 有错误，请先修正"),
            )
        }));
    }
    if path.iter().any(|known| known == name) || path.len() > MAX_DEPTH {
        return Err(Some(Said::new(
            format!("it extends itself: {} → {name}", path.join(" → ")),
            format!("循环继承：{} → {name}", path.join(" → ")),
        )));
    }
    let draft = draft.clone();
    path.push(name.to_owned());
    let mut parents = Vec::new();
    for parent in &draft.profile.extends {
        parents.push(assemble(parent, drafts, path)?);
    }
    path.pop();
    let unknown = |id: &String| !parents.iter().any(|parent| has(parent, id));
    let strangers: Vec<String> = draft
        .without
        .iter()
        .filter(|id| unknown(id))
        .cloned()
        .collect();
    let mut profile = draft.profile.clone();
    for parent in parents {
        inherit(&mut profile, parent, &draft.without);
    }
    let left: Vec<String> = draft
        .advice
        .iter()
        .filter(|(id, text)| !advise(&mut profile, id, text))
        .map(|(id, _)| id.clone())
        .collect();
    tell(name, drafts, &strangers, &left);
    Ok(profile)
}

fn has(profile: &Profile, id: &str) -> bool {
    profile.metrics.iter().any(|metric| metric.id == id)
        || profile.tables.iter().any(|table| table.id == id)
}

/// Takes over what `profile` does not say itself. What it says comes first.
fn inherit(profile: &mut Profile, parent: Profile, without: &[String]) {
    let wanted = |id: &str| !without.iter().any(|known| known == id);
    for metric in parent.metrics {
        if wanted(&metric.id) && !profile.metrics.iter().any(|own| own.id == metric.id) {
            profile.metrics.push(metric);
        }
    }
    for table in parent.tables {
        if wanted(&table.id) && !profile.tables.iter().any(|own| own.id == table.id) {
            profile.tables.push(table);
        }
    }
    for trap in parent.traps {
        if !profile.traps.iter().any(|own| own.oid == trap.oid) {
            profile.traps.push(trap);
        }
    }
    for (fact, sources) in parent.identity {
        // A mix-in's sources stand behind the profile's own: they fill what those do not yield.
        profile.identity.entry(fact).or_default().extend(sources);
    }
    profile.interfaces = profile.interfaces.take().or(parent.interfaces);
    profile.topology.lldp |= parent.topology.lldp;
    profile.topology.fdb |= parent.topology.fdb;
    profile.topology.arp |= parent.topology.arp;
    profile.kind = profile.kind.or(parent.kind);
}

/// Puts advice to the values that it is for; whether there are any.
fn advise(profile: &mut Profile, id: &str, text: &crate::profile::Text) -> bool {
    let columns = profile
        .tables
        .iter_mut()
        .flat_map(|table: &mut Table| table.columns.iter_mut());
    let mut found = false;
    for metric in profile.metrics.iter_mut().chain(columns) {
        let metric: &mut Metric = metric;
        if metric.id == id {
            metric.advice = Some(text.clone());
            found = true;
        }
    }
    found
}

fn tell(name: &str, drafts: &mut Drafts, strangers: &[String], left: &[String]) {
    let Some((draft, problems)) = drafts.get_mut(name) else {
        return;
    };
    let mut told = |(line, column): (usize, usize), id: &String, key: &str| {
        let said = Said::new(
            format!("`{key}` names `{id}`, which this profile does not have"),
            format!("`{key}` 中的 `{id}` 不在本配置里"),
        );
        let before = problems.list();
        if !before.iter().any(|problem| problem.message == said) {
            problems.add(line, column, said);
        }
    };
    for id in strangers {
        told(draft.places.without, id, "without");
    }
    for id in left {
        told(draft.places.advice, id, "advice");
    }
}
