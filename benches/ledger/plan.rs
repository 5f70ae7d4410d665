//! What to measure, from the command line.

use std::fmt;

use crate::place::Kind;

/// One part of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// One append at a time beside one transaction of bare SQL.
    Lone,
    /// Many waiting writers beside batches of bare SQL.
    Append,
    /// The relay with a sink that does nothing.
    Relay,
    /// The relay with the webhook sink and the reference receiver.
    Webhook,
    /// From the commit to the receiver.
    Latency,
    /// How all this changes while the ledger grows.
    Curve,
    /// What pgbench says of the same server.
    Pgbench,
}

const PARTS: [(&str, Part); 7] = [
    ("lone", Part::Lone),
    ("append", Part::Append),
    ("relay", Part::Relay),
    ("webhook", Part::Webhook),
    ("latency", Part::Latency),
    ("curve", Part::Curve),
    ("pgbench", Part::Pgbench),
];

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = PARTS.iter().find(|(_, part)| part == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// What to measure, on what, and how thoroughly.
#[derive(Debug)]
pub struct Plan {
    pub parts: Vec<Part>,
    pub kinds: Vec<Kind>,
    /// Small and once.
    pub short: bool,
    /// How many transitions the curve ends at.
    pub curve: u64,
}

const USAGE: &str = "usage: make bench-ledger BENCH=\"[PART...] [--on postgres|sqlite] [--curve 10k|100k|1m|10m] \
     [--short]\"; parts: lone append relay webhook latency curve pgbench (all of them if none is named)";

impl Plan {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self { parts: vec![], kinds: vec![], short: false, curve: 1_000_000 };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                // Cargo says so to every benchmark.
                "--bench" => {}
                "--short" => plan.short = true,
                "--on" => plan.kinds.push(match value()?.as_str() {
                    "postgres" => Kind::Postgres,
                    "sqlite" => Kind::Sqlite,
                    other => return Err(format!("there is no store '{other}'\n{USAGE}")),
                }),
                "--curve" => {
                    plan.curve = match value()?.as_str() {
                        "10k" => 10_000,
                        "100k" => 100_000,
                        "1m" => 1_000_000,
                        "10m" => 10_000_000,
                        other => return Err(format!("the curve cannot end at '{other}'\n{USAGE}")),
                    };
                }
                name => match PARTS.iter().find(|(known, _)| *known == name) {
                    Some((_, part)) => plan.parts.push(*part),
                    None => return Err(format!("there is no part '{name}'\n{USAGE}")),
                },
            }
        }
        if plan.parts.is_empty() {
            plan.parts = PARTS.iter().map(|(_, part)| *part).collect();
        }
        if plan.kinds.is_empty() {
            plan.kinds = vec![Kind::Postgres, Kind::Sqlite];
        }
        if plan.short {
            plan.curve = plan.curve.min(100_000);
        }
        Ok(plan)
    }

    /// `full`, or a little of it in a short run.
    pub fn scale(&self, full: usize) -> usize {
        if self.short { (full / 20).max(1) } else { full }
    }
}
