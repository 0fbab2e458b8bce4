//! `audit`: what was done, and the proof that it stands unchanged.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use xiezhi_evidence::{Hash, first_line, last_line, verify_file};
use xiezhi_inventory::Language;
use xiezhi_inventory::lists::{AUDIT_HEADER, audit_row};
use xiezhi_store::{AuditQuery, AuditVerdict, Store};

use super::files::{ListFile, NewFile};
use super::{by_console, local_time, one_line, open_store};
use crate::cli::Audit;
use crate::config::Config;
use crate::terminal::say;

/// Name of the chain.
const CHAIN: &str = "audit";

/// Does what `audit …` asks.
pub(super) async fn run(config: &Config, what: Audit) -> Result<()> {
    if let Audit::Verify {
        file: Some(file),
        expect_head,
    } = &what
    {
        return verify_offline(file, *expect_head);
    }
    let store = open_store(config).await?;
    match what {
        Audit::Verify { expect_head, .. } => verify(&store, expect_head).await?,
        Audit::Sheet { file, lang } => sheet(&store, &file, lang).await?,
        Audit::Head => {
            let head = store.audit_head().await?;
            say!("{} {}", head.seq, head.hash);
        }
        Audit::Export { file } => export(&store, &file).await?,
        Audit::List { limit } => list(&store, limit).await?,
    }
    store.close().await;
    Ok(())
}

async fn verify(store: &Store, expected: Option<Hash>) -> Result<()> {
    let position = match store.verify_audit().await? {
        AuditVerdict::Intact { position, hash } => {
            say!("{position} entries, unbroken; head {hash}");
            position
        }
        AuditVerdict::Broken { position, reason } => {
            bail!("the chain is broken at entry {position}: {reason}");
        }
    };
    let Some(expected) = expected else {
        return Ok(());
    };
    match store.audit_position(&expected).await? {
        Some(at) => say!(
            "entry {at} is the expected head; {} entries came after it",
            position.saturating_sub(at)
        ),
        None => bail!(
            "no entry has the expected hash: the chain was written anew as a whole, or the hash is not \
             that of this installation"
        ),
    }
    Ok(())
}

fn verify_offline(path: &Path, expected: Option<Hash>) -> Result<()> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("opening {shown}"))?;
    let found = verify_file(CHAIN, BufReader::new(file), expected);
    let found = found.with_context(|| format!("{shown} does not hold"))?;
    let (entries, hash) = (found.head.seq, found.head.hash);
    say!("{entries} entries, unbroken; head {hash}");
    if found.erased > 0 {
        say!("{} of them without their details", found.erased);
    }
    if let Some(at) = found.expected_at {
        say!(
            "entry {at} is the expected head; {} entries came after it",
            entries.saturating_sub(at)
        );
    } else {
        say!(
            "whether the file was written anew as a whole shows only --expect-head, with a head that was \
             noted elsewhere"
        );
    }
    Ok(())
}

/// Up to the head of this moment, which is that of the entry about the export, a slice in memory at a time.
async fn export(store: &Store, path: &Path) -> Result<()> {
    let mut file = NewFile::begin(path)?;
    let audit = by_console("audit.export", CHAIN).with("format", "jsonl");
    store.append_audit(audit).await?;
    let head = store.audit_head().await?;
    file.write(first_line(CHAIN).as_bytes())?;
    let mut after = 0;
    while after < head.seq {
        let lines = store.audit_lines(i64::try_from(after)?).await?;
        let Some(last) = lines.last() else { break };
        after = last.record.seq;
        for line in lines.iter().filter(|line| line.record.seq <= head.seq) {
            file.write(line.to_line().as_bytes())?;
        }
    }
    file.write(last_line(head).as_bytes())?;
    file.keep()?;
    say!("{} {}", head.seq, head.hash);
    Ok(())
}

async fn list(store: &Store, limit: u32) -> Result<()> {
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
    Ok(())
}

/// All entries, newest first, page by page.
async fn sheet(store: &Store, file: &Path, language: Language) -> Result<()> {
    let mut list = ListFile::begin(file, &language.header(&AUDIT_HEADER))?;
    let mut query = AuditQuery {
        limit: 1000,
        ..AuditQuery::default()
    };
    loop {
        let entries = store.audit(&query).await?;
        query.before = entries.last().map(|entry| entry.position);
        let full = entries.len() == 1000;
        list.push(entries.iter().map(audit_row).collect())?;
        if !full {
            let audit = by_console("audit.export", CHAIN);
            return list.finish(store, audit).await;
        }
    }
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
