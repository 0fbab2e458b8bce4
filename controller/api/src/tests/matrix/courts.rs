//! Courts with one of everything, for the matrix.

use xiezhi_inventory::register::{Sheet, SheetRow};
use xiezhi_model::{
    AccountChange, ApiToken, EnrolmentToken, Field, Gap, Grant, Host, Item, NewSite, RegisterKind,
    Role, Scope, Severity, SiteId, Values,
};
use xiezhi_store::{
    ApprovalRequest, EventBatch, ImportRow, ImportState, NewEvent, Older, RegisterQuery,
};

use super::super::bench::*;
use super::super::devices::polled;
use super::super::prometheus::report_loads;

/// One court with one of everything, all of it named so that it is found in any answer.
pub(super) struct Court {
    pub(super) mark: &'static str,
    pub(super) site: SiteId,
    pub(super) key: String,
    name: String,
    pub(super) tier: &'static str,
    /// The site above it.
    pub(super) parent: Option<i64>,
    pub(super) host: Host,
    pub(super) device: i64,
    pub(super) token: String,
    pub(super) approval: i64,
    pub(super) user: i64,
    /// Of a program that acts for that account.
    pub(super) api_token: i64,
    pub(super) act: i64,
    /// One of each kind.
    items: Vec<Item>,
    /// One that waits.
    pub(super) import: i64,
    /// One that was done.
    pub(super) done: i64,
    pub(super) site_import: i64,
    /// The site's.
    pub(super) version: i64,
}

impl Court {
    pub(super) fn item(&self, kind: RegisterKind) -> &Item {
        self.items.iter().find(|item| item.kind == kind).unwrap()
    }
}

/// Whether an answer holds anything of this court.
pub(super) fn shows(body: &str, court: &Court) -> bool {
    let goes_on =
        |sign: Option<char>| sign.is_some_and(|sign| sign.is_alphanumeric() || sign == '-');
    // The key of a court begins those of the courts below it.
    let has_key = body.match_indices(&court.key).any(|(at, key)| {
        !goes_on(body[..at].chars().next_back()) && !goes_on(body[at + key.len()..].chars().next())
    });
    has_key || body.contains(court.mark) || body.contains(&court.name)
}

/// One item of each kind, a file that waits to be imported, and one that was.
async fn register(bench: &Bench, site: SiteId, mark: &str) -> (Vec<Item>, i64, i64) {
    let values = [(Field::Code, "A-1"), (Field::Name, mark)];
    let values = values.map(|(field, text)| (field, text.to_owned()));
    let values = RegisterKind::Asset.check(&values.into()).unwrap();
    let mut items = Vec::new();
    for kind in RegisterKind::ALL {
        let audit = by_system("register.create");
        let made = bench.store.create_item(kind, site, &values, audit);
        items.push(made.await.unwrap());
    }
    let done = done(bench, site, mark, &values).await;
    let found = items
        .iter_mut()
        .rfind(|item| item.kind == RegisterKind::Asset);
    let asset = found.unwrap();
    let changed = bench
        .store
        .register_item(asset.kind, asset.id, &Scope::Province);
    *asset = changed.await.unwrap().unwrap();
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
    (items, kept.await.unwrap(), done)
}

/// An import that gave the asset a note.
async fn done(bench: &Bench, site: SiteId, mark: &str, values: &Values) -> i64 {
    let mut values = values.clone();
    values.insert(Field::Note, mark.to_owned());
    let rows = [ImportRow {
        line: 2,
        site,
        values,
    }];
    let plan = bench.store.plan_import(RegisterKind::Asset, &rows).await;
    let (sites, asked) = ([site].into(), by_system("register.upload"));
    let id = bench
        .store
        .keep_import(RegisterKind::Asset, mark, "", &sites, asked);
    let (id, digest) = (id.await.unwrap(), plan.unwrap().digest());
    let asked = by_system("register.import");
    let applied = bench.store.apply_import(id, &rows, &digest, asked);
    assert_eq!(applied.await.unwrap().changed, 1);
    id
}

pub(super) async fn court(bench: &Bench, key: &str, mark: &'static str, asker: i64) -> Court {
    let site = bench.site(key).await;
    let host = bench.host(key, &format!("{mark}-host"), false).await;
    report_loads(bench, &host, 1.0);
    let device = polled(bench, host.id, &format!("{mark}-device")).await.0;
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
    let officer = Grant::at(Role::SecurityOfficer, site.id);
    let script = format!("{mark}-script");
    let (api_token, _) = bench.acting(user, &script, officer).await;
    let reason = format!("{mark}-reason");
    let asked = by_system("act.ask");
    let disable = AccountChange::Disable;
    let act = bench
        .store
        .ask_for_act(user, disable, &reason, asker, asked)
        .await;
    let (items, import, done) = register(bench, site.id, mark).await;
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
        items,
        import,
        done,
        site: site.id,
        parent: site.parent.map(|site| site.0),
        tier: site.tier.word(),
        name: site.name,
        key: site.key,
        act: act.unwrap().id,
        host,
        device,
        token: token.id,
        approval,
        user,
        api_token,
    }
}

/// Puts a court below another one, with all that is there.
pub(super) async fn move_below(bench: &Bench, court: &mut Court, parent: &str) {
    let site = bench.site(&court.key).await;
    let wanted = NewSite {
        key: site.key,
        name: site.name,
        tier: site.tier,
        parent: Some(parent.to_owned()),
        court_code: site.court_code,
    };
    let audit = by_system("site.change");
    let moved = bench
        .store
        .change_site(&wanted, false, site.version, audit)
        .await;
    let moved = moved.unwrap();
    court.parent = moved.parent.map(|site| site.0);
    court.version = moved.version;
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

/// That no refused write was done all the same.
pub(super) async fn nothing_changed(bench: &Bench, courts: &[Court]) {
    for court in courts {
        let host = bench.store.host(court.host.id).await.unwrap().unwrap();
        assert_eq!(host.revoked_ms, None);
        let token = bench.store.token(&court.token).await.unwrap().unwrap();
        assert_eq!(token.revoked_ms, None);
        let waiting = bench.store.approval(court.approval).await.unwrap().unwrap();
        assert_eq!(waiting.state, xiezhi_model::ApprovalState::Pending);
        let act = bench.store.act(court.act).await.unwrap().unwrap();
        assert_eq!(act.state, xiezhi_model::ActState::Pending);
        for item in &court.items {
            let found = bench
                .store
                .register_item(item.kind, item.id, &Scope::Province)
                .await;
            assert_eq!(found.unwrap().as_ref(), Some(item));
        }
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
        let done = bench.store.import(court.done, &Scope::Province).await;
        assert_eq!(done.unwrap().unwrap().0.state, ImportState::Applied);
    }
    for kind in RegisterKind::ALL {
        let all = RegisterQuery::default();
        let all = bench.store.register_page(kind, &all, &Scope::Province);
        assert_eq!(all.await.unwrap().items.len(), courts.len());
    }
    assert_eq!(bench.store.sites().await.unwrap().len(), 113);
    let pending = bench.store.approvals(None, &Scope::Province).await.unwrap();
    assert_eq!(pending.len(), courts.len());
    let acts = bench.store.acts(Older::default()).await.unwrap();
    assert_eq!(acts.len(), courts.len());
    // But those with which the programs of the test come.
    let tokens = bench.store.api_tokens().await.unwrap();
    let is_callers = |token: &ApiToken| token.on_behalf.is_some() && token.revoked_ms.is_none();
    assert!(tokens.iter().all(is_callers));
    let budgets = bench.store.settings_at(bench.now_ms()).await.unwrap();
    assert!(
        !budgets
            .iter()
            .any(|setting| setting.key.contains("bandwidth"))
    );
}
