//! GETBULK over SNMPv2c, past the library's client: of all that is asked, this is nearly everything.
//!
//! Request and correlation are the library's; the answer is read by [`crate::answer`], and by the library
//! if it is written in an unusual way.

use std::time::Duration;

use async_snmp::message::CommunityMessage;
use async_snmp::{
    Candidate, Community, CommunityResponsePolicy, CommunityVersion, DecodeConfig, Error,
    ErrorStatus, GetBulkPdu, Pdu, PduType, RequestRegistration, Transport as _, VarBind, Version,
};
use bytes::Bytes;

use super::Counted;
use crate::answer;
use crate::convert;
use crate::message::{AskError, Request, Response};

/// What GETBULK needs of a session.
pub(super) struct Quick {
    pub(super) transport: Counted,
    pub(super) community: Community,
    /// How long a request waits.
    pub(super) timeout: Duration,
}

impl Quick {
    pub(super) async fn bulk(
        &self,
        request: &Request,
        repetitions: u32,
    ) -> Result<Response, AskError> {
        let failed = |error: Box<Error>| convert::error(&error);
        let number = self.transport.alloc_request_id();
        let data = self.write(number, request, repetitions).map_err(failed)?;
        let registration = RequestRegistration::community(
            number,
            tokio::time::Instant::now() + self.timeout,
            CommunityVersion::V2c,
            self.community.clone(),
            CommunityResponsePolicy::Exact,
        );
        let told = self
            .transport
            .request_with(&data, registration, |data, _| Ok(self.read(number, data)));
        told.await.map_err(failed)?
    }

    fn write(&self, number: i32, request: &Request, repetitions: u32) -> async_snmp::Result<Bytes> {
        let names = request.oids.iter().map(convert::library_oid);
        let bindings = names.map(VarBind::null).collect();
        let pdu = GetBulkPdu::new(Version::V2c, number, 0, repetitions, bindings)?;
        CommunityMessage::v2c(self.community.clone(), pdu)?.encode()
    }

    /// Reads an answer to request `number`; what is none is left for others.
    fn read(&self, number: i32, data: Bytes) -> Candidate<Result<Response, AskError>> {
        if let Some(answer) = answer::read(&data) {
            let is_ours = answer.version == 1
                && answer.request == number
                && self.community.matches(answer.community);
            return if is_ours {
                Candidate::Accept(Ok(answer.response))
            } else {
                Candidate::Reject
            };
        }
        match self.by_library(data) {
            Some((found, pdu)) if found == number => Candidate::Accept(told(pdu)),
            _ => Candidate::Reject,
        }
    }

    fn by_library(&self, data: Bytes) -> Option<(i32, Pdu)> {
        let message = CommunityMessage::decode(data, DecodeConfig::default()).ok()?;
        let (version, community, pdu) = message.value.into_parts();
        let is_ours = version == Version::V2c && self.community.matches(community.as_bytes());
        let pdu = pdu.standard().filter(|_| is_ours)?.clone();
        let is_response = pdu.pdu_type() == PduType::Response;
        is_response.then(|| (pdu.clone().into_raw_parts().0, pdu))
    }
}

fn told(pdu: Pdu) -> Result<Response, AskError> {
    match pdu.error_fields() {
        Some((0, _)) | None => Ok(convert::response(pdu.into_varbinds())),
        Some((status, index)) => {
            let index = u32::try_from(index).unwrap_or_default();
            Err(convert::refused(ErrorStatus::from_i32(status), index))
        }
    }
}
