//! The figures that Prometheus reads: what each is called, what it counts and how it is labelled.
//!
//! [`SECTIONS`] is the one home of that. A collector can only be made from a [`Descriptor`], so whatever `/metrics` shows is in
//! `docs/reference/metrics.md`, which is printed from here; tests hold the queries of alerts and dashboards to it.

mod catalogue;
mod reference;
mod registry;

pub use catalogue::*;
pub use reference::reference;
pub use registry::Registry;

/// A figure.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Descriptor {
    /// Its name, which ends with its unit and, if it only rises, with `_total`.
    pub name: &'static str,
    /// How it moves.
    pub shape: Shape,
    /// What tells its series apart.
    pub labels: &'static [Label],
    /// What one of it is.
    pub unit: Unit,
    /// What it says, in a sentence.
    pub help: &'static str,
}

/// How a figure moves.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Shape {
    /// It only rises, and begins at zero with the process.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It is observed one by one; these are the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// What one of a figure is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// A thing that is counted.
    Count,
    /// A second.
    Seconds,
    /// A byte.
    Bytes,
    /// Yes or no: 1 or 0.
    Flag,
}

/// What tells the series of a figure apart. Each has few values: names of objects, of which there are many, are never labels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// What its values are.
    pub values: &'static str,
    /// How many there are at most.
    pub bound: &'static str,
}

/// Figures that belong together.
#[derive(Debug)]
pub struct Section {
    /// What they are about.
    pub title: &'static str,
    /// Which processes show them.
    pub shown_by: ShownBy,
    /// The figures.
    pub figures: &'static [Descriptor],
}

/// Which processes show a figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShownBy {
    /// The one that leads.
    Leader,
    /// Each replica.
    Everyone,
}

/// Every figure.
pub fn all() -> impl Iterator<Item = &'static Descriptor> {
    SECTIONS.iter().flat_map(|section| section.figures)
}

impl Descriptor {
    const fn new(name: &'static str, shape: Shape, labels: &'static [Label], unit: Unit, help: &'static str) -> Self {
        Self { name, shape, labels, unit, help }
    }

    const fn counter(name: &'static str, labels: &'static [Label], help: &'static str) -> Self {
        Self::new(name, Shape::Counter, labels, Unit::Count, help)
    }

    const fn gauge(name: &'static str, labels: &'static [Label], unit: Unit, help: &'static str) -> Self {
        Self::new(name, Shape::Gauge, labels, unit, help)
    }

    const fn seconds(
        name: &'static str,
        labels: &'static [Label],
        buckets: &'static [f64],
        help: &'static str,
    ) -> Self {
        Self::new(name, Shape::Histogram(buckets), labels, Unit::Seconds, help)
    }

    /// The names of its series: a histogram has three kinds of them.
    pub fn series(&self) -> Vec<String> {
        match self.shape {
            Shape::Counter | Shape::Gauge => vec![self.name.to_owned()],
            Shape::Histogram(_) => ["bucket", "sum", "count"].map(|part| format!("{}_{part}", self.name)).to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_figure_has_a_name_of_its_own_that_says_what_one_of_it_is() {
        let mut names = BTreeSet::new();
        for figure in all() {
            assert!(names.insert(figure.name), "{} is there twice", figure.name);
            assert!(figure.name.starts_with("trueup_"), "{}", figure.name);
            assert_eq!(figure.name.ends_with("_total"), figure.shape == Shape::Counter, "{}", figure.name);
            assert_eq!(figure.name.ends_with("_seconds"), figure.unit == Unit::Seconds, "{}", figure.name);
            assert_eq!(figure.name.ends_with("_bytes"), figure.unit == Unit::Bytes, "{}", figure.name);
            assert!(figure.help.ends_with('.'), "{}: {}", figure.name, figure.help);
        }
    }

    #[test]
    fn no_figure_is_labelled_with_the_name_of_an_object() {
        let few = ["kind", "state", "tenant", "destination"];
        for label in all().flat_map(|figure| figure.labels) {
            assert!(!["name", "namespace", "uid", "pod", "reason", "message"].contains(&label.name), "{label:?}");
            assert!(!few.contains(&label.name) || !label.bound.is_empty(), "{label:?}");
        }
    }

    #[test]
    fn buckets_rise() {
        for figure in all() {
            if let Shape::Histogram(buckets) = figure.shape {
                assert!(buckets.windows(2).all(|pair| pair[0] < pair[1]), "{}", figure.name);
            }
        }
    }
}
