//! Downward: directives, kicks, an orderly stop.

use std::time::Duration;

use bytes::Bytes;
use xiezhi_ingest::{DirectiveError, HourlyBudget, bandwidth_setting, new_site_bandwidth};
use xiezhi_model::{HostId, Setting};
use xiezhi_protocol::message::{Bandwidth, Directive, DirectiveOutcome};
use xiezhi_protocol::record::{self, Kind};

use crate::agent::Down;
use crate::port::{Port, entry, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_directive_goes_down_and_its_outcome_comes_back() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    let fleet = port.fleet();
    // Sent before the directive stream is there: it waits for it.
    let asked = tokio::spawn(async move { fleet.send(identity.host, Directive::CollectNow).await });
    let (mut up, mut down) = agent.directives().await;
    let Down::Directive(message) = down.next().await else {
        panic!("no directive")
    };
    assert_eq!(message.directive, Directive::CollectNow);
    let outcome = DirectiveOutcome {
        id: message.id,
        outcome: "done".to_owned(),
        detail: String::new(),
    };
    let mut bytes = Vec::new();
    record::write(
        &mut bytes,
        Kind::Outcome,
        &serde_json::to_vec(&outcome).unwrap(),
    );
    up.send_data(Bytes::from(bytes), false).unwrap();
    assert_eq!(asked.await.unwrap(), Ok(outcome));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_session_is_told_the_budget_that_was_set_last() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let no_limit = Some(Bandwidth::default());
    assert_eq!(port.session(&identity).await.welcome.bandwidth, no_limit);
    for bytes_per_second in [4096, 8192] {
        port.advance(Duration::from_secs(1));
        let budget = Bandwidth {
            bytes_per_second,
            windows: Vec::new(),
        };
        let setting = Setting {
            key: bandwidth_setting(identity.host),
            value: serde_json::to_string(&budget).unwrap(),
            valid_from_ms: port.now_ms(),
            source: "test".to_owned(),
        };
        port.store
            .add_setting(&setting, entry("bandwidth.set"))
            .await
            .unwrap();
        assert_eq!(
            port.session(&identity).await.welcome.bandwidth,
            Some(budget)
        );
    }
    // Taken away while the host was not here.
    port.advance(Duration::from_secs(1));
    let none = Setting {
        key: bandwidth_setting(identity.host),
        value: String::new(),
        valid_from_ms: port.now_ms(),
        source: "test".to_owned(),
    };
    port.store
        .add_setting(&none, entry("bandwidth.set"))
        .await
        .unwrap();
    assert_eq!(port.session(&identity).await.welcome.bandwidth, no_limit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_budget_of_a_site_reaches_its_sessions_but_not_hosts_with_their_own() {
    let port = Port::start().await;
    let (one, two) = (port.enrol("one").await, port.enrol("two").await);
    let own = Setting {
        key: bandwidth_setting(two.host),
        value: r#"{"bytes_per_second":7}"#.to_owned(),
        valid_from_ms: port.now_ms(),
        source: "test".to_owned(),
    };
    port.store.add_setting(&own, entry("test")).await.unwrap();
    let (mut first, mut second) = (port.session(&one).await, port.session(&two).await);
    let (_up, mut down) = first.directives().await;
    let (_second_up, mut second_down) = second.directives().await;

    // As another process writes it: nobody tells this one.
    let budget = HourlyBudget::default().with(8, 18, Some(64));
    let other = port.other_process().await;
    for budget in [Some(&budget), None] {
        port.advance(Duration::from_secs(1));
        let setting = new_site_bandwidth(port.site, budget, port.now_ms(), "test");
        other.add_setting(&setting, entry("test")).await.unwrap();
        let Down::Directive(told) = down.next().await else {
            panic!("no directive")
        };
        let bandwidth = budget.map(Bandwidth::from).unwrap_or_default();
        assert_eq!(told.directive, Directive::SetBandwidth { bandwidth });
    }
    // The next thing that the other host hears is this, not a budget.
    let fleet = port.fleet();
    let asked = tokio::spawn(async move { fleet.send(two.host, Directive::CollectNow).await });
    let Down::Directive(told) = second_down.next().await else {
        panic!("no directive")
    };
    assert_eq!(told.directive, Directive::CollectNow);
    asked.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directive_to_a_host_that_is_not_there_says_so() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let fleet = port.fleet();
    let unknown = fleet.send(HostId(999), Directive::CollectNow).await;
    assert_eq!(unknown, Err(DirectiveError::UnknownHost));
    let absent = fleet.send(identity.host, Directive::CollectNow).await;
    assert_eq!(absent, Err(DirectiveError::NotConnected));
    let mut agent = port.session(&identity).await;
    let (_up, mut down) = agent.directives().await;
    let asking = {
        let fleet = fleet.clone();
        tokio::spawn(async move { fleet.send(identity.host, Directive::RenewCertificate).await })
    };
    assert!(matches!(down.next().await, Down::Directive(_)));
    assert!(fleet.kick(identity.host));
    assert_eq!(asking.await.unwrap(), Err(DirectiveError::SessionEnded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kick_ends_the_session_and_the_agent_may_come_back() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    assert!(port.fleet().kick(identity.host));
    assert!(
        agent
            .down
            .next()
            .await
            .refused()
            .reason
            .starts_with("kicked")
    );
    assert!(matches!(agent.down.next().await, Down::End));
    until("the session is over", async || port.ingest.sessions() == 0).await;
    assert!(!port.fleet().kick(identity.host));
    port.session(&identity).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_hosts_are_told_together() {
    let port = Port::start().await;
    let mut changes = port.fleet().changes();
    let (one, two) = (port.enrol("one").await, port.enrol("two").await);
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        seen.extend(changes.recv().await.unwrap().iter().copied());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [one.host, two.host]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_commits_what_came_and_tells_the_agents() {
    let port = Port::start().await;
    let identity = port.enrol("one").await;
    let mut agent = port.session(&identity).await;
    agent.live(1, 15_000, 1.0);
    agent.flush();
    agent.acked().await;
    port.ingest.stop().await;
    assert!(
        agent
            .down
            .next()
            .await
            .refused()
            .reason
            .starts_with("shutdown")
    );
    assert_eq!(port.ingest.sessions(), 0);
    assert!(port.connect(Some(&identity)).await.is_err());
}
