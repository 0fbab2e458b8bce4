//! Every query of the shipped Grafana dashboards finds data where one agent reports.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xiezhi_test_support::{Api, TestAgent, TestController, eventually};

/// Metrics that not every machine can have, with the file that they come from.
const OPTIONAL: &[(&str, &str)] = &[
    ("node_pressure_", "/proc/pressure/cpu"),
    ("node_filefd_", "/proc/sys/fs/file-nr"),
];

#[tokio::test]
async fn every_query_of_the_dashboards_finds_data() -> Result<()> {
    let controller = TestController::start().await?;
    let _agent = TestAgent::start(&controller)?;
    let api = controller.api().await?;
    api.only_host_when("up").await?;
    let mut missing = all_queries()?;
    // Rates of what the controller records of itself need two of its recordings.
    let found = eventually("every query finds data", async || {
        let mut still = BTreeSet::new();
        for (file, query) in &missing {
            if finds_nothing(&api, query).await? {
                still.insert((file.clone(), query.clone()));
            }
        }
        missing = still;
        Ok(missing.is_empty().then_some(()))
    })
    .await;
    found.with_context(|| format!("without data: {missing:#?}"))
}

/// Every query that can find something on this machine, with its dashboard.
pub(crate) fn all_queries() -> Result<BTreeSet<(String, String)>> {
    let mut all = every_query()?;
    all.retain(|(_, query)| is_possible_here(query));
    Ok(all)
}

/// Every query, with its dashboard.
pub(crate) fn every_query() -> Result<BTreeSet<(String, String)>> {
    let mut all: BTreeSet<(String, String)> = BTreeSet::new();
    for file in dashboards()? {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let board: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        let queries = queries(&board);
        ensure!(
            queries.len() > 5,
            "{name} has only {} queries",
            queries.len()
        );
        all.extend(queries.into_iter().map(|query| (name.clone(), query)));
    }
    Ok(all)
}

fn dashboards() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboards/grafana");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    ensure!(!files.is_empty(), "there is no dashboard");
    Ok(files)
}

/// Queries of panels, and what the menus ask, as `label_values(…)`.
fn queries(board: &Value) -> Vec<String> {
    let panels = board["panels"].as_array().into_iter().flatten();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions = targets.map(|target| &target["expr"]);
    let variables = board["templating"]["list"].as_array().into_iter().flatten();
    let menus = variables.map(|variable| &variable["definition"]);
    let texts = expressions.chain(menus).filter_map(Value::as_str);
    texts
        .map(|text| text.replace("$site", ".*").replace("$instance", ".*"))
        .collect()
}

fn is_possible_here(query: &str) -> bool {
    OPTIONAL
        .iter()
        .all(|(metric, file)| !query.contains(metric) || Path::new(file).exists())
}

pub(crate) async fn finds_nothing(api: &Api, query: &str) -> Result<bool> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let menu = query
        .strip_prefix("label_values(")
        .and_then(|rest| rest.strip_suffix(')'));
    let path = match menu.and_then(|menu| menu.rsplit_once(", ")) {
        Some((selector, label)) => {
            format!("/api/v1/label/{label}/values?match[]={}", encoded(selector))
        }
        None => format!("/api/v1/query?query={}", encoded(query)),
    };
    let answer = api.get(&path).await.with_context(|| query.to_owned())?;
    ensure!(answer["status"] == "success", "{query}: {answer}");
    ensure!(
        answer["warnings"].is_null(),
        "{query}: {}",
        answer["warnings"]
    );
    let found = if menu.is_some() {
        &answer["data"]
    } else {
        &answer["data"]["result"]
    };
    Ok(found.as_array().is_none_or(Vec::is_empty))
}
