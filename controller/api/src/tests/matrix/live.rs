//! What open pages are told: of hosts and sites within reach alone, of an unwell controller no host's name.

use futures_util::future::join_all;
use serde_json::Value;
use xiezhi_model::{Permission, Role};

use super::super::bench::*;
use super::super::live::open;
use super::{Verdict, Who, courts::shows, estate, everybody};

/// Numbers of hosts and of sites that a message names.
fn named(data: &Value) -> (Vec<i64>, Vec<i64>) {
    let numbers = |list: &Value, of: fn(&Value) -> &Value| -> Vec<i64> {
        let list = list.as_array().into_iter().flatten();
        list.filter_map(|one| of(one).as_i64()).collect()
    };
    let mut sites = numbers(&data["sites"], |one| &one[0]);
    sites.extend(numbers(&data["hosts"], |one| &one["site"]));
    (numbers(&data["hosts"], |one| &one["id"]), sites)
}

#[tokio::test]
async fn an_open_page_is_told_of_nothing_beyond_its_scope() {
    // So that hosts are named in what ails the controller.
    let shape = Shape {
        series_per_host: 1,
        ..Shape::default()
    };
    let bench = Bench::shaped(shape).await;
    let (courts, tree) = estate(&bench).await;
    let people = everybody(&bench, &courts).await;
    let may = |who: &Who, permission| {
        let verdicts = courts
            .iter()
            .map(|court| who.verdict(permission, court, &tree));
        verdicts.collect::<Vec<_>>()
    };
    let mut pages = Vec::new();
    for who in &people {
        let sees = may(who, Permission::SeeOverview);
        if sees.contains(&Verdict::Inside) {
            // Whoever watches a host is told of it only if it is within reach.
            let query = format!("?watch={}", courts[super::OTHER].host.id);
            pages.push((who, sees, open(&bench, &who.cookie, &query, "").await));
        }
    }
    assert!(pages.len() > 20);
    // The second of a court comes in a set behind that of every first.
    let mut late: Vec<Vec<i64>> = vec![Vec::new(); courts.len()];
    for round in 0..2 {
        for (court, late) in courts.iter().zip(&mut late) {
            let name = format!("{}-late-{round}", court.mark);
            late.push(bench.host(&court.key, &name, false).await.id.0);
        }
    }
    let reading = pages.into_iter().map(async |(who, sees, mut page)| {
        let hosts = may(who, Permission::SeeHosts);
        let rows = hosts.contains(&Verdict::Inside);
        let own = sees
            .iter()
            .rposition(|one| *one == Verdict::Inside)
            .unwrap();
        let (mut heard_late, mut heard_health) = (false, false);
        while !heard_late || !heard_health {
            let message = page.next().await.unwrap();
            let text = message.data.to_string();
            let (told, sites) = named(&message.data);
            for (at, court) in courts.iter().enumerate() {
                if sees[at] != Verdict::Inside {
                    assert!(!sites.contains(&court.site.0), "{:?}: {text}", who.grants);
                }
                if hosts[at] != Verdict::Inside {
                    assert!(!shows(&text, court), "{:?}: {text}", who.grants);
                    let is_foreign = |id: &i64| court.host.id.0 == *id || late[at].contains(id);
                    assert!(!told.iter().any(is_foreign), "{:?}: {text}", who.grants);
                }
            }
            heard_late |= match rows {
                true => told.contains(&late[own][1]),
                false => sites.contains(&courts[own].site.0),
            };
            if message.event == "health" {
                heard_health = true;
                assert!(text.contains("left_out"), "{text}");
                let runs = who
                    .grants
                    .iter()
                    .any(|grant| grant.site.is_none() && grant.role == Role::ProvinceAdministrator);
                assert!(!runs || text.contains("alpha-host"), "{text}");
            }
        }
    });
    join_all(reading).await;
}
