//! SNMPv1 and SNMPv2c: the community is all the proof that there is, and everybody on the line reads it.

use async_snmp::message::{CommunityMessage, CommunityPdu};
use async_snmp::{DecodeConfig, Pdu, PduType, ResponsePdu, VarBind, Version};
use bytes::Bytes;

use super::{Heard, Notice, Refusal, notice};
use crate::credentials::Login;

pub(super) fn take(data: Bytes, logins: &[&Login]) -> Heard {
    let Ok(message) = CommunityMessage::decode(data, DecodeConfig::default()) else {
        return Heard::refused(Refusal::Malformed);
    };
    let (version, community, pdu) = message.value.into_parts();
    let mut places = logins
        .iter()
        .enumerate()
        .filter(|(_, login)| {
            let own = login.community();
            own.is_some_and(|own| own.matches(community.as_bytes()))
        })
        .map(|(place, _)| place);
    let Some(place) = places.next() else {
        return Heard::refused(Refusal::Community);
    };
    if places.next().is_some() {
        return Heard::refused(Refusal::Ambiguous);
    }
    match read(version, pdu) {
        Ok((notice, None)) => Heard {
            what: Ok((place, notice)),
            reply: None,
        },
        Ok((notice, Some((request, bindings)))) => {
            let response = ResponsePdu::success(version, request, bindings);
            let reply = response.and_then(|pdu| CommunityMessage::v2c(community, pdu)?.encode());
            Heard {
                what: Ok((place, notice)),
                // One that cannot be told back as it came is not acknowledged; the sender tries again.
                reply: reply.ok(),
            }
        }
        Err(why) => Heard::refused(why),
    }
}

/// What the acknowledgement of an inform repeats.
type Again = (i32, Vec<VarBind>);

/// The notice, and of an inform what its acknowledgement repeats.
fn read(version: Version, pdu: CommunityPdu) -> Result<(Notice, Option<Again>), Refusal> {
    let pdu = match pdu {
        CommunityPdu::TrapV1(trap) => {
            let translated = trap.to_v2_pdu().map_err(|_| Refusal::Malformed)?;
            Pdu::from(translated)
        }
        CommunityPdu::Standard(pdu) => pdu,
    };
    let is_inform = match pdu.pdu_type() {
        PduType::TrapV2 => false,
        // SNMPv1 has none.
        PduType::InformRequest if version == Version::V2c => true,
        _ => return Err(Refusal::NotATrap),
    };
    let (request, _, bindings) = pdu.into_raw_parts();
    let again = is_inform.then(|| (request, bindings.clone()));
    let notice = notice(bindings, is_inform).ok_or(Refusal::Malformed)?;
    Ok((notice, again))
}
