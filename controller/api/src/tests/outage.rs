//! What queries hear while the database is away.

use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use xiezhi_metrics::Directory as _;
use xiezhi_store::{Store, StoreError};
use xiezhi_test_support::TestPostgres;

use super::bench::*;
use crate::directory::FleetDirectory;
use crate::resources::prometheus::Refused;

#[tokio::test]
async fn a_database_that_is_away_is_no_fault_of_the_query() {
    // Nobody listens there.
    let error = Store::open("postgres://nobody@127.0.0.1:1/none")
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Away(_)), "{error:?}");
    let response = Refused::from(error).into_response();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    let body = axum::body::to_bytes(response.into_body(), 10_000)
        .await
        .unwrap();
    let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(told["errorType"], "unavailable", "{told}");
}

#[tokio::test]
async fn the_hosts_that_are_known_serve_queries_while_the_database_is_away() {
    let Some(mut server) = TestPostgres::start().await.unwrap() else {
        return;
    };
    let bench = Bench::new().await;
    bench.host("gs", "alpha", false).await;
    let store = Store::open(&server.url()).await.unwrap();
    let fleet = bench.state.inner.fleet.clone();
    let unseen = FleetDirectory::new(fleet.clone(), store.clone());
    let directory = FleetDirectory::new(fleet, store);
    directory.refresh().await.unwrap();
    server.kill();
    directory.make_old().await;
    directory.refresh().await.unwrap();
    // The controller itself and the host.
    assert_eq!(directory.origins().hosts.len(), 2);
    let error = unseen.refresh().await.unwrap_err();
    assert!(matches!(error, StoreError::Away(_)), "{error:?}");
}
