//! Every route × every role × several scopes, generated from the list of routes and the roles' own
//! table: who may not is refused, what is outside a scope is neither shown nor changed, and what is
//! inside is shown. A route that this file does not know fails the test.

mod courts;
mod live;

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use xiezhi_model::{Grant, Permission, RegisterKind, Role, SiteTree};

use self::courts::{Court, court, move_below, nothing_changed, shows};
use super::bench::*;
use crate::routes::{Caller, Route, method_of, routes};

/// What to ask of a route: its address for a court, a body that would act, and whether a 200 must
/// name the court's things.
struct Case {
    path: String,
    body: Option<Value>,
    /// The answer is a list or a thing of the court.
    names: bool,
    /// Nobody finds anything here.
    absent: bool,
    /// It must not be done for real where it is allowed: the next role needs the court whole.
    acts: bool,
}

fn reads(path: String) -> Case {
    Case {
        path,
        body: None,
        names: true,
        absent: false,
        acts: false,
    }
}

fn acts(path: String, body: Value) -> Case {
    Case {
        path,
        body: Some(body),
        names: false,
        absent: false,
        acts: true,
    }
}

fn case(method: &Method, route: &str, of: &Court, kind: RegisterKind) -> Case {
    let path = |id: &dyn std::fmt::Display| {
        let route = route.replace("{id}", &id.to_string());
        route.replace("{kind}", kind.word())
    };
    let item = of.item(kind);
    let values = json!({"code": "A-9", "name": format!("{}-new", of.mark)});
    let silent = |case: Case| Case {
        names: false,
        ..case
    };
    let (host, site) = (of.host.id.0, of.site.0);
    let new_token = json!({"site": site, "uses": 1, "expires_in_s": 600});
    let new_user = json!({"name": format!("{}-new", of.mark), "home": site});
    match (method.as_str(), route) {
        ("GET", "/api/v1/health" | "/metrics" | "/api/v1/audit/chain" | "/api/v1/settings") => {
            silent(reads(path(&"")))
        }
        // The audit log belongs to the province, see `is_province_only`.
        ("GET", "/api/v1/audit" | "/api/v1/audit/export" | "/api/v1/audit/sheet") => {
            silent(reads(path(&"")))
        }
        ("GET", "/api/v1/api-tokens") => reads(path(&"")),
        ("POST", "/api/v1/api-tokens") => acts(
            path(&""),
            json!({"name": "x", "right": "read-metrics", "site": site, "expires_in_days": 1}),
        ),
        ("DELETE", "/api/v1/api-tokens/{id}") => acts(path(&of.api_token), json!({})),
        // A stream: its own test is below.
        ("GET", "/api/v1/live") => silent(reads(format!("{route}?watch={host}"))),
        ("GET", "/api/v1/overview" | "/api/v1/sites" | "/api/v1/hosts" | "/api/v1/gaps") => {
            reads(path(&""))
        }
        (
            "GET",
            "/api/v1/hosts/export"
            | "/api/v1/sites/export"
            | "/api/v1/users/export"
            | "/api/v1/devices/export"
            | "/api/v1/gaps/export",
        ) => reads(path(&"")),
        ("GET", "/api/v1/events/export") => reads(format!("{route}?stream=all")),
        ("GET", "/api/v1/fleet") => silent(reads(path(&""))),
        ("GET", "/api/v1/events") => reads(format!("{route}?stream=all")),
        ("GET", "/api/v1/sites/{id}") => reads(path(&site)),
        ("GET", "/api/v1/sites/{id}/history") => reads(path(&site)),
        ("POST", "/api/v1/sites") => acts(
            path(&""),
            json!({"key": format!("{}-new", of.mark), "name": "x", "tier": "other", "parent": site}),
        ),
        ("PUT", "/api/v1/sites/{id}") => acts(
            path(&site),
            json!({"name": "x", "tier": of.tier, "parent": of.parent, "code": "", "version": of.version}),
        ),
        // Lists of sites belong to the province.
        ("GET", "/api/v1/site-imports") => silent(reads(path(&""))),
        ("POST", "/api/v1/site-imports") => acts(path(&""), json!("id,name,tier")),
        ("GET", "/api/v1/site-imports/{id}") => silent(reads(path(&of.site_import))),
        ("DELETE", "/api/v1/site-imports/{id}") => acts(path(&of.site_import), json!({})),
        ("POST", "/api/v1/site-imports/{id}/apply") => {
            acts(path(&of.site_import), json!({"digest": ""}))
        }
        ("POST", "/api/v1/site-imports/{id}/undo") => acts(path(&of.site_import), json!({})),
        ("GET", "/api/v1/sites/{id}/bandwidth") => silent(reads(path(&site))),
        ("PUT", "/api/v1/sites/{id}/bandwidth") => {
            acts(path(&site), json!({"hours": vec![Some(64); 24]}))
        }
        ("DELETE", "/api/v1/sites/{id}/bandwidth") => acts(path(&site), json!({})),
        ("GET", "/api/v1/hosts/{id}") => reads(path(&host)),
        ("GET", "/api/v1/hosts/{id}/facts") => silent(reads(path(&host))),
        ("GET", "/api/v1/hosts/{id}/series") => silent(reads(format!(
            "{}?match=node_load1&from=0&to=60000",
            path(&host)
        ))),
        ("POST", "/api/v1/hosts/{id}/revoke") => acts(path(&host), json!({"reason": "matrix"})),
        ("POST", "/api/v1/hosts/{id}/settle") => acts(path(&host), json!({})),
        ("POST", "/api/v1/hosts/{id}/directives") => {
            acts(path(&host), json!({"kind": "collect_now"}))
        }
        ("GET", "/api/v1/devices") => reads(path(&"")),
        ("GET", "/api/v1/devices/{id}") => reads(path(&of.device)),
        ("GET", "/api/v1/tokens") => reads(path(&"")),
        ("POST", "/api/v1/tokens") => acts(path(&""), new_token),
        ("DELETE", "/api/v1/tokens/{id}") => acts(path(&of.token), json!({})),
        ("GET", "/api/v1/approvals") => reads(path(&"")),
        ("POST", "/api/v1/approvals/{id}") => {
            acts(path(&of.approval), json!({"decision": "refuse"}))
        }
        ("GET", "/api/v1/register/{kind}" | "/api/v1/register/{kind}/export") => reads(path(&"")),
        ("POST", "/api/v1/register/{kind}") => {
            acts(path(&""), json!({"site": site, "values": values}))
        }
        ("GET", "/api/v1/register/{kind}/{id}" | "/api/v1/register/{kind}/{id}/history") => {
            reads(path(&item.id))
        }
        ("PUT", "/api/v1/register/{kind}/{id}") => acts(
            path(&item.id),
            json!({"site": site, "version": item.version, "values": values}),
        ),
        ("GET", "/api/v1/labels/assets/{id}") => reads(path(&of.item(RegisterKind::Asset).id)),
        ("GET", "/api/v1/imports") => reads(path(&"")),
        // What would be done with a file of another court: its site is not there.
        ("POST", "/api/v1/imports") => acts(
            format!("{route}?kind=assets&site={site}"),
            json!("code,name"),
        ),
        ("GET", "/api/v1/imports/{id}") => silent(reads(path(&of.import))),
        ("DELETE", "/api/v1/imports/{id}") => acts(path(&of.import), json!({})),
        ("POST", "/api/v1/imports/{id}/apply") => acts(path(&of.import), json!({"digest": ""})),
        ("GET", "/api/v1/imports/{id}/undo") => reads(path(&of.done)),
        ("POST", "/api/v1/imports/{id}/undo") => acts(path(&of.done), json!({})),
        ("GET", "/api/v1/users" | "/api/v1/acts") => reads(path(&"")),
        ("POST", "/api/v1/users") => acts(path(&""), new_user),
        ("GET", "/api/v1/users/{id}") => reads(path(&of.user)),
        ("POST", "/api/v1/users/{id}/changes") => acts(
            path(&of.user),
            json!({"change": "reset_second_factor", "reason": "matrix"}),
        ),
        ("POST", "/api/v1/users/{id}/end-sessions") => acts(path(&of.user), json!({})),
        ("POST", "/api/v1/acts/{id}/consent") => acts(path(&of.act), json!({})),
        ("POST", "/api/v1/acts/{id}/end") => acts(path(&of.act), json!({})),
        ("GET" | "POST", "/api/v1/query") => reads(format!("{route}?query=node_load1")),
        ("GET" | "POST", "/api/v1/query_range") => {
            let end = START_MS / 1000;
            let start = end - 60;
            reads(format!(
                "{route}?query=node_load1&start={start}&end={end}&step=15"
            ))
        }
        ("GET" | "POST", "/api/v1/series") => reads(format!("{route}?match[]=node_load1")),
        ("GET", "/api/v1/label/{name}/values") => reads(route.replace("{name}", "instance")),
        (
            "GET" | "POST",
            "/api/v1/labels"
            | "/api/v1/format_query"
            | "/api/v1/metadata"
            | "/api/v1/rules"
            | "/api/v1/alerts"
            | "/api/v1/targets"
            | "/api/v1/alertmanagers",
        ) => silent(reads(format!("{route}?query=up"))),
        ("GET" | "POST", "/api/v1/query_exemplars") => {
            let end = START_MS / 1000;
            let start = end - 60;
            silent(reads(format!("{route}?query=up&start={start}&end={end}")))
        }
        ("GET", "/api/v1/status/walreplay")
        | (
            "GET" | "POST",
            "/federate"
            | "/api/v1/read"
            | "/api/v1/targets/metadata"
            | "/api/v1/scrape_pools"
            | "/api/v1/parse_query",
        ) => Case {
            absent: true,
            ..silent(reads(path(&"")))
        },
        ("GET", other) if other.starts_with("/api/v1/status/") => silent(reads(path(&""))),
        (method, other) => panic!("name {method} {other} here: whose things does it touch?"),
    }
}

/// What a caller has where.
struct Who {
    grants: Vec<Grant>,
    cookie: String,
    /// A program with a token: of what its role may do, no more than [`FOR_PROGRAMS`].
    is_program: bool,
}

/// What a token opens, named here again so that nothing is added to it by the way.
const FOR_PROGRAMS: [Permission; 8] = [
    Permission::SeeOverview,
    Permission::SeeHosts,
    Permission::SeeSecurityEvents,
    Permission::SeeRegister,
    Permission::SeeSettings,
    Permission::ManageHosts,
    Permission::ManageSites,
    Permission::ManageRegister,
];

/// What the words of a route's permission say about a court.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    /// No role carries the permission, or not for a part of the province.
    Refused,
    Outside,
    Inside,
}

fn permission_of(caller: Caller) -> Permission {
    match caller {
        Caller::May(permission) | Caller::LocalOrMay(permission) => permission,
        Caller::MetricsReader => Permission::SeeHosts,
        other => panic!("{other:?} is not for people with roles"),
    }
}

impl Who {
    /// Worked out from the roles' table and the tree alone, not by what the guard asks.
    fn verdict(&self, permission: Permission, court: &Court, tree: &SiteTree) -> Verdict {
        let counts = |grant: &&Grant| {
            grant.role.may(permission) && !(grant.site.is_some() && permission.is_province_only())
        };
        let mut places = self.grants.iter().filter(counts).peekable();
        if self.is_program && !FOR_PROGRAMS.contains(&permission) {
            return Verdict::Refused;
        }
        if places.peek().is_none() {
            return Verdict::Refused;
        }
        let covers = |grant: &Grant| {
            grant
                .site
                .is_none_or(|site| tree.subtree(site).contains(&court.site))
        };
        match places.any(covers) {
            true => Verdict::Inside,
            false => Verdict::Outside,
        }
    }
}

/// Every role for the province and for each of the courts; and some with two roles at two courts. And programs:
/// one with all that its account holds, for each, and some with a part of it.
async fn everybody(bench: &Bench, courts: &[Court]) -> Vec<Who> {
    let mut all: Vec<Vec<Grant>> = Vec::new();
    for role in Role::ALL {
        let places = courts.iter().map(|court| Some(court.site));
        for site in std::iter::once(None).chain(places) {
            all.push(vec![Grant { role, site }]);
        }
    }
    let at = |role, at: usize| Grant::at(role, courts[at].site);
    all.extend([
        vec![at(Role::Technician, MOVED), at(Role::ReadOnly, OTHER)],
        vec![
            at(Role::CourtAdministrator, ONE),
            at(Role::Technician, OTHER),
        ],
        vec![
            at(Role::SecurityOfficer, MOVED),
            at(Role::SecurityOfficer, OTHER),
        ],
    ]);
    let mut people = Vec::new();
    for grants in all {
        let checked: xiezhi_model::Grants = grants.iter().copied().collect();
        if checked.check().is_err() {
            continue;
        }
        let (user, cookie) = bench.account(&format!("zz{}", people.len()), &grants).await;
        let is_wall = grants.iter().any(|grant| grant.role == Role::Wall);
        for grant in grants.iter().filter(|_| !is_wall) {
            people.push(program(bench, user, *grant).await);
        }
        people.push(Who {
            grants,
            cookie,
            is_program: false,
        });
    }
    for role in [Role::ProvinceAdministrator, Role::Technician] {
        let name = format!("zz-{}", role.word());
        let (user, _) = bench.account(&name, &[Grant::province(role)]).await;
        people.push(program(bench, user, at(role, MOVED)).await);
    }
    let wide = at(Role::CourtAdministrator, ONE);
    let (user, _) = bench.account("zz-court", &[wide]).await;
    people.push(program(bench, user, at(Role::CourtAdministrator, MOVED)).await);
    people
}

/// A program that acts for an account, under one role of it.
async fn program(bench: &Bench, user: i64, grant: Grant) -> Who {
    let name = format!("{}{:?}", grant.role.word(), grant.site);
    let (_, cookie) = bench.acting(user, &name, grant).await;
    Who {
        grants: vec![grant],
        cookie,
        is_program: true,
    }
}

/// Asks; of a stream only the beginning, its own test reads it.
async fn ask(bench: &Bench, method: Method, case: &Case, cookie: &str) -> (StatusCode, String) {
    let asked = request(method, &case.path, cookie, case.body.clone());
    if case.path.starts_with("/api/v1/live") {
        let response = bench.send(asked).await;
        return (response.status(), String::new());
    }
    let got = bench.ask(asked).await;
    (got.status, String::from_utf8_lossy(&got.body).into_owned())
}

/// Places of the courts: the high court above all, a court below it, one beside that, and one that was
/// moved from below the other to below the first after all of its things were there.
const ONE: usize = 1;
const OTHER: usize = 2;
const MOVED: usize = 3;

async fn estate(bench: &Bench) -> (Vec<Court>, SiteTree) {
    let (asker, _) = bench.account("zz-asker", &[]).await;
    let mut courts = Vec::new();
    for (key, mark) in [
        ("gs", "omega"),
        ("gs-01", "alpha"),
        ("gs-03", "bravo"),
        ("gs-03-01", "charlie"),
    ] {
        courts.push(court(bench, key, mark, asker).await);
    }
    move_below(bench, &mut courts[MOVED], "gs-01").await;
    (courts, bench.store.site_tree().await.unwrap())
}

/// Every how many-th caller is tried: each role at some places, in a run that must be short.
pub(super) const SHARE: &str = "XIEZHI_MATRIX_SHARE";

fn share() -> usize {
    std::env::var(SHARE).map_or(1, |text| text.parse().unwrap())
}

fn is_for_people(route: &Route) -> bool {
    !matches!(
        route.caller,
        Caller::Anyone | Caller::SignedIn | Caller::MetricsWriter
    )
}

/// The parts of the register that a route is about; of another route one, which it does not look at.
fn kinds(route: &Route) -> &'static [RegisterKind] {
    match route.path.contains("{kind}") {
        true => &RegisterKind::ALL,
        false => &[RegisterKind::Asset],
    }
}

/// Who decides is the handler, by what the account holds; its own tests try these.
fn is_judged_by_handler(route: &Route) -> bool {
    let judged = ["/api/v1/acts/", "/api/v1/users/", "/api/v1/api-tokens/"];
    judged.iter().any(|path| route.path.starts_with(path))
}

#[tokio::test]
async fn no_role_reaches_what_its_scope_does_not_hold_by_any_route() {
    let bench = Bench::new().await;
    let (courts, tree) = estate(&bench).await;
    let mut people = everybody(&bench, &courts).await;
    let whole = people.len();
    let share = share();
    // A share has each role too, wherever its callers stand.
    let (mut place, mut roles) = (0.., BTreeSet::new());
    people.retain(|who| {
        let words = who.grants.iter().map(|one| one.role.word());
        let has_its_turn = place
            .next()
            .is_some_and(|at: usize| at.is_multiple_of(share));
        let kept = has_its_turn || words.clone().any(|role| !roles.contains(role));
        roles.extend(words.filter(|_| kept));
        kept
    });
    assert_eq!(roles.len(), Role::ALL.len(), "{roles:?}");
    let (mut tried, mut allowed, mut all, mut leaks) = (0, 0, 0, Vec::new());
    for route in routes().iter().filter(|route| is_for_people(route)) {
        let (method, permission) = (method_of(route.method), permission_of(route.caller));
        for who in &people {
            let verdicts: Vec<Verdict> = courts
                .iter()
                .map(|court| who.verdict(permission, court, &tree))
                .collect();
            for (court, &verdict) in courts.iter().zip(&verdicts) {
                for &kind in kinds(route) {
                    all += 1;
                    let case = case(&method, route.path, court, kind);
                    if case.acts && verdict == Verdict::Inside {
                        // Tried below, when the courts need not stay whole any more.
                        allowed += 1;
                        continue;
                    }
                    tried += 1;
                    let (status, body) = ask(&bench, method.clone(), &case, &who.cookie).await;
                    let foreign = courts
                        .iter()
                        .zip(&verdicts)
                        .filter(|(_, verdict)| **verdict != Verdict::Inside)
                        .find(|(court, _)| shows(&body, court));
                    let mut must = |holds: bool, why: &str| {
                        let (path, grants, mark) = (&case.path, &who.grants, court.mark);
                        let by = if who.is_program { "a program as" } else { "" };
                        if !holds {
                            leaks.push(format!(
                                "{method} {path} by {by} {grants:?} on {mark} {why}: {status} {body}"
                            ));
                        }
                    };
                    if let Some((foreign, _)) = foreign {
                        must(false, &format!("shows {}", foreign.mark));
                    }
                    match verdict {
                        Verdict::Refused => must(status == StatusCode::FORBIDDEN, "is not refused"),
                        _ if case.absent => must(status == StatusCode::NOT_FOUND, "is there"),
                        Verdict::Outside => {
                            // A list is answered, without the court; a thing is not there.
                            let is_thing = route.path.contains("{id}") || case.acts;
                            let refused =
                                matches!(status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN);
                            must(refused == is_thing, "is answered wrongly");
                        }
                        Verdict::Inside => {
                            must(status.is_success(), "is refused");
                            // Security events and plain ones together are those of the courts where
                            // both are seen.
                            let names = case.names && who.grants.len() == 1;
                            must(!names || shows(&body, court), "shows nothing");
                        }
                    }
                }
            }
        }
    }
    nothing_changed(&bench, &courts).await;
    let list = routes();
    let mut acting: Vec<&Route> = list.iter().filter(|route| is_for_people(route)).collect();
    // A revoked host takes no directive, and of an upload that was given up nothing is left.
    let gives_up = |route: &Route| {
        method_of(route.method) == Method::DELETE && route.path.ends_with("imports/{id}")
    };
    acting.sort_by_key(|route| route.path.ends_with("/revoke") || gives_up(route));
    for route in acting {
        let (method, permission) = (method_of(route.method), permission_of(route.caller));
        for who in people.iter().filter(|_| !is_judged_by_handler(route)) {
            for court in &courts {
                for &kind in kinds(route) {
                    let case = case(&method, route.path, court, kind);
                    let inside = who.verdict(permission, court, &tree) == Verdict::Inside;
                    if !case.acts || !inside {
                        continue;
                    }
                    tried += 1;
                    allowed -= 1;
                    let (status, body) = ask(&bench, method.clone(), &case, &who.cookie).await;
                    // Done, or refused for what the thing is by now: never for who asks.
                    let may_be_gone = case.path.ends_with("/999") || gives_up(route);
                    let gone = may_be_gone && status == StatusCode::NOT_FOUND;
                    let by_right = status == StatusCode::UNAUTHORIZED
                        || status == StatusCode::FORBIDDEN
                        || status == StatusCode::NOT_FOUND
                        || status.is_server_error();
                    if by_right && !gone {
                        let (path, grants, mark) = (&case.path, &who.grants, court.mark);
                        leaks.push(format!(
                            "{method} {path} by {grants:?} on {mark} is not done: {status} {body}"
                        ));
                    }
                }
            }
        }
    }
    // `cargo xtask bench authorisation-matrix` reads this line. What the handler judges by the account
    // that it is about is left to its own tests where it is allowed.
    println!(
        "matrix: {tried} tried of {}, {} wrong",
        all - allowed,
        leaks.len()
    );
    println!(
        "as {} of {whole} callers on {}",
        people.len(),
        if std::env::var_os(SERVER).is_some() {
            "PostgreSQL"
        } else {
            "SQLite"
        }
    );
    assert!(leaks.is_empty(), "{} {leaks:#?}", leaks.len());
    assert!(tried > 10_000 / share, "{tried}");
}

/// Security events and plain ones are told apart whatever is asked.
#[tokio::test]
async fn security_events_are_shown_to_those_who_may_see_them_only() {
    let bench = Bench::new().await;
    let (asker, _) = bench.account("zz-asker", &[]).await;
    let court = court(&bench, "gs-01", "alpha", asker).await;
    for role in Role::ALL {
        let grants: xiezhi_model::Grants = [Grant::at(role, court.site)].into_iter().collect();
        if grants.check().is_err() || !role.may(Permission::SeeHosts) {
            continue;
        }
        let (_, cookie) = bench
            .account(role.word(), &[Grant::at(role, court.site)])
            .await;
        let may = role.may(Permission::SeeSecurityEvents);
        let got = bench.get(&cookie, "/api/v1/events").await;
        assert_eq!(got.status.is_success(), may, "{role:?}");
        let all = bench
            .read(&cookie, "/api/v1/events?stream=all")
            .await
            .to_string();
        assert_eq!(all.contains("alpha-event-1"), may, "{role:?}");
        assert!(all.contains("alpha-event-2"), "{role:?}");
        let overview = bench.read(&cookie, "/api/v1/overview").await.to_string();
        assert_eq!(overview.contains("alpha-event-1"), may, "{role:?}");
    }
}

/// Whose sight of security events and of plain ones reaches different courts is answered both.
#[tokio::test]
async fn two_sights_at_two_courts_are_answered_together_and_no_further() {
    let bench = Bench::new().await;
    let (asker, _) = bench.account("zz-asker", &[]).await;
    let alpha = court(&bench, "gs-01", "alpha", asker).await;
    let beta = court(&bench, "gs-02", "beta", asker).await;
    court(&bench, "gs-03", "gamma", asker).await;
    let grants = [
        Grant::at(Role::SecurityOfficer, alpha.site),
        Grant::at(Role::ReadOnly, beta.site),
    ];
    let (_, cookie) = bench.account("two-sights", &grants).await;
    for (stream, expected) in [
        ("security", vec!["alpha-event-1"]),
        ("events", vec!["alpha-event-2", "beta-event-2"]),
        (
            "all",
            vec!["alpha-event-1", "alpha-event-2", "beta-event-2"],
        ),
    ] {
        let path = format!("/api/v1/events?stream={stream}");
        let got = bench.read(&cookie, &path).await;
        let rows = got["items"].as_array().unwrap().iter();
        let mut messages: Vec<_> = rows.map(|row| row["message"].as_str().unwrap()).collect();
        messages.sort_unstable();
        assert_eq!(messages, expected, "{stream}");
    }
    let path = format!("/api/v1/events?stream=all&site={}", beta.site.0);
    let got = bench.read(&cookie, &path).await;
    assert_eq!(got["items"].as_array().unwrap().len(), 1);
    let gaps = bench.read(&cookie, "/api/v1/events?stream=all").await["gaps"].to_string();
    assert!(!gaps.contains("gamma"), "{gaps}");
}
