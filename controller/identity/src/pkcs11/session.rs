//! One logged-in session with a token: finds the key, makes one, signs a digest.
//!
//! Blocking, and for one thread at a time, as PKCS#11 is.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::UserType;
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;

use super::Pkcs11Error;
use super::address::{Pkcs11Address, TokenWanted};
use crate::passphrase::Passphrase;

/// DER of the name of the curve P-256, as CKA_EC_PARAMS has it.
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// An uncompressed point of P-256: 0x04, x and y.
const POINT_BYTES: usize = 65;

/// CKA_LABEL of the keys made here.
const LABEL: &[u8] = b"Xiezhi online key";

/// A key in a token, ready to sign.
pub(super) struct Session {
    context: Pkcs11,
    session: cryptoki::session::Session,
    key: ObjectHandle,
    point: Vec<u8>,
}

impl Session {
    /// Loads the module, logs in and finds the key.
    pub(super) fn open(address: &Pkcs11Address, pin: &Passphrase) -> Result<Self, Pkcs11Error> {
        let context = load(address.module())?;
        let opened = login(&context, address, pin, false).and_then(|session| {
            let key = find(&session, address, ObjectClass::PRIVATE_KEY)?;
            let point = public_point(&session, address)?;
            Ok((session, key, point))
        });
        match opened {
            Ok((session, key, point)) => Ok(Self {
                context,
                session,
                key,
                point,
            }),
            Err(error) => {
                finish(context);
                Err(error)
            }
        }
    }

    /// Signs a SHA-256 digest: r and s, each of 32 bytes.
    pub(super) fn sign(&self, digest: &[u8]) -> Result<Vec<u8>, Pkcs11Error> {
        Ok(self.session.sign(&Mechanism::Ecdsa, self.key, digest)?)
    }

    /// The public key, an uncompressed point.
    pub(super) fn point(&self) -> &[u8] {
        &self.point
    }

    /// Logs out and unloads the module, so that the next [`Session::open`] sees tokens that came.
    pub(super) fn close(self) {
        let Self {
            context, session, ..
        } = self;
        drop(session);
        finish(context);
    }
}

/// Makes a P-256 key pair that never leaves the token, and returns its address.
pub(super) fn generate(
    address: &Pkcs11Address,
    pin: &Passphrase,
    id: &[u8],
) -> Result<Pkcs11Address, Pkcs11Error> {
    let context = load(address.module())?;
    let made = login(&context, address, pin, true).and_then(|session| {
        let public = [
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Verify(true),
            Attribute::Encrypt(false),
            Attribute::Wrap(false),
            Attribute::EcParams(P256.to_vec()),
            Attribute::Id(id.to_vec()),
            Attribute::Label(LABEL.to_vec()),
        ];
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Decrypt(false),
            Attribute::Unwrap(false),
            Attribute::Id(id.to_vec()),
            Attribute::Label(LABEL.to_vec()),
        ];
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)?;
        Ok(address.with_id(id))
    });
    finish(context);
    made
}

fn load(module: &Path) -> Result<Pkcs11, Pkcs11Error> {
    check_owner(module)?;
    let failed = |error: Error| Pkcs11Error::Module {
        path: module.to_owned(),
        detail: error.to_string(),
    };
    let context = Pkcs11::new(module).map_err(failed)?;
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(context),
        Err(error) => Err(failed(error)),
    }
}

/// A module runs inside this process, and `ca` commands are run by root, while the folder with the
/// address belongs to the controller's own user: that user must not choose what root runs.
fn check_owner(module: &Path) -> Result<(), Pkcs11Error> {
    let missing = |error: std::io::Error| Pkcs11Error::Module {
        path: module.to_owned(),
        detail: error.to_string(),
    };
    let real = module.canonicalize().map_err(missing)?;
    for part in real.ancestors() {
        let about = fs::metadata(part).map_err(missing)?;
        if about.uid() != 0 || about.mode() & 0o022 != 0 {
            return Err(Pkcs11Error::ModuleUnsafe {
                module: module.to_owned(),
                found: part.to_owned(),
            });
        }
    }
    Ok(())
}

fn finish(context: Pkcs11) {
    // Nothing can be done about a module that fails to stop; the next call to it tells.
    drop(context.finalize());
}

fn login(
    context: &Pkcs11,
    address: &Pkcs11Address,
    pin: &Passphrase,
    writing: bool,
) -> Result<cryptoki::session::Session, Pkcs11Error> {
    let (slot, info) = find_token(context, address)?;
    if info.user_pin_locked() || info.user_pin_final_try() {
        return Err(Pkcs11Error::Locked);
    }
    let session = if writing {
        context.open_rw_session(slot)?
    } else {
        context.open_ro_session(slot)?
    };
    let pin = AuthPin::from(pin.reveal().to_owned());
    match session.login(UserType::User, Some(&pin)) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
        Err(error) => Err(error.into()),
    }
}

fn find_token(context: &Pkcs11, address: &Pkcs11Address) -> Result<(Slot, TokenInfo), Pkcs11Error> {
    let mut found = None;
    for slot in context.get_slots_with_token()? {
        // Another token that does not answer is none of our business.
        let Ok(info) = context.get_token_info(slot) else {
            continue;
        };
        if !info.token_initialized() || !fits(&address.wanted, slot, &info) {
            continue;
        }
        if found.replace((slot, info)).is_some() {
            return Err(Pkcs11Error::SeveralTokens {
                address: address.to_string(),
            });
        }
    }
    found.ok_or_else(|| Pkcs11Error::NoToken {
        address: address.to_string(),
    })
}

fn fits(wanted: &TokenWanted, slot: Slot, info: &TokenInfo) -> bool {
    let texts = [
        (&wanted.token, info.label()),
        (&wanted.manufacturer, info.manufacturer_id()),
        (&wanted.model, info.model()),
        (&wanted.serial, info.serial_number()),
    ];
    texts
        .into_iter()
        .all(|(wanted, found)| wanted.as_ref().is_none_or(|wanted| wanted == found))
        && wanted.slot_id.is_none_or(|wanted| wanted == slot.id())
}

/// The one object of this class that the address names.
fn find(
    session: &cryptoki::session::Session,
    address: &Pkcs11Address,
    class: ObjectClass,
) -> Result<ObjectHandle, Pkcs11Error> {
    let mut template = vec![Attribute::Class(class), Attribute::KeyType(KeyType::EC)];
    template.extend(address.id.clone().map(Attribute::Id));
    template.extend(
        address
            .object
            .as_ref()
            .map(|label| Attribute::Label(label.as_bytes().to_vec())),
    );
    let found = session.find_objects(&template)?;
    match found.as_slice() {
        [one] => Ok(*one),
        other => Err(Pkcs11Error::Keys {
            address: address.to_string(),
            found: other.len(),
        }),
    }
}

fn public_point(
    session: &cryptoki::session::Session,
    address: &Pkcs11Address,
) -> Result<Vec<u8>, Pkcs11Error> {
    let key = find(session, address, ObjectClass::PUBLIC_KEY)?;
    let wanted = [AttributeType::EcParams, AttributeType::EcPoint];
    let (mut curve, mut point) = (None, None);
    for attribute in session.get_attributes(key, &wanted)? {
        match attribute {
            Attribute::EcParams(found) => curve = Some(found),
            Attribute::EcPoint(found) => point = Some(found),
            _ => {}
        }
    }
    if curve.as_deref() != Some(&P256[..]) {
        return Err(Pkcs11Error::UnusableKey("it is not on the curve P-256"));
    }
    bare_point(point.as_deref().unwrap_or_default())
        .ok_or(Pkcs11Error::UnusableKey("its public half is unreadable"))
}

/// The standard wraps the point into a DER OCTET STRING; some tokens give it bare.
fn bare_point(value: &[u8]) -> Option<Vec<u8>> {
    let point = value.strip_prefix(&[0x04, 0x41]).unwrap_or(value);
    (point.len() == POINT_BYTES && point.first() == Some(&0x04)).then(|| point.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_wrapped_or_bare_and_nothing_else_is() {
        let mut bare = vec![0x04; 1];
        bare.extend([7; 64]);
        let mut wrapped = vec![0x04, 0x41];
        wrapped.extend(&bare);
        assert_eq!(bare_point(&bare), Some(bare.clone()));
        assert_eq!(bare_point(&wrapped), Some(bare.clone()));
        for wrong in [&bare[1..], &wrapped[1..40], b"", &[0x02; 65]] {
            assert_eq!(bare_point(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_module_that_others_may_change_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join("module.so");
        fs::write(&module, b"not even a library").unwrap();
        let error = load(&module).map(drop).unwrap_err();
        assert!(matches!(error, Pkcs11Error::ModuleUnsafe { .. }), "{error}");
        let missing = load(Path::new("/usr/lib/no-such-module.so")).map(drop);
        assert!(matches!(missing, Err(Pkcs11Error::Module { .. })));
    }

    #[test]
    fn a_file_of_roots_that_is_no_module_is_named() {
        let error = load(Path::new("/etc/passwd")).map(drop).unwrap_err();
        assert!(error.to_string().contains("/etc/passwd"), "{error}");
        assert!(matches!(error, Pkcs11Error::Module { .. }), "{error}");
    }
}
