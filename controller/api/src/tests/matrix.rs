//! Every route × every role × several scopes, generated from the list of routes and the roles' own
//! table: who may not is refused, what is outside a scope is neither shown nor changed, and what is
//! inside is shown. A route that this file does not know fails the test.

use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use xiezhi_inventory::register::{Sheet, SheetRow};
use xiezhi_model::{
    AccountChange, ApiRight, EnrolmentToken, Field, Gap, Grant, Host, Item, Permission,
    RegisterKind, Role, Scope, Severity, SiteId,
};
use xiezhi_store::{ApprovalRequest, EventBatch, ImportState, NewEvent, RegisterQuery};

use super::bench::*;
use super::prometheus::{report_loads, token};
use crate::routes::{Caller, method_of, routes};

/// One court with one of everything, all of it named so that it is found in any answer.
struct Court {
    mark: &'static str,
    site: SiteId,
    /// Words that only this court's things hold.
    words: Vec<String>,
    host: Host,
    token: String,
    approval: i64,
    user: i64,
    act: i64,
    asset: Item,
    import: i64,
    site_import: i64,
    /// The site's.
    version: i64,
}

/// An asset, and a file that waits to be imported.
async fn register(bench: &Bench, site: SiteId, mark: &str) -> (Item, i64) {
    let values = [(Field::Code, "A-1"), (Field::Name, mark)];
    let values = values.map(|(field, text)| (field, text.to_owned()));
    let values = RegisterKind::Asset.check(&values.into()).unwrap();
    let asset = bench
        .store
        .create_item(
            RegisterKind::Asset,
            site,
            &values,
            by_system("register.create"),
        )
        .await
        .unwrap();
    let sheet = Sheet {
        kind: RegisterKind::Asset,
        columns: Default::default(),
        site_column: None,
        rows: vec![SheetRow {
            line: 2,
            site,
            values,
        }],
    };
    let (sites, asked) = ([site].into(), by_system("register.upload"));
    let text = sheet.to_text();
    let kept = bench
        .store
        .keep_import(RegisterKind::Asset, mark, &text, &sites, asked);
    (asset, kept.await.unwrap())
}

async fn court(bench: &Bench, key: &str, mark: &'static str, asker: i64) -> Court {
    let site = bench.site(key).await;
    let host = bench.host(key, &format!("{mark}-host"), false).await;
    report_loads(bench, &host, 1.0);
    let token = EnrolmentToken {
        id: format!("{mark}token"),
        secret_hash: "00".repeat(32),
        site: site.id,
        uses: 5,
        uses_left: 5,
        expires_ms: bench.now_ms() + 600_000,
        needs_approval: true,
        simulated: false,
        created_ms: bench.now_ms(),
        created_by: "system".to_owned(),
        revoked_ms: None,
    };
    let made = bench.store.create_token(&token, by_system("token.create"));
    made.await.unwrap();
    let asked = ApprovalRequest {
        token: token.id.clone(),
        evidence_key: format!("{mark}-key"),
        hostname: format!("{mark}-waiting"),
        machine: format!("{mark}-machine"),
        version: "0.1.0".to_owned(),
    };
    let approval = bench
        .store
        .request_approval(&asked, by_system("approval.ask"));
    let approval = approval.await.unwrap().id;
    let event = |stream: u8| NewEvent {
        time_ms: bench.now_ms(),
        kind: "login".to_owned(),
        severity: Severity::Warning,
        message: format!("{mark}-event-{stream}"),
        fields: Default::default(),
    };
    insert_events(bench, &host, event).await;
    let gap = Gap {
        host: host.id,
        epoch: 1,
        stream: "events".to_owned(),
        first: 1,
        last: 2,
        from_ms: bench.now_ms() - 1000,
        to_ms: bench.now_ms(),
        reason: "full".to_owned(),
    };
    bench
        .store
        .insert_gaps(&[gap], bench.now_ms())
        .await
        .unwrap();
    let mut new = new_user(
        &format!("{mark}-person"),
        &[Grant::at(Role::SecurityOfficer, site.id)],
    );
    new.home = Some(site.id);
    let made = bench
        .store
        .create_user(&new, None, by_system("user.create"));
    let user = made.await.unwrap().user.id;
    let reason = format!("{mark}-reason");
    let asked = by_system("act.ask");
    let disable = AccountChange::Disable;
    let act = bench
        .store
        .ask_for_act(user, disable, &reason, asker, asked)
        .await;
    let (asset, import) = register(bench, site.id, mark).await;
    let list = format!("id,name,tier,parent_id\n{mark}-list,x,other,gs\n");
    let tree = bench.store.site_tree().await.unwrap();
    let list = xiezhi_inventory::read_sites(list.as_bytes(), &tree).list;
    let asked = by_system("sites.upload");
    let kept = bench
        .store
        .keep_site_import(mark, &list.to_text(), asked)
        .await;
    Court {
        site_import: kept.unwrap(),
        version: site.version,
        mark,
        asset,
        import,
        site: site.id,
        words: vec![mark.to_owned(), site.name.clone(), site.key.clone()],
        act: act.unwrap().id,
        host,
        token: token.id,
        approval,
        user,
    }
}

async fn insert_events(bench: &Bench, host: &Host, event: impl Fn(u8) -> NewEvent) {
    use xiezhi_model::EventStream::{Events, Security};
    let batch = |stream, number| EventBatch {
        host: host.id,
        epoch: 1,
        stream,
        seq: 1,
        checksum: 1,
        events: vec![event(number)],
        facts: None,
        proof: None,
    };
    let batches = [batch(Security, 1), batch(Events, 2)];
    bench
        .store
        .insert_batches(&batches, bench.now_ms())
        .await
        .unwrap();
}

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

fn case(method: &Method, route: &str, of: &Court) -> Case {
    let path = |id: &dyn std::fmt::Display| {
        let route = route.replace("{id}", &id.to_string());
        route.replace("{kind}", "assets")
    };
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
        // The audit log and the tokens of programs belong to the province, see `is_province_only`.
        ("GET", "/api/v1/audit" | "/api/v1/audit/export" | "/api/v1/api-tokens") => {
            silent(reads(path(&"")))
        }
        ("POST", "/api/v1/api-tokens") => acts(
            path(&""),
            json!({"name": "x", "right": "read-metrics", "site": site, "expires_in_days": 1}),
        ),
        ("DELETE", "/api/v1/api-tokens/{id}") => acts(path(&999), json!({})),
        // A stream: its own test is below.
        ("GET", "/api/v1/live") => silent(reads(format!("{route}?watch={host}"))),
        ("GET", "/api/v1/overview" | "/api/v1/sites" | "/api/v1/hosts" | "/api/v1/gaps") => {
            reads(path(&""))
        }
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
            json!({"name": "x", "tier": "other", "parent": null, "code": "", "version": of.version}),
        ),
        // Lists of sites belong to the province.
        ("GET", "/api/v1/site-imports") => silent(reads(path(&""))),
        ("POST", "/api/v1/site-imports") => acts(path(&""), json!("id,name,tier")),
        ("GET", "/api/v1/site-imports/{id}") => silent(reads(path(&of.site_import))),
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
            reads(path(&of.asset.id))
        }
        ("PUT", "/api/v1/register/{kind}/{id}") => acts(
            path(&of.asset.id),
            json!({"site": site, "version": of.asset.version, "values": values}),
        ),
        ("GET", "/api/v1/labels/assets/{id}") => reads(path(&of.asset.id)),
        ("GET", "/api/v1/imports") => reads(path(&"")),
        // What would be done with a file of another court: its site is not there.
        ("POST", "/api/v1/imports") => acts(
            format!("{route}?kind=assets&site={site}"),
            json!("code,name"),
        ),
        ("GET", "/api/v1/imports/{id}") => silent(reads(path(&of.import))),
        ("POST", "/api/v1/imports/{id}/apply") => acts(path(&of.import), json!({"digest": ""})),
        ("POST", "/api/v1/imports/{id}/undo") => acts(path(&of.import), json!({})),
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

/// What a caller has where, and which permissions that should give.
struct Who {
    grant: Grant,
    cookie: String,
}

/// What the words of a route's permission say about a court.
enum Verdict {
    /// The role does not carry the permission, or not for a part of the province.
    Refused,
    Outside,
    Inside,
}

fn verdict(caller: Caller, grant: Grant, court: &Court) -> Verdict {
    let permission = match caller {
        Caller::May(permission) | Caller::LocalOrMay(permission) => permission,
        Caller::MetricsReader => Permission::SeeHosts,
        other => panic!("{other:?} is not for people with roles"),
    };
    match grant.site {
        _ if !grant.role.may(permission) => Verdict::Refused,
        Some(_) if permission.is_province_only() => Verdict::Refused,
        Some(site) if site != court.site => Verdict::Outside,
        _ => Verdict::Inside,
    }
}

async fn everybody(bench: &Bench, sites: [SiteId; 2]) -> Vec<Who> {
    let mut all = Vec::new();
    for role in Role::ALL {
        let places = [None, Some(sites[0]), Some(sites[1])];
        for site in places {
            let grant = Grant { role, site };
            let grants: xiezhi_model::Grants = [grant].into_iter().collect();
            if grants.check().is_err() {
                continue;
            }
            let name = format!("zz{}", all.len());
            let (_, cookie) = bench.account(&name, &[grant]).await;
            all.push(Who { grant, cookie });
        }
    }
    all
}

/// Asks; of a stream only the beginning.
async fn ask(bench: &Bench, method: Method, case: &Case, cookie: &str) -> (StatusCode, String) {
    let asked = request(method, &case.path, cookie, case.body.clone());
    if case.path.starts_with("/api/v1/live") {
        let response = bench.send(asked).await;
        return (response.status(), String::new());
    }
    let got = bench.ask(asked).await;
    (got.status, String::from_utf8_lossy(&got.body).into_owned())
}

#[tokio::test]
async fn no_role_reaches_what_its_scope_does_not_hold_by_any_route() {
    let bench = Bench::new().await;
    let (asker, _) = bench.account("zz-asker", &[]).await;
    let courts = [
        court(&bench, "gs-01", "alpha", asker).await,
        court(&bench, "gs-02", "bravo", asker).await,
    ];
    let people = everybody(&bench, [courts[0].site, courts[1].site]).await;
    let (mut tried, mut allowed, mut leaks) = (0, 0, Vec::new());
    let mut all = 0;
    for route in routes() {
        if matches!(
            route.caller,
            Caller::Anyone | Caller::SignedIn | Caller::MetricsWriter
        ) {
            continue;
        }
        all += people.len() * courts.len();
        let method = method_of(route.method);
        for who in &people {
            for (at, court) in courts.iter().enumerate() {
                let other = &courts[1 - at];
                let case = case(&method, route.path, court);
                let verdict = verdict(route.caller, who.grant, court);
                if case.acts && matches!(verdict, Verdict::Inside) {
                    // Acting is tried by the journeys; here the court stays whole.
                    allowed += 1;
                    continue;
                }
                tried += 1;
                let (status, body) = ask(&bench, method.clone(), &case, &who.cookie).await;
                let shows = |court: &Court| court.words.iter().any(|word| body.contains(word));
                let mut must = |holds: bool, why: &str| {
                    let (path, grant, mark) = (&case.path, who.grant, court.mark);
                    if !holds {
                        leaks.push(format!(
                            "{method} {path} by {grant:?} on {mark} {why}: {status} {body}"
                        ));
                    }
                };
                match verdict {
                    Verdict::Refused => must(status == StatusCode::FORBIDDEN, "is not refused"),
                    _ if case.absent => {
                        must(status == StatusCode::NOT_FOUND, "is there");
                        must(!shows(court), "leaks");
                    }
                    Verdict::Outside => {
                        // A list is answered, without the court; a thing is not there.
                        let is_thing = route.path.contains("{id}") || case.acts;
                        let refused =
                            matches!(status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN);
                        must(refused == is_thing, "is answered wrongly");
                        must(!shows(court), "leaks");
                    }
                    Verdict::Inside => {
                        must(status.is_success(), "is refused");
                        must(!case.names || shows(court), "shows nothing");
                        let sees_other = who.grant.site.is_none();
                        must(sees_other || !shows(other), "leaks");
                    }
                }
            }
        }
    }
    // `cargo xtask bench authorisation-matrix` reads this line.
    let refusable = all - allowed;
    println!(
        "matrix: {tried} tried of {refusable}, {} wrong",
        leaks.len()
    );
    assert!(leaks.is_empty(), "{leaks:#?}");
    assert!(tried > 1000, "{tried}");
    nothing_changed(&bench, &courts).await;
}

/// That no refused write was done all the same.
async fn nothing_changed(bench: &Bench, courts: &[Court]) {
    for court in courts {
        let host = bench.store.host(court.host.id).await.unwrap().unwrap();
        assert_eq!(host.revoked_ms, None);
        let token = bench.store.token(&court.token).await.unwrap().unwrap();
        assert_eq!(token.revoked_ms, None);
        let waiting = bench.store.approval(court.approval).await.unwrap().unwrap();
        assert_eq!(waiting.state, xiezhi_model::ApprovalState::Pending);
        let act = bench.store.act(court.act).await.unwrap().unwrap();
        assert_eq!(act.state, xiezhi_model::ActState::Pending);
        let asset = bench
            .store
            .register_item(RegisterKind::Asset, court.asset.id, &Scope::Province)
            .await;
        assert_eq!(asset.unwrap().as_ref(), Some(&court.asset));
        let site = bench.store.site(court.site).await.unwrap().unwrap();
        assert_eq!(site.version, court.version);
        let list = bench
            .store
            .site_import(court.site_import)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(list.0.state, ImportState::Waiting);
        let import = bench.store.import(court.import, &Scope::Province).await;
        assert_eq!(import.unwrap().unwrap().0.state, ImportState::Waiting);
    }
    let all = RegisterQuery::default();
    let all = bench
        .store
        .register_page(RegisterKind::Asset, &all, &Scope::Province);
    assert_eq!(all.await.unwrap().items.len(), courts.len());
    assert_eq!(bench.store.sites().await.unwrap().len(), 113);
    let pending = bench.store.approvals(None, &Scope::Province).await.unwrap();
    assert_eq!(pending.len(), courts.len());
    let acts = bench.store.acts().await.unwrap();
    assert_eq!(acts.len(), courts.len());
    assert!(bench.store.api_tokens().await.unwrap().is_empty());
    let budgets = bench.store.settings_at(bench.now_ms()).await.unwrap();
    assert!(
        !budgets
            .iter()
            .any(|setting| setting.key.contains("bandwidth"))
    );
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

/// A program's token has a scope too, and no role.
#[tokio::test]
async fn a_token_of_a_program_opens_no_other_route() {
    let bench = Bench::new().await;
    for right in ApiRight::ALL {
        let (_, secret) = token(&bench, right, Some("gs-01")).await;
        for route in routes() {
            if !matches!(route.caller, Caller::May(_) | Caller::SignedIn) {
                continue;
            }
            let path = route.path.replace("{id}", "1").replace("{kind}", "assets");
            let asked = Request::builder()
                .method(method_of(route.method))
                .uri(&path)
                .header(header::AUTHORIZATION, format!("Bearer {secret}"));
            let got = bench
                .ask(asked.body(axum::body::Body::empty()).unwrap())
                .await;
            assert_eq!(got.status, StatusCode::UNAUTHORIZED, "{path}");
        }
    }
}
