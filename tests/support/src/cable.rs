//! A cable between two namespaces, which can be unplugged.

use anyhow::Result;

use crate::namespace::Namespace;

/// Address of the near end: what lives there listens on it.
pub const NEAR: &str = "198.18.0.1";
/// Address of the far end.
pub const FAR: &str = "198.18.0.2";

/// A pair of virtual Ethernet interfaces, one in each namespace.
///
/// Unplugged, both ends go silent: no connection is reset, no packet is answered, and whoever waits
/// for an answer goes on waiting.
#[derive(Debug)]
pub struct Cable {
    near: Namespace,
}

impl Cable {
    /// Lays the cable: [`NEAR`] in one namespace, [`FAR`] in the other.
    ///
    /// # Errors
    /// `ip` failed; what it said is in the error.
    pub fn lay(near: &Namespace, far: &Namespace) -> Result<Self> {
        let there = far.path();
        near.ip(&format!(
            "link add line type veth peer name line netns {}",
            there.display()
        ))?;
        for (end, address) in [(near, NEAR), (far, FAR)] {
            end.ip(&format!("address add {address}/30 dev line"))?;
            end.ip("link set line up")?;
        }
        let near = near.try_clone()?;
        Ok(Self { near })
    }

    /// Unplugs it.
    ///
    /// # Errors
    /// As [`Cable::lay`].
    pub fn unplug(&self) -> Result<()> {
        self.near.ip("link set line down")
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// As [`Cable::lay`].
    pub fn plug(&self) -> Result<()> {
        self.near.ip("link set line up")
    }
}
