//! Good and bad files, and what is said of each line.

use super::*;
use crate::{DEMO_COURTS_CSV, demo_courts};
use proptest::prelude::*;

fn problems(text: &str) -> Vec<String> {
    let found = parse_courts(text.as_bytes()).unwrap_err();
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn the_demo_has_113_courts_in_one_tree() {
    let sites = demo_courts().unwrap();
    let count = |tier| sites.iter().filter(|site| site.tier == tier).count();
    assert_eq!(sites.len(), 113);
    assert_eq!(count(Tier::HighCourt), 1);
    assert_eq!(count(Tier::IntermediateCourt), 17);
    assert_eq!(count(Tier::BasicCourt), 95);
    assert_eq!(sites.iter().filter(|site| site.parent.is_none()).count(), 1);
    assert_eq!(sites[0].name, "甘肃省高级人民法院");
}

#[test]
fn a_byte_order_mark_windows_line_ends_and_quotes_change_nothing() {
    let plain = parse_courts(DEMO_COURTS_CSV.as_bytes()).unwrap();
    let marked = format!("\u{feff}{}", DEMO_COURTS_CSV.replace('\n', "\r\n"));
    assert_eq!(parse_courts(marked.as_bytes()).unwrap(), plain);
    let quoted = "id,name,tier,parent_id,court_code\n\"a\",\"x, y\",other,,\n";
    assert_eq!(parse_courts(quoted.as_bytes()).unwrap()[0].name, "x, y");
}

#[test]
fn all_problems_are_told_at_once_each_with_its_line() {
    let text = "\
id,name,tier,parent_id,court_code
gs,,high_court,,甘
a,甲,supreme_court,gs,
a,乙,other,gs,
b,丙,other,nowhere,
c,丁,other
d,戊,other,e,
e,己,other,f,
f,庚,other,d,
,辛,other,gs,
g,壬,other,g,
";
    assert_eq!(
        problems(text),
        [
            "line 2: name is empty: fill it in",
            "line 3: unknown tier \"supreme_court\": write high_court, intermediate_court, \
             basic_court, tribunal or other",
            "line 4: id \"a\" is already used on line 3: give one of them another id",
            "line 5: parent \"nowhere\" is not in the file: add it, or correct parent_id",
            "line 6: 3 fields instead of 5: put quotes around a field that holds a comma",
            "line 7: d → e → f → d: these are above each other in a circle: correct one parent_id",
            "line 10: id is empty: fill it in",
            "line 11: g → g: these are above each other in a circle: correct one parent_id",
        ]
    );
}

#[test]
fn a_mistake_in_a_parent_is_not_reported_for_its_children() {
    let text = "id,name,tier,parent_id,court_code\np,,wrong,,\nc,name,other,p,\n\
                q,too few\nd,name,other,q,\n";
    let found = problems(text);
    let children = ["line 3", "line 5"];
    assert!(
        !found
            .iter()
            .any(|p| children.iter().any(|c| p.starts_with(c))),
        "{found:?}"
    );
}

#[test]
fn files_that_are_something_else_are_refused_with_a_reason() {
    let cases: [(&[u8], &str); 5] = [
        (b"", "line 1: the file holds no sites"),
        (
            b"id,name,tier,parent_id,court_code\n",
            "line 1: the file holds no sites",
        ),
        (b"code;name\nx;y\n", "line 1: the header is \"code;name\""),
        (
            b"id,name,tier,parent_id,court_code\n\xb8\xca,x,other,,\n",
            "line 2: not UTF-8",
        ),
        (
            b"id,name,tier,parent_id,court_code\na,\"x\ny\",other,,\n",
            "line 2: name holds a control",
        ),
    ];
    for (bytes, expected) in cases {
        let found = parse_courts(bytes).unwrap_err();
        assert!(found[0].to_string().starts_with(expected), "{found:?}");
    }
}

proptest! {
    #[test]
    fn the_order_of_lines_does_not_matter(order in Just((1..114).collect::<Vec<usize>>()).prop_shuffle()) {
        let lines: Vec<_> = DEMO_COURTS_CSV.lines().collect();
        let shuffled = order.iter().map(|&at| lines[at]).collect::<Vec<_>>().join("\n");
        let mut sites = parse_courts(format!("{}\n{shuffled}", lines[0]).as_bytes()).unwrap();
        let mut expected = demo_courts().unwrap();
        sites.sort_by(|a, b| a.key.cmp(&b.key));
        expected.sort_by(|a, b| a.key.cmp(&b.key));
        prop_assert_eq!(sites, expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(parse_courts(&bytes));
    }

    #[test]
    fn arbitrary_trees_end_and_are_valid_or_explained(parents in prop::collection::vec(0usize..12, 1..12)) {
        let mut text = String::from("id,name,tier,parent_id,court_code\n");
        for (child, parent) in parents.iter().enumerate() {
            let parent = if *parent == 0 { String::new() } else { format!("s{}", parent - 1) };
            text.push_str(&format!("s{child},n,other,{parent},\n"));
        }
        let reaches_root = |mut at: usize| {
            for _ in 0..=parents.len() {
                match parents.get(at) {
                    Some(0) => return true,
                    Some(parent) => at = parent - 1,
                    None => return false,
                }
            }
            false
        };
        let valid = (0..parents.len()).all(reaches_root);
        prop_assert_eq!(parse_courts(text.as_bytes()).is_ok(), valid);
    }
}
