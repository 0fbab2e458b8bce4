//! What somebody who writes a profile is told.

use proptest::prelude::*;
use xiezhi_document::Language;
use xiezhi_profiles::{File, Library, Oid, Probe, Walk, replay};

fn told(texts: &[(&str, &str)], language: Language) -> String {
    let (_, problems) = library(texts);
    problems.iter().map(|one| one.shown(language)).collect()
}

fn library(texts: &[(&str, &str)]) -> (Library, Vec<xiezhi_document::Problems>) {
    let paths: Vec<String> = texts
        .iter()
        .map(|(name, _)| format!("{name}.yaml"))
        .collect();
    let files: Vec<File<'_>> = texts
        .iter()
        .zip(&paths)
        .map(|((name, text), path)| File { path, name, text })
        .collect();
    Library::read(&files)
}

const BAD: &str = "profile: other\nversion: 0x\nkind: toaster\nsource: X-MIB\nlabel: {en: only}\n\
    match:\n  - {priority: high}\n\
    snmp: {max_oids: 900, quirks: [slow]}\n\
    metrics:\n\
    \x20 - {id: battery_charge, name: a, oid: 1.3.x, unit: volts}\n\
    \x20 - {id: my_value, name: 9bad, oid: 1.3.6.1.0}\n\
    \x20 - {id: pages, name: p, oid: 1.3.6.1.0, type: counter, scale: 2}\n\
    \x20 - {id: health, name: h, oid: 1.3.6.1.0, type: state}\n\
    \x20 - {id: health, name: h, oid: 1.3.6.1.0, type: state, enum: nothing, valid: [5]}\n\
    tables:\n  - {id: t}\ncolour: red\n";

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let shown = told(&[("mine", BAD)], Language::English);
    let expected = [
        "mine.yaml:1:10: `profile` must be the name of its file, `mine`",
        "mine.yaml:2:10: `version` must be a whole number from 1, not `0x`",
        "mine.yaml:3:7: `kind` must be one of switch, router,",
        "mine.yaml:5:8: `zh` is missing: the text in Chinese",
        "`sys_object_id` is missing",
        "`priority` must be a whole number, not `high`",
        "`max_oids` must be from 1 to 60",
        "there is no quirk `slow`; known: no_getbulk, unordered",
        "`oid` must be an object identifier in numbers",
        "`my_value` is no common value, so it needs a `label` and a `unit`",
        "a name has letters, digits and underscores only and begins with a letter",
        "a counter is kept as the device tells it",
        "a value of type `state`, and no other, has an `enum` or `states`",
        "there is no enum `nothing` in this file",
        "`valid` is two numbers",
        "a table needs `labels`",
        "a table needs `columns`",
        "mine.yaml:17:1: unknown key `colour`",
    ];
    for part in expected {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}

#[test]
fn in_chinese_nothing_stays_english() {
    let shown = told(&[("mine", BAD)], Language::Chinese);
    assert!(
        shown.contains("mine.yaml:3:7: `kind` 应为以下之一：switch、router"),
        "{shown}"
    );
    for line in shown.lines() {
        let message = line.splitn(4, ':').nth(3).unwrap();
        let chinese = message
            .chars()
            .any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        assert!(chinese, "{line}");
    }
}

const BASE: &str = "profile: base\nsource: A-MIB\n\
    metrics:\n  - {id: temperature, name: t, oid: 1.3.6.1.4.1.9.1.0}\n\
    \x20 - {id: humidity, name: h, oid: 1.3.6.1.4.1.9.2.0}\n";

fn child(body: &str) -> String {
    format!("profile: child\nkind: environment\nsource: B-MIB\n{body}")
}

const MATCH: &str = "match:\n  - {sys_object_id: 1.3.6.1.4.1.9}\n";

#[test]
fn a_profile_has_what_it_extends_but_what_it_says_itself_comes_first() {
    let child = child(&format!(
        "extends: [base]\nwithout: [humidity]\n{MATCH}\
         metrics:\n  - {{id: temperature, name: own, oid: 1.3.6.1.4.1.9.7.0}}\n\
         advice: {{temperature: 开窗}}\n"
    ));
    let (library, problems) = library(&[("base", BASE), ("child", &child)]);
    assert_eq!(problems, []);
    let profile = library.get("child").unwrap();
    let names: Vec<&str> = profile.metrics.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["own"]);
    assert_eq!(profile.metrics[0].advice.as_ref().unwrap().zh, "开窗");
}

#[test]
fn what_cannot_be_extended_is_told_and_costs_no_other_profile() {
    let lost = child("extends: [nowhere]\n");
    let (library, problems) = library(&[("base", BASE), ("child", &lost)]);
    assert_eq!(
        problems[0].to_string(),
        "child.yaml:4:10: there is no profile `nowhere`\n"
    );
    assert!(library.get("base").is_some() && library.get("child").is_none());

    let circle = BASE.replace("source", "extends: [child]\nsource");
    let shown = told(
        &[("base", &circle), ("child", &child("extends: [base]\n"))],
        Language::English,
    );
    assert!(
        shown.contains("extends itself: base → child → base"),
        "{shown}"
    );

    let broken = BASE.replace("1.3.6.1.4.1.9.2.0", "none");
    let shown = told(
        &[("base", &broken), ("child", &child("extends: [base]\n"))],
        Language::English,
    );
    assert!(
        shown.contains("child.yaml:4:10: `base` cannot be used; mend it first"),
        "{shown}"
    );
}

#[test]
fn what_is_left_out_or_advised_must_be_there() {
    let text = child("extends: [base]\nwithout: [pressure]\nadvice: {noise: x}\n");
    let shown = told(&[("base", BASE), ("child", &text)], Language::English);
    assert_eq!(
        shown,
        "child.yaml:5:10: `without` names `pressure`, which this profile does not have\n\
         child.yaml:6:9: `advice` names `noise`, which this profile does not have\n"
    );
}

fn named(name: &str, body: &str) -> String {
    format!("profile: {name}\nkind: switch\nsource: X\n{body}")
}

#[test]
fn the_longest_identifier_decides_then_priority_then_conditions() {
    let texts = [
        (
            "a-short",
            "match:\n  - {sys_object_id: 1.3.6.1.4.1.9, priority: 9}\n",
        ),
        ("b-long", "match:\n  - {sys_object_id: [1.3.6.1.4.1.9.1]}\n"),
        (
            "c-descr",
            "match:\n  - {sys_object_id: 1.3.6.1.4.1.9.1, sys_descr_contains: [ROUTER]}\n",
        ),
        (
            "d-has",
            "match:\n  - {sys_object_id: 1.3.6.1.4.1.8072, has: [1.3.6.1.4.1.6574.1]}\n",
        ),
    ];
    let texts: Vec<(&str, String)> = texts.iter().map(|(n, t)| (*n, named(n, t))).collect();
    let texts: Vec<(&str, &str)> = texts.iter().map(|(n, t)| (*n, t.as_str())).collect();
    let (library, problems) = library(&texts);
    assert_eq!(problems, []);
    let known = |oid: &str, descr: &str, has: &[&str]| {
        let probe = Probe {
            sys_object_id: oid.parse().unwrap(),
            sys_descr: descr.into(),
            has: has.iter().map(|oid| oid.parse().unwrap()).collect(),
        };
        library
            .recognise(&probe)
            .map(|profile| profile.name.clone())
    };
    assert_eq!(
        known("1.3.6.1.4.1.9.2", "", &[]).as_deref(),
        Some("a-short")
    );
    assert_eq!(
        known("1.3.6.1.4.1.9.1.5", "", &[]).as_deref(),
        Some("b-long")
    );
    assert_eq!(
        known("1.3.6.1.4.1.9.1.5", "a router", &[]).as_deref(),
        Some("c-descr")
    );
    // 9.10 is not below 9.1.
    assert_eq!(
        known("1.3.6.1.4.1.9.10", "", &[]).as_deref(),
        Some("a-short")
    );
    assert_eq!(known("1.3.6.1.4.1.8072.3", "", &[]), None);
    assert_eq!(
        known("1.3.6.1.4.1.8072.3", "", &["1.3.6.1.4.1.6574.1"]).as_deref(),
        Some("d-has")
    );
    let questions = library.questions(&"1.3.6.1.4.1.8072.3".parse::<Oid>().unwrap());
    assert_eq!(questions, ["1.3.6.1.4.1.6574.1".parse().unwrap()]);
}

#[test]
fn profiles_that_nobody_could_decide_between_are_told() {
    let (one, other) = (named("one", MATCH), named("other", MATCH));
    let shown = told(&[("one", &one), ("other", &other)], Language::English);
    assert!(
        shown.starts_with("other.yaml:5:3: matches exactly what `one` matches"),
        "{shown}"
    );
    let other = named("other", &MATCH.replace('}', ", priority: 1}"));
    assert_eq!(
        told(&[("one", &one), ("other", &other)], Language::English),
        ""
    );
}

const SENSORS: &str = "profile: box\nkind: environment\nsource: X\n\
    match:\n  - {sys_object_id: 1.3.6.1.4.1.9}\n\
    metrics:\n\
    \x20 - {id: temperature, name: t, oid: 1.3.6.1.4.1.9.1.0, scale: 0.1, offset: -5, skip: [9999], valid: [-20, 90]}\n\
    \x20 - {id: humidity, name: h, oid: 1.3.6.1.4.1.9.2.0, regex: 'RH (?<v>[0-9.]+)'}\n\
    tables:\n\
    \x20 - id: disks\n\
    \x20   rows: [{oid: 1.3.6.1.4.1.9.3.1.9, is_not: [0]}]\n\
    \x20   labels: [{name: diskName, oid: 1.3.6.1.4.1.9.3.1.2}, {name: bay, through: 1.3.6.1.4.1.9.3.1.3, oid: 1.3.6.1.4.1.9.4.1.2}]\n\
    \x20   columns:\n\
    \x20     - {id: storage_usage, name: used, oid: 1.3.6.1.4.1.9.3.1.4, percent_of: 1.3.6.1.4.1.9.3.1.5}\n\
    \x20     - {id: disk_state, name: state, oid: 1.3.6.1.4.1.9.3.1.6, type: state, states: {1: ok, 2: {state: critical, zh: 故障}}}\n";

#[test]
fn numbers_are_converted_and_what_is_no_number_is_left_out_with_its_reason() {
    let (library, problems) = library(&[("box", SENSORS)]);
    assert_eq!(problems, []);
    let profile = library.get("box").unwrap();
    let values = |text: &str| -> Vec<String> {
        let walk = Walk::parse(text).0;
        let reading = replay::read(profile, &walk);
        let value = |one: &xiezhi_profiles::Measured<'_>| {
            let meaning = one.meaning.map(|meaning| format!(" {}", meaning.text.zh));
            format!(
                "{}={}{}",
                one.title(),
                one.shown(),
                meaning.unwrap_or_default()
            )
        };
        let left =
            |one: &xiezhi_profiles::LeftOut<'_>| format!("{} {:?}", one.metric.id, one.reason);
        let values = reading.values.iter().map(value);
        values.chain(reading.left_out.iter().map(left)).collect()
    };
    assert_eq!(
        values("1.3.6.1.4.1.9.1.0|2|283\n1.3.6.1.4.1.9.2.0|4|RH 45.5 %\n"),
        ["temperature=23.3", "humidity=45.5"]
    );
    assert_eq!(
        values("1.3.6.1.4.1.9.1.0|2|9999\n1.3.6.1.4.1.9.2.0|4|dry\n"),
        ["temperature Skipped", "humidity NotANumber"]
    );
    assert_eq!(
        values("1.3.6.1.4.1.9.1.0|2|5000\n"),
        ["temperature Impossible"]
    );
    let disks = "1.3.6.1.4.1.9.3.1.2.1|4|sda\n1.3.6.1.4.1.9.3.1.2.2|4|sda\n1.3.6.1.4.1.9.3.1.2.3|4|sdc\n\
        1.3.6.1.4.1.9.3.1.3.1|2|7\n1.3.6.1.4.1.9.4.1.2.7|4|上层\n\
        1.3.6.1.4.1.9.3.1.4.1|66|25\n1.3.6.1.4.1.9.3.1.5.1|66|200\n\
        1.3.6.1.4.1.9.3.1.4.2|66|25\n1.3.6.1.4.1.9.3.1.5.2|66|0\n\
        1.3.6.1.4.1.9.3.1.6.1|2|2\n1.3.6.1.4.1.9.3.1.6.2|2|1\n1.3.6.1.4.1.9.3.1.6.3|2|1\n\
        1.3.6.1.4.1.9.3.1.9.3|2|0\n";
    assert_eq!(
        values(disks),
        [
            "disks.storage_usage[sda, 上层]=12.5",
            "disks.disk_state[sda, 上层]=2 故障",
            "disks.disk_state[sda]=1 正常",
            "storage_usage NoOther",
        ]
    );
}

const POOLS: &str = "profile: pools\nsource: X-MIB\ntables:\n\
    \x20 - id: memories\n\
    \x20   labels: [{name: poolIndex}]\n\
    \x20   columns:\n\
    \x20     - {id: memory_usage, name: used, oid: 1.3.6.1.4.1.9.1.1.1, \
    percent_of: [1.3.6.1.4.1.9.1.1.1, 1.3.6.1.4.1.9.1.1.2]}\n";

#[test]
fn a_part_of_a_sum_needs_all_that_is_summed() {
    let (library, problems) = library(&[("pools", POOLS)]);
    assert_eq!(problems, []);
    let text = "1.3.6.1.4.1.9.1.1.1.1|66|25\n1.3.6.1.4.1.9.1.1.2.1|66|75\n\
        1.3.6.1.4.1.9.1.1.1.2|66|25\n\
        1.3.6.1.4.1.9.1.1.1.3|66|0\n1.3.6.1.4.1.9.1.1.2.3|66|0\n";
    let walk = Walk::parse(text).0;
    let reading = replay::read(library.get("pools").unwrap(), &walk);
    let titles: Vec<String> = reading
        .values
        .iter()
        .map(|value| format!("{}={}", value.title(), value.shown()))
        .collect();
    assert_eq!(titles, ["memories.memory_usage[1]=25"]);
    assert_eq!(reading.left_out.len(), 2);
}

#[test]
fn rows_of_one_name_are_told_apart_by_their_index() {
    let (library, _) = library(&[("box", SENSORS)]);
    let text = "1.3.6.1.4.1.9.3.1.2.4|4|sda\n1.3.6.1.4.1.9.3.1.2.5|4|sda\n\
        1.3.6.1.4.1.9.3.1.6.4|2|1\n1.3.6.1.4.1.9.3.1.6.5|2|1\n";
    let walk = Walk::parse(text).0;
    let reading = replay::read(library.get("box").unwrap(), &walk);
    let titles: Vec<String> = reading.values.iter().map(|value| value.title()).collect();
    assert_eq!(
        titles,
        ["disks.disk_state[sda, 4]", "disks.disk_state[sda, 5]"]
    );
}

#[test]
fn what_a_test_expects_and_does_not_get_is_told_in_its_place() {
    let text = format!(
        "{SENSORS}tests:\n  - walk: box.snmprec\n    expect: {{kind: ups, temperature: 23.3, humidity: 50}}\n"
    );
    let (library, problems) = library(&[("box", &text)]);
    assert_eq!(problems, []);
    let profile = library.get("box").unwrap();
    let walk = Walk::parse("1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.9.5\n1.3.6.1.4.1.9.1.0|2|283\n").0;
    let found = replay::differences(&library, profile, &profile.tests[0], &walk);
    let told: Vec<String> = found
        .iter()
        .map(|(l, c, s)| format!("{l}:{c}: {}", s.en))
        .collect();
    assert_eq!(
        told,
        [
            "18:20: `kind` should be `ups` and is `environment`",
            "18:54: `humidity` should be `50` and is not in the recording",
        ]
    );
}

#[test]
fn a_draft_of_a_device_is_a_profile_that_has_no_problems() {
    let text = "1.3.6.1.2.1.1.1.0|4|A box: \"new\" #1\n1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.9.5\n\
        1.3.6.1.2.1.2.2.1.2.1|4|eth0\n1.3.6.1.4.1.9.1.0|2|283\n1.3.6.1.4.1.9.3.1.2.1|4|sda\n";
    let walk = Walk::parse(text).0;
    let draft = xiezhi_profiles::learn::draft(&Library::shipped(), "a-box", &walk);
    assert!(draft.contains("oid: 1.3.6.1.4.1.9.1.0}  # 283"), "{draft}");
    assert!(draft.contains("extends: [generic-interfaces]"), "{draft}");
    let file = File {
        path: "a-box.yaml",
        name: "a-box",
        text: &draft,
    };
    let (library, problems) = Library::with(&[file]);
    assert_eq!(problems, [], "{draft}");
    let profile = library.recognise(&replay::probe(&library, &walk)).unwrap();
    assert_eq!(profile.name, "a-box");
    assert_eq!(replay::read(profile, &walk).ports.len(), 1);
}

proptest! {
    /// Any damage to a profile that is well is told or harmless; it never panics.
    #[test]
    fn damaged_profiles_never_panic(at in 0..SENSORS.len(), cut in 0..40usize, put in "[a-z0-9:{}\\[\\], .\\n-]{0,8}") {
        let mut text: Vec<char> = SENSORS.chars().collect();
        let at = at.min(text.len());
        let end = (at + cut).min(text.len());
        text.splice(at..end, put.chars());
        let text: String = text.into_iter().collect();
        drop(library(&[("box", &text)]));
    }
}
