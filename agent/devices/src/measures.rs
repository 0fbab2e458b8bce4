//! What people call the samples of a poll, said by the profile that read them: pages show “battery charge
//! 97 %”, not `upsHighPrecBatteryCapacity 97`.

use std::collections::BTreeSet;

use xiezhi_profiles::{LEVELS, Level, Profile, Reading, Unit};
use xiezhi_protocol::poll::{MeasureAbout, StateAbout};

use crate::tables::shared_names;

/// One entry for each kind of value that was read, in the profile's order.
#[must_use]
pub(crate) fn measures(profile: &Profile, reading: &Reading<'_>) -> Vec<MeasureAbout> {
    let shared = shared_names(profile);
    let mut seen = BTreeSet::new();
    let metrics = reading.values.iter().map(|value| value.metric);
    metrics
        .filter(|metric| seen.insert((metric.name.as_str(), metric.id.as_str())))
        .map(|metric| MeasureAbout {
            name: metric.name.clone(),
            measure: match shared.contains(&metric.name) {
                true => metric.id.clone(),
                false => String::new(),
            },
            zh: metric.label.zh.clone(),
            en: metric.label.en.clone(),
            unit: match metric.unit {
                Unit::None => String::new(),
                unit => unit.word().to_owned(),
            },
            states: metric
                .states
                .iter()
                .map(|(value, meaning)| StateAbout {
                    value: *value,
                    level: word(meaning.level).to_owned(),
                    zh: meaning.text.zh.clone(),
                    en: meaning.text.en.clone(),
                })
                .collect(),
        })
        .collect()
}

fn word(level: Level) -> &'static str {
    let known = LEVELS.iter().find(|(_, known)| *known == level);
    known.map_or("unknown", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use xiezhi_profiles::{Library, Walk, replay};

    use super::*;

    #[test]
    fn what_a_power_supply_tells_has_names_units_and_states_in_both_languages() {
        let library = Library::shipped();
        let profile = library.get("apc-smart-ups").unwrap();
        let recording = include_str!("../../profiles/library/apc-smart-ups.snmprec");
        let (walk, bad) = Walk::parse(recording);
        assert_eq!(bad, []);
        let told = measures(profile, &replay::read(profile, &walk));
        let charge = told
            .iter()
            .find(|measure| measure.name == "upsHighPrecBatteryCapacity")
            .unwrap();
        assert_eq!(
            (charge.unit.as_str(), charge.zh.as_str()),
            ("percent", "电池电量")
        );
        let output = told
            .iter()
            .find(|measure| measure.name == "upsBasicOutputStatus")
            .unwrap();
        let online = output.states.iter().find(|state| state.value == 2).unwrap();
        assert_eq!(online.level, "ok");
        assert!(!online.zh.is_empty() && !online.en.is_empty());
        let mut names: Vec<_> = told.iter().map(|one| (&one.name, &one.measure)).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), told.len(), "each once");
    }
}
