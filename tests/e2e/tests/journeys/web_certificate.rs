//! The browsers' certificate comes from files and is replaced while the controller runs.

use std::path::Path;

use anyhow::{Context as _, Result};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use serde_json::Value;
use xiezhi_test_support::{TestController, eventually};

/// A client that believes one certificate and nothing else.
struct Browser(reqwest::Client);

impl Browser {
    fn trusting(certificate: &str) -> Result<Self> {
        drop(rustls::crypto::ring::default_provider().install_default());
        let certificate = reqwest::Certificate::from_pem(certificate.as_bytes())?;
        let client = reqwest::Client::builder()
            .tls_certs_only([certificate])
            .build()?;
        Ok(Self(client))
    }

    async fn ready(&self, controller: &TestController) -> Result<Value> {
        let url = format!("https://{}/readyz", controller.web());
        Ok(self.0.get(url).send().await?.json().await?)
    }
}

/// Writes a new pair of which one certificate ends after so many days, and yields the certificate.
fn write_pair(folder: &Path, days: i64) -> Result<String> {
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(days);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    std::fs::write(folder.join("web.pem"), &certificate)?;
    std::fs::write(folder.join("web.key"), key.serialize_pem())?;
    Ok(certificate)
}

async fn until_ready_says(
    browser: &Browser,
    controller: &TestController,
    code: &str,
) -> Result<Value> {
    eventually("the probe says so", async || {
        let Ok(ready) = browser.ready(controller).await else {
            return Ok(None);
        };
        Ok((ready["parts"]["web_certificate"] == code).then_some(ready))
    })
    .await
}

#[tokio::test]
async fn a_new_pair_of_files_is_shown_without_a_restart_and_a_bad_one_leaves_the_old() -> Result<()>
{
    let mut controller = TestController::prepare("")?;
    let folder = controller.folder().to_owned();
    let first = write_pair(&folder, 300)?;
    let path = folder.join("controller.yaml");
    let files = format!(
        "tls: files, certificate: '{0}/web.pem', key: '{0}/web.key'",
        folder.display()
    );
    let text = std::fs::read_to_string(&path)?.replace("tls: off", &files);
    std::fs::write(&path, text)?;
    controller.run().await?;
    let browser = Browser::trusting(&first)?;
    until_ready_says(&browser, &controller, "ok").await?;

    // A key that does not belong to it.
    let key = std::fs::read_to_string(folder.join("web.key"))?;
    let CertifiedKey { signing_key, .. } = generate_simple_self_signed(vec!["a.test".to_owned()])?;
    std::fs::write(folder.join("web.key"), signing_key.serialize_pem())?;
    controller.process()?.signal("HUP")?;
    let ready = until_ready_says(&browser, &controller, "certificate_unusable").await?;
    assert_eq!(ready["status"], "degraded", "{ready}");
    let log = controller.process()?.log();
    assert!(log.contains("does not belong to its certificate"), "{log}");
    std::fs::write(folder.join("web.key"), key)?;
    controller.process()?.signal("HUP")?;
    until_ready_says(&browser, &controller, "ok").await?;

    // A good pair that ends soon: shown at once, and its end is told.
    let second = write_pair(&folder, 10)?;
    controller.process()?.signal("HUP")?;
    let newer = Browser::trusting(&second)?;
    let ready = until_ready_says(&newer, &controller, "certificate_ends").await?;
    assert_eq!(ready["days_left"]["web_certificate"], 9, "{ready}");
    // Another client: the first one may resume its session with the old certificate.
    let older = Browser::trusting(&first)?;
    let refused = older.ready(&controller).await.err();
    refused.context("the old certificate is still shown")?;
    controller.stop()
}
