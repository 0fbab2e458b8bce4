//! The organisation tree over HTTP: its pages, its changes, lists of it.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use xiezhi_model::{Grant, Role};

use super::bench::{Bench, Got, by_system, request};

fn names(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|row| row["key"].as_str().unwrap()).collect()
}

async fn put(bench: &Bench, cookie: &str, site: &Value, edit: &[(&str, Value)]) -> Got {
    let mut body = json!({
        "name": site["name"], "tier": site["tier"], "parent": site["parent"],
        "code": site["code"], "version": site["version"],
    });
    for (field, value) in edit {
        body[*field] = value.clone();
    }
    let path = format!("/api/v1/sites/{}", site["id"]);
    bench
        .ask(request(Method::PUT, &path, cookie, Some(body)))
        .await
}

#[tokio::test]
async fn the_tree_opens_level_by_level_in_pages_and_is_searched() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    bench.host("gs-01-01", "beta", false).await;
    let roots = bench.read(&cookie, "/api/v1/sites?parent=none").await;
    assert_eq!(names(&roots), ["gs"]);
    let root = &roots["items"][0];
    assert_eq!(
        (&root["children"], &root["below"]),
        (&json!(17), &json!(112))
    );
    assert_eq!(root["rollup"]["unknown"], 1);
    let level = format!("/api/v1/sites?parent={}&limit=10", root["id"]);
    let first = bench.read(&cookie, &level).await;
    let next = first["next"].as_str().unwrap();
    let second = bench.read(&cookie, &format!("{level}&cursor={next}")).await;
    let mut all = names(&first);
    all.extend(names(&second));
    assert_eq!((all.len(), &first["total"]), (17, &json!(17)));
    assert!(all.is_sorted() && second["next"].is_null(), "{all:?}");

    let found = bench
        .read(&cookie, "/api/v1/sites?q=%E5%9F%8E%E5%85%B3")
        .await;
    let row = &found["items"][0];
    assert!(row["name"].as_str().unwrap().contains("城关"), "{row}");
    assert_eq!(row["path"].as_array().unwrap().len(), 2);
    let by_key = bench.read(&cookie, "/api/v1/sites?q=GS-17").await;
    assert!(names(&by_key).contains(&"gs-17"));
    let wrong = bench.get(&cookie, "/api/v1/sites?parent=x").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);

    // Who sees one court has it as the root.
    let court = bench.site("gs-01").await.id;
    let grant = Grant::at(Role::CourtAdministrator, court);
    let (_, theirs) = bench.account("court", &[grant]).await;
    let roots = bench.read(&theirs, "/api/v1/sites?parent=none").await;
    assert_eq!(names(&roots), ["gs-01"]);
    let foreign = bench.get(&theirs, &level).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_court_is_added_moved_and_retired_by_who_saw_it_as_it_is() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let [from, to] = [bench.site("gs-01").await, bench.site("gs-02").await];
    let new = json!({"key": "gs-01-99", "name": "<b>新区法院</b>", "tier": "basic_court", "parent": from.id});
    let made = bench.post(&cookie, "/api/v1/sites", new.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let made = made.json();
    let twice = bench.post(&cookie, "/api/v1/sites", new).await;
    assert_eq!(twice.code(), "exists");
    let host = bench.host("gs-01-99", "alpha", false).await;
    let grant = Grant::at(Role::Technician, to.id);
    let (_, theirs) = bench.account("tech", &[grant]).await;
    let path = format!("/api/v1/hosts/{}", host.id);
    assert_eq!(
        bench.get(&theirs, &path).await.status,
        StatusCode::NOT_FOUND
    );

    let moved = put(&bench, &cookie, &made, &[("parent", json!(to.id))]).await;
    assert_eq!(moved.status, StatusCode::OK, "{moved:?}");
    let moved = moved.json();
    // Its hosts came with it.
    assert_eq!(bench.get(&theirs, &path).await.status, StatusCode::OK);
    let late = put(&bench, &cookie, &made, &[("name", json!("x"))]).await;
    assert_eq!(late.code(), "changed");
    let upside = put(&bench, &cookie, &moved, &[("tier", json!("high_court"))]).await;
    assert_eq!(upside.status, StatusCode::UNPROCESSABLE_ENTITY);
    let told = &upside.json()["fields"][0];
    assert_eq!(
        (&told["field"], &told["word"]),
        (&json!("tier"), &json!("order"))
    );
    let used = put(&bench, &cookie, &moved, &[("retired", json!(true))]).await;
    assert_eq!(used.json()["fields"][0]["field"], "hosts");
    assert_eq!(used.code(), "still_used");
    let revoked = bench
        .store
        .revoke_host(host.id, "x", by_system("host.revoke"));
    revoked.await.unwrap();
    let retired = put(&bench, &cookie, &moved, &[("retired", json!(true))]).await;
    assert_eq!(retired.status, StatusCode::OK, "{retired:?}");
    let list = format!("/api/v1/sites?parent={}", to.id);
    let shown = bench.read(&cookie, &list).await;
    assert!(!names(&shown).contains(&"gs-01-99"));
    let all = bench.read(&cookie, &format!("{list}&retired=true")).await;
    assert!(names(&all).contains(&"gs-01-99"));
    let token = json!({"site": made["id"], "uses": 1, "expires_in_s": 600});
    let closed = bench.post(&cookie, "/api/v1/tokens", token).await;
    assert_eq!(closed.code(), "retired");

    let history = format!("/api/v1/sites/{}/history?limit=2", made["id"]);
    let history = bench.read(&cookie, &history).await;
    assert_eq!(history["items"][0]["action"], "retire");
    let stood = &history["items"][1]["changes"][0];
    assert_eq!(
        (&stood["before"], &stood["after"]),
        (&json!(from.name), &json!(to.name))
    );
    let older = format!(
        "/api/v1/sites/{}/history?before={}",
        made["id"], history["next"]
    );
    assert_eq!(
        bench.read(&cookie, &older).await["items"][0]["action"],
        "create"
    );
    // The court below sees its move, and not where it came from.
    let seen = format!("/api/v1/sites/{}/history", made["id"]);
    let seen = bench.read(&theirs, &seen).await;
    assert_eq!(seen["items"][1]["changes"][0]["before"], "");
}

async fn upload(bench: &Bench, cookie: &str, body: impl Into<Body>) -> Got {
    let asked = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/site-imports?name=%E6%B3%95%E9%99%A2.csv")
        .header(header::COOKIE, cookie)
        .header("x-xiezhi-request", "1")
        .body(body.into());
    bench.ask(asked.unwrap()).await
}

#[tokio::test]
async fn a_list_of_courts_is_looked_at_imported_and_taken_back() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let wrong = "id,name,tier,parent_id\nx,甲,中院,gs\nx,乙,,nowhere\n";
    let seen = upload(&bench, &cookie, wrong).await;
    assert_eq!(seen.status, StatusCode::OK);
    let seen = seen.json();
    assert_eq!(
        (&seen["id"], &seen["problem_count"]),
        (&Value::Null, &json!(3))
    );
    let problem = &seen["problems"][0];
    assert_eq!(
        (&problem["line"], &problem["column"]),
        (&json!(3), &json!("A"))
    );
    assert_eq!(problem["word"], "twice");

    let good = "编号,名称,层级,上级\ngs-99,新院,中级人民法院,gs\n\
                gs-01-01,城关区人民法院,基层法院,gs-99\ngs-02,嘉峪关市中级人民法院,中院,gs\n";
    let seen = upload(&bench, &cookie, good).await;
    assert_eq!(seen.status, StatusCode::CREATED, "{seen:?}");
    let seen = seen.json();
    assert_eq!((&seen["added"], &seen["moved"]), (&json!(1), &json!(1)));
    let row = &seen["rows"][1];
    assert_eq!(
        (&row["moved"], &row["site"]["name"]),
        (&json!(true), &json!("新院"))
    );
    let path = format!("/api/v1/site-imports/{}", seen["id"]);
    let again = bench.read(&cookie, &path).await;
    assert_eq!(
        (&again["digest"], &again["rows"]),
        (&seen["digest"], &seen["rows"])
    );
    let other = json!({"digest": "x"});
    let other = bench.post(&cookie, &format!("{path}/apply"), other).await;
    assert_eq!(other.code(), "moved");
    let digest = json!({"digest": seen["digest"]});
    let done = bench.post(&cookie, &format!("{path}/apply"), digest).await;
    assert_eq!(done.json()["state"], "applied", "{done:?}");
    let moved = bench.site("gs-01-01").await;
    assert_eq!(moved.parent, Some(bench.site("gs-99").await.id));
    let listed = bench.read(&cookie, "/api/v1/site-imports").await;
    assert_eq!(listed["items"][0]["file"], "法院.csv");

    let give_up = async |path: &str| {
        let asked = request(Method::DELETE, path, &cookie, None);
        bench.ask(asked).await
    };
    assert_eq!(give_up(&path).await.code(), "over", "it is done");
    let kept = bench
        .store
        .keep_site_import("a", "[]", by_system("sites.upload"));
    let dropped = format!("/api/v1/site-imports/{}", kept.await.unwrap());
    assert_eq!(give_up(&dropped).await.status, StatusCode::NO_CONTENT);
    assert_eq!(give_up(&dropped).await.code(), "not_found");
    let audit = bench.store.audit(&Default::default()).await.unwrap();
    assert_eq!(audit[0].action, "sites.give_up");

    let undone = bench
        .post(&cookie, &format!("{path}/undo"), json!({}))
        .await;
    assert_eq!(undone.json()["state"], "undone", "{undone:?}");
    assert!(bench.store.site_by_key("gs-99").await.unwrap().is_none());
    let twice = bench
        .post(&cookie, &format!("{path}/undo"), json!({}))
        .await;
    assert_eq!(twice.code(), "over");
    let huge = upload(&bench, &cookie, vec![b'x'; (16 << 20) + 1]).await;
    assert_eq!(huge.status, StatusCode::PAYLOAD_TOO_LARGE);
}
