//! What the controller tells an agent, and what the agent makes of it.

use std::time::Duration;

use xiezhi_protocol::batch::Stream;
use xiezhi_protocol::message::{Bandwidth, BandwidthWindow};
use xiezhi_uplink::Config;

use crate::agent::{Agent, quick, until};
use crate::controller::Controller;
use crate::{stored, through};

#[tokio::test]
async fn hours_of_a_budget_are_the_controllers_and_not_those_of_a_wrong_clock() {
    // The agents' clock reads 06:13 in Shanghai; the controller's, rightly, 12:13.
    let from_to = |from_minute, to_minute| Bandwidth {
        bytes_per_second: 0,
        windows: vec![BandwidthWindow {
            from_minute,
            to_minute,
            bytes_per_second: 0,
        }],
    };
    for (bandwidth, passes) in [(from_to(300, 420), true), (from_to(660, 780), false)] {
        let controller = Controller::start().await;
        {
            let mut faults = controller.faults.lock().unwrap();
            faults.time_ms = Some(1_700_000_000_000 + 6 * 3_600_000);
            faults.bandwidth = Some(bandwidth);
        }
        let mut agent = Agent::start_with(&controller, quick(), |filler| {
            filler.report();
        });
        agent.connected().await;
        let live = agent.report();
        until("the live report", || {
            stored(&controller, Stream::Samples).contains(&live)
        })
        .await;
        if passes {
            agent.uplink.flush();
            agent.delivered().await;
        }
        let expected = if passes { through(live) } else { vec![live] };
        assert_eq!(stored(&controller, Stream::Samples), expected);
    }
}

#[tokio::test]
async fn a_notice_is_no_reason_of_an_end_that_comes_after_an_acknowledgement() {
    for (before_the_acknowledgement, is_reason) in [(true, false), (false, true)] {
        let controller = Controller::start().await;
        let notice = (
            "series_limit: too many".to_owned(),
            before_the_acknowledgement,
        );
        controller.faults.lock().unwrap().notice = Some(notice);
        let config = Config {
            // The wait after the session, so that its end stays to be seen.
            retry_within: Duration::from_secs(86_400),
            ..quick()
        };
        let mut agent = Agent::start(&controller, config);
        agent.connected().await;
        agent.report();
        agent.delivered().await;
        until("the notice", || agent.uplink.state().refused == 1).await;
        controller.faults.lock().unwrap().dies_after = Some(0);
        agent.report();
        until("the end", || !agent.uplink.state().trouble.is_empty()).await;
        let trouble = agent.uplink.state().trouble;
        assert_eq!(trouble.contains("series_limit"), is_reason, "{trouble}");
    }
}
