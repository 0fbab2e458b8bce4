//! Who this host is, and whom it believes.
//!
//! The host makes its key and it never leaves the host. The controller is known by the fingerprint
//! of its root certificate, which the enrolment token carries: nothing is trusted on first use.
//! Certificates are judged at [`TrustedTime`], never by the local clock.
//!
//! | file in `identity/` | what it holds |
//! |---|---|
//! | `host.json` | host id, site, controller's address, policy root |
//! | `root.pem` | the pinned root |
//! | `chain.pem`, `key.pem` | certificate and key in use |
//! | `next-chain.pem`, `next-key.pem` | renewed ones until a session was opened with them |
//! | `enrol-key.pem` | key of an enrolment that has not come to its end |
//! | `evidence.key` | key that signs evidence, Ed25519, PKCS#8 |
//! | `time` | last controller time seen, Unix milliseconds |

mod client;
mod enrol;
mod evidence;
mod files;
mod renew;
mod time;
mod verifier;

#[cfg(test)]
mod tests;

pub(crate) use enrol::{Enrolment, enrol, fingerprint_of, hostname, machine_digest};
pub(crate) use evidence::{EvidenceSigner, Place};
pub(crate) use files::{HostRecord, IdentityFiles};
pub(crate) use renew::renew;
pub(crate) use time::TrustedTime;
pub(crate) use verifier::{Anchor, tls_config};
