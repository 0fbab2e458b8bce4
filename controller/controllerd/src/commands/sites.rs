//! `sites`: the organisation tree.

use anyhow::{Context as _, Result, anyhow};

use super::{by_console, open_store};
use crate::cli::Sites;
use crate::config::Config;
use crate::terminal::say;

/// Does what `sites …` asks.
pub(super) async fn run(config: &Config, what: Sites) -> Result<()> {
    let store = open_store(config).await?;
    match what {
        Sites::Import { file } => {
            let (name, parsed) = match &file {
                Some(path) => {
                    let name = path.display().to_string();
                    let bytes = std::fs::read(path).with_context(|| format!("reading {name}"))?;
                    (name, xiezhi_inventory::parse_courts(&bytes))
                }
                None => (
                    "the demonstration's courts".to_owned(),
                    xiezhi_inventory::demo_courts(),
                ),
            };
            let sites = parsed.map_err(|problems| {
                let lines: Vec<String> = problems
                    .iter()
                    .map(|problem| format!("{name}: {problem}"))
                    .collect();
                anyhow!(
                    "nothing was imported; mend these lines first:\n{}",
                    lines.join("\n")
                )
            })?;
            let done = store
                .import_sites(&sites, by_console("sites.import", name))
                .await?;
            say!(
                "{} added, {} changed, {} unchanged",
                done.added,
                done.changed,
                done.unchanged
            );
        }
        Sites::List => {
            for site in store.sites().await? {
                say!("{:<12} {:<20} {}", site.key, site.tier.word(), site.name);
            }
        }
    }
    store.close().await;
    Ok(())
}
