//! Host certificates on record.

use xiezhi_model::{AuditEntry, CertificateRecord, HostId};

use crate::{Store, StoreError};

impl Store {
    /// Records a renewed certificate before it is handed out. Older ones stay valid until they end,
    /// so that old and new overlap.
    pub async fn add_certificate(&self, certificate: &CertificateRecord, audit: AuditEntry) -> Result<(), StoreError> {
        let _ = (certificate, audit);
        Err(StoreError::Unfinished)
    }

    /// The certificate with this serial number. One that is not on record must be refused.
    pub async fn certificate(&self, serial: &str) -> Result<Option<CertificateRecord>, StoreError> {
        let _ = serial;
        Err(StoreError::Unfinished)
    }

    /// All certificates of a host, newest first.
    pub async fn certificates_of(&self, host: HostId) -> Result<Vec<CertificateRecord>, StoreError> {
        let _ = host;
        Err(StoreError::Unfinished)
    }

    /// Revokes one certificate and returns the number of the change.
    pub async fn revoke_certificate(&self, serial: &str, reason: &str, audit: AuditEntry) -> Result<i64, StoreError> {
        let _ = (serial, reason, audit);
        Err(StoreError::Unfinished)
    }
}
