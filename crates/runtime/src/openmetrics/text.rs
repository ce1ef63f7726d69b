// SPDX-License-Identifier: GPL-2.0-only
//! From a scheduler's statistics to the OpenMetrics text format.
//!
//! The descriptions that the statistics socket serves decide the form. A number is a metric of its own; a map of structures
//! is one metric per number in them, with the key as label (`_om_label`) and the names after `_om_prefix`; their texts are
//! the labels of one `_info` metric. Integers count up unless marked `_om_gauge`; other numbers are gauges; `_om_skip` leaves
//! a field out. Names that end in a unit are told in the base unit, as the format wants it: `_ns`, `_us` and `_ms` in seconds,
//! `_pct` as a ratio.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use scx_stats::{StatsData, StatsField, StatsKind, StatsMeta};
use serde_json::{Map, Value};

use crate::stats::StatsError;

/// Suffixes of names, the base unit they are told in, and what a value is divided by: exact for values that are whole.
const UNITS: &[(&str, &str, f64)] =
    &[("_ns", "seconds", 1e9), ("_us", "seconds", 1e6), ("_ms", "seconds", 1e3), ("_pct", "ratio", 100.0)];

/// Label of a map's key where no `_om_label` gives a better name.
const KEY: &str = "key";

/// Where a metric's values are in the statistics.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    /// A field at the top.
    Top(String),
    /// The values of a map at the top.
    Values { map: String },
    /// A field of each structure in a map at the top.
    Field { map: String, label: String, field: String },
    /// Texts of each structure in a map at the top.
    Texts { map: String, label: String, fields: Vec<String> },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Counter,
    Gauge,
    Info,
}

/// One metric family.
#[derive(Clone, Debug)]
struct Family {
    name: String,
    help: String,
    kind: Kind,
    unit: Option<Unit>,
    divisor: f64,
    place: Place,
}

/// The metrics of one scheduler.
#[derive(Debug)]
pub(super) struct Exposition {
    prefix: String,
    families: Arc<[Family]>,
}

impl Exposition {
    /// The metrics of the scheduler `name`, from the descriptions of its statistics.
    ///
    /// # Errors
    /// [`StatsError::Meta`] when there is no top structure, a nested one is missing, or two metrics have one name.
    pub(super) fn new(name: &str, meta: &[StatsMeta]) -> Result<Self, StatsError> {
        let structures: BTreeMap<&str, &StatsMeta> =
            meta.iter().map(|meta| (meta.name.as_str(), meta)).collect();
        let top = meta.iter().find(|meta| meta.attrs.top.is_some());
        let top = top.ok_or_else(|| StatsError::Meta("there is no top structure".to_owned()))?;
        let mut families = Vec::new();
        for (field, about) in shown(top) {
            families.extend(of_top_field(field, about, &structures)?);
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = families.iter().find(|family| !names.insert(family.full_name())) {
            return Err(StatsError::Meta(format!("two metrics are called {}", twice.full_name())));
        }
        Ok(Self { prefix: name.replace('-', "_"), families: families.into() })
    }

    /// These figures as text, up to the end mark.
    ///
    /// # Errors
    /// Never in practice: a text takes whatever is written to it.
    pub(super) fn write(&self, figures: Arc<Value>) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix(self.prefix.clone());
        registry.register_collector(Box::new(Scrape { families: Arc::clone(&self.families), figures }));
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// The fields of a structure that are not skipped.
fn shown(meta: &StatsMeta) -> impl Iterator<Item = (&String, &StatsField)> {
    meta.fields.iter().filter(|(_, field)| !field.attrs.user.contains_key("_om_skip"))
}

fn of_top_field(
    field: &str,
    about: &StatsField,
    structures: &BTreeMap<&str, &StatsMeta>,
) -> Result<Vec<Family>, StatsError> {
    let StatsData::Dict { datum, .. } = &about.data else {
        return Ok(number(field, about, Place::Top(field.to_owned())).into_iter().collect());
    };
    let map = field.to_owned();
    let StatsKind::Struct(inner) = datum else {
        return Ok(vec![family(field, about, kind(datum, about), Place::Values { map })]);
    };
    let inner = structures
        .get(inner.as_str())
        .ok_or_else(|| StatsError::Meta(format!("{field} holds {inner}, which nothing describes")))?;
    let user = &inner.attrs.user;
    let label = user.get("_om_label").map_or(KEY, String::as_str).to_owned();
    let prefix = user.get("_om_prefix").map_or("", String::as_str);
    let mut families = Vec::new();
    let mut texts = Vec::new();
    for (field, about) in shown(inner) {
        if matches!(about.data, StatsData::Datum(StatsKind::String)) {
            texts.push(field.clone());
            continue;
        }
        let place = Place::Field { map: map.clone(), label: label.clone(), field: field.clone() };
        families.extend(number(&format!("{prefix}{field}"), about, place));
    }
    if !texts.is_empty() {
        families.push(Family {
            name: prefix.trim_end_matches('_').to_owned(),
            help: about.attrs.desc.clone().unwrap_or_default(),
            kind: Kind::Info,
            unit: None,
            divisor: 1.0,
            place: Place::Texts { map, label, fields: texts },
        });
    }
    Ok(families)
}

/// The metric of a field that is a number; None for anything else.
fn number(name: &str, about: &StatsField, place: Place) -> Option<Family> {
    match &about.data {
        StatsData::Datum(datum @ (StatsKind::U64 | StatsKind::I64 | StatsKind::Float)) => {
            Some(family(name, about, kind(datum, about), place))
        }
        _ => None,
    }
}

fn kind(datum: &StatsKind, about: &StatsField) -> Kind {
    let counts = matches!(datum, StatsKind::U64 | StatsKind::I64);
    if counts && !about.attrs.user.contains_key("_om_gauge") { Kind::Counter } else { Kind::Gauge }
}

fn family(name: &str, about: &StatsField, kind: Kind, place: Place) -> Family {
    let mut help = about.attrs.desc.clone().unwrap_or_default();
    // The values of a map are numbers of something, whatever the map's name says about its keys.
    let unit = UNITS.iter().find_map(|&(suffix, unit, divisor)| {
        let stem = name.strip_suffix(suffix)?;
        (!matches!(place, Place::Values { .. })).then_some((stem, unit, divisor))
    });
    let Some((stem, unit, divisor)) = unit else {
        return Family { name: name.to_owned(), help, kind, unit: None, divisor: 1.0, place };
    };
    help.push_str(if unit == "ratio" { " (here as a ratio)" } else { " (here in seconds)" });
    Family { name: stem.to_owned(), help, kind, unit: Some(Unit::Other(unit.to_owned())), divisor, place }
}

type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

impl Family {
    /// Its values with their labels.
    fn values<'a>(&'a self, figures: &'a Value) -> Vec<(Labels<'a>, &'a Value)> {
        let entries = |map: &str| figures.get(map).and_then(Value::as_object).into_iter().flat_map(Map::iter);
        match &self.place {
            Place::Top(field) => figures.get(field).map(|value| (Vec::new(), value)).into_iter().collect(),
            Place::Values { map } => {
                entries(map).map(|(key, value)| (vec![(KEY, Cow::Borrowed(key.as_str()))], value)).collect()
            }
            Place::Field { map, label, field } => entries(map)
                .filter_map(|(key, entry)| {
                    Some((vec![(label.as_str(), Cow::Borrowed(key.as_str()))], entry.get(field)?))
                })
                .collect(),
            Place::Texts { map, label, .. } => entries(map)
                .map(|(key, entry)| (vec![(label.as_str(), Cow::Borrowed(key.as_str()))], entry))
                .collect(),
        }
    }

    /// The name with its unit, as the text has it.
    fn full_name(&self) -> String {
        match &self.unit {
            Some(unit) => format!("{}_{}", self.name, unit.as_str()),
            None => self.name.clone(),
        }
    }

    fn metric_type(&self) -> MetricType {
        match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Info => MetricType::Info,
        }
    }

    fn encode_value(&self, mut encoder: MetricEncoder<'_>, value: &Value) -> fmt::Result {
        match self.kind {
            Kind::Info => {
                let Place::Texts { fields, .. } = &self.place else { return Ok(()) };
                let text = |field: &String| value.get(field).and_then(Value::as_str).unwrap_or_default();
                let labels: Vec<(&str, &str)> =
                    fields.iter().map(|field| (field.as_str(), text(field))).collect();
                encoder.encode_info(&labels)
            }
            // Whole numbers stay whole: a count beyond 2^53 loses nothing.
            Kind::Counter => match (value.as_u64(), self.unit.is_some()) {
                (Some(count), false) => ConstCounter::new(count).encode(encoder),
                _ => ConstCounter::new(self.scaled(value)).encode(encoder),
            },
            Kind::Gauge => match (value.as_i64(), self.unit.is_some()) {
                (Some(number), false) => ConstGauge::new(number).encode(encoder),
                _ => ConstGauge::new(self.scaled(value)).encode(encoder),
            },
        }
    }

    fn scaled(&self, value: &Value) -> f64 {
        // JSON has no word for what is not finite; the format does.
        value.as_f64().unwrap_or(f64::NAN) / self.divisor
    }
}

/// One set of figures on its way to text.
#[derive(Debug)]
struct Scrape {
    families: Arc<[Family]>,
    figures: Arc<Value>,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &*self.families {
            let mut metric = encoder.encode_descriptor(
                &family.name,
                &family.help,
                family.unit.as_ref(),
                family.metric_type(),
            )?;
            for (labels, value) in family.values(&self.figures) {
                family.encode_value(metric.encode_family(&labels)?, value)?;
            }
        }
        Ok(())
    }
}
