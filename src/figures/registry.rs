//! Collectors, made from descriptors and from nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    Encoder as _, Error, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, TextEncoder, core::Collector,
};

use super::{Descriptor, Shape};

/// Where collectors are known. Clones share it.
#[derive(Clone, Default)]
pub struct Registry {
    collectors: prometheus::Registry,
    made: Arc<Mutex<Vec<&'static str>>>,
}

impl Registry {
    /// One that knows no collector yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The names of what was made, in that order.
    pub fn made(&self) -> Vec<&'static str> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> Result<String, Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.collectors.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// A counter with labels.
    pub fn counters(&self, figure: &Descriptor) -> Result<IntCounterVec, Error> {
        self.know(figure, matches!(figure.shape, Shape::Counter), IntCounterVec::new(opts(figure), &labels(figure))?)
    }

    /// A counter without any.
    pub fn counter(&self, figure: &Descriptor) -> Result<IntCounter, Error> {
        self.know(figure, matches!(figure.shape, Shape::Counter), IntCounter::with_opts(opts(figure))?)
    }

    /// A gauge of whole numbers with labels.
    pub fn gauges(&self, figure: &Descriptor) -> Result<IntGaugeVec, Error> {
        self.know(figure, matches!(figure.shape, Shape::Gauge), IntGaugeVec::new(opts(figure), &labels(figure))?)
    }

    /// A gauge of whole numbers without any.
    pub fn gauge(&self, figure: &Descriptor) -> Result<IntGauge, Error> {
        self.know(figure, matches!(figure.shape, Shape::Gauge), IntGauge::with_opts(opts(figure))?)
    }

    /// A gauge of seconds with labels.
    pub fn spans(&self, figure: &Descriptor) -> Result<GaugeVec, Error> {
        self.know(figure, matches!(figure.shape, Shape::Gauge), GaugeVec::new(opts(figure), &labels(figure))?)
    }

    /// A histogram with labels.
    pub fn histograms(&self, figure: &Descriptor) -> Result<HistogramVec, Error> {
        let made = HistogramVec::new(buckets(figure), &labels(figure))?;
        self.know(figure, matches!(figure.shape, Shape::Histogram(_)), made)
    }

    /// A histogram without any.
    pub fn histogram(&self, figure: &Descriptor) -> Result<Histogram, Error> {
        self.know(figure, matches!(figure.shape, Shape::Histogram(_)), Histogram::with_opts(buckets(figure))?)
    }

    fn know<C: Collector + Clone + 'static>(&self, figure: &Descriptor, fits: bool, made: C) -> Result<C, Error> {
        if !fits {
            return Err(Error::Msg(format!("{} is no {:?}", figure.name, figure.shape)));
        }
        self.collectors.register(Box::new(made.clone()))?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(figure.name);
        Ok(made)
    }
}

fn opts(figure: &Descriptor) -> Opts {
    Opts::new(figure.name, figure.help)
}

fn buckets(figure: &Descriptor) -> HistogramOpts {
    let buckets = match figure.shape {
        Shape::Histogram(buckets) => buckets.to_vec(),
        Shape::Counter | Shape::Gauge => Vec::new(),
    };
    HistogramOpts::new(figure.name, figure.help).buckets(buckets)
}

fn labels(figure: &Descriptor) -> Vec<&'static str> {
    figure.labels.iter().map(|label| label.name).collect()
}
