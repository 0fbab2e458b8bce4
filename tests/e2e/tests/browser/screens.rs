//! Every screen in every look: nothing sticks out, nothing is left in the other language, nobody is
//! shut out, nothing is said on the console, and the content security policy holds.

use anyhow::{Context as _, Result};
use serde_json::json;
use xiezhi_test_support::{Api, TestAgent, TestController};

use crate::browser::Browser;
use crate::checks;
use crate::look::Look;

/// Name and address of every screen; `$HOST` and `$SITE` stand for numbers.
const SCREENS: &[(&str, &str)] = &[
    ("overview", "/"),
    ("sites", "/sites"),
    ("site", "/sites/$SITE"),
    ("fleet", "/fleet"),
    ("fleet-none", "/fleet?presence=down"),
    ("host", "/hosts/$HOST?range=15m"),
    ("host-facts", "/hosts/$HOST?tab=facts"),
    ("host-events", "/hosts/$HOST?tab=events"),
    ("host-identity", "/hosts/$HOST?tab=identity"),
    ("events", "/events"),
    ("enrol", "/enrol"),
    ("users", "/users"),
    ("me", "/me"),
    ("audit", "/audit"),
    ("settings", "/settings"),
    ("missing", "/nowhere"),
];

#[tokio::test]
async fn every_screen_holds_on_a_desk() -> Result<()> {
    look_at_all(false).await
}

#[tokio::test]
async fn every_screen_holds_on_a_phone() -> Result<()> {
    look_at_all(true).await
}

async fn look_at_all(phone: bool) -> Result<()> {
    let controller = TestController::start().await?;
    let agent = TestAgent::start(&controller)?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    let id = host["id"].as_i64().context("the row has no id")?;
    leave_traces(&api, id).await?;

    let mut found = Vec::new();
    let mut browser = Browser::open(&controller, Look::all_of(phone)[0]).await?;
    for look in Look::all_of(phone) {
        browser.look(look).await?;
        browser.goto("/login").await?;
        browser.picture("login").await?;
        found.extend(checks::complaints(&browser, "login", look).await?);
    }
    browser.sign_in().await?;
    // Signing in was asked for while signed out, which the browser's log tells as a refusal.
    browser.problems().await?;
    for look in Look::all_of(phone) {
        browser.look(look).await?;
        for (name, address) in SCREENS {
            let address = address.replace("$HOST", &id.to_string());
            let address = address.replace("$SITE", &host["site"]["id"].to_string());
            browser.goto(&address).await?;
            browser.picture(name).await?;
            found.extend(checks::complaints(&browser, name, look).await?);
        }
    }
    browser.close().await?;
    drop(agent);
    checks::none_of(&found)
}

/// What gives the lists something to show: tokens, a directive, a budget, a refused sign-in.
async fn leave_traces(api: &Api, host: i64) -> Result<()> {
    let token = json!({"site": 1, "uses": 5, "expires_in_s": 86_400, "approval": true});
    api.post("/api/v1/tokens", &token).await?;
    let path = format!("/api/v1/hosts/{host}/directives");
    api.post(&path, &json!({ "kind": "collect_now" })).await?;
    let budget = json!({"kind": "set_bandwidth", "bytes_per_second": 125_000, "windows": []});
    api.post(&path, &budget).await?;
    let person = json!({"name": "wang.fang", "display_name": "王芳", "home": 2,
        "roles": [{"role": "technician", "site": 2}, {"role": "read_only", "site": 1}]});
    api.post("/api/v1/users", &person).await?;
    let wrong = json!({"user": "admin", "password": "a wrong one"});
    assert!(api.post("/api/v1/login", &wrong).await.is_err());
    Ok(())
}
