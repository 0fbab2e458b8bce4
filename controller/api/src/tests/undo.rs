//! Taking an import of the register back: what it would do, and what is in the way, for who may see it.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use xiezhi_model::{Grant, Role};

use super::bench::{Bench, Got, request};

async fn imported(bench: &Bench, cookie: &str, query: &str, body: &'static str) -> i64 {
    let asked = Request::builder()
        .method(Method::POST)
        .uri(format!("/api/v1/imports?{query}"))
        .header(header::COOKIE, cookie)
        .header("x-xiezhi-request", "1")
        .body(Body::from(body));
    let seen = bench.ask(asked.unwrap()).await.json();
    let apply = format!("/api/v1/imports/{}/apply", seen["id"]);
    let done = bench.post(cookie, &apply, json!({"digest": seen["digest"]}));
    assert_eq!(done.await.status, StatusCode::OK, "{seen}");
    seen["id"].as_i64().unwrap()
}

async fn changed(bench: &Bench, cookie: &str, item: i64, change: impl Fn(&mut Value)) -> Got {
    let path = format!("/api/v1/register/assets/{item}");
    let mut wanted = bench.read(cookie, &path).await;
    let body = json!({"site": wanted["site"]["id"], "version": wanted["version"], "values": wanted["values"].take()});
    wanted = body;
    change(&mut wanted);
    let got = bench
        .ask(request(Method::PUT, &path, cookie, Some(wanted)))
        .await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.json());
    got
}

#[tokio::test]
async fn a_court_sees_row_by_row_what_taking_back_would_do_and_what_is_in_the_way() {
    let bench = Bench::new().await;
    let admin = bench.sign_in().await;
    let site = bench.site("gs-01").await.id;
    let grant = [Grant::at(Role::CourtAdministrator, site)];
    let (_, court) = bench.account("zz-court", &grant).await;
    let (_, other) = bench
        .account(
            "zz-other",
            &[Grant::at(
                Role::CourtAdministrator,
                bench.site("gs-02").await.id,
            )],
        )
        .await;
    let query = format!("kind=assets&site={site}");
    imported(&bench, &court, &query, "code,name,note\nA-1,旧,n\n").await;
    let id = imported(&bench, &court, &query, "code,name\nA-1,新\nA-2,b\nA-3,c\n").await;
    let path = format!("/api/v1/imports/{id}/undo");

    let seen = bench.read(&court, &path).await;
    assert_eq!(
        (&seen["possible"], &seen["deleted"], &seen["changed_back"]),
        (&json!(true), &json!(2), &json!(1))
    );
    let row = &seen["rows"][0];
    assert_eq!(
        (&row["line"], &row["code"], &row["is_new"]),
        (&json!(2), &json!("A-1"), &json!(false))
    );
    assert_eq!(
        row["fields"],
        json!([{"field": "name", "imported": "新", "now": "新", "back": "旧"}])
    );
    assert_eq!(bench.get(&other, &path).await.status, StatusCode::NOT_FOUND);

    // Another name, and one that goes to a court which this reader does not see.
    let items = seen["rows"].as_array().unwrap();
    let item = |at: usize| items[at]["item"].as_i64().unwrap();
    changed(&bench, &court, item(0), |wanted| {
        wanted["values"]["name"] = json!("更新")
    })
    .await;
    let away = bench.site("gs-02").await.id.0;
    changed(&bench, &admin, item(1), |wanted| {
        wanted["site"] = json!(away)
    })
    .await;
    changed(&bench, &admin, item(1), |wanted| {
        wanted["values"]["note"] = json!("秘密")
    })
    .await;
    let seen = bench.read(&court, &path).await;
    assert_eq!(
        (&seen["possible"], &seen["obstacle_count"]),
        (&json!(false), &json!(2))
    );
    let rows = seen["rows"].as_array().unwrap();
    let first = rows[0]["obstacle"].clone();
    assert_eq!(
        (&first["word"], &first["fields"]),
        (&json!("changed"), &json!(["name"]))
    );
    let later = &first["later"][0];
    assert_eq!(
        (&later["actor"], &later["action"]),
        (&json!("user:zz-court"), &json!("change"))
    );
    assert_eq!(
        later["changes"],
        json!([{"field": "name", "before": "新", "after": "更新"}])
    );
    assert_eq!(
        (&rows[1]["obstacle"]["word"], &rows[1]["site"]),
        (&json!("elsewhere"), &json!(null))
    );
    assert!(
        rows[2]["obstacle"].is_null(),
        "what is in the way comes first"
    );
    assert!(!seen.to_string().contains("秘密"), "{seen}");
    // Who sees both courts is told all of it.
    let whole = bench.read(&admin, &path).await;
    assert_eq!(whole["rows"][1]["obstacle"]["count"], 2);
    assert_eq!(
        whole["rows"][1]["obstacle"]["fields"],
        json!(["site", "note"])
    );

    let refused = bench.post(&court, &path, json!({})).await;
    assert_eq!(
        (refused.status, refused.code()),
        (StatusCode::CONFLICT, "not_undone".into())
    );
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("row 2 \"A-1\": changed since (name)"),
        "{detail}"
    );
    assert!(!detail.contains("秘密"), "{detail}");

    // As the import left them: it is taken back, and its preview is over.
    changed(&bench, &court, item(0), |wanted| {
        wanted["values"]["name"] = json!("新")
    })
    .await;
    changed(&bench, &admin, item(1), |wanted| {
        wanted["site"] = json!(site.0);
        wanted["values"] = json!({"code": "A-2", "name": "b", "state": "in_use"});
    })
    .await;
    let done = bench.post(&court, &path, json!({})).await;
    assert_eq!(
        (done.status, &done.json()["state"]),
        (StatusCode::OK, &json!("undone"))
    );
    let over = bench.get(&court, &path).await;
    assert_eq!(
        (over.status, over.code()),
        (StatusCode::CONFLICT, "over".into())
    );
}
