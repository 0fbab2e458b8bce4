//! The row `tree-scale`: the first page of every list in a province of 20,000 sites, asked of a real
//! controller over HTTP, on both databases, by accounts of the province and of one court.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Instant, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

use super::http::request;
use super::load::command;
use super::peers::free_port;
use super::postgres::Postgres;
use super::span::machine_load;
use super::{Programs, verdict};
use crate::process::output;
use crate::stage::{Children, Stage};

/// Courts, sites and assets in the register.
const SIZE: [&str; 3] = ["3500", "20000", "500000"];

/// Milliseconds that any list may take.
const BAR_MS: f64 = 100.0;

/// How often every list is asked for; the slowest counts.
const ROUNDS: usize = 8;

/// Lists as pages ask for them first; `{site}` is a court that all accounts see.
const LISTS: &[&str] = &[
    "/api/v1/overview",
    "/api/v1/sites",
    "/api/v1/sites?parent=none",
    "/api/v1/sites?parent={site}",
    "/api/v1/sites?q=%E6%B3%95%E5%BA%AD",
    "/api/v1/sites?q=nowhere",
    "/api/v1/sites/{site}",
    "/api/v1/sites/{site}/history",
    "/api/v1/site-imports",
    "/api/v1/hosts",
    "/api/v1/hosts?site={site}&deep=true",
    "/api/v1/fleet",
    "/api/v1/events",
    "/api/v1/events?stream=all",
    "/api/v1/events?kind=usb_added",
    "/api/v1/events?site={site}&severity=warning",
    "/api/v1/events?from={from}&to={to}",
    "/api/v1/gaps",
    "/api/v1/devices",
    "/api/v1/devices?site={site}",
    "/api/v1/devices?kind=ups",
    "/api/v1/devices?state=unknown",
    "/api/v1/devices?q=nowhere",
    "/api/v1/register/rooms",
    "/api/v1/register/staff",
    "/api/v1/register/assets",
    "/api/v1/register/assets?site={site}&deep=true",
    "/api/v1/register/assets?state=repair",
    "/api/v1/register/assets?q=%E6%9C%8D%E5%8A%A1%E5%99%A8",
    "/api/v1/register/assets?q=nowhere",
    "/api/v1/register/assets?q=nowhere&state=in_use",
    "/api/v1/imports",
    "/api/v1/tokens",
    "/api/v1/approvals",
    "/api/v1/users",
    "/api/v1/acts",
    "/api/v1/api-tokens",
    "/api/v1/audit",
    "/api/v1/audit?actor=user:person-7",
    "/api/v1/audit?actor=user:rare",
    "/api/v1/audit?action=host.",
    "/api/v1/audit?action=user.break_glass",
    "/api/v1/audit?subject=host:7",
    "/api/v1/audit?from={from}&to={to}",
    "/api/v1/audit?to={from}",
    "/api/v1/audit?actor=user:person-7&action=register.&from={from}&to={to}",
    "/api/v1/audit?item=7",
    "/api/v1/settings",
];

/// Asks on both databases.
pub(super) fn scale(programs: &Programs) -> Result<()> {
    let mut slowest = Slowest::default();
    on("sqlite", programs, &mut slowest)?;
    on("postgresql", programs, &mut slowest)?;
    println!("machine load {}", machine_load());
    verdict(
        "tree-scale",
        &format!("{:.1} ms at most ({})", slowest.ms, slowest.what),
        "–",
        &format!("{BAR_MS} ms"),
        slowest.ms <= BAR_MS,
    );
    Ok(())
}

#[derive(Default)]
struct Slowest {
    ms: f64,
    what: String,
}

fn on(database: &str, programs: &Programs, slowest: &mut Slowest) -> Result<()> {
    let port = free_port()?;
    let web = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stage = Stage::prepare(programs.controller.clone(), programs.agent.clone(), web, "")?;
    let mut children = Children::default();
    let file = stage.folder().join("controller/state.db");
    let (url, server) = match database {
        "sqlite" => (format!("sqlite://{}", file.display()), None),
        _ => {
            let server = Postgres::start(&stage.folder().join("postgres"), &mut children)?;
            let configuration = stage.folder().join("controller.yaml");
            let text = std::fs::read_to_string(&configuration)?;
            std::fs::write(
                &configuration,
                format!("{text}database: '{}'\n", server.url()),
            )?;
            output(&mut stage.controller(&["sites", "import"]))?;
            (server.url(), Some(server))
        }
    };
    let started = Instant::now();
    let accounts = output(command(&["fill"]).arg(url).args(SIZE))?;
    if let Some(server) = &server {
        // As its own housekeeping does within a minute.
        server.sql("xiezhi", "ANALYZE")?;
    }
    println!(
        "{database}: filled in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    stage.start_controller(&mut children)?;
    for list in LISTS {
        let mut answered = 0;
        for account in accounts.lines().filter_map(Account::read) {
            let Some(all) = account.ask(port, list)? else {
                continue;
            };
            answered += 1;
            let median = all.get(ROUNDS / 2).copied().unwrap_or(f64::NAN);
            let most = all.last().copied().unwrap_or(f64::NAN);
            let name = account.name;
            println!("{database} {name:<9} {list}: {median:.1} ms, at most {most:.1} ms");
            if most > slowest.ms {
                slowest.ms = most;
                slowest.what = format!("{list} by {name} on {database}");
            }
        }
        if answered == 0 {
            bail!("nobody may ask for {list}");
        }
    }
    children.check()
}

/// Somebody who asks.
struct Account<'a> {
    name: &'a str,
    cookie: &'a str,
    site: &'a str,
}

impl<'a> Account<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.strip_prefix("account ")?.split(' ');
        Some(Self {
            name: words.next()?,
            cookie: words.next()?,
            site: words.next()?,
        })
    }

    /// Milliseconds of each answer, ascending; `None` if the account may not.
    fn ask(&self, port: u16, list: &str) -> Result<Option<Vec<f64>>> {
        let list = list.replace("{site}", self.site);
        // A week of three months ago.
        let now_ms = UNIX_EPOCH.elapsed()?.as_millis();
        let ago = |days: u128| now_ms.saturating_sub(days * 86_400_000).to_string();
        let list = list.replace("{from}", &ago(90)).replace("{to}", &ago(83));
        let mut all = Vec::new();
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let headers = [("Cookie", self.cookie), ("Accept-Encoding", "gzip")];
            let answer = request(port, "GET", &list, &headers, "")?;
            match answer.status {
                200 => all.push(started.elapsed().as_secs_f64() * 1000.0),
                403 => return Ok(None),
                status => bail!("{list}: {status} {}", answer.body),
            }
        }
        all.sort_by(f64::total_cmp);
        all.first().context("nothing was asked")?;
        Ok(Some(all))
    }
}
