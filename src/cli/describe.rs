//! Quantities, times and states in words for people.

use std::time::Duration;

use anstyle::Style;

use super::text::{BAD, BUSY, CALM, DIM, GOOD};
use crate::domain::{Billable, Kind, State, Timestamp};

/// What is billed: `2 × 100m / 128Mi`, each replica's share of cores and memory, and the storage.
pub fn billable(billable: Billable) -> String {
    let Billable { cpu_millicores, memory_bytes, replicas, storage_bytes } = billable;
    let mut parts = vec![];
    if cpu_millicores > 0 || memory_bytes > 0 || replicas > 0 {
        let count = u64::from(replicas.max(1));
        let even = cpu_millicores % count == 0 && memory_bytes % count == 0;
        let share = if even { count } else { 1 };
        let quantities = format!("{} / {}", cores(cpu_millicores / share), bytes(memory_bytes / share));
        parts.push(match replicas {
            0 => quantities,
            _ if even => format!("{replicas} × {quantities}"),
            // Replicas of different sizes, as in the middle of a rollout.
            _ => format!("{replicas} with {quantities} in all"),
        });
    }
    if storage_bytes > 0 {
        parts.push(format!("{} stored", bytes(storage_bytes)));
    }
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

/// The same in less room: `2×100m/128Mi`.
pub fn billable_tightly(billable: Billable) -> String {
    self::billable(billable).replace(" × ", "×").replace(" / ", "/").replace(" stored", "")
}

fn cores(millicores: u64) -> String {
    if millicores.is_multiple_of(1000) { (millicores / 1000).to_string() } else { format!("{millicores}m") }
}

/// Bytes in the largest unit that is exact, or else in the largest with one decimal.
fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u32); 5] = [("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let exact = UNITS.iter().find(|(_, shift)| bytes >= 1 << shift && bytes.trailing_zeros() >= *shift);
    let largest = UNITS.iter().find(|(_, shift)| bytes >= 1 << shift);
    match (exact, largest) {
        // Down to a thousandth of the largest unit, the exact one reads better.
        (Some((unit, shift)), _) if bytes >> shift < 10_000 => format!("{}{unit}", bytes >> shift),
        (_, Some((unit, shift))) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{}{unit}", tenths / 10, tenths % 10)
        }
        _ => format!("{bytes}B"),
    }
}

/// A moment in UTC, in milliseconds unless it is a whole second: `2026-11-21 09:48:54.671`.
pub fn moment(at: Timestamp) -> String {
    let whole = at.as_micros() % 1_000_000 == 0;
    let pattern = if whole { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M:%S.%3f" };
    at.to_jiff().strftime(pattern).to_string()
}

/// The same moment beside `other`: without the year, and without the day where it is the same.
pub fn moment_beside(at: Timestamp, other: Timestamp) -> String {
    let (full, beside) = (moment(at), moment(other));
    let from = match (full.get(..10), beside.get(..10)) {
        (Some(day), Some(other)) if day == other => 11,
        (Some(day), Some(other)) if day.get(..4) == other.get(..4) => 5,
        _ => 0,
    };
    full.get(from..).unwrap_or(&full).to_owned()
}

/// How long, in at most two units: `40 ms`, `3.2 s`, `4 min 10 s`, `2 d 3 h`.
pub fn span(span: Duration) -> String {
    let (millis, seconds) = (span.as_millis(), span.as_secs());
    let two = |large: u64, unit: &str, small: u64, lesser: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {lesser}"),
    };
    match seconds {
        0 => format!("{millis} ms"),
        1..10 => format!("{}.{} s", seconds, millis % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// A resource as people name it: `AppDeployment acme-prod/web`.
pub fn resource(kind: Kind, namespace: Option<&str>, name: &str) -> String {
    format!("{kind} {}", self::name(namespace, name))
}

/// A name, and the namespace it is in.
pub fn name(namespace: Option<&str>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

/// `1 event`, `2 events`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{} {noun}s", grouped(number)) }
}

/// A number with its thousands apart: `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How a state looks: settled, under way, wrong, at rest or over.
pub fn style_of(state: &State) -> Style {
    match state.as_str() {
        "Available" | "Active" | "Completed" => GOOD,
        "Degraded" | "Failed" => BAD,
        "Suspended" => CALM,
        "Deleted" | "Detached" => DIM,
        _ => BUSY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_people_write_them() {
        let of = |replicas, cpu_millicores, memory_bytes, storage_bytes| {
            billable(Billable { cpu_millicores, memory_bytes, replicas, storage_bytes })
        };
        assert_eq!(of(0, 0, 0, 0), "nothing");
        assert_eq!(of(2, 200, 256 << 20, 0), "2 × 100m / 128Mi");
        assert_eq!(of(1, 2000, 4 << 30, 10 << 30), "1 × 2 / 4Gi, 10Gi stored");
        assert_eq!(of(3, 250, 3 << 20, 0), "3 with 250m / 3Mi in all");
        assert_eq!(of(0, 0, 0, 1_536), "1.5Ki stored");
        assert_eq!(of(0, 0, 0, (1 << 30) + 1), "1.0Gi stored");
        assert_eq!(of(0, 0, 0, 7), "7B stored");
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let words = [(40, "40 ms"), (3_290, "3.2 s"), (12_000, "12 s"), (250_000, "4 min 10 s"), (3_600_000, "1 h")];
        for (millis, expected) in words {
            assert_eq!(span(Duration::from_millis(millis)), expected);
        }
        assert_eq!(span(Duration::from_hours(51)), "2 d 3 h");
    }

    #[test]
    fn a_moment_beside_another_leaves_out_what_they_share() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let noon = at("2026-11-21T12:00:00Z");
        assert_eq!(moment(noon), "2026-11-21 12:00:00");
        assert_eq!(moment_beside(at("2026-11-21T12:00:00.6715Z"), noon), "12:00:00.671");
        assert_eq!(moment_beside(at("2026-11-22T00:00:00Z"), noon), "11-22 00:00:00");
        assert_eq!(moment_beside(at("2027-01-01T00:00:00Z"), noon), "2027-01-01 00:00:00");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
