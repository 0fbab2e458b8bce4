//! Good and bad lists against a small tree.

use super::*;
use crate::SiteId;

fn site(id: i64, key: &str, tier: Tier, parent: Option<i64>) -> Site {
    Site {
        id: SiteId(id),
        key: key.to_owned(),
        name: key.to_uppercase(),
        tier,
        parent: parent.map(SiteId),
        court_code: String::new(),
        retired_ms: None,
        version: 0,
    }
}

/// A high court, two courts below, a tribunal below the first, and a court that is out of use.
fn tree() -> SiteTree {
    let mut gone = site(5, "gone", Tier::BasicCourt, Some(1));
    gone.retired_ms = Some(7);
    SiteTree::new([
        site(1, "gs", Tier::HighCourt, None),
        site(2, "a", Tier::IntermediateCourt, Some(1)),
        site(3, "b", Tier::IntermediateCourt, Some(1)),
        site(4, "t", Tier::Tribunal, Some(2)),
        gone,
    ])
}

fn row(line: u32, key: &str, tier: Tier, parent: Option<&str>) -> SiteRow {
    SiteRow {
        line,
        site: NewSite {
            key: key.to_owned(),
            name: key.to_uppercase(),
            tier,
            parent: parent.map(str::to_owned),
            court_code: String::new(),
        },
        retired: false,
    }
}

fn problems(rows: &[SiteRow]) -> Vec<String> {
    let plan = plan_sites(&tree(), rows);
    let told = plan.problems.iter();
    told.map(|(line, field, problem)| format!("{line} {}: {problem}", field.word()))
        .collect()
}

#[test]
fn a_plan_says_what_is_added_moved_changed_and_left() {
    let rows = [
        row(2, "t", Tier::Tribunal, Some("new")),
        row(3, "new", Tier::BasicCourt, Some("b")),
        row(4, "a", Tier::IntermediateCourt, Some("gs")),
        row(5, "gone", Tier::BasicCourt, Some("gs")),
    ];
    let plan = plan_sites(&tree(), &rows);
    assert_eq!(plan.problems, []);
    assert_eq!((plan.added(), plan.moved(), plan.unchanged), (1, 1, 1));
    let moved = &plan.rows[0].changes;
    assert_eq!(moved.len(), 1);
    assert_eq!(
        (moved[0].before.as_str(), moved[0].after.as_str()),
        ("a", "new")
    );
    let restored = &plan.rows[2].changes;
    assert_eq!(restored[0].field, SiteField::State);
    assert_eq!(plan.rows[1].changes.len(), 5, "{:?}", plan.rows[1].changes);
}

#[test]
fn every_row_that_does_not_fit_is_told_with_what_to_do() {
    let rows = [
        row(2, "x", Tier::BasicCourt, Some("nowhere")),
        row(3, "y", Tier::HighCourt, Some("b")),
        row(4, "y", Tier::Other, None),
        row(5, "z", Tier::Tribunal, Some("gone")),
        row(6, "", Tier::Other, None),
        row(7, "a", Tier::Other, Some("t")),
    ];
    assert_eq!(
        problems(&rows),
        [
            "2 parent_id: no site has the id \"nowhere\", nor has exactly one this name: add it, or \
             correct the parent",
            "3 tier: high_court cannot stand below intermediate_court: correct the tier or the parent",
            "4 id: \"y\" stands in row 3 already: give one of them another id",
            "5 parent_id: \"GONE\" is retired: restore it first, or name another site above",
            "6 id: is empty: fill it in",
            "6 name: is empty: fill it in",
            "7 parent_id: a → t → a: these would be above each other in a circle: correct one parent",
        ]
    );
}

#[test]
fn a_site_that_stays_keeps_a_court_above_it_from_sinking() {
    let sunk = [row(2, "a", Tier::Tribunal, Some("gs"))];
    let told = problems(&sunk);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("\"T\" stands below it"), "{told:?}");
    let own = [row(2, "gs", Tier::HighCourt, Some("gs"))];
    assert!(
        problems(&own)[0].contains("gs → gs"),
        "{:?}",
        problems(&own)
    );
}
