//! The online key inside a PKCS#11 token: a hardware security module, a smart card, or SoftHSM.
//!
//! The key is made in the token, or was there before, and never leaves it: what is signed goes in,
//! signatures come out. On disk lies only the address of the key (`SERIAL.pkcs11`, RFC 7512); the
//! token's PIN takes the place of the passphrase and comes from where that would come from.
//!
//! | file | what it does |
//! |---|---|
//! | `address` | reads and writes RFC 7512 addresses |
//! | `session` | loads the vendor's module, finds token and key, signs one digest |
//! | `signer` | a thread that owns the session; comes back after the token was away |
//!
//! Never: a PIN in an address, a second attempt with a PIN that was refused (tokens lock themselves
//! after a few), or a module that someone other than root may have changed.

mod address;
mod session;
mod signer;

use std::path::PathBuf;

pub use address::Pkcs11Address;
pub(crate) use signer::TokenKey;

/// Why a key in a token cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Pkcs11Error {
    /// The address is not one that names a token and its module.
    #[error("the PKCS#11 address cannot be used: {0}")]
    Address(String),
    /// Whoever changes the module runs code in the controller.
    #[error(
        "the PKCS#11 module {} must be root's, and changeable by nobody else, as all folders above \
         it: {} is not",
        module.display(), found.display()
    )]
    ModuleUnsafe {
        /// The module that the address names.
        module: PathBuf,
        /// The file or folder that others may change.
        found: PathBuf,
    },
    /// The module is missing, is no PKCS#11 module, or does not start.
    #[error("cannot load the PKCS#11 module {}: {detail}", path.display())]
    Module {
        /// Which file.
        path: PathBuf,
        /// What the loader or the module said.
        detail: String,
    },
    /// No token is there that the address fits.
    #[error(
        "no token fits {address}: is it plugged in, its service running, and may this user reach it?"
    )]
    NoToken {
        /// The address.
        address: String,
    },
    /// Several tokens fit.
    #[error("several tokens fit {address}: add the serial number (`serial=`) to it")]
    SeveralTokens {
        /// The address.
        address: String,
    },
    /// The PIN is wrong.
    #[error(
        "the token refuses the PIN; because it locks itself after a few attempts, this one is not \
         repeated: put the right PIN where the passphrase comes from, then start again"
    )]
    WrongPin,
    /// The token accepts no PIN any more, or only one more attempt.
    #[error(
        "the token is locked, or has one attempt left before it is: unlock it with its own tool"
    )]
    Locked,
    /// The token holds no such key, or several.
    #[error("{address} names {found} keys of the token, where one is needed")]
    Keys {
        /// The address.
        address: String,
        /// How many there are.
        found: usize,
    },
    /// The key is there but of no use here.
    #[error("the key in the token cannot be used: {0}")]
    UnusableKey(&'static str),
    /// A call failed.
    #[error("the token fails: {0}")]
    Failed(String),
    /// The token has not answered in time, and may still be at it.
    #[error("the token does not answer")]
    Silent,
}

impl From<cryptoki::error::Error> for Pkcs11Error {
    fn from(error: cryptoki::error::Error) -> Self {
        use cryptoki::error::{Error, RvError};
        match error {
            Error::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                _,
            ) => Self::WrongPin,
            Error::Pkcs11(RvError::PinLocked, _) => Self::Locked,
            other => Self::Failed(other.to_string()),
        }
    }
}
