//! Labels and enrolment instructions to print.

use std::net::Ipv6Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use xiezhi_api::print::{
    Instructions, LabelText, asset_address, enrol_commands, instructions_page, labels_page,
};
use xiezhi_inventory::Language;
use xiezhi_model::{Field, Item, RegisterKind};
use xiezhi_store::Store;

use super::super::files::write_new;
use super::super::tokens::{self, Wanted};
use super::super::{by_console, local_time};
use super::items::{next, query};
use crate::cli::Narrowed;
use crate::config::{Config, WebTls};
use crate::terminal::say;

/// Labels of one page, which a browser must lay out: some hundred sheets.
const MOST_LABELS: usize = 5000;

pub(super) async fn labels(
    store: &Store,
    file: &Path,
    address: &str,
    language: Language,
    narrowed: Narrowed,
) -> Result<()> {
    let tree = store.site_tree().await?;
    let audit = by_console("register.export", RegisterKind::Asset.word());
    let audit = audit.with("filter", narrowed.told());
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
    let page = labels_page(&labels, language)?;
    let audit = audit
        .with("format", "html")
        .with("rows", labels.len().to_string());
    store.append_audit(audit).await?;
    write_new(file, page.as_bytes())?;
    say!("{}: {} labels", file.display(), labels.len());
    Ok(())
}

/// What is asked of instructions.
pub(super) struct Asked<'a> {
    pub(super) file: &'a Path,
    pub(super) site: String,
    pub(super) controller: Option<String>,
    pub(super) uses: u32,
    pub(super) expires: Duration,
    pub(super) approval: bool,
    pub(super) language: Language,
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
    let controller = asked.controller.or_else(|| name_of(config));
    let controller = controller.context(
        "say by --controller at which host name or address agents reach this controller",
    )?;
    let controller = with_port(&controller, config.agents.port());
    let made = tokens::make(config, store, wanted).await?;
    let sheet = Instructions {
        site: made.site,
        uses: made.record.uses,
        until: local_time(made.record.expires_ms),
        approval: asked.approval,
        commands: enrol_commands(&controller, &made.text),
    };
    let page = instructions_page(&sheet, asked.language);
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

/// The first name that the certificate of the pages is for.
fn name_of(config: &Config) -> Option<String> {
    match &config.web.tls {
        WebTls::Internal(names) => names.first().cloned(),
        WebTls::Files { .. } | WebTls::Off => None,
    }
}

/// `HOST:PORT` of a name or an address that may have a port; one of IPv6 stands in brackets.
fn with_port(given: &str, port: u16) -> String {
    if let Ok(address) = given.parse::<Ipv6Addr>() {
        return format!("[{address}]:{port}");
    }
    let after = given.rsplit_once(']').map_or(given, |(_, after)| after);
    match after.contains(':') {
        true => given.to_owned(),
        false => format!("{given}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_the_agents_port_unless_it_has_one() {
        for (given, whole) in [
            ("xiezhi.example", "xiezhi.example:8443"),
            ("xiezhi.example:9443", "xiezhi.example:9443"),
            ("10.0.0.1", "10.0.0.1:8443"),
            ("2001:db8::1", "[2001:db8::1]:8443"),
            ("[2001:db8::1]", "[2001:db8::1]:8443"),
            ("[2001:db8::1]:9443", "[2001:db8::1]:9443"),
        ] {
            assert_eq!(with_port(given, 8443), whole);
        }
    }
}
