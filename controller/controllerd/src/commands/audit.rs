//! `audit`: what was done, and the proof that it stands unchanged.

use anyhow::{Result, bail};
use xiezhi_store::{AuditQuery, AuditVerdict};

use super::{local_time, open_store};
use crate::cli::Audit;
use crate::config::Config;
use crate::terminal::say;

/// Does what `audit …` asks.
pub(super) async fn run(config: &Config, what: Audit) -> Result<()> {
    let store = open_store(config).await?;
    match what {
        Audit::Verify => match store.verify_audit().await? {
            AuditVerdict::Intact { position, hash } => {
                say!("{position} entries, unbroken; head {hash}");
            }
            AuditVerdict::Broken { position, reason } => {
                bail!("the chain is broken at entry {position}: {reason}");
            }
        },
        Audit::List { limit } => {
            let query = AuditQuery {
                limit,
                ..AuditQuery::default()
            };
            for entry in store.audit(&query).await? {
                let time = local_time(entry.time_ms);
                say!(
                    "{:>6}  {time}  {:<16} {:<24} {}",
                    entry.position,
                    entry.actor,
                    entry.action,
                    entry.subject
                );
            }
        }
    }
    store.close().await;
    Ok(())
}
