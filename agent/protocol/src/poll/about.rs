//! What is said of a device, within its bounds: cut when it is written, refused beyond them when it is read.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{
    About, MAX_FACTS, MAX_MEASURES, MAX_PORTS, MAX_STATES, MeasureAbout, PortAbout, StateAbout,
    clean,
};

impl About {
    /// The same within all bounds: texts cut and without control characters, lists cut.
    #[must_use]
    pub(super) fn cleaned(&self) -> Self {
        let facts = self.facts.iter().take(MAX_FACTS);
        let left_out = self.left_out.iter().take(MAX_FACTS);
        Self {
            state: self.state,
            problem: clean(&self.problem),
            address: clean(&self.address),
            profile: clean(&self.profile),
            profile_version: self.profile_version,
            kind: clean(&self.kind),
            label_zh: clean(&self.label_zh),
            label_en: clean(&self.label_en),
            name: clean(&self.name),
            description: clean(&self.description),
            object_id: clean(&self.object_id),
            facts: facts
                .map(|(name, text)| (clean(name), clean(text)))
                .collect(),
            uptime_s: self.uptime_s,
            every_s: self.every_s,
            ports: self
                .ports
                .iter()
                .take(MAX_PORTS)
                .map(PortAbout::cleaned)
                .collect(),
            measures: self
                .measures
                .iter()
                .take(MAX_MEASURES)
                .map(MeasureAbout::cleaned)
                .collect(),
            left_out: left_out
                .map(|(name, count)| (clean(name), *count))
                .collect(),
            needs_profile: self.needs_profile,
        }
    }
}

impl MeasureAbout {
    fn cleaned(&self) -> Self {
        let states = self.states.iter().take(MAX_STATES);
        Self {
            name: clean(&self.name),
            measure: clean(&self.measure),
            zh: clean(&self.zh),
            en: clean(&self.en),
            unit: clean(&self.unit),
            states: states
                .map(|state| StateAbout {
                    value: state.value,
                    level: clean(&state.level),
                    zh: clean(&state.zh),
                    en: clean(&state.en),
                })
                .collect(),
        }
    }
}

impl PortAbout {
    fn cleaned(&self) -> Self {
        Self {
            name: clean(&self.name),
            alias: clean(&self.alias),
            descr: clean(&self.descr),
            kind: clean(&self.kind),
            mac: clean(&self.mac),
            speed: self.speed,
            enabled: self.enabled,
            state: clean(&self.state),
        }
    }
}

pub(super) fn ports<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<PortAbout>, D::Error> {
    input.deserialize_seq(Bounded::<Vec<PortAbout>>(MAX_PORTS, PhantomData))
}

pub(super) fn measures<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<MeasureAbout>, D::Error> {
    input.deserialize_seq(Bounded::<Vec<MeasureAbout>>(MAX_MEASURES, PhantomData))
}

pub(super) fn states<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<StateAbout>, D::Error> {
    input.deserialize_seq(Bounded::<Vec<StateAbout>>(MAX_STATES, PhantomData))
}

pub(super) fn facts<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    input.deserialize_map(Bounded::<BTreeMap<String, String>>(MAX_FACTS, PhantomData))
}

pub(super) fn left_out<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<BTreeMap<String, u64>, D::Error> {
    input.deserialize_map(Bounded::<BTreeMap<String, u64>>(MAX_FACTS, PhantomData))
}

/// Reads so many entries and refuses more, before they take memory.
struct Bounded<T>(usize, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<Vec<T>> {
    type Value = Vec<T>;

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(text, "a list of at most {}", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element()? {
            if all.len() >= self.0 {
                return Err(A::Error::invalid_length(self.0 + 1, &self));
            }
            all.push(one);
        }
        Ok(all)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<BTreeMap<String, T>> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(text, "at most {} names with values", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut all = BTreeMap::new();
        while let Some((name, one)) = map.next_entry()? {
            if all.len() >= self.0 {
                return Err(A::Error::invalid_length(self.0 + 1, &self));
            }
            all.insert(name, one);
        }
        Ok(all)
    }
}
