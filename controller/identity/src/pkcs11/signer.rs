//! The key in a token as the authority uses it: signs when asked, and survives the token's absence.
//!
//! A thread owns the session, because PKCS#11 calls block for as long as the hardware pleases: a
//! cable that was pulled must not hold up whoever asks. Whoever asks waits [`ANSWER_WITHIN`] at most;
//! while a call takes longer than that, further ones are refused at once. After a failure the next
//! request opens everything anew, so a token that comes back is used again without a restart.

use std::fmt;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use ring::digest;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use super::session::{self, Session};
use super::{Pkcs11Address, Pkcs11Error};
use crate::passphrase::Passphrase;
use crate::tokens::random;

/// How long a signature may take. Network modules take tens of milliseconds, slow cards one second.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How long loading the module, finding the token and logging in may take.
const OPEN_WITHIN: Duration = Duration::from_secs(60);

/// Requests that may wait for the thread; each is one certificate.
const MAX_WAITING: usize = 64;

type Answer<T> = Result<T, Pkcs11Error>;

/// When the thread began the call that it is in.
type BusySince = Arc<Mutex<Option<Instant>>>;

/// A private key in a token. One at a time in a process: a module is the whole process's.
pub(crate) struct TokenKey {
    point: Vec<u8>,
    /// `None` only while this is dropped.
    orders: Option<SyncSender<Order>>,
    thread: Option<JoinHandle<()>>,
    busy_since: BusySince,
    /// Why the last signature failed; rcgen's own error has no room for it.
    failure: Mutex<Option<Pkcs11Error>>,
}

struct Order {
    digest: Vec<u8>,
    answer: SyncSender<Answer<Vec<u8>>>,
    /// Whoever asked has given up by then.
    until: Instant,
}

impl TokenKey {
    /// Opens the key that the address names.
    pub(crate) fn open(address: &Pkcs11Address, pin: &Passphrase) -> Answer<Self> {
        let (orders, inbox) = mpsc::sync_channel(MAX_WAITING);
        let (opened, opening) = mpsc::sync_channel(1);
        let busy_since = BusySince::default();
        let mut worker = Worker {
            address: address.clone(),
            pin: pin.clone(),
            session: None,
            refused: None,
            busy_since: Arc::clone(&busy_since),
        };
        let run = move || {
            let point = worker.open().map(|session| session.point().to_vec());
            let is_open = point.is_ok();
            if opened.send(point).is_ok() && is_open {
                worker.work(&inbox);
            }
        };
        let started = thread::Builder::new().name("pkcs11".to_owned()).spawn(run);
        let thread = started.map_err(|error| Pkcs11Error::Failed(error.to_string()))?;
        let point = opening
            .recv_timeout(OPEN_WITHIN)
            .map_err(|_| Pkcs11Error::Silent)??;
        Ok(Self {
            point,
            orders: Some(orders),
            thread: Some(thread),
            busy_since,
            failure: Mutex::new(None),
        })
    }

    /// Makes a new key in the token unless the address names one that is there; returns it with the
    /// address to keep.
    pub(crate) fn create(
        address: &Pkcs11Address,
        pin: &Passphrase,
    ) -> Answer<(Pkcs11Address, Self)> {
        let address = if address.names_key() {
            address.clone()
        } else {
            let id: [u8; 16] = random().map_err(|error| Pkcs11Error::Failed(error.to_string()))?;
            session::generate(address, pin, &id)?
        };
        let key = Self::open(&address, pin)?;
        Ok((address, key))
    }

    /// Why the last signature failed.
    pub(crate) fn last_failure(&self) -> Pkcs11Error {
        lock(&self.failure).clone().unwrap_or(Pkcs11Error::Silent)
    }

    fn try_sign(&self, message: &[u8]) -> Answer<Vec<u8>> {
        let busy_since = *lock(&self.busy_since);
        if busy_since.is_some_and(|since| since.elapsed() > ANSWER_WITHIN) {
            return Err(Pkcs11Error::Silent);
        }
        let (answer, answered) = mpsc::sync_channel(1);
        let order = Order {
            digest: digest::digest(&digest::SHA256, message).as_ref().to_vec(),
            answer,
            until: Instant::now() + ANSWER_WITHIN,
        };
        let orders = self.orders.as_ref().ok_or(Pkcs11Error::Silent)?;
        orders.try_send(order).map_err(|_| Pkcs11Error::Silent)?;
        let raw = answered
            .recv_timeout(ANSWER_WITHIN)
            .map_err(|_| Pkcs11Error::Silent)??;
        let signature =
            to_der(&raw).ok_or(Pkcs11Error::UnusableKey("its signature is no P-256 one"))?;
        // A module that answers with another key's signature would make certificates that nobody
        // accepts, and nobody would notice before the hosts are cut off.
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point)
            .verify(message, &signature)
            .map_err(|_| Pkcs11Error::UnusableKey("its public half does not fit its signatures"))?;
        Ok(signature)
    }
}

/// A module that is still closing while the process ends takes the process down with it, so a
/// command would fail after its work was done: wait for it, but not for one that hangs.
impl Drop for TokenKey {
    fn drop(&mut self) {
        drop(self.orders.take());
        let Some(thread) = self.thread.take() else {
            return;
        };
        let until = Instant::now() + ANSWER_WITHIN;
        while !thread.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            drop(thread.join());
        }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenKey(…)")
    }
}

impl PublicKeyData for TokenKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for TokenKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.try_sign(message).map_err(|error| {
            *lock(&self.failure) = Some(error);
            rcgen::Error::RemoteKeyError
        })
    }
}

/// What the thread owns.
struct Worker {
    address: Pkcs11Address,
    pin: Passphrase,
    session: Option<Session>,
    /// The token refused the PIN: trying again would lock it.
    refused: Option<Pkcs11Error>,
    busy_since: BusySince,
}

impl Worker {
    /// Until the key is dropped.
    fn work(&mut self, inbox: &Receiver<Order>) {
        for order in inbox.iter().filter(|order| Instant::now() < order.until) {
            *lock(&self.busy_since) = Some(Instant::now());
            let answer = self.sign(&order.digest);
            *lock(&self.busy_since) = None;
            // Whoever asked may have given up meanwhile.
            drop(order.answer.try_send(answer));
        }
        self.close();
    }

    fn sign(&mut self, digest: &[u8]) -> Answer<Vec<u8>> {
        if let Some(session) = &self.session {
            match session.sign(digest) {
                Ok(signature) => return Ok(signature),
                // A token that was away and is back needs a new session, so once more.
                Err(_) => self.close(),
            }
        }
        let signed = self.open()?.sign(digest);
        if signed.is_err() {
            self.close();
        }
        signed
    }

    fn open(&mut self) -> Answer<&Session> {
        if let Some(refused) = &self.refused {
            return Err(refused.clone());
        }
        let opened = Session::open(&self.address, &self.pin);
        if let Err(error @ (Pkcs11Error::WrongPin | Pkcs11Error::Locked)) = &opened {
            self.refused = Some(error.clone());
        }
        Ok(self.session.insert(opened?))
    }

    fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.close();
        }
    }
}

fn lock<T>(place: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// r and s, side by side, as the SEQUENCE of two INTEGERs that certificates have.
fn to_der(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() != 64 {
        return None;
    }
    let (r, s) = raw.split_at_checked(32)?;
    let mut body = Vec::with_capacity(70);
    for number in [r, s] {
        let start = number.iter().position(|&byte| byte != 0)?;
        let digits = number.get(start..)?;
        // A leading zero keeps a number with its highest bit set from being negative.
        let padding = usize::from(digits.first()? & 0x80 != 0);
        body.extend([0x02, u8::try_from(digits.len() + padding).ok()?]);
        body.extend(std::iter::repeat_n(0, padding));
        body.extend(digits);
    }
    let mut out = vec![0x30, u8::try_from(body.len()).ok()?];
    out.extend(body);
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_written_as_der_wants_them() {
        let mut raw = [0; 64];
        (raw[31], raw[63]) = (1, 0x80);
        assert_eq!(
            to_der(&raw).unwrap(),
            [0x30, 7, 0x02, 1, 1, 0x02, 2, 0, 0x80]
        );
        assert_eq!(to_der(&[0; 64]), None, "zero is no signature");
        assert_eq!(to_der(&[1; 63]), None);
        assert_eq!(to_der(&[1; 96]), None, "P-384");
    }

    proptest! {
        #[test]
        fn der_holds_both_numbers_in_full(raw in proptest::collection::vec(any::<u8>(), 64)) {
            prop_assume!(raw[..32].iter().any(|byte| *byte != 0));
            prop_assume!(raw[32..].iter().any(|byte| *byte != 0));
            let der = to_der(&raw).unwrap();
            prop_assert_eq!(usize::from(der[1]), der.len() - 2);
            let mut rest = &der[2..];
            let mut read = Vec::new();
            while let [0x02, length, tail @ ..] = rest {
                let (number, tail) = tail.split_at(usize::from(*length));
                prop_assert!(number[0] & 0x80 == 0, "negative");
                let number = number.strip_prefix(&[0]).unwrap_or(number);
                read.extend(std::iter::repeat_n(0, 32 - number.len()));
                read.extend(number);
                rest = tail;
            }
            prop_assert_eq!(read, raw);
        }
    }
}
