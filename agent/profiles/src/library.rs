//! All profiles together: what each extends, and which one a device is of.
//!
//! A profile that cannot be used is told and left out; the others are used. A profile of the user
//! replaces a shipped one of the same name.

mod extend;
mod shipped;

use std::collections::BTreeMap;

use xiezhi_document::{Problems, Said};

use crate::oid::Oid;
use crate::profile::read::{Draft, read};
use crate::profile::{Match, Profile};

/// The profile of a device that no other is for.
pub const GENERIC: &str = "generic";

/// A profile's file.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// As messages name it.
    pub path: &'a str,
    /// Its name without `.yaml`.
    pub name: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// All profiles, merged with what they extend.
#[derive(Debug, Clone, Default)]
pub struct Library {
    profiles: BTreeMap<String, Profile>,
}

/// What a device tells of itself before anybody knows what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probe {
    /// sysObjectID.
    pub sys_object_id: Oid,
    /// sysDescr.
    pub sys_descr: String,
    /// Those of [`Library::questions`] that had an answer.
    pub has: Vec<Oid>,
}

impl Library {
    /// The profiles that come with the program.
    #[must_use]
    pub fn shipped() -> Self {
        Self::read(shipped::FILES).0
    }

    /// The shipped profiles with `files` over them, and what is wrong with `files`.
    #[must_use]
    pub fn with(files: &[File<'_>]) -> (Self, Vec<Problems>) {
        let names: Vec<&str> = files.iter().map(|file| file.name).collect();
        let shipped = shipped::FILES
            .iter()
            .filter(|file| !names.contains(&file.name));
        let all: Vec<File<'_>> = shipped.chain(files).copied().collect();
        Self::read(&all)
    }

    /// Reads `files` and nothing else; with what is wrong with each of them.
    #[must_use]
    pub fn read(files: &[File<'_>]) -> (Self, Vec<Problems>) {
        let mut drafts: BTreeMap<String, (Draft, Problems)> = BTreeMap::new();
        let mut told = Vec::new();
        for file in files {
            let (draft, mut problems) = read(file.path, file.name, file.text);
            if drafts.contains_key(file.name) {
                problems.add(
                    1,
                    1,
                    Said::new(
                        format!("there are two profiles `{}`; keep one", file.name),
                        format!("配置 `{}` 重复，请只保留一个", file.name),
                    ),
                );
                told.push(problems);
                continue;
            }
            drafts.insert(file.name.to_owned(), (draft, problems));
        }
        let mut library = Self::default();
        for name in drafts.keys().cloned().collect::<Vec<_>>() {
            let profile = extend::merged(&name, &mut drafts);
            library
                .profiles
                .extend(profile.map(|profile| (name, profile)));
        }
        library.tell_overlaps(&mut drafts);
        told.extend(drafts.into_values().map(|(_, problems)| problems));
        told.retain(|problems| !problems.is_empty());
        (library, told)
    }

    /// The profile of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// All profiles by name.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values()
    }

    /// Objects that must be asked for before a device with this sysObjectID can be recognised.
    #[must_use]
    pub fn questions(&self, sys_object_id: &Oid) -> Vec<Oid> {
        let mut questions: Vec<Oid> = self
            .profiles
            .values()
            .flat_map(|profile| &profile.matches)
            .filter(|one| longest(one, sys_object_id).is_some())
            .flat_map(|one| one.has.iter().cloned())
            .collect();
        questions.sort();
        questions.dedup();
        questions
    }

    /// The profile that a device is of; `None` if it needs one. Then [`GENERIC`] reads what it can.
    ///
    /// The longest sysObjectID decides, then the priority, then the number of conditions.
    #[must_use]
    pub fn recognise(&self, probe: &Probe) -> Option<&Profile> {
        self.profiles
            .values()
            .flat_map(|profile| profile.matches.iter().map(move |one| (profile, one)))
            .filter_map(|(profile, one)| Some((rank(one, probe)?, profile)))
            .max_by(|(one, a), (other, b)| one.cmp(other).then_with(|| b.name.cmp(&a.name)))
            .map(|(_, profile)| profile)
    }

    /// Two profiles that match exactly alike are a problem of the one that comes later by name.
    fn tell_overlaps(&self, drafts: &mut BTreeMap<String, (Draft, Problems)>) {
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        for profile in self.profiles.values() {
            for key in profile.matches.iter().flat_map(sameness) {
                let earlier = seen.entry(key).or_insert_with(|| profile.name.clone());
                if *earlier == profile.name {
                    continue;
                }
                if let Some((draft, problems)) = drafts.get_mut(&profile.name) {
                    let (line, column) = draft.places.matches;
                    problems.add(
                        line,
                        column,
                        Said::new(
                            format!(
                                "matches exactly what `{earlier}` matches; give one of them a \
                                 `priority` or a longer `sys_object_id`"
                            ),
                            format!(
                                "与 `{earlier}` 的匹配条件完全相同，请设置 `priority` 或更长的 `sys_object_id`"
                            ),
                        ),
                    );
                }
            }
        }
    }
}

/// How many arcs of `sys_object_id` the longest of `one`'s covers.
fn longest(one: &Match, sys_object_id: &Oid) -> Option<usize> {
    one.sys_object_id
        .iter()
        .filter(|prefix| sys_object_id.is_in(prefix))
        .map(|prefix| prefix.arcs().len())
        .max()
}

/// How well `one` fits; `None` if it does not.
fn rank(one: &Match, probe: &Probe) -> Option<(usize, i32, usize)> {
    let length = longest(one, &probe.sys_object_id)?;
    let descr = probe.sys_descr.to_lowercase();
    let in_descr = |text: &String| descr.contains(&text.to_lowercase());
    let conditions = [
        (!one.sys_descr_contains.is_empty()).then(|| one.sys_descr_contains.iter().any(in_descr)),
        (!one.has.is_empty()).then(|| one.has.iter().any(|oid| probe.has.contains(oid))),
    ];
    let said: Vec<bool> = conditions.into_iter().flatten().collect();
    said.iter()
        .all(|holds| *holds)
        .then_some((length, one.priority, said.len()))
}

/// What two matches have in common that nobody can decide between; one for each sysObjectID.
fn sameness(one: &Match) -> Vec<String> {
    let mut descr: Vec<String> = one
        .sys_descr_contains
        .iter()
        .map(|text| text.to_lowercase())
        .collect();
    descr.sort();
    let mut has: Vec<String> = one.has.iter().map(Oid::to_string).collect();
    has.sort();
    one.sys_object_id
        .iter()
        .map(|oid| format!("{oid} {descr:?} {has:?} {}", one.priority))
        .collect()
}
