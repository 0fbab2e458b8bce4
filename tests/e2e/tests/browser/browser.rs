//! A Chromium without a window, and what it noticed.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{ChromiumLikeCapabilities as _, DesiredCapabilities, WebDriver};
use xiezhi_test_support::{Running, TestController, eventually};

use crate::look::Look;

/// Password of the administrator of every test controller.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// Runs in every document before its own scripts: chooses the look and keeps what goes wrong.
const WATCHER: &str = include_str!("watcher.js");

/// A browser with one tab.
pub(crate) struct Browser {
    driver: WebDriver,
    base: String,
    look: std::cell::Cell<Look>,
    /// Width and height of the window, in CSS pixels.
    window: std::cell::Cell<(u32, u32)>,
    watcher: Option<String>,
    _process: Running,
    folder: TempDir,
}

impl Browser {
    /// Starts a browser that looks at `controller`.
    pub(crate) async fn open(controller: &TestController, look: Look) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("xiezhi-browser-")
            .tempdir()?;
        let mut process = start_driver(&folder)?;
        let port = driver_port(&mut process).await?;
        // The client wants to know a provider even for plain HTTP.
        drop(rustls::crypto::ring::default_provider().install_default());
        let capabilities = capabilities(&folder)?;
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities)
            .await
            .context("opening a browser")?;
        let mut browser = Self {
            driver,
            base: format!("http://{}", controller.web()),
            look: std::cell::Cell::new(look),
            window: std::cell::Cell::new(look.size()),
            watcher: None,
            _process: process,
            folder,
        };
        browser.look(look).await?;
        Ok(browser)
    }

    /// As [`Browser::open`], signed in.
    pub(crate) async fn signed_in(controller: &TestController, look: Look) -> Result<Self> {
        let browser = Self::open(controller, look).await?;
        browser.goto("/login").await?;
        browser.sign_in().await?;
        Ok(browser)
    }

    /// Signs in on the page that is open.
    pub(crate) async fn sign_in(&self) -> Result<()> {
        self.fill("input[name=username]", "admin").await?;
        self.fill("input[name=password]", PASSWORD).await?;
        self.click(".gate-card .button-primary").await?;
        self.until("the overview", "return !!document.querySelector('.tiles')")
            .await
    }

    /// Looks in another way from the next page on.
    pub(crate) async fn look(&mut self, look: Look) -> Result<()> {
        self.take_size(look).await?;
        if let Some(before) = self.watcher.take() {
            let which = json!({ "identifier": before });
            self.cdp("Page.removeScriptToEvaluateOnNewDocument", which)
                .await?;
        }
        let source = WATCHER
            .replace("$LANGUAGE", if look.english { "en" } else { "zh" })
            .replace("$THEME", if look.dark { "dark" } else { "light" });
        let script = json!({ "source": source });
        let added = self
            .cdp("Page.addScriptToEvaluateOnNewDocument", script)
            .await?;
        self.watcher = added["identifier"].as_str().map(str::to_owned);
        Ok(())
    }

    /// Shows the page that is open in another light and size, without loading it anew: what it holds stays.
    pub(crate) async fn turn(&self, look: Look) -> Result<()> {
        self.take_size(look).await?;
        let theme = if look.dark { "dark" } else { "light" };
        let turned = "localStorage.setItem('xiezhi.theme', arguments[0]); \
            window.xiezhiApplyTheme(); dispatchEvent(new Event('xiezhi-theme'))";
        self.run_with(turned, vec![json!(theme)]).await?;
        // Twice, because the first one may still be of the old size.
        self.run_async("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
            .await?;
        let calm = "return !document.getAnimations().some((one) => one instanceof CSSTransition)";
        self.until("colours have changed", calm).await
    }

    async fn take_size(&self, look: Look) -> Result<()> {
        self.look.set(look);
        let (width, height) = look.size();
        self.size(width, height).await?;
        let touch = json!({ "enabled": look.phone });
        self.cdp("Emulation.setTouchEmulationEnabled", touch)
            .await?;
        Ok(())
    }

    /// Opens a page anew and waits until it shows something.
    pub(crate) async fn goto(&self, path: &str) -> Result<()> {
        self.driver.goto(format!("{}{path}", self.base)).await?;
        self.settled(path).await
    }

    /// Waits until nothing of the page is still being loaded.
    pub(crate) async fn settled(&self, path: &str) -> Result<()> {
        let ready = "return document.readyState === 'complete' \
            && !!document.querySelector('main h1') && !document.querySelector('.skeleton') \
            && !document.querySelector('.chart-box:empty')";
        self.until(&format!("{path} is loaded"), ready).await
    }

    /// Runs a function body in the page and yields what it returns.
    pub(crate) async fn run(&self, script: &str) -> Result<Value> {
        self.run_with(script, Vec::new()).await
    }

    /// As [`Browser::run`], with arguments.
    pub(crate) async fn run_with(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        let result = self.driver.execute(script, arguments).await;
        Ok(result
            .context("running a script in the page")?
            .json()
            .clone())
    }

    /// As [`Browser::run`], for a body that answers by calling its last argument.
    pub(crate) async fn run_async(&self, script: &str) -> Result<Value> {
        let result = self.driver.execute_async(script, Vec::new()).await;
        Ok(result
            .context("running a script in the page")?
            .json()
            .clone())
    }

    /// Waits until a function body returns something that is true.
    pub(crate) async fn until(&self, what: &str, script: &str) -> Result<()> {
        let outcome = eventually(what, async || {
            let value = self.run(script).await?;
            let holds = value.as_bool().unwrap_or(!value.is_null());
            Ok(holds.then_some(()))
        })
        .await;
        if outcome.is_err() {
            let said = self.run("return document.body.innerText").await?;
            let said = said.as_str().unwrap_or_default();
            return outcome.with_context(|| format!("the page says:\n{said}"));
        }
        outcome
    }

    /// Waits until a function body returns true for one argument.
    pub(crate) async fn until_with(&self, what: &str, script: &str, value: &Value) -> Result<()> {
        eventually(what, async || {
            let holds = self.run_with(script, vec![value.clone()]).await?;
            Ok((holds == true).then_some(()))
        })
        .await
    }

    /// Clicks what the selector finds first, at the place where it is, as a person would.
    pub(crate) async fn click(&self, selector: &str) -> Result<()> {
        self.until(
            selector,
            &format!("return !!document.querySelector({selector:?})"),
        )
        .await?;
        // A bar at the edge may lie over it, as it does for a person, who scrolls.
        let middle = "document.querySelector(arguments[0]).scrollIntoView({ block: 'center' })";
        self.run_with(middle, vec![json!(selector)]).await?;
        let found = self.driver.find(thirtyfour::By::Css(selector)).await?;
        found
            .click()
            .await
            .with_context(|| format!("clicking {selector}"))
    }

    /// Types into a field, after emptying it.
    pub(crate) async fn fill(&self, selector: &str, text: &str) -> Result<()> {
        self.until(
            selector,
            &format!("return !!document.querySelector({selector:?})"),
        )
        .await?;
        let field = self.driver.find(thirtyfour::By::Css(selector)).await?;
        field.clear().await?;
        Ok(field.send_keys(text).await?)
    }

    /// Gives a file to the field that takes one.
    pub(crate) async fn give_file(&self, path: &std::path::Path) -> Result<()> {
        let selector = "input[type=file]";
        self.until(
            selector,
            &format!("return !!document.querySelector('{selector}')"),
        )
        .await?;
        let field = self.driver.find(thirtyfour::By::Css(selector)).await?;
        Ok(field.send_keys(path.display().to_string()).await?)
    }

    /// Lets the page save files, into this folder.
    pub(crate) async fn save_into(&self, folder: &std::path::Path) -> Result<()> {
        let allowed = json!({ "behavior": "allow", "downloadPath": folder });
        self.cdp("Browser.setDownloadBehavior", allowed).await?;
        Ok(())
    }

    /// Takes one of the choices of a list.
    pub(crate) async fn choose(&self, selector: &str, value: &str) -> Result<()> {
        let there = "const list = document.querySelector(arguments[0]); \
            if (!list || ![...list.options].some((one) => one.value === arguments[1])) return false; \
            list.value = arguments[1]; list.dispatchEvent(new Event('change', { bubbles: true })); return true";
        eventually(selector, async || {
            let arguments = vec![json!(selector), json!(value)];
            let done = self.run_with(there, arguments).await?;
            Ok((done == true).then_some(()))
        })
        .await
    }

    /// Shows the page as a printer gets it, or as the screen does.
    pub(crate) async fn as_printed(&self, printed: bool) -> Result<()> {
        let media = json!({ "media": if printed { "print" } else { "" } });
        self.cdp("Emulation.setEmulatedMedia", media).await?;
        Ok(())
    }

    /// Answers the page's questions for what its reader prefers: `("prefers-contrast", "more")`.
    pub(crate) async fn prefers(&self, preferences: &[(&str, &str)]) -> Result<()> {
        let feature = |(name, value): &(&str, &str)| json!({ "name": name, "value": value });
        let features: Vec<Value> = preferences.iter().map(feature).collect();
        let media = json!({ "media": "", "features": features });
        self.cdp("Emulation.setEmulatedMedia", media).await?;
        Ok(())
    }

    /// A window of this size, in CSS pixels.
    pub(crate) async fn size(&self, width: u32, height: u32) -> Result<()> {
        self.window.set((width, height));
        self.resize(width, height).await
    }

    /// Presses the tabulator key.
    pub(crate) async fn press_tab(&self) -> Result<()> {
        self.press("Tab", "Tab", 9, 0).await
    }

    /// Presses a key: its name, its place, its number, and 2 for the control key held down.
    pub(crate) async fn press(
        &self,
        key: &str,
        code: &str,
        number: u32,
        modifiers: u32,
    ) -> Result<()> {
        for kind in ["rawKeyDown", "keyUp"] {
            let key = json!({"type": kind, "key": key, "code": code,
                "windowsVirtualKeyCode": number, "modifiers": modifiers});
            self.cdp("Input.dispatchKeyEvent", key).await?;
        }
        Ok(())
    }

    /// Types into whatever has the focus.
    pub(crate) async fn type_text(&self, text: &str) -> Result<()> {
        self.cdp("Input.insertText", json!({ "text": text }))
            .await?;
        Ok(())
    }

    /// Everything that went wrong in the page, by its own account and by the browser's log: errors,
    /// refused files, breaches of the content security policy. Telling empties the list.
    pub(crate) async fn problems(&self) -> Result<Vec<String>> {
        let noticed = self.run("return (window.noticed || []).splice(0)").await?;
        let mut problems: Vec<String> = noticed
            .as_array()
            .into_iter()
            .flatten()
            .map(|problem| problem.as_str().unwrap_or_default().to_owned())
            .collect();
        for entry in self.driver.browser_log().await? {
            if entry.level != "INFO" && entry.level != "DEBUG" {
                problems.push(format!("{}: {}", entry.level, entry.message));
            }
        }
        Ok(problems)
    }

    /// Writes a picture of the whole page to `target/screens`, if pictures are wanted.
    pub(crate) async fn picture(&self, name: &str) -> Result<()> {
        if std::env::var_os("XIEZHI_SCREENS").is_none() {
            return Ok(());
        }
        // As tall as the page, so that what is fixed to an edge is at the edge of the picture.
        let tall = self
            .run("return document.documentElement.scrollHeight")
            .await?;
        let (width, height) = self.window.get();
        let tall = u32::try_from(tall.as_u64().unwrap_or(0))?.clamp(height, 4000);
        self.resize(width, tall).await?;
        let picture = self
            .cdp(
                "Page.captureScreenshot",
                json!({ "format": "jpeg", "quality": 80 }),
            )
            .await?;
        self.resize(width, height).await?;
        let encoded = picture["data"].as_str().context("no picture")?;
        let bytes = data_encoding::BASE64.decode(encoded.as_bytes())?;
        let folder = pictures()?;
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(
            folder.join(format!("{name}-{}.jpg", self.look.get())),
            bytes,
        )?)
    }

    /// Ends the browser in good order.
    pub(crate) async fn close(self) -> Result<()> {
        Ok(self.driver.clone().quit().await?)
    }

    async fn resize(&self, width: u32, height: u32) -> Result<()> {
        let phone = self.look.get().phone;
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone});
        self.cdp("Emulation.setDeviceMetricsOverride", size).await?;
        Ok(())
    }

    async fn cdp(&self, command: &str, parameters: Value) -> Result<Value> {
        let answer = self.driver.cdp().send_raw(command, parameters).await;
        answer.with_context(|| command.to_owned())
    }
}

impl Drop for Browser {
    /// A test that fails leaves its browser running, and the driver's end does not end it: whoever
    /// uses this browser's own profile is its process. The client would ask the driver to end the
    /// session and wait two minutes for an answer, so that every failure looks like a hang.
    fn drop(&mut self) {
        drop(self.driver.clone().leak());
        let profile = profile(&self.folder);
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let called = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&called).contains(&profile) {
                let id = entry.file_name();
                drop(Command::new("kill").arg("-KILL").arg(id).status());
            }
        }
    }
}

fn profile(folder: &TempDir) -> String {
    format!(
        "--user-data-dir={}",
        folder.path().join("profile").display()
    )
}

fn start_driver(folder: &TempDir) -> Result<Running> {
    let mut command = Command::new("chromedriver");
    command.arg("--port=0");
    let log = folder.path().join("driver.log");
    Running::start("chromedriver", &mut command, &log)
        .context("these tests need Debian's packages chromium and chromium-driver")
}

async fn driver_port(process: &mut Running) -> Result<u16> {
    eventually("the browser's driver opens its port", async || {
        process.check()?;
        let log = process.log();
        let told = log
            .split_once("successfully on port ")
            .map(|(_, rest)| rest);
        let digits = |text: &str| {
            text.chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
        };
        Ok(told.and_then(|rest| digits(rest).parse().ok()))
    })
    .await
}

fn capabilities(folder: &TempDir) -> Result<thirtyfour::ChromeCapabilities> {
    let mut capabilities = DesiredCapabilities::chrome();
    let profile = profile(folder);
    for argument in [
        "--headless=new",
        // Tests run as root in containers, where Chromium's own sandbox cannot be set up.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--hide-scrollbars",
        "--no-first-run",
        "--disable-extensions",
        "--disable-background-networking",
        &profile,
    ] {
        capabilities.add_arg(argument)?;
    }
    capabilities.set_browser_log_level(thirtyfour::LoggingPrefsLogLevel::All)?;
    Ok(capabilities)
}

/// `target/screens`, next to the folder that this test was built into.
fn pictures() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(3);
    match target {
        Some(target) => Ok(target.join("screens")),
        None => bail!("this test lies in no target folder"),
    }
}
