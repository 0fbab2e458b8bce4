//! Devices of the network: whose samples they are, who sees them, and that their history follows them.

use serde_json::json;
use xiezhi_model::{ApiRight, DeviceId, DeviceState, HostId};
use xiezhi_series::{ForeignSeries, device_key};
use xiezhi_store::{DeviceAnswer, DevicePoll, DeviceSaid};

use super::bench::*;
use super::prometheus::{asked, result, token};

/// A device as its host polled it now.
pub(super) async fn polled(bench: &Bench, host: HostId, name: &str) -> DeviceId {
    let time_ms = bench.now_ms();
    let poll = DevicePoll {
        id: None,
        host,
        name: name.to_owned(),
        time_ms,
        answer: Some(DeviceAnswer {
            state: DeviceState::Answered,
            problem: String::new(),
            every_s: 60,
            said: Some(DeviceSaid {
                kind: "switch".to_owned(),
                profile: "h3c-switch".to_owned(),
                model: "S5560".to_owned(),
                serial: "000000".to_owned(),
                needs_profile: false,
                about: "{\"name\":\"core\",\"ports\":[{\"name\":\"eth0\"}]}".to_owned(),
            }),
        }),
    };
    let inner = &bench.state.inner;
    let id = inner.store.note_polls(&[poll]).await.unwrap()[0];
    let points = [(time_ms, 7.0)];
    let series = ForeignSeries {
        text: "ifHCInOctets{ifName=\"eth0\"}",
        points: &points,
    };
    let report = inner.series.append_foreign(device_key(id.0), &[series]);
    assert_eq!(report.unwrap().stored, 1);
    id
}

async fn found(bench: &Bench, secret: &str, text: &str) -> Vec<serde_json::Value> {
    let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let got = asked(bench, secret, &format!("/api/v1/query?query={encoded}")).await;
    result(&got)["result"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_device_has_labels_of_ours_and_only_its_sites_people_see_it() {
    let bench = Bench::new().await;
    let here = bench.host("gs-01", "alpha", false).await;
    let there = bench.host("gs-02", "beta", false).await;
    let one = polled(&bench, here.id, "core-1").await;
    let two = polled(&bench, there.id, "core-1").await;
    let (_, all) = token(&bench, ApiRight::ReadMetrics, None).await;
    let seen = found(&bench, &all, "ifHCInOctets").await;
    assert_eq!(seen.len(), 2, "{seen:?}");
    let (_, technician) = token(&bench, ApiRight::ReadMetrics, Some("gs-01")).await;
    let labels = json!({"__name__": "ifHCInOctets", "ifName": "eth0", "device_id": one.to_string(),
        "instance": "core-1", "job": "snmp", "site": "gs-01", "site_id": here.site.to_string()});
    for text in [
        "ifHCInOctets",
        "ifHCInOctets{site=\"gs-01\"}",
        "ifHCInOctets{device_id!=\"\"}",
        "ifHCInOctets{instance=\"core-1\",job=\"snmp\"}",
    ] {
        let seen = found(&bench, &technician, text).await;
        assert_eq!(seen.len(), 1, "{text}: {seen:?}");
        assert_eq!(seen[0]["metric"], labels, "{text}");
    }
    let other = format!("ifHCInOctets{{device_id=\"{two}\"}}");
    assert_eq!(found(&bench, &technician, &other).await.len(), 0);
    let values = asked(&bench, &technician, "/api/v1/label/device_id/values").await;
    assert_eq!(result(&values), json!([one.to_string()]));
    assert_eq!(
        found(&bench, &technician, "ifHCInOctets{host_id!=\"\"}")
            .await
            .len(),
        0,
        "a device is no host"
    );
}

#[tokio::test]
async fn what_is_measured_of_a_link_is_its_sites_and_no_device() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let here = bench.host("gs-01", "alpha", false).await;
    let there = bench.host("gs-02", "beta", false).await;
    let device = polled(&bench, here.id, "centre").await;
    let link = polled(&bench, here.id, "link:centre").await;
    polled(&bench, there.id, "link:centre").await;
    let (_, technician) = token(&bench, ApiRight::ReadMetrics, Some("gs-01")).await;
    let seen = found(&bench, &technician, "ifHCInOctets{job=\"stamp\"}").await;
    assert_eq!(seen.len(), 1, "{seen:?}");
    let labels = json!({"__name__": "ifHCInOctets", "ifName": "eth0", "device_id": link.to_string(),
        "instance": "centre", "job": "stamp", "site": "gs-01", "site_id": here.site.to_string()});
    assert_eq!(seen[0]["metric"], labels);
    let page = bench.read(&cookie, "/api/v1/devices").await;
    assert_eq!(
        (&page["total"], &page["items"][0]["id"]),
        (&json!(1), &json!(device.0))
    );
    let links = "/api/v1/devices?links=true&q=CENTRE";
    let page = bench.read(&cookie, links).await;
    assert_eq!(
        (&page["total"], &page["items"][0]["name"]),
        (&json!(2), &json!("centre"))
    );
    let path = format!("/api/v1/devices/{link}");
    assert_eq!(bench.read(&cookie, &path).await["device"]["name"], "centre");
}

#[tokio::test]
async fn devices_are_listed_by_pages_and_filters_and_a_host_that_is_not_heard_leaves_them_unknown()
{
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let heard = bench.host("gs-01", "alpha", false).await;
    let quiet = bench.host("gs-02", "beta", false).await;
    for name in ["core-1", "core-2", "ups-1"] {
        polled(&bench, heard.id, name).await;
    }
    let other = polled(&bench, quiet.id, "core-9").await;
    let page = bench.read(&cookie, "/api/v1/devices?limit=3").await;
    assert_eq!(page["total"], 4);
    assert_eq!(page["kinds"], json!(["switch"]));
    let names = |page: &serde_json::Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&page), ["core-1", "core-2", "core-9"]);
    let cursor = page["next"].as_str().unwrap();
    let next = bench
        .read(&cookie, &format!("/api/v1/devices?limit=3&cursor={cursor}"))
        .await;
    assert_eq!(
        (names(&next), &next["next"]),
        (vec!["ups-1".to_owned()], &json!(null))
    );
    for (filter, expected) in [
        ("q=UPS", vec!["ups-1"]),
        ("q=s5560", vec!["core-1", "core-2", "core-9", "ups-1"]),
        ("kind=ups", vec![]),
        ("needs_profile=true", vec![]),
        (&*format!("host={}", quiet.id), vec!["core-9"]),
        (
            &*format!("site={}", heard.site),
            vec!["core-1", "core-2", "ups-1"],
        ),
        ("state=silent", vec![]),
    ] {
        let page = bench
            .read(&cookie, &format!("/api/v1/devices?{filter}"))
            .await;
        assert_eq!(names(&page), expected, "{filter}");
    }
    // Nobody hears either host: no session is open.
    let page = bench.read(&cookie, "/api/v1/devices?state=unknown").await;
    assert_eq!(page["total"], 4);
    assert_eq!(page["states"], json!({"unknown": 4}));
    let one = bench
        .read(&cookie, &format!("/api/v1/devices/{other}"))
        .await;
    assert_eq!(one["device"]["state"], "unknown");
    assert_eq!(one["device"]["host"]["hostname"], "beta");
    assert_eq!(one["about"]["ports"][0]["name"], "eth0");
    let bad = bench.get(&cookie, "/api/v1/devices?cursor=x").await;
    assert_eq!(bad.status, axum::http::StatusCode::BAD_REQUEST);
    let none = bench.get(&cookie, "/api/v1/devices/999").await;
    assert_eq!(none.status, axum::http::StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_device_is_the_one_asset_in_use_with_its_serial_number_or_none() {
    let bench = Bench::new().await;
    let cookie = bench.sign_in().await;
    let host = bench.host("gs-01", "alpha", false).await;
    let device = polled(&bench, host.id, "core-1").await;
    let path = format!("/api/v1/devices/{device}");
    let add = async |site: &str, code: &str, serial: &str| {
        let site = bench.site(site).await.id.0;
        let values = json!({"code": code, "name": "交换机", "serial": serial});
        let body = json!({"site": site, "values": values});
        let made = bench.post(&cookie, "/api/v1/register/assets", body).await;
        assert_eq!(made.status, axum::http::StatusCode::CREATED);
        made.json()
    };
    // Longer, and at another court.
    add("gs-01", "A-1", "0000001").await;
    add("gs-02", "A-1", "000000").await;
    let page = bench.read(&cookie, &path).await;
    assert_eq!(page["asset"], json!(null));
    let own = add("gs-01", "A-2", "000000").await;
    let page = bench.read(&cookie, &path).await;
    assert_eq!(page["asset"]["id"], own["id"]);
    assert_eq!(page["asset"]["code"], "A-2");
    add("gs-01", "A-3", "000000").await;
    let page = bench.read(&cookie, &path).await;
    assert_eq!(page["asset"], json!(null), "two that are alike");
}
