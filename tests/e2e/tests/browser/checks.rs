//! What is asked of every screen, whatever it shows.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::browser::Browser;
use crate::look::Look;

const CHECKS: &str = include_str!("checks.js");

/// Looks for what people with a screen reader, weak sight or no mouse cannot use.
const AXE: &str = include_str!("vendor/axe.min.js");

/// Everything of WCAG 2.2, level AA; `$RULES` turns on more.
const RUN_AXE: &str = r"
    const done = arguments[arguments.length - 1];
    axe.run(document, { rules: $RULES, runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
        resultTypes: ['violations'] })
        .then(({ violations }) => done(violations.map((one) => `${one.id}: ${one.help}: `
            + one.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.any.map((check) => check.message).join('; ').slice(0, 200)}`).join(' | '))),
            (error) => done([`axe failed: ${error}`]));
";

/// Runs functions of `checks.js` and joins what they complain about.
pub(crate) async fn ask(browser: &Browser, expression: &str) -> Result<Value> {
    browser
        .run(&format!("{CHECKS}\nreturn {expression};"))
        .await
}

/// Complaints about the page that is open, each with `name` before it.
pub(crate) async fn complaints(browser: &Browser, name: &str, look: Look) -> Result<Vec<String>> {
    complaints_of(browser, name, look, look.thorough()).await
}

/// As [`complaints`], with the slow checks in every look.
pub(crate) async fn every_complaint(
    browser: &Browser,
    name: &str,
    look: Look,
) -> Result<Vec<String>> {
    complaints_of(browser, name, look, true).await
}

/// Takes a picture of the page that is open and asks everything of it, and then the same in the other sizes and
/// lights, without loading it anew: of half of them what is slow, see [`Look::thorough`].
pub(crate) async fn around(browser: &Browser, name: &str, look: Look) -> Result<Vec<String>> {
    browser.picture(name).await?;
    let mut found = every_complaint(browser, name, look).await?;
    for other in look.others() {
        browser.turn(other).await?;
        browser.picture(name).await?;
        found.extend(complaints(browser, name, other).await?);
    }
    browser.turn(look).await?;
    Ok(found)
}

async fn complaints_of(
    browser: &Browser,
    name: &str,
    look: Look,
    thorough: bool,
) -> Result<Vec<String>> {
    let language = if look.english { "" } else { "...english()" };
    let all = format!("[...overflow(), ...clipped(), ...untranslated(), {language}]");
    let mut found = strings(&ask(browser, &all).await?);
    if thorough {
        found.extend(strings(&axe(browser, "{}").await?));
    }
    found.extend(browser.problems().await?);
    Ok(found
        .into_iter()
        .map(|complaint| format!("{name} {look}: {complaint}"))
        .collect())
}

/// As [`complaints`], for high contrast: every text stands out at seven to one, as level AAA asks.
pub(crate) async fn contrast_complaints(browser: &Browser, name: &str) -> Result<Vec<String>> {
    let shape = ask(browser, "[...overflow(), ...clipped()]").await?;
    let mut found = strings(&shape);
    let rules = "{ 'color-contrast-enhanced': { enabled: true } }";
    found.extend(strings(&axe(browser, rules).await?));
    found.extend(browser.problems().await?);
    Ok(found
        .into_iter()
        .map(|complaint| format!("{name}: {complaint}"))
        .collect())
}

async fn axe(browser: &Browser, rules: &str) -> Result<Value> {
    browser.run(AXE).await?;
    browser.run_async(&RUN_AXE.replace("$RULES", rules)).await
}

/// Fails with all complaints at once.
pub(crate) fn none_of(complaints: &[String]) -> Result<()> {
    let text = complaints.join("\n  ");
    ensure!(
        complaints.is_empty(),
        "{} complaints:\n  {text}",
        complaints.len()
    );
    Ok(())
}

fn strings(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}
