//! Who may speak to the controller: its own certificate authority, the TLS configurations built on
//! it, and the secrets of people and tokens.
//!
//! Blocking and without a database: files in, values out, and the clock is an argument. Whether a
//! valid certificate is still *wanted* (its serial belongs to that host, the host is not revoked) is
//! for the caller to ask the store; this crate only says who signed what and until when.
//!
//! | module | what it gives |
//! |---|---|
//! | [`Authority`] | issues host and server certificates from an online intermediate; is made with `init`, or `request` and `import` for a root held elsewhere, and renewed with `rotate` |
//! | [`peer_of`] | what a finished TLS handshake says about the caller |
//! | [`web_server_config`] | TLS for browsers |
//! | [`KeyPlace`], [`Pkcs11Address`] | where the intermediate's key is kept: in a sealed file or in a PKCS#11 token |
//! | [`Passphrase`], [`PassphraseSource`] | what seals key files, and where it comes from |
//! | [`password`] | passwords of people, argon2id |
//! | [`second_factor`] | codes of authenticator apps, RFC 6238 |
//! | [`SecretBox`] | seals small secrets that the database keeps |
//! | [`tokens`] | enrolment tokens, session identifiers, one-time login codes |
//!
//! # The chain
//!
//! ```text
//! root, 10 years, offline folder ── intermediate, 2 years, online folder ─┬─ hosts, 30 days
//!                                                                         └─ controller, 90 days
//! ```
//!
//! All keys made here are ECDSA P-256. Key files are sealed by a passphrase (argon2id and
//! ChaCha20-Poly1305) and have mode 0600; the intermediate's may lie in a PKCS#11 token instead
//! (docs/adr/009). The controller's own TLS key never touches a disk: every start makes a new one.
//!
//! # What is not here
//!
//! - **A root in a PKCS#11 token.** It needs no support here, because it only has to sign a certificate
//!   request: see [`Authority::request`].
//! - **Revocation lists.** The controller is the only one who verifies host certificates, and it asks
//!   its store on every connection.

mod authority;
mod certificate;
mod client;
mod constraints;
mod error;
mod folder;
mod key;
mod passphrase;
pub mod password;
mod peer;
mod pkcs11;
mod request;
mod sealed;
pub mod second_factor;
mod secret_box;
mod server;
mod setup;
#[cfg(test)]
mod tests;
pub mod tokens;

pub use authority::{Authority, IssuedCertificate};
pub use client::EXPIRED_GRACE_S;
pub use error::IdentityError;
pub use key::KeyPlace;
pub use passphrase::{Passphrase, PassphraseError, PassphraseSource, read_secret};
pub use peer::{Peer, PeerError, host_uri, peer_of};
pub use pkcs11::{Pkcs11Address, Pkcs11Error};
pub use secret_box::{SecretBox, SecretBoxError};
pub use server::{CertificateSlot, ServerIdentity, web_server_config};
pub use setup::{Passphrases, Summary};
