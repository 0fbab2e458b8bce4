//! `store`: moving the state to another database. Samples, keys and certificates stay where they are.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use xiezhi_identity::PassphraseSource;
use xiezhi_store::{Address, AuditVerdict, EvidenceQuery, EvidenceReport, Store};

use super::{by_console, database_address};
use crate::cli::StoreCommand;
use crate::clock::now_ms;
use crate::config::Config;
use crate::terminal::say;

/// Does what `store …` asks.
pub(super) async fn run(config: &Config, what: StoreCommand) -> Result<()> {
    match what {
        StoreCommand::Copy {
            to,
            to_password_file,
        } => copy(config, &to, to_password_file.as_deref()).await,
    }
}

async fn copy(config: &Config, to: &str, password_file: Option<&Path>) -> Result<()> {
    let from = database_address(config)?;
    let mut to = Address::parse(to)?;
    ensure!(
        from.to_string() != to.to_string(),
        "{from} is where the state is already: name another database"
    );
    if let Some(file) = password_file {
        let password = PassphraseSource::File(file.to_owned())
            .read("the target database")
            .context("reading the target database's password")?;
        to = to.with_password(Some(password.reveal().to_owned()));
    }
    let opened = |address: &Address| format!("opening {address}");
    let source = Store::open_for_controller(&from).await;
    let source = source.with_context(|| opened(&from))?;
    let target = Store::open_for_controller(&to).await;
    let target = target.with_context(|| opened(&to))?;
    let copied = source.copy_to(&target, |table| {
        say!("{:>12}  {}", table.rows, table.name);
    });
    let copied = copied
        .await
        .with_context(|| format!("copying {from} to {to}"))?;
    let rows: u64 = copied.iter().map(|table| table.rows).sum();
    say!("{rows} rows, each compared");
    verify(&source, &target).await?;
    let entry = by_console("store.copied", to.to_string());
    let entry = entry
        .with("from", from.to_string())
        .with("rows", rows.to_string());
    target.append_audit(entry).await?;
    source.close().await;
    target.close().await;
    say!(
        "now write `database: {to}` in the configuration and start the controller; keep {from} until \
         you have seen it at work, and never start a controller on it again"
    );
    Ok(())
}

/// What the chains say must be the same in both, and good.
async fn verify(source: &Store, target: &Store) -> Result<()> {
    let (before, after) = (source.verify_audit().await?, target.verify_audit().await?);
    ensure!(
        before == after,
        "the audit chain of the copy differs: {before:?}, {after:?}"
    );
    match after {
        AuditVerdict::Intact { position, hash } => {
            say!("audit: {position} entries, unbroken; head {hash}");
        }
        AuditVerdict::Broken { position, reason } => bail!(
            "the copy is whole, and its audit chain is broken at entry {position} as the source's is: \
             {reason}"
        ),
    }
    let (query, now_ms) = (EvidenceQuery::default(), now_ms());
    let before: EvidenceReport = source.verify_evidence(&query, now_ms).await?;
    let after = target.verify_evidence(&query, now_ms).await?;
    ensure!(before == after, "the evidence of the copy differs");
    say!("evidence: as in the source");
    Ok(())
}
