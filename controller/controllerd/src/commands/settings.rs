//! `settings`: values that rules and people decide, each with its date and its source.
//!
//! Only keys that something reads can be set. An earlier value is never changed: a new one applies
//! from its date.

use anyhow::{Context as _, Result, bail, ensure};
use xiezhi_model::Setting;
use xiezhi_store::Store;

use super::{by_console, local_time, open_store};
use crate::cli::Settings;
use crate::clock::now_ms;
use crate::config::Config;
use crate::terminal::say;

/// A setting that people may change.
struct Known {
    key: &'static str,
    meaning: &'static str,
    check: fn(&str) -> Result<()>,
}

const KNOWN: [Known; 2] = [
    Known {
        key: "security_retention_days",
        meaning: "days that security events and their proofs are kept",
        check: retention_days,
    },
    Known {
        key: "event_retention_days",
        meaning: "days that other events are kept",
        check: retention_days,
    },
];

/// Fewest days: article 21 of the Cybersecurity Law asks for six months.
const LEAST_DAYS: i64 = 180;

/// Most days; a hundred years is for ever.
const MOST_DAYS: i64 = 36_500;

/// Keys of budgets, which are more than a number.
const BANDWIDTH: &str = "bandwidth.";

/// Longest source, letters: it stands in one line of the settings page.
const SOURCE_LETTERS: usize = 200;

/// Does what `settings …` asks.
pub(super) async fn run(config: &Config, what: Settings) -> Result<()> {
    let store = open_store(config).await?;
    match what {
        Settings::List => list(&store, now_ms()).await?,
        Settings::Set {
            key,
            value,
            from,
            source,
        } => {
            let setting = parse(&key, &value, from, &source, now_ms())?;
            set(&store, &setting).await?;
        }
    }
    store.close().await;
    Ok(())
}

/// What is to be written down, or why it is refused.
fn parse(
    key: &str,
    value: &str,
    from_ms: Option<i64>,
    source: &str,
    now_ms: i64,
) -> Result<Setting> {
    if key.starts_with(BANDWIDTH) {
        bail!("budgets are set by `xiezhi-controller bandwidth set`, or on the host's page");
    }
    let known = KNOWN.iter().find(|known| known.key == key);
    let known = known.with_context(|| {
        let keys: Vec<&str> = KNOWN.iter().map(|known| known.key).collect();
        format!(
            "nothing reads a setting `{key}`; there are {}",
            keys.join(" and ")
        )
    })?;
    let (value, source) = (value.trim(), source.trim());
    (known.check)(value).with_context(|| format!("`{key}` cannot be `{value}`"))?;
    ensure!(
        (1..=SOURCE_LETTERS).contains(&source.chars().count()),
        "--source must name the rule or decision in 1 to {SOURCE_LETTERS} letters"
    );
    Ok(Setting {
        key: key.to_owned(),
        value: value.to_owned(),
        valid_from_ms: valid_from(from_ms, now_ms)?,
        source: source.to_owned(),
    })
}

fn retention_days(value: &str) -> Result<()> {
    let days: Option<i64> = value.parse().ok();
    ensure!(
        days.is_some_and(|days| (LEAST_DAYS..=MOST_DAYS).contains(&days)),
        "give a whole number of days from {LEAST_DAYS} to {MOST_DAYS}: the law asks for six months"
    );
    Ok(())
}

/// The begin of a later day as it is; today is now, so that a value that was set this morning does
/// not outlast it. What held on an earlier day is history.
fn valid_from(from_ms: Option<i64>, now_ms: i64) -> Result<i64> {
    const DAY_MS: i64 = 86_400_000;
    match from_ms {
        Some(from_ms) if from_ms > now_ms => Ok(from_ms),
        Some(from_ms) if from_ms <= now_ms - DAY_MS => {
            bail!("--from must be today or later: what held before is on record")
        }
        _ => Ok(now_ms),
    }
}

async fn set(store: &Store, setting: &Setting) -> Result<()> {
    let from = local_time(setting.valid_from_ms);
    let audit = by_console("setting.set", format!("setting:{}", setting.key)).with("from", &from);
    store.add_setting(setting, audit).await?;
    say!("{} is {} from {from}", setting.key, setting.value);
    Ok(())
}

async fn list(store: &Store, now_ms: i64) -> Result<()> {
    for known in &KNOWN {
        say!("{}: {}", known.key, known.meaning);
        // Newest first: what is to come, then the one that holds.
        for setting in store.setting_history(known.key).await? {
            let holds = setting.valid_from_ms <= now_ms;
            say!(
                "  {}  {} from {}  {}",
                if holds { "now  " } else { "later" },
                setting.value,
                local_time(setting.valid_from_ms),
                setting.source
            );
            if holds {
                break;
            }
        }
    }
    let settings = store.settings_at(now_ms).await?;
    let budgets = settings.iter().filter(|one| one.key.starts_with(BANDWIDTH));
    say!(
        "{} bandwidth budgets: see `xiezhi-controller bandwidth show`",
        budgets.count()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_190_400_000 + 3_600_000;
    const KEY: &str = "security_retention_days";

    fn refusal(key: &str, value: &str, source: &str) -> String {
        let refused = parse(key, value, None, source, NOW).unwrap_err();
        format!("{refused:#}")
    }

    #[test]
    fn only_what_something_reads_can_be_set_and_only_to_what_it_understands() {
        let taken = parse(KEY, " 365 ", None, "order 7", NOW).unwrap();
        assert_eq!((taken.value.as_str(), taken.valid_from_ms), ("365", NOW));
        for value in ["179", "0", "-1", "36501", "a year", ""] {
            assert!(
                refusal(KEY, value, "order 7").contains("from 180"),
                "{value}"
            );
        }
        assert!(refusal("colour", "1", "x").contains("event_retention_days"));
        assert!(refusal("bandwidth.site.1", "1", "x").contains("bandwidth set"));
        for source in ["", "  ", &"x".repeat(201)] {
            assert!(refusal(KEY, "180", source).contains("--source"));
        }
    }

    #[test]
    fn a_value_begins_today_or_later() {
        let midnight = NOW - 3_600_000;
        assert_eq!(valid_from(Some(midnight), NOW).unwrap(), NOW);
        assert_eq!(
            valid_from(Some(midnight + 86_400_000), NOW).unwrap(),
            midnight + 86_400_000
        );
        assert!(valid_from(Some(midnight - 86_400_000), NOW).is_err());
    }

    #[tokio::test]
    async fn what_was_set_holds_and_is_audited() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("state.db").display());
        let store = Store::open(&url).await.unwrap();
        let setting = parse(KEY, "400", None, "order 7", now_ms()).unwrap();
        set(&store, &setting).await.unwrap();
        let holds = store.setting(KEY, now_ms()).await.unwrap();
        assert_eq!(holds, Some(setting));
        let newest = xiezhi_store::AuditQuery {
            limit: 1,
            ..Default::default()
        };
        let entry = store.audit(&newest).await.unwrap().remove(0);
        assert_eq!(
            (entry.action.as_str(), entry.subject.as_str()),
            ("setting.set", "setting:security_retention_days")
        );
        assert_eq!(entry.detail.get("value").map(String::as_str), Some("400"));
    }
}
