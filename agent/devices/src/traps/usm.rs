//! SNMPv3 (RFC 3414): who signed a message, when, and what goes back.
//!
//! Of a trap the sender's engine is the one whose clock counts: its restarts and its time may only go
//! forward, and its first signed message says where they stand. Of an inform it is this engine: a sender
//! discovers its identity and its clock by asking, and signs for them. At least authNoPriv, always.

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_snmp::ber::Decoder;
use async_snmp::message::{
    MsgFlags, MsgGlobalData, RawMsgData, RawV3Message, ScopedPdu, V3Message,
};
use async_snmp::v3::auth::{authenticate_message, verify_message};
use async_snmp::v3::{
    DerivedKeys, LocalizedKey, PrivKey, SaltCounter, TIME_WINDOW, UsmSecurityParams,
    in_authoritative_time_window, report_oids, validate_engine_id,
};
use async_snmp::{
    DecodeConfig, PduType, ResponsePdu, SecurityLevel, UDP_RECEIVE_LIMITS, UsmConfig, Value,
    VarBind, Version,
};
use bytes::Bytes;

use super::{Heard, Notice, Refusal, notice};
use crate::credentials::Login;

/// Highest count of restarts: an engine that reached it is dead until it gets a new identity.
const LAST_BOOT: u32 = i32::MAX as u32;

/// Engines that are remembered; a device has one.
const MOST_REMOTES: usize = 16_384;

/// Who this host is to senders of informs. Its number of starts is kept between two runs, so that what
/// was signed for the one before cannot be played back.
pub struct Engine {
    id: Bytes,
    boots: u32,
    salt: SaltCounter,
    /// Reports since the start, which each report tells.
    reports: u32,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("id", &self.id)
            .field("boots", &self.boots)
            .finish_non_exhaustive()
    }
}

/// Why there can be no engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadEngine {
    /// Not 5 to 32 octets, or all of them alike.
    #[error("this is no identity of an SNMP engine")]
    Identity,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandom,
}

impl Engine {
    /// A new identity: random, so that no two hosts have one.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn new_id() -> Result<Vec<u8>, BadEngine> {
        let id = async_snmp::generate_engine_id();
        Ok(id.map_err(|_| BadEngine::NoRandom)?.to_vec())
    }

    /// The engine `id` in its start number `boots`, from 1.
    ///
    /// # Errors
    /// If it cannot be one.
    pub fn new(id: Vec<u8>, boots: u32) -> Result<Self, BadEngine> {
        validate_engine_id(&id).map_err(|_| BadEngine::Identity)?;
        Ok(Self {
            id: id.into(),
            boots: boots.clamp(1, LAST_BOOT),
            salt: SaltCounter::new().map_err(|_| BadEngine::NoRandom)?,
            reports: 0,
        })
    }
}

/// What is known of the clocks of those who sent signed traps.
#[derive(Debug, Default)]
pub(super) struct Remotes {
    clocks: BTreeMap<(IpAddr, Bytes), Clock>,
}

/// The clock of an engine as its latest signed message told it.
#[derive(Debug, Clone, Copy)]
struct Clock {
    boots: u32,
    time_s: u32,
    /// When that was, by this host.
    at_s: u32,
}

impl Remotes {
    /// Whether a signed message of `boots` and `time_s` may be believed, and what it teaches (RFC 3414,
    /// section 3.2, step 7 b).
    fn is_timely(&mut self, source: IpAddr, id: &Bytes, told: (u32, u32), now_s: u32) -> bool {
        let (boots, time_s) = told;
        if boots >= LAST_BOOT {
            return false;
        }
        let told = Clock {
            boots,
            time_s,
            at_s: now_s,
        };
        // Copied, so that it does not keep the whole datagram.
        let key = (source, Bytes::copy_from_slice(id));
        let Some(clock) = self.clocks.get_mut(&key) else {
            if self.clocks.len() >= MOST_REMOTES {
                self.forget_oldest();
            }
            self.clocks.insert(key, told);
            return true;
        };
        if (boots, time_s) > (clock.boots, clock.time_s) {
            *clock = told;
        }
        let now = clock
            .time_s
            .saturating_add(now_s.saturating_sub(clock.at_s));
        boots == clock.boots && time_s >= now.saturating_sub(TIME_WINDOW)
    }

    fn forget_oldest(&mut self) {
        let oldest = self.clocks.iter().min_by_key(|(_, clock)| clock.at_s);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.clocks.remove(&key);
        }
    }
}

/// What taking one message needs.
pub(super) struct Receiver<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) remotes: &'a mut Remotes,
    pub(super) source: IpAddr,
    pub(super) now_s: u32,
}

/// A message before it is proved.
struct Message {
    global: MsgGlobalData,
    usm: UsmSecurityParams,
    level: SecurityLevel,
}

impl Receiver<'_> {
    pub(super) fn take(mut self, data: &Bytes, logins: &[&Login]) -> Heard {
        let Some((raw, usm)) = decode(data) else {
            return Heard::refused(Refusal::Malformed);
        };
        let message = Message {
            global: raw.global_data().clone(),
            level: raw.security_level(),
            usm,
        };
        if validate_engine_id(message.usm.engine_id()).is_err() {
            return self.refuse(&message, Refusal::Discovery, None);
        }
        let users = logins.iter().enumerate().filter_map(|(place, login)| {
            let user = login.user()?;
            (user.username() == message.usm.username()).then_some((place, user))
        });
        let known: Vec<(usize, &UsmConfig)> = users.collect();
        if known.is_empty() {
            return self.refuse(&message, Refusal::User, None);
        }
        if !message.level.requires_auth() {
            return self.refuse(&message, Refusal::Unsigned, None);
        }
        let mut proved = None;
        let mut why = Refusal::Unsigned;
        for (place, user) in known {
            match prove(data, &message, user) {
                Ok(_) if proved.is_some() => return Heard::refused(Refusal::Ambiguous),
                Ok(keys) => proved = Some((place, keys)),
                Err(refusal) => why = why.max(refusal),
            }
        }
        match proved {
            Some((place, keys)) => self.proved(&message, &raw, place, &keys),
            None => self.refuse(&message, why, None),
        }
    }

    /// The signature fits: is it of now, and what does it say?
    fn proved(
        &mut self,
        message: &Message,
        raw: &RawV3Message,
        place: usize,
        keys: &DerivedKeys,
    ) -> Heard {
        let usm = &message.usm;
        let told = (usm.engine_boots(), usm.engine_time());
        let is_ours = *usm.engine_id() == self.engine.id;
        if is_ours {
            if !in_authoritative_time_window(self.engine.boots, self.now_s, told.0, told.1) {
                // Signed, so that the sender may believe it and set its clock by it.
                return self.refuse(message, Refusal::Time, keys.auth_key.as_ref());
            }
        } else if !self
            .remotes
            .is_timely(self.source, usm.engine_id(), told, self.now_s)
        {
            return Heard::refused(Refusal::Time);
        }
        let Some(scoped) = open(message, raw, keys) else {
            let is_private = message.level.requires_priv();
            return Heard::refused(if is_private {
                Refusal::Cipher
            } else {
                Refusal::Malformed
            });
        };
        let is_inform = match scoped.pdu.pdu_type() {
            PduType::TrapV2 => false,
            PduType::InformRequest => true,
            _ => return Heard::refused(Refusal::NotATrap),
        };
        // Who is asked to acknowledge is the one whose clock counts, and nobody else.
        if is_inform != is_ours {
            return Heard::refused(Refusal::Engine);
        }
        self.read(message, scoped, place, keys, is_inform)
    }

    fn read(
        &mut self,
        message: &Message,
        scoped: ScopedPdu,
        place: usize,
        keys: &DerivedKeys,
        is_inform: bool,
    ) -> Heard {
        let (context, name) = (scoped.context_engine_id, scoped.context_name);
        let (request, _, bindings) = scoped.pdu.into_raw_parts();
        let again = is_inform.then(|| bindings.clone());
        let Some(notice): Option<Notice> = notice(bindings, is_inform) else {
            return Heard::refused(Refusal::Malformed);
        };
        let reply = again.and_then(|bindings| {
            let response = ResponsePdu::success(Version::V3, request, bindings).ok()?;
            let scoped = ScopedPdu::new(context, name, response);
            let keys = (keys.auth_key.as_ref(), keys.priv_key.as_ref());
            self.seal(message, message.level, scoped, keys)
        });
        Heard {
            what: Ok((place, notice)),
            reply,
        }
    }

    /// Refuses a message; whoever waits for an answer hears why, signed with `key` if there is one.
    fn refuse(&mut self, message: &Message, why: Refusal, key: Option<&LocalizedKey>) -> Heard {
        let mut heard = Heard::refused(why);
        let object = match why {
            Refusal::Discovery => report_oids::unknown_engine_ids(),
            Refusal::User => report_oids::unknown_user_names(),
            Refusal::Unsigned => report_oids::unsupported_sec_levels(),
            Refusal::Signature => report_oids::wrong_digests(),
            Refusal::Time => report_oids::not_in_time_windows(),
            _ => return heard,
        };
        if !message.global.msg_flags().reportable {
            return heard;
        }
        self.engine.reports = self.engine.reports.wrapping_add(1);
        let value = Value::Counter32(self.engine.reports);
        let level = match key {
            Some(_) => SecurityLevel::AuthNoPriv,
            None => SecurityLevel::NoAuthNoPriv,
        };
        let report = ResponsePdu::report(0, vec![VarBind::new(object, value)]);
        heard.reply = report.ok().and_then(|report| {
            let scoped = ScopedPdu::new(self.engine.id.clone(), Bytes::new(), report);
            self.seal(message, level, scoped, (key, None))
        });
        heard
    }

    /// The answer to `message` as it goes over the line.
    fn seal(
        &self,
        message: &Message,
        level: SecurityLevel,
        scoped: ScopedPdu,
        (auth_key, cipher_key): (Option<&LocalizedKey>, Option<&PrivKey>),
    ) -> Option<Bytes> {
        let (id, boots) = (self.engine.id.clone(), self.engine.boots);
        let user = message.usm.username().clone();
        let mut usm = UsmSecurityParams::new(id, boots, self.now_s, user).ok()?;
        if let Some(key) = auth_key {
            usm = usm.with_auth_placeholder(key.mac_len()).ok()?;
        }
        let flags = MsgFlags::new(level, false);
        let size = UDP_RECEIVE_LIMITS.advertised();
        let global = MsgGlobalData::new(message.global.msg_id(), size, flags).ok()?;
        let sealed = if level.requires_priv() {
            let key = cipher_key?;
            let plain = scoped.encode_to_bytes().ok()?;
            let sealed = key.encrypt_aes(&plain, boots, self.now_s, &self.engine.salt);
            let (sealed, salt) = sealed.ok()?;
            let usm = usm.with_priv_params(salt).ok()?.encode().ok()?;
            V3Message::new_with_opaque_encrypted_scoped_pdu(global, usm, sealed).ok()?
        } else {
            V3Message::new(global, usm.encode().ok()?, scoped).ok()?
        };
        let bytes = sealed.encode().ok()?;
        let Some(key) = auth_key else {
            return Some(bytes);
        };
        let mut bytes = bytes.to_vec();
        let (offset, length) = UsmSecurityParams::find_auth_params_offset(&bytes)?;
        authenticate_message(key, &mut bytes, offset, length).ok()?;
        Some(bytes.into())
    }
}

/// The envelope. What comes after it was signed by nobody, so there may be nothing.
fn decode(data: &Bytes) -> Option<(RawV3Message, UsmSecurityParams)> {
    let mut exact = DecodeConfig::default();
    exact.trailing_bytes = false;
    let raw = RawV3Message::decode(data.clone(), exact).ok()?.value;
    let usm = UsmSecurityParams::decode(raw.security_params().clone(), exact).ok()?;
    Some((raw, usm.value))
}

/// The keys of `user` with which this message is signed.
fn prove(data: &Bytes, message: &Message, user: &UsmConfig) -> Result<DerivedKeys, Refusal> {
    let keys = user
        .derive_keys(message.usm.engine_id())
        .map_err(|_| Refusal::Unsigned)?;
    let key = keys.auth_key.as_ref().ok_or(Refusal::Unsigned)?;
    if message.level.requires_priv() && keys.priv_key.is_none() {
        return Err(Refusal::Unsigned);
    }
    let place = UsmSecurityParams::find_auth_params_offset(data);
    let (offset, length) = place.ok_or(Refusal::Signature)?;
    match verify_message(key, data, offset, length) {
        Ok(true) => Ok(keys),
        Ok(false) | Err(_) => Err(Refusal::Signature),
    }
}

/// What the message says, decrypted if it is encrypted.
fn open(message: &Message, raw: &RawV3Message, keys: &DerivedKeys) -> Option<ScopedPdu> {
    let plain = match raw.msg_data() {
        RawMsgData::Plaintext { data, .. } => data.clone(),
        RawMsgData::Encrypted(sealed) => {
            let usm = &message.usm;
            let (boots, time) = (usm.engine_boots(), usm.engine_time());
            let key = keys.priv_key.as_ref()?;
            key.decrypt(sealed, boots, time, usm.priv_params()).ok()?
        }
    };
    let mut decoder = Decoder::new(plain);
    let scoped = ScopedPdu::decode(&mut decoder).ok()?;
    decoder.is_empty().then_some(scoped)
}
