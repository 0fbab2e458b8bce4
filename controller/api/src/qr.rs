//! QR codes as squares for a page to draw: no pictures, so nothing that the content policy would have to
//! allow.

use axum::http::StatusCode;
use qrcode::{Color, EcLevel};
use schemars::JsonSchema;
use serde::Serialize;

use crate::problem::Problem;

/// A QR code: rows of `1` (dark) and `0`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct QrCode {
    rows: Vec<String>,
}

impl QrCode {
    /// The code of a text.
    pub(crate) fn of(text: &str) -> Result<Self, Problem> {
        let code = qrcode::QrCode::with_error_correction_level(text, EcLevel::M);
        let code = code.map_err(|error| {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_qr", error.to_string())
        })?;
        let sign = |color: &Color| match color {
            Color::Dark => '1',
            Color::Light => '0',
        };
        let colors = code.to_colors();
        let rows = colors.chunks(code.width().max(1));
        Ok(Self {
            rows: rows.map(|row| row.iter().map(sign).collect()).collect(),
        })
    }

    /// Its rows, from the top.
    pub(crate) fn rows(&self) -> &[String] {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_square_and_has_its_finders() {
        let code = QrCode::of("otpauth://totp/Xiezhi:wang?secret=GEZDGNBV").unwrap();
        assert!(code.rows.iter().all(|row| row.len() == code.rows.len()));
        assert!(code.rows[0].starts_with("1111111") && code.rows[0].ends_with("1111111"));
        assert!(code.rows[6].starts_with("1111111"));
        assert!(QrCode::of(&"x".repeat(5000)).is_err());
    }
}
