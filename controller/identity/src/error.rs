//! What can go wrong with the authority, said so that a person can act.

use std::io;
use std::path::PathBuf;

use crate::pkcs11::Pkcs11Error;

/// Why the authority could not be made, opened or used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no authority in this folder yet.
    #[error(
        "{} holds no certificate authority: make one with `xiezhi-controller init`, or have a \
         request signed elsewhere with `ca request` and `ca import`",
        path.display()
    )]
    NotInitialised {
        /// The online folder.
        path: PathBuf,
    },
    /// There is one already, and making another would cut off every enrolled host.
    #[error(
        "{} already holds a certificate authority, and a second one would cut off every enrolled \
         host: use `ca rotate`, or choose an empty folder",
        path.display()
    )]
    AlreadyInitialised {
        /// The folder.
        path: PathBuf,
    },
    /// The same folder was given twice.
    #[error(
        "the offline folder must be another than the online folder: the root's key must not lie on \
         the controller"
    )]
    SameFolder,
    /// Someone other than its owner may read a key file.
    #[error(
        "others may read {}: after making sure that nobody did, run `chmod 600 {}`",
        path.display(), path.display()
    )]
    KeyReadable {
        /// Which.
        path: PathBuf,
    },
    /// A key file is cut short, changed or made by something else.
    #[error("the key file {} is damaged ({detail}): restore it from a backup", path.display())]
    KeyDamaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The file is whole but does not open.
    #[error("the passphrase does not open {}", path.display())]
    WrongPassphrase {
        /// Which.
        path: PathBuf,
    },
    /// The key is whole but belongs to another certificate.
    #[error("the key in {} does not belong to its certificate", path.display())]
    KeyMismatch {
        /// The key file, or the file with the key's address.
        path: PathBuf,
    },
    /// A certificate file cannot be parsed.
    #[error("{what} is not a usable PEM certificate: {detail}")]
    Certificate {
        /// Which file or argument.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The intermediate certificate's time is over.
    #[error(
        "the intermediate certificate ended on {ended}: run `xiezhi-controller ca rotate` with the \
         offline folder at hand, or `ca request` and `ca import`"
    )]
    IntermediateEnded {
        /// When, UTC.
        ended: String,
    },
    /// The intermediate certificate's time has not begun: the clock is wrong.
    #[error(
        "the intermediate certificate begins on {begins}, after the present time: set the \
         controller's clock"
    )]
    IntermediateNotBegun {
        /// When, UTC.
        begins: String,
    },
    /// The offline folder holds another root than the one that the hosts know.
    #[error(
        "the root in the offline folder ({found}) is not the one that enrolled hosts trust \
         ({expected}): use the offline folder that `ca init` made"
    )]
    OtherRoot {
        /// Fingerprint of the root found.
        found: String,
        /// Fingerprint of the root that hosts trust.
        expected: String,
    },
    /// A certificate to import was refused.
    #[error("the signed certificate cannot be used: {0}")]
    Import(String),
    /// A host's certificate request was refused; `code` for this is `malformed`.
    #[error("the certificate request is refused: {0}")]
    Request(&'static str),
    /// A name for the web certificate is neither a DNS name nor an address.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Name(String),
    /// The intermediate may not sign for this name.
    #[error(
        "the intermediate certificate may not sign for {0:?}: run `xiezhi-controller ca rotate` with the \
         offline folder at hand, which takes the names from `web.names`"
    )]
    NotPermitted(String),
    /// The online key is in a PKCS#11 token that does not do its part.
    #[error("the online key's token")]
    Token(#[from] Pkcs11Error),
    /// Signing failed.
    #[error("cannot make a certificate")]
    Issue(#[source] rcgen::Error),
    /// TLS refused what it was given.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// The operating system gives no randomness.
    #[error("the operating system gives no random numbers")]
    Random,
    /// argon2 failed, for lack of memory.
    #[error("cannot derive the key: is there enough free memory?")]
    Derive,
}

impl IdentityError {
    /// Whether a token refused its PIN: a service manager must not start again by itself, because
    /// every start is one more attempt, and the token locks itself after a few.
    #[must_use]
    pub fn is_pin_refused(&self) -> bool {
        matches!(
            self,
            Self::Token(Pkcs11Error::WrongPin | Pkcs11Error::Locked)
        )
    }

    /// Whether the caller sent something unusable, rather than the controller being at fault.
    #[must_use]
    pub fn is_callers_fault(&self) -> bool {
        matches!(self, Self::Request(_))
    }
}
