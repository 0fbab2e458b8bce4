//! What storing events costs: CPU time and bytes per event, in batches as agents send them.
//!
//! `cargo run --release -p xiezhi-store --example event_cost [-- HOSTS BATCHES EVENTS_PER_BATCH]`
//!
//! Each round is one transaction that carries a batch of every host, as the ingest groups them.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use xiezhi_model::{
    Actor, AuditEntry, CertificateRecord, EnrolmentToken, EventStream, HostId, NewSite, Scope,
    Severity, Tier,
};
use xiezhi_store::{EventBatch, EventQuery, NewEvent, NewHost, Store};

const NOW: i64 = 1_790_000_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse::<u64>().ok());
    let hosts = numbers.next().unwrap_or(100);
    let rounds = numbers.next().unwrap_or(100);
    let per_batch = numbers.next().unwrap_or(4);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("state.db");
    let store = Store::open(&path.display().to_string()).await?;
    let ids = enrol(&store, hosts).await?;

    let (began, cpu) = (Instant::now(), cpu_seconds()?);
    for round in 1..=rounds {
        let batches: Vec<_> = ids
            .iter()
            .map(|&host| batch(host, round, per_batch))
            .collect();
        store.insert_batches(&batches, NOW).await?;
    }
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let events = (hosts * rounds * per_batch) as f64;
    println!(
        "{events} events in {} batches and {rounds} transactions",
        hosts * rounds
    );
    println!(
        "cpu: {:.1} µs per event, {:.1} µs per batch",
        cpu * 1e6 / events,
        cpu * 1e6 / (hosts * rounds) as f64
    );
    println!(
        "wall: {:.2} s, {:.1} ms per transaction",
        wall,
        wall * 1e3 / rounds as f64
    );

    let began = Instant::now();
    let page = store
        .search_events(
            &EventQuery {
                text: Some("nowhere".into()),
                ..EventQuery::default()
            },
            &Scope::Province,
        )
        .await?;
    println!(
        "a text that is nowhere: {} found in {:.0} ms",
        page.events.len(),
        began.elapsed().as_secs_f64() * 1e3
    );
    store.close().await;
    println!(
        "disk: {:.0} bytes per event",
        std::fs::metadata(&path)?.len() as f64 / events
    );
    Ok(())
}

fn batch(host: HostId, seq: u64, events: u64) -> EventBatch {
    let event = |number: u64| NewEvent {
        time_ms: NOW + (seq * 15_000 + number) as i64,
        kind: "login_failed".to_owned(),
        severity: Severity::Notice,
        message: format!("Failed password for invalid user admin{number} from 10.62.3.{number}"),
        fields: BTreeMap::from([
            ("user".to_owned(), format!("admin{number}")),
            ("source_address".to_owned(), format!("10.62.3.{number}")),
            ("service".to_owned(), "sshd".to_owned()),
        ]),
    };
    EventBatch {
        host,
        epoch: 1,
        stream: EventStream::Security,
        seq,
        checksum: seq as u32 ^ 0x5a5a_5a5a,
        events: (0..events).map(event).collect(),
        facts: None,
        proof: None,
    }
}

async fn enrol(store: &Store, hosts: u64) -> Result<Vec<HostId>, Box<dyn Error>> {
    let audit = || AuditEntry::new(NOW, Actor::Console, "example", "");
    let site = NewSite {
        key: "gs".to_owned(),
        name: "example".to_owned(),
        tier: Tier::HighCourt,
        parent: None,
        court_code: String::new(),
    };
    store.import_sites(&[site], audit()).await?;
    let site = store.site_by_key("gs").await?.ok_or("no site")?.id;
    let token = EnrolmentToken {
        id: "t".to_owned(),
        secret_hash: String::new(),
        site,
        uses: u32::MAX,
        uses_left: u32::MAX,
        expires_ms: i64::MAX,
        needs_approval: false,
        simulated: true,
        created_ms: NOW,
        created_by: "example".to_owned(),
        revoked_ms: None,
    };
    store.create_token(&token, audit()).await?;
    let mut ids = Vec::new();
    for number in 0..hosts {
        let id = store.reserve_host_id().await?;
        let certificate = CertificateRecord {
            serial: id.to_string(),
            host: id,
            not_before_s: 0,
            not_after_s: i64::MAX,
            issued_ms: NOW,
            revoked_ms: None,
            chain_pem: String::new(),
        };
        let host = NewHost {
            id,
            token: "t".to_owned(),
            hostname: format!("host-{number}"),
            machine: String::new(),
            evidence_key: number.to_string(),
            policy_root: String::new(),
            version: String::new(),
            certificate,
        };
        ids.push(store.enrol(&host, NOW, audit()).await?.id);
    }
    Ok(ids)
}

/// CPU time of all threads of this process, from proc_pid_stat(5) with the usual 100 ticks per second.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().ok_or("malformed stat")?;
    let fields = after_name.split_whitespace().skip(11).take(2);
    Ok(fields
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0)
}
