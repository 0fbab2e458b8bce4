//! Whose places on the browsers' port are taken, and what the port ended.
//!
//! One address never holds all places, so that whoever fills its share stands in nobody else's way.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{IntCounterVec, Opts, Registry};
use tokio::time::Instant;

use crate::attempts::masked;
use crate::connection_audit::ConnectionAudit;
use crate::peer::TrustedProxies;

/// A flood makes one line in the log in so long.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// How many of some places each address holds.
#[derive(Debug, Clone)]
pub(crate) struct Shares {
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
    all: usize,
    proxies: TrustedProxies,
}

impl Shares {
    /// Shares of `all` places.
    pub(crate) fn new(all: usize, proxies: TrustedProxies) -> Self {
        Self {
            held: Arc::default(),
            all,
            proxies,
        }
    }

    /// A quarter of the places; three quarters for this machine and for a trusted proxy, which speak
    /// for everybody. Always at least one.
    fn most(&self, address: IpAddr) -> usize {
        let speaks_for_many = address.is_loopback() || self.proxies.contains(&address);
        let quarters = if speaks_for_many { 3 } else { 1 };
        self.all.saturating_mul(quarters).div_ceil(4).max(1)
    }

    /// A place, if the address has one left.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Share> {
        let address = address.to_canonical();
        let most = self.most(address);
        let key = masked(address, 32);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(key).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Share {
            held: Arc::clone(&self.held),
            key,
        })
    }
}

/// One address's place; given back on drop.
#[derive(Debug)]
pub(crate) struct Share {
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
    key: IpAddr,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.key);
            }
        }
    }
}

/// Connections that the port ended, by reason.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    counter: IntCounterVec,
    untold: Arc<Mutex<Untold>>,
    audit: ConnectionAudit,
}

#[derive(Debug, Default)]
struct Untold {
    last_line: Option<Instant>,
    connections: u64,
}

impl Ended {
    /// # Errors
    /// Another port counts there already.
    pub(crate) fn register(
        registry: &Registry,
        audit: ConnectionAudit,
    ) -> Result<Self, prometheus::Error> {
        let name = "xiezhi_web_connections_ended_total";
        let help = "Browsers' connections that the controller ended, by reason.";
        let counter = IntCounterVec::new(Opts::new(name, help), &["reason"])?;
        registry.register(Box::new(counter.clone()))?;
        Ok(Self {
            counter,
            untold: Arc::default(),
            audit,
        })
    }

    /// Counts one, and has it audited if its reason says so. `reason` must be a word of a closed set.
    pub(crate) fn count(&self, reason: &'static str, address: IpAddr) {
        self.counter.with_label_values(&[reason]).inc();
        self.audit.note(reason, address);
    }

    /// Counts a connection whose address holds its share, and says so once a minute.
    pub(crate) fn refused(&self, reason: &'static str, address: SocketAddr) {
        self.count(reason, address.ip());
        let Some(connections) = self.due(Instant::now()) else {
            return;
        };
        tracing::warn!(
            reason,
            address = %address.ip(),
            connections,
            "an address holds its share of the browsers' port; more of its connections are closed"
        );
    }

    /// How many connections a line has to speak for, if it is time for one.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        untold.connections += 1;
        if untold.last_line.is_some_and(|last| now < last + LINE_EVERY) {
            return None;
        }
        untold.last_line = Some(now);
        Some(std::mem::take(&mut untold.connections))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_a_quarter_and_this_machine_three() {
        let proxy: IpAddr = [10, 0, 0, 9].into();
        let shares = Shares::new(8, Arc::new([proxy].into()));
        let take = |address: &str| shares.take(address.parse().unwrap());
        let all = |address: &str| {
            let held: Vec<Share> = std::iter::from_fn(|| take(address)).take(100).collect();
            held
        };
        let first = all("10.0.0.1");
        assert_eq!(first.len(), 2);
        assert!(take("::ffff:10.0.0.1").is_none());
        assert!(take("10.0.0.2").is_some());
        assert_eq!(all("127.0.0.1").len(), 6);
        let network = all("2001:db8::1");
        assert_eq!(network.len(), 2);
        assert!(take("2001:db8::2").is_none());
        drop((first, network));
        assert!(shares.held.lock().unwrap().is_empty());
    }

    #[test]
    fn a_flood_makes_one_line_a_minute_that_counts_the_rest() {
        let ended = Ended::register(&Registry::new(), ConnectionAudit::default()).unwrap();
        let start = Instant::now();
        assert_eq!(ended.due(start), Some(1));
        for _ in 0..50 {
            assert_eq!(ended.due(start), None);
        }
        assert_eq!(ended.due(start + LINE_EVERY), Some(51));
    }
}
