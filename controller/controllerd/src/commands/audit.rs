//! `audit`: what was done, and the proof that it stands unchanged.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use xiezhi_store::{AuditQuery, AuditVerdict};

use super::{local_time, one_line, open_store};
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
                    "{:>6}  {time}  {:<16} {:<24} {}{}",
                    entry.position,
                    entry.actor,
                    entry.action,
                    one_line(&entry.subject),
                    particulars(&entry.detail)
                );
            }
        }
    }
    store.close().await;
    Ok(())
}

/// ` name="value"` of each. Quoted, because hosts name themselves and a terminal obeys what it is sent.
fn particulars(detail: &BTreeMap<String, String>) -> String {
    let each = detail
        .iter()
        .map(|(name, value)| format!(" {name}={value:?}"));
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn particulars_cannot_steer_the_terminal() {
        let detail = [("hostname", "法院\u{1b}[2J"), ("why", "a b")];
        let detail = detail.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            particulars(&BTreeMap::from(detail)),
            r#" hostname="法院\u{1b}[2J" why="a b""#
        );
    }
}
