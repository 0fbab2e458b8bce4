//! Good and bad files, and what is said of each cell.

use super::*;
use crate::{DEMO_COURTS_CSV, demo_courts};
use proptest::prelude::*;
use xiezhi_model::SiteId;

fn read(text: &str) -> SiteReading {
    read_sites(text.as_bytes(), &SiteTree::default())
}

fn problems(text: &str) -> Vec<String> {
    read(text)
        .problems
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn good(bytes: &[u8], tree: &SiteTree) -> Vec<NewSite> {
    let reading = read_sites(bytes, tree);
    assert_eq!(reading.problems, []);
    reading.list.rows.into_iter().map(|row| row.site).collect()
}

/// Two courts that are there.
fn tree() -> SiteTree {
    let site = |id, key: &str, name: &str, parent: Option<i64>| Site {
        id: SiteId(id),
        key: key.to_owned(),
        name: name.to_owned(),
        tier: if id == 1 {
            Tier::HighCourt
        } else {
            Tier::IntermediateCourt
        },
        parent: parent.map(SiteId),
        court_code: format!("甘{id}"),
        retired_ms: None,
        version: 0,
    };
    SiteTree::new([
        site(1, "gs", "省高院", None),
        site(2, "gs-01", "兰州中院", Some(1)),
    ])
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
fn a_byte_order_mark_windows_line_ends_gb18030_and_quotes_change_nothing() {
    let plain = demo_courts().unwrap();
    let marked = format!("\u{feff}{}", DEMO_COURTS_CSV.replace('\n', "\r\n"));
    assert_eq!(good(marked.as_bytes(), &SiteTree::default()), plain);
    let (old, ..) = encoding_rs::GB18030.encode(DEMO_COURTS_CSV);
    assert_eq!(good(&old, &SiteTree::default()), plain);
    let quoted = "id,name,tier,parent_id,court_code\n\"a\",\"x, y\",other,,\n";
    assert_eq!(
        good(quoted.as_bytes(), &SiteTree::default())[0].name,
        "x, y"
    );
}

#[test]
fn a_chinese_list_names_parents_by_name_and_leaves_alone_what_it_has_no_column_for() {
    let text = "全省法院名单\n编号*,法院名称,层级（必填）,上级法院,电话\n\
                gs-01,兰州市中院,中院,省高院,0931\ngs-01-t,城关法庭,派出法庭,兰州市中院,\n";
    let reading = read_sites(text.as_bytes(), &tree());
    assert_eq!(reading.problems, []);
    assert_eq!(reading.ignored, ["电话"]);
    let sites: Vec<_> = reading.list.rows.iter().map(|row| &row.site).collect();
    assert_eq!(sites[0].court_code, "甘2", "no column: it stays");
    assert_eq!(sites[0].parent.as_deref(), Some("gs"));
    assert_eq!(sites[1].parent.as_deref(), Some("gs-01"));
    assert_eq!(
        (sites[1].tier, reading.list.rows[1].line),
        (Tier::Tribunal, 4)
    );
    let kept = SiteList::from_text(&reading.list.to_text()).unwrap();
    assert_eq!(kept, reading.list);
}

#[test]
fn all_problems_are_told_at_once_each_with_its_cell() {
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
h,癸,high_court,gs,
";
    let found = problems(text);
    let expected = [
        ("row 2, column B", "name is empty"),
        ("row 3, column C", "tier \"supreme_court\" is no tier"),
        ("row 4, column A", "id \"a\" stands in row 3 already"),
        (
            "row 5, column D",
            "parent_id no site has the id \"nowhere\"",
        ),
        ("row 7, column D", "parent_id d → e → f → d: these would be"),
        ("row 10, column A", "id is empty"),
        ("row 11, column D", "parent_id g → g: these would be"),
        (
            "row 12, column C",
            "tier high_court cannot stand below high_court",
        ),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, (place, what)) in found.iter().zip(expected) {
        assert!(found.starts_with(place) && found.contains(what), "{found}");
    }
}

#[test]
fn a_mistake_in_a_parent_is_not_reported_for_its_children() {
    let text = "id,name,tier,parent_id,court_code\np,,wrong,,\nc,name,other,p,\n";
    let found = problems(text);
    assert!(
        !found.iter().any(|one| one.starts_with("row 3")),
        "{found:?}"
    );
}

#[test]
fn files_that_are_something_else_are_refused_with_a_reason() {
    let header = "id,name,tier,parent_id,court_code\n";
    let cases: [(Vec<u8>, &str); 5] = [
        (Vec::new(), "row 1: no header was found"),
        (
            header.into(),
            "row 1: the file has no rows below its header",
        ),
        (b"code;name\nx;y\n".to_vec(), "row 1: no header was found"),
        (
            format!("{header}a,\"x\ny\",other,,\n").into(),
            "row 2, column B: name holds a control",
        ),
        (
            b"\xd0\xcf\x11\xe0 old".to_vec(),
            "row 1: this is an old .xls file",
        ),
    ];
    for (bytes, expected) in cases {
        let found = read_sites(&bytes, &SiteTree::default()).problems;
        assert!(found[0].to_string().starts_with(expected), "{found:?}");
    }
}

proptest! {
    #[test]
    fn the_order_of_lines_does_not_matter(order in Just((1..114).collect::<Vec<usize>>()).prop_shuffle()) {
        let lines: Vec<_> = DEMO_COURTS_CSV.lines().collect();
        let shuffled = order.iter().map(|&at| lines[at]).collect::<Vec<_>>().join("\n");
        let text = format!("{}\n{shuffled}", lines[0]);
        let mut sites = good(text.as_bytes(), &SiteTree::default());
        let mut expected = demo_courts().unwrap();
        sites.sort_by(|a, b| a.key.cmp(&b.key));
        expected.sort_by(|a, b| a.key.cmp(&b.key));
        prop_assert_eq!(sites, expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(read_sites(&bytes, &tree()));
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
        prop_assert_eq!(read(&text).problem_count == 0, valid);
    }
}
