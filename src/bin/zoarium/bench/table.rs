//! Readings as lines of a table.

use hdrhistogram::Histogram;

use super::Workload;
use super::load::{self, Measurement};
use crate::out::say;

/// One workload in one shape, on one server or two.
pub(crate) struct Row {
    workload: Workload,
    connections: usize,
    outstanding: usize,
    sides: Vec<Side>,
}

/// All rounds on one server.
struct Side {
    per_second: f64,
    latency: Histogram<u64>,
    own_cpu: f64,
}

impl Row {
    pub(crate) fn new(
        workload: Workload,
        connections: usize,
        outstanding: usize,
        readings: Vec<Vec<Measurement>>,
    ) -> Row {
        let sides = readings.into_iter().map(Side::new).collect();
        Row { workload, connections, outstanding, sides }
    }

    /// How many times as fast the first server is.
    pub(crate) fn ratio(&self) -> f64 {
        match &self.sides[..] {
            [first, second, ..] => first.per_second / second.per_second,
            _ => f64::NAN,
        }
    }
}

impl Side {
    fn new(readings: Vec<Measurement>) -> Side {
        let mut latency = load::histogram();
        for reading in &readings {
            latency.add(&reading.latency).expect("histograms of one make");
        }
        let own_cpu = median(readings.iter().map(|reading| reading.own_cpu).collect());
        Side { per_second: median(readings.iter().map(Measurement::per_second).collect()), latency, own_cpu }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// The head of the table for one server or two.
pub(crate) fn head(names: &[String], servers: usize) {
    say!();
    let columns = "    per s      p50      p95      p99    p99.9      max  gen";
    let mut line = format!("{:<8}{:>9}", "", "c × o");
    let mut first = format!("{:17}", "");
    for rank in 0..servers {
        first += &format!("  {:<width$}", names.get(rank).map_or("", String::as_str), width = columns.len());
        line += "  ";
        line += columns;
    }
    if servers > 1 {
        say!("{}", first.trim_end());
        line += "    ratio";
    }
    say!("{line}");
}

/// One line of it. `gen` is how much of a core the load generator took.
pub(crate) fn line(row: &Row) {
    let shape = format!("{} × {}", row.connections, row.outstanding);
    let mut line = format!("{:<8}{shape:>9}", row.workload.name());
    for side in &row.sides {
        line += &format!("  {:>9.0}", side.per_second);
        for value in [0.5, 0.95, 0.99, 0.999].map(|quantile| side.latency.value_at_quantile(quantile)) {
            line += &format!("{:>9}", duration(value));
        }
        line += &format!("{:>9}{:>5.0}%", duration(side.latency.max()), side.own_cpu * 100.0);
    }
    if row.sides.len() > 1 {
        line += &format!("{:>8.1}×", row.ratio());
    }
    say!("{line}");
}

/// Nanoseconds in the unit that reads best.
fn duration(ns: u64) -> String {
    match ns {
        0..=9_999_999 => format!("{} µs", ns / 1000),
        10_000_000..=9_999_999_999 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }

    #[test]
    fn durations_keep_three_digits_or_more() {
        assert_eq!([900, 9_999_999, 10_000_000, 12_000_000_000].map(duration), ["0 µs", "9999 µs", "10 ms", "12 s"]);
    }
}
