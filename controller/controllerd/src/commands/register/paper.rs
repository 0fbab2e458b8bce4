//! Labels and enrolment instructions to print.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use xiezhi_api::print::{
    Instructions, LabelText, asset_address, enrol_commands, instructions_page, labels_page,
};
use xiezhi_model::{Field, Item, RegisterKind};
use xiezhi_store::Store;

use super::super::files::write_new;
use super::super::local_time;
use super::super::tokens::{self, Wanted};
use super::items::{next, query};
use crate::cli::Narrowed;
use crate::config::Config;
use crate::terminal::say;

/// Labels of one page, which a browser must lay out: some hundred sheets.
const MOST_LABELS: usize = 5000;

pub(super) async fn labels(
    store: &Store,
    file: &Path,
    address: &str,
    narrowed: Narrowed,
) -> Result<()> {
    let tree = store.site_tree().await?;
    let mut query = Some(query(store, narrowed).await?);
    let mut labels = Vec::new();
    let label = |item: Item| LabelText {
        name: item.value(Field::Name).to_owned(),
        code: item.value(Field::Code).to_owned(),
        site: tree
            .get(item.site)
            .map_or_else(String::new, |site| site.name.clone()),
        address: asset_address(address, item.id),
    };
    while let Some(items) = next(store, RegisterKind::Asset, &mut query).await? {
        labels.extend(items.into_iter().map(label));
        ensure!(
            labels.len() <= MOST_LABELS,
            "more than {MOST_LABELS} labels: narrow them by --site, --state, --room or --search"
        );
    }
    ensure!(
        !labels.is_empty(),
        "no asset fits: see `register list --kind assets`"
    );
    write_new(file, labels_page(&labels)?.as_bytes())?;
    say!("{}: {} labels", file.display(), labels.len());
    Ok(())
}

/// What is asked of instructions.
pub(super) struct Asked<'a> {
    pub(super) file: &'a Path,
    pub(super) site: String,
    pub(super) controller: &'a str,
    pub(super) uses: u32,
    pub(super) expires: Duration,
    pub(super) approval: bool,
}

pub(super) async fn instructions(config: &Config, store: &Store, asked: Asked<'_>) -> Result<()> {
    // Before a token is made that nobody would learn.
    ensure!(
        !asked.file.exists(),
        "{} is there already: name a new file",
        asked.file.display()
    );
    let wanted = Wanted {
        site: asked.site,
        uses: asked.uses,
        expires: asked.expires,
        approval: asked.approval,
        simulated: false,
    };
    let made = tokens::make(config, store, wanted).await?;
    let controller = match asked.controller.contains(':') && !asked.controller.starts_with('[') {
        true => asked.controller.to_owned(),
        false => format!("{}:{}", asked.controller, config.agents.port()),
    };
    let page = instructions_page(&Instructions {
        site: made.site,
        uses: made.record.uses,
        until: local_time(made.record.expires_ms),
        approval: asked.approval,
        commands: enrol_commands(&controller, &made.text),
    });
    write_new(asked.file, page.as_bytes())?;
    say!(
        "{}: token {}, {} uses, until {}; print it, then delete the file",
        asked.file.display(),
        made.record.id,
        made.record.uses,
        local_time(made.record.expires_ms)
    );
    Ok(())
}
