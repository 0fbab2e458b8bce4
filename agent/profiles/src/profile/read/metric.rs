//! Values: single ones and the columns of tables.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use xiezhi_document::{Said, Section};

use super::identity::pattern;
use super::{label, oid, oids, required_oid, states};
use crate::profile::vocabulary::{KNOWN, Known};
use crate::profile::{Alert, Conversion, Meaning, Metric, Text, Type, UNITS, Unit};

type Enums = BTreeMap<String, BTreeMap<i64, Meaning>>;

/// How often a value is asked for if its profile does not say.
const USUAL: Duration = Duration::from_secs(60);

/// The values under `key`, each with an id of its own.
pub(super) fn metrics(section: &mut Section<'_>, key: &str, enums: &Enums) -> Vec<Metric> {
    let mut ids = BTreeSet::new();
    section
        .sections(key, |section| {
            let metric = metric(section, enums)?;
            if !ids.insert(metric.id.clone()) {
                let id = &metric.id;
                section.problem(
                    "id",
                    Said::new(
                        format!("`{id}` is there twice; give one of them another id"),
                        format!("`{id}` 重复，请改用不同的 id"),
                    ),
                );
            }
            Some(metric)
        })
        .into_iter()
        .flatten()
        .collect()
}

fn metric(section: &mut Section<'_>, enums: &Enums) -> Option<Metric> {
    let id = section.required_text(
        "id",
        Said::new(
            "what it is, for instance battery_charge",
            "数值的标识，例如 battery_charge",
        ),
    );
    let name = section.required_text(
        "name",
        Said::new("the name of the object in its MIB", "该对象在 MIB 中的名称"),
    );
    let object = required_oid(section, "oid");
    let kind = section.choice("type", TYPES).unwrap_or(Type::Gauge);
    let known = id.as_deref().and_then(known);
    let label = label(section, "label").or_else(|| known.map(name_of));
    let unit = unit(section, known);
    let conversion = conversion(section);
    let states = meanings(section, enums, kind);
    let every = section.duration("every").unwrap_or(USUAL);
    let alert = section.section("alert", alert);
    let (Some(id), Some(name), Some(object)) = (id, name, object) else {
        return None;
    };
    check_words(section, &id, &name);
    if label.is_none() || unit.is_none() {
        section.problem(
            "id",
            Said::new(
                format!("`{id}` is no common value, so it needs a `label` and a `unit`"),
                format!("`{id}` 不是通用数值，需要写明 `label` 和 `unit`"),
            ),
        );
    }
    if kind == Type::Counter && conversion != Conversion::default() {
        section.problem(
            "type",
            Said::new(
                "a counter is kept as the device tells it; leave out scale, valid and the like",
                "计数器按设备原值保存，不能使用 scale、valid 等换算",
            ),
        );
    }
    Some(Metric {
        id,
        name,
        label: label.unwrap_or_default(),
        object,
        kind,
        unit: unit.unwrap_or(Unit::None),
        conversion,
        states,
        every,
        alert,
        advice: None,
    })
}

const TYPES: &[(&str, Type)] = &[
    ("gauge", Type::Gauge),
    ("counter", Type::Counter),
    ("state", Type::State),
];

fn known(id: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.id == id)
}

fn name_of(known: &Known) -> Text {
    Text {
        zh: known.zh.to_owned(),
        en: known.en.to_owned(),
    }
}

/// The unit said; a common value has its own and takes no other.
fn unit(section: &mut Section<'_>, known: Option<&'static Known>) -> Option<Unit> {
    let words: Vec<(&str, Unit)> = UNITS.iter().map(|(word, unit, _)| (*word, *unit)).collect();
    let said = section.choice("unit", &words);
    let Some(known) = known else { return said };
    if said.is_some_and(|said| said != known.unit) {
        let (id, unit) = (known.id, known.unit.word());
        section.problem(
            "unit",
            Said::new(
                format!("`{id}` is always in {unit}; use `scale` to convert it"),
                format!("`{id}` 的单位固定为 {unit}，请用 `scale` 换算"),
            ),
        );
    }
    Some(known.unit)
}

fn check_words(section: &mut Section<'_>, id: &str, name: &str) {
    let is_id = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if id.is_empty() || !id.chars().all(is_id) {
        section.problem(
            "id",
            Said::new(
                "an id has small letters, digits and underscores only",
                "id 只能用小写字母、数字和下划线",
            ),
        );
    }
    if !is_sample_name(name) {
        section.problem(
            "name",
            Said::new(
                "a name has letters, digits and underscores only and begins with a letter",
                "名称只能用字母、数字和下划线，且以字母开头",
            ),
        );
    }
}

/// Whether samples and labels may have this name.
pub(super) fn is_sample_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn conversion(section: &mut Section<'_>) -> Conversion {
    let number = || Said::new("a number", "数字");
    let scale_by = section
        .section("scale_by", |section| {
            let object = required_oid(section, "oid");
            let values = section
                .section("values", |section| {
                    let keys = section.keys();
                    keys.into_iter()
                        .filter_map(|key| {
                            let factor = section.parsed::<f64>(&key, number())?;
                            Some((key.parse().ok()?, factor))
                        })
                        .collect::<BTreeMap<i64, f64>>()
                })
                .unwrap_or_default();
            object.map(|object| (object, values))
        })
        .flatten();
    Conversion {
        pattern: pattern(section),
        texts: texts(section),
        skip: section.parsed_list("skip", Said::new("a whole number", "整数")),
        scale_by,
        decimals: oid(section, "decimals"),
        times: oid(section, "times"),
        percent_of: oids(section, "percent_of"),
        scale: finite(section, "scale"),
        offset: finite(section, "offset"),
        valid: valid(section),
    }
}

/// The numbers that words stand for: `texts: {good: 0, warning: 1}`, whatever their case.
fn texts(section: &mut Section<'_>) -> BTreeMap<String, i64> {
    section
        .section("texts", |section| {
            let keys = section.keys();
            keys.into_iter()
                .filter_map(|key| {
                    let whole = Said::new("a whole number", "整数");
                    let number = section.parsed::<i64>(&key, whole)?;
                    Some((key.trim().to_lowercase(), number))
                })
                .collect()
        })
        .unwrap_or_default()
}

fn finite(section: &mut Section<'_>, key: &str) -> Option<f64> {
    let number = section.parsed::<f64>(key, Said::new("a number", "数字"))?;
    if !number.is_finite() {
        section.problem(
            key,
            Said::new(
                format!("`{key}` must be finite"),
                format!("`{key}` 应为有限的数字"),
            ),
        );
        return None;
    }
    Some(number)
}

fn valid(section: &mut Section<'_>) -> Option<(f64, f64)> {
    if !section.keys().iter().any(|key| key == "valid") {
        // Asked for, so that it is known.
        section.parsed_list::<f64>("valid", "");
        return None;
    }
    let numbers: Vec<f64> = section.parsed_list("valid", Said::new("a number", "数字"));
    if let [least, most] = numbers.as_slice()
        && least < most
    {
        return Some((*least, *most));
    }
    section.problem(
        "valid",
        Said::new(
            "`valid` is two numbers, the least and the most: [0, 100]",
            "`valid` 是两个数：最小值和最大值，例如 [0, 100]",
        ),
    );
    None
}

fn meanings(section: &mut Section<'_>, enums: &Enums, kind: Type) -> BTreeMap<i64, Meaning> {
    let inline = section.section("states", states);
    let named = section.text("enum");
    let found = match (inline, named) {
        (Some(inline), _) => inline,
        (None, Some(name)) => enums.get(&name).cloned().unwrap_or_else(|| {
            let known: Vec<&str> = enums.keys().map(String::as_str).collect();
            section.problem(
                "enum",
                Said::new(
                    format!(
                        "there is no enum `{name}` in this file; there are: {}",
                        known.join(", ")
                    ),
                    format!(
                        "本文件没有名为 `{name}` 的 enum；已有：{}",
                        known.join("、")
                    ),
                ),
            );
            BTreeMap::new()
        }),
        (None, None) => BTreeMap::new(),
    };
    if (kind == Type::State) == found.is_empty() {
        section.problem(
            "type",
            Said::new(
                "a value of type `state`, and no other, has an `enum` or `states`",
                "类型为 `state` 的数值（且只有它）要写 `enum` 或 `states`",
            ),
        );
    }
    found
}

fn alert(section: &mut Section<'_>) -> Alert {
    Alert {
        warn_below: finite(section, "warn_below"),
        warn_above: finite(section, "warn_above"),
        crit_below: finite(section, "crit_below"),
        crit_above: finite(section, "crit_above"),
        after: section.parsed("for", Said::new("a number of polls", "连续轮询次数")),
        clear: finite(section, "clear"),
    }
}
