//! A profile from its YAML: every problem at once, each in its place.

mod identity;
mod metric;
mod table;

use std::collections::BTreeMap;

use xiezhi_document::{Document, Problems, Said, Section};

use super::{
    Expectation, Interfaces, KINDS, Kind, LEVELS, Level, Match, Meaning, Profile, Replay, Text,
    Topology, Trap,
};
use crate::hints::Hints;
use crate::oid::Oid;

/// A profile as its file says it: what it extends is not in it yet.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    /// What the file says.
    pub(crate) profile: Profile,
    /// What of the profiles that it extends it does not have: ids of metrics and tables.
    pub(crate) without: Vec<String>,
    /// What to do about values, also those of profiles that it extends.
    pub(crate) advice: BTreeMap<String, Text>,
    /// Where parts stand that are judged once all files are read.
    pub(crate) places: Places,
}

/// Lines and columns, from 1.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Places {
    pub(crate) extends: (usize, usize),
    pub(crate) matches: (usize, usize),
    pub(crate) without: (usize, usize),
    pub(crate) advice: (usize, usize),
}

/// Reads `text`, which is the profile `name` from `file`.
pub(crate) fn read(file: &str, name: &str, text: &str) -> (Draft, Problems) {
    Document::parse(file, text).read(|section| draft(name, section))
}

fn draft(name: &str, section: &mut Section<'_>) -> Draft {
    let said = section.required_text(
        "profile",
        Said::new("the name of the file without .yaml", "文件名去掉 .yaml"),
    );
    if said.as_ref().is_some_and(|said| said != name) {
        section.problem(
            "profile",
            Said::new(
                format!("`profile` must be the name of its file, `{name}`"),
                format!("`profile` 应与文件名相同：`{name}`"),
            ),
        );
    }
    if !is_file_name(name) {
        section.problem(
            "profile",
            Said::new(
                "a profile's name has small letters, digits and dashes only",
                "配置名只能用小写字母、数字和短横线",
            ),
        );
    }
    let states = enums(section);
    let places = Places {
        extends: section.place("extends"),
        matches: section.place("match"),
        without: section.place("without"),
        advice: section.place("advice"),
    };
    let profile = Profile {
        name: name.to_owned(),
        version: section
            .parsed(
                "version",
                Said::new("a whole number from 1", "从 1 起的整数"),
            )
            .unwrap_or(1),
        extends: section.texts("extends").unwrap_or_default(),
        kind: kind(section),
        label: label(section, "label").unwrap_or_default(),
        source: section
            .required_text(
                "source",
                Said::new(
                    "the names of the MIB files that its identifiers come from",
                    "OID 出自哪些 MIB 文件",
                ),
            )
            .unwrap_or_default(),
        matches: section.sections("match", matching),
        hints: section.section("snmp", hints).unwrap_or_default(),
        identity: section
            .section("identity", identity::identity)
            .unwrap_or_default(),
        interfaces: section.section("interfaces", interfaces),
        metrics: metric::metrics(section, "metrics", &states),
        tables: table::tables(section, &states),
        traps: section
            .sections("traps", trap)
            .into_iter()
            .flatten()
            .collect(),
        topology: section.section("topology", topology).unwrap_or_default(),
        tests: section
            .sections("tests", replay)
            .into_iter()
            .flatten()
            .collect(),
    };
    if profile.kind.is_none() && !profile.matches.is_empty() {
        section.problem(
            "kind",
            Said::new(
                "`kind` is missing: what such a device is, for instance switch or ups",
                "缺少 `kind`：设备类别，例如 switch、ups",
            ),
        );
    }
    Draft {
        profile,
        without: section.texts("without").unwrap_or_default(),
        advice: advice(section),
        places,
    }
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn kind(section: &mut Section<'_>) -> Option<Kind> {
    let words: Vec<(&str, Kind)> = KINDS
        .iter()
        .map(|(word, kind, ..)| (*word, *kind))
        .collect();
    section.choice("kind", &words)
}

/// A text in both languages; one text alone counts for both.
pub(super) fn label(section: &mut Section<'_>, key: &str) -> Option<Text> {
    if !section.keys().iter().any(|known| known == key) {
        section.text(key);
        return None;
    }
    if !section.is_section(key) {
        let text = section.text(key)?;
        return Some(Text {
            zh: text.clone(),
            en: text,
        });
    }
    section.section(key, both_languages).flatten()
}

fn both_languages(section: &mut Section<'_>) -> Option<Text> {
    let zh = section.required_text("zh", Said::new("the text in Chinese", "中文"));
    let en = section.text("en");
    let zh = zh?;
    Some(Text {
        en: en.unwrap_or_else(|| zh.clone()),
        zh,
    })
}

fn matching(section: &mut Section<'_>) -> Match {
    let found = Match {
        sys_object_id: oids(section, "sys_object_id"),
        sys_descr_contains: section.texts("sys_descr_contains").unwrap_or_default(),
        has: oids(section, "has"),
        priority: section
            .parsed("priority", Said::new("a whole number", "整数"))
            .unwrap_or(0),
    };
    if found.sys_object_id.is_empty() {
        section.problem(
            "sys_object_id",
            Said::new(
                "`sys_object_id` is missing: the beginning of what the device tells as sysObjectID",
                "缺少 `sys_object_id`：设备 sysObjectID 的前缀",
            ),
        );
    }
    found
}

fn hints(section: &mut Section<'_>) -> Hints {
    const QUIRKS: &[&str] = &["no_getbulk", "unordered"];
    let usual = Hints::default();
    let count = || Said::new("a whole number from 1", "从 1 起的整数");
    let quirks = section.texts("quirks").unwrap_or_default();
    for quirk in &quirks {
        if !QUIRKS.contains(&quirk.as_str()) {
            let known = QUIRKS.join(", ");
            section.problem(
                "quirks",
                Said::new(
                    format!("there is no quirk `{quirk}`; known: {known}"),
                    format!("没有 `{quirk}` 这个选项；可用：{known}"),
                ),
            );
        }
    }
    let has = |word: &str| quirks.iter().any(|quirk| quirk == word);
    Hints {
        max_repetitions: bounded(section, "max_repetitions", count(), 1, 1000)
            .unwrap_or(usual.max_repetitions),
        max_oids: bounded(section, "max_oids", count(), 1, 60).unwrap_or(usual.max_oids),
        timeout: section.duration("timeout").unwrap_or(usual.timeout),
        retries: bounded(
            section,
            "retries",
            Said::new("a number from 0 to 10", "0 到 10"),
            0,
            10,
        )
        .unwrap_or(usual.retries),
        no_getbulk: has("no_getbulk"),
        unordered: has("unordered"),
    }
}

/// A number within bounds; a problem if it is not.
fn bounded<T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy>(
    section: &mut Section<'_>,
    key: &str,
    expected: Said,
    least: T,
    most: T,
) -> Option<T> {
    let number = section.parsed::<T>(key, expected)?;
    if number < least || number > most {
        section.problem(
            key,
            Said::new(
                format!("`{key}` must be from {least} to {most}"),
                format!("`{key}` 应在 {least} 到 {most} 之间"),
            ),
        );
        return None;
    }
    Some(number)
}

fn interfaces(section: &mut Section<'_>) -> Interfaces {
    section.choice("use", &[("if-mib", ())]);
    Interfaces {
        include_types: section.parsed_list("include_types", Said::new("a number", "数字")),
        exclude_names: section.texts("exclude_names").unwrap_or_default(),
    }
}

fn topology(section: &mut Section<'_>) -> Topology {
    Topology {
        lldp: section.boolean("lldp").unwrap_or(false),
        fdb: section.boolean("fdb").unwrap_or(false),
        arp: section.boolean("arp").unwrap_or(false),
    }
}

fn trap(section: &mut Section<'_>) -> Option<Trap> {
    let trap_oid = oid(section, "oid");
    let level = section.choice("severity", LEVELS).unwrap_or(Level::Warning);
    let zh = section.required_text(
        "zh",
        Said::new("what the trap says, in Chinese", "告警内容（中文）"),
    );
    let en = section.text("en");
    let clears = oid(section, "clears");
    let repoll = section.texts("repoll").unwrap_or_default();
    let (Some(trap_oid), Some(zh)) = (trap_oid, zh) else {
        return None;
    };
    Some(Trap {
        oid: trap_oid,
        level,
        text: Text {
            en: en.unwrap_or_else(|| zh.clone()),
            zh,
        },
        clears,
        repoll,
    })
}

fn replay(section: &mut Section<'_>) -> Option<Replay> {
    let walk = section.required_text(
        "walk",
        Said::new(
            "the recording's file, beside the profile",
            "同目录下的 snmprec 文件",
        ),
    );
    let expect = section
        .section("expect", |section| {
            let keys = section.keys();
            keys.into_iter()
                .filter_map(|what| {
                    let (line, column) = section.place(&what);
                    let value = section.text(&what)?;
                    Some(Expectation {
                        what,
                        value,
                        line,
                        column,
                    })
                })
                .collect()
        })
        .unwrap_or_default();
    Some(Replay {
        walk: walk?,
        expect,
    })
}

fn advice(section: &mut Section<'_>) -> BTreeMap<String, Text> {
    section
        .section("advice", |section| {
            let keys = section.keys();
            keys.into_iter()
                .filter_map(|id| {
                    let text = label(section, &id)?;
                    Some((id, text))
                })
                .collect()
        })
        .unwrap_or_default()
}

/// What numbers mean, by the name of the list.
fn enums(section: &mut Section<'_>) -> BTreeMap<String, BTreeMap<i64, Meaning>> {
    section
        .section("enums", |section| {
            let names = section.keys();
            names
                .into_iter()
                .filter_map(|name| {
                    let states = section.section(&name, states)?;
                    Some((name, states))
                })
                .collect()
        })
        .unwrap_or_default()
}

/// What numbers mean: `2: ok`, `3: {state: critical, zh: 电池供电}`.
pub(super) fn states(section: &mut Section<'_>) -> BTreeMap<i64, Meaning> {
    let mut states = BTreeMap::new();
    for key in section.keys() {
        let meaning = if section.is_section(&key) {
            section.section(&key, meaning).flatten()
        } else {
            section.choice(&key, LEVELS).map(|level| Meaning {
                level,
                text: usual_text(level),
            })
        };
        match key.parse::<i64>() {
            Ok(number) => states.extend(meaning.map(|meaning| (number, meaning))),
            Err(_) => section.problem(
                &key,
                Said::new(
                    format!("`{key}` must be the number that the device tells"),
                    format!("`{key}` 应为设备返回的数字"),
                ),
            ),
        }
    }
    states
}

fn meaning(section: &mut Section<'_>) -> Option<Meaning> {
    let level = section.choice("state", LEVELS);
    if level.is_none() {
        let words: Vec<&str> = LEVELS.iter().map(|(word, _)| *word).collect();
        section.required_text("state", words.join(", ").as_str());
    }
    let zh = section.text("zh");
    let en = section.text("en");
    let level = level?;
    let usual = usual_text(level);
    let zh = zh.unwrap_or(usual.zh);
    Some(Meaning {
        level,
        text: Text {
            en: en.unwrap_or_else(|| zh.clone()),
            zh,
        },
    })
}

fn usual_text(level: Level) -> Text {
    let (zh, en) = match level {
        Level::Ok => ("正常", "normal"),
        Level::Unknown => ("未知", "unknown"),
        Level::Warning => ("警告", "warning"),
        Level::Critical => ("严重", "critical"),
    };
    Text {
        zh: zh.to_owned(),
        en: en.to_owned(),
    }
}

/// One object identifier.
pub(super) fn oid(section: &mut Section<'_>, key: &str) -> Option<Oid> {
    section.parsed(key, expected_oid())
}

/// A list of object identifiers.
pub(super) fn oids(section: &mut Section<'_>, key: &str) -> Vec<Oid> {
    section.parsed_list(key, expected_oid())
}

fn expected_oid() -> Said {
    Said::new(
        "an object identifier in numbers, such as 1.3.6.1.2.1.1.1.0",
        "数字形式的 OID，例如 1.3.6.1.2.1.1.1.0",
    )
}

/// An object identifier that must be there.
pub(super) fn required_oid(section: &mut Section<'_>, key: &str) -> Option<Oid> {
    if !section.keys().iter().any(|known| known == key) {
        section.required_text(key, expected_oid());
        return None;
    }
    oid(section, key)
}
