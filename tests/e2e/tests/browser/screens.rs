//! Every screen in every look: nothing sticks out, nothing is left in the other language, nobody is
//! shut out, nothing is said on the console, and the content security policy holds.

use anyhow::{Context as _, Result};
use serde_json::json;
use xiezhi_test_support::{Api, TestController, eventually};

use crate::asked::{agent, device};
use crate::browser::{Browser, PASSWORD};
use crate::checks;
use crate::look::Look;

/// Name and address of every screen; what begins with `$` stands for a number.
const SCREENS: &[(&str, &str)] = &[
    ("overview", "/"),
    ("sites", "/sites"),
    ("sites-add", "/sites?add=1"),
    ("sites-found", "/sites?q=gs-01&retired=true"),
    ("sites-import", "/sites/import"),
    ("site", "/sites/$SITE"),
    ("site-edit", "/sites/$SITE?edit=1"),
    ("fleet", "/fleet"),
    ("fleet-none", "/fleet?presence=down"),
    ("devices", "/devices"),
    ("device", "/devices/$DEVICE"),
    ("links", "/links"),
    ("host", "/hosts/$HOST?range=15m"),
    ("host-facts", "/hosts/$HOST?tab=facts"),
    ("host-events", "/hosts/$HOST?tab=events"),
    ("host-identity", "/hosts/$HOST?tab=identity"),
    ("events", "/events"),
    ("overview-part", "/?site=2"),
    ("register", "/register"),
    ("register-rooms", "/register/rooms"),
    ("register-new", "/register/staff?new=1"),
    ("asset", "/assets/$ASSET"),
    ("asset-edit", "/assets/$ASSET?edit=1"),
    ("labels", "/register/labels?id=$ASSET"),
    ("imports", "/register/imports?kind=assets"),
    (
        "import-preview",
        "/register/imports?kind=rooms&import=$IMPORT",
    ),
    ("enrol", "/enrol"),
    ("register-room", "/register/rooms/$ROOM"),
    ("users", "/users"),
    ("users-tokens", "/users/tokens"),
    ("users-tokens-all", "/users/tokens?user=1&all=1"),
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
    let switch = device("huawei-vrp-switch.snmprec").await?;
    let mut agent = agent(&controller, &[("hx-sw1", &switch)])?;
    agent.run()?;
    let api = controller.api().await?;
    let host = api.only_host_when("up").await?;
    let id = host["id"].as_i64().context("the row has no id")?;
    let traces = leave_traces(&api, id).await?;

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
            let address = address.replace("$ASSET", &traces.asset.to_string());
            let address = address.replace("$ROOM", &traces.room.to_string());
            let address = address.replace("$IMPORT", &traces.import.to_string());
            let address = address.replace("$DEVICE", &traces.device.to_string());
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
async fn leave_traces(api: &Api, host: i64) -> Result<Traces> {
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
    let script =
        json!({"name": "台账同步", "role": "province_admin", "site": 2, "password": PASSWORD});
    api.post("/api/v1/me/api-tokens", &script).await?;
    let gone = json!({"name": "旧脚本", "role": "province_admin", "password": PASSWORD});
    let gone = api.post("/api/v1/me/api-tokens", &gone).await?;
    let path = format!("/api/v1/me/api-tokens/{}", gone["made"]["id"]);
    api.delete(&path).await?;
    let grafana = json!({"name": "Grafana", "right": "read-metrics", "expires_in_days": 90});
    api.post("/api/v1/api-tokens", &grafana).await?;
    let device = eventually("the switch answers", async || {
        let list = api.get("/api/v1/devices").await?;
        let first = &list["items"][0];
        let id = first["id"].as_i64();
        Ok(id.filter(|_| first["state"] == "answered"))
    })
    .await?;
    register(api, device).await
}

/// What some addresses name.
struct Traces {
    asset: i64,
    room: i64,
    import: i64,
    device: i64,
}

/// A room, its technician, his server, and a spreadsheet that waits for a decision.
async fn register(api: &Api, device: i64) -> Result<Traces> {
    let item = |values| json!({ "site": 2, "values": values });
    let room = item(
        json!({"code": "301", "name": "信息中心机房", "use": "server_room", "floor": "3", "phone": "0931-8800301"}),
    );
    let room = api.post("/api/v1/register/rooms", &room).await?;
    let person = item(json!({"code": "G001", "name": "王芳", "room": "301", "title": "技术员"}));
    api.post("/api/v1/register/staff", &person).await?;
    let server = item(
        json!({"code": "ZC-0001", "name": "刀片服务器", "type": "server", "model": "NF5280M6",
        "room": "301", "owner": "G001", "bought": "2022-03-15", "warranty": "2025-03-15"}),
    );
    let asset = api.post("/api/v1/register/assets", &server).await?;
    let rooms = "房间编号,房间名称,楼层,颜色\n301,信息中心机房,4,红\n302,第一法庭,3,白\n";
    let path = "/api/v1/imports?kind=rooms&site=2&name=rooms.csv";
    let import = api.post_text(path, rooms).await?;
    let id = |made: &serde_json::Value| made["id"].as_i64().context("no id");
    Ok(Traces {
        asset: id(&asset)?,
        room: id(&room)?,
        device,
        import: id(&import)?,
    })
}
