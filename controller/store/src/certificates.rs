//! Host certificates on record.

use sqlx::any::AnyRow;
use xiezhi_model::{AuditEntry, CertificateRecord, HostId};

use crate::row::{self, Write};
use crate::{Store, StoreError, audit, revocations};

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT serial, host_id, not_before_s, not_after_s, issued_ms, revoked_ms, chain_pem ",
            "FROM certificates ",
            $tail
        )
    };
}

impl Store {
    /// Records a renewed certificate before it is handed out. Older ones stay valid until they end,
    /// so that old and new overlap.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the host does not exist or is revoked, [`StoreError::Exists`] if
    /// the serial number is on record.
    pub async fn add_certificate(
        &self,
        certificate: &CertificateRecord,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let mut write = self.database.write().await?;
        let sql =
            "UPDATE hosts SET certificate_expires_s = $2 WHERE id = $1 AND revoked_ms IS NULL";
        let query = sqlx::query(sql)
            .bind(certificate.host.0)
            .bind(certificate.not_after_s);
        if query.execute(&mut *write).await?.rows_affected() == 0 {
            return Err(StoreError::NotFound(format!(
                "unrevoked host {}",
                certificate.host
            )));
        }
        insert(&mut write, certificate).await?;
        audit::append(&mut write, &audit.with("serial", &certificate.serial)).await?;
        write.commit().await?;
        Ok(())
    }

    /// The certificate with this serial number. One that is not on record must be refused.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn certificate(&self, serial: &str) -> Result<Option<CertificateRecord>, StoreError> {
        let query = sqlx::query(select!("WHERE serial = $1")).bind(serial);
        query
            .fetch_optional(self.database.read())
            .await?
            .as_ref()
            .map(certificate_from)
            .transpose()
    }

    /// All certificates of a host, newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn certificates_of(
        &self,
        host: HostId,
    ) -> Result<Vec<CertificateRecord>, StoreError> {
        let tail = select!("WHERE host_id = $1 ORDER BY not_after_s DESC, serial");
        let rows = sqlx::query(tail)
            .bind(host.0)
            .fetch_all(self.database.read())
            .await?;
        rows.iter().map(certificate_from).collect()
    }

    /// Revokes one certificate and returns the number of the change.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it is not on record.
    pub async fn revoke_certificate(
        &self,
        serial: &str,
        reason: &str,
        audit: AuditEntry,
    ) -> Result<i64, StoreError> {
        let mut write = self.database.write().await?;
        let now_ms = audit.time_ms;
        let sql = "UPDATE certificates SET revoked_ms = COALESCE(revoked_ms, $2) \
                   WHERE serial = $1 RETURNING host_id";
        let query = sqlx::query(sql).bind(serial).bind(now_ms);
        let row = query.fetch_optional(&mut *write).await?;
        let row = row.ok_or_else(|| StoreError::NotFound(format!("certificate {serial}")))?;
        let host = HostId(row::number(&row, "host_id")?);
        let change = revocations::append(&mut write, host, Some(serial), now_ms, reason).await?;
        let audit = audit.with("serial", serial).with("reason", reason);
        audit::append(&mut write, &audit).await?;
        write.commit().await?;
        Ok(change)
    }
}

pub(crate) async fn insert(
    write: &mut Write,
    certificate: &CertificateRecord,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO certificates \
               (serial, host_id, not_before_s, not_after_s, issued_ms, revoked_ms, chain_pem) \
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (serial) DO NOTHING";
    let done = sqlx::query(sql)
        .bind(&certificate.serial)
        .bind(certificate.host.0)
        .bind(certificate.not_before_s)
        .bind(certificate.not_after_s)
        .bind(certificate.issued_ms)
        .bind(certificate.revoked_ms)
        .bind(&certificate.chain_pem)
        .execute(&mut **write)
        .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::Exists(format!(
            "certificate {}",
            certificate.serial
        )));
    }
    Ok(())
}

pub(crate) fn certificate_from(row: &AnyRow) -> Result<CertificateRecord, StoreError> {
    Ok(CertificateRecord {
        serial: row::text(row, "serial")?,
        host: HostId(row::number(row, "host_id")?),
        not_before_s: row::number(row, "not_before_s")?,
        not_after_s: row::number(row, "not_after_s")?,
        issued_ms: row::number(row, "issued_ms")?,
        revoked_ms: row::optional(row, "revoked_ms")?,
        chain_pem: row::text(row, "chain_pem")?,
    })
}
