//! Metrics as Marathon shows them: one list of samples, written as Prometheus text or as the JSON of its
//! own reporter (reference sections 1.8 and 6). Pure.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::info::MARATHON_VERSION;

/// What a number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
}

#[derive(Debug)]
struct Sample {
    name: String,
    kind: Kind,
    label: Option<(&'static str, String)>,
    value: f64,
}

/// Samples in order; those of one name follow each other.
#[derive(Debug, Default)]
pub(in crate::api) struct Samples(Vec<Sample>);

impl Samples {
    /// A number that goes up and down. `name` is Marathon's, with dots, or one of ours.
    pub fn gauge(&mut self, name: &str, value: f64) {
        self.push(name, Kind::Gauge, None, value);
    }

    /// A number that only grows.
    pub fn counter(&mut self, name: &str, value: u64) {
        self.push(name, Kind::Counter, None, value as f64);
    }

    /// A time that only grows, in seconds.
    pub fn seconds(&mut self, name: &str, time: Duration) {
        self.push(name, Kind::Counter, None, time.as_secs_f64());
    }

    /// One of several gauges of a name.
    pub fn labelled_gauge(&mut self, name: &str, label: (&'static str, &str), value: f64) {
        self.push(name, Kind::Gauge, Some((label.0, label.1.to_owned())), value);
    }

    /// One of several counters of a name.
    pub fn labelled_counter(&mut self, name: &str, label: (&'static str, &str), value: f64) {
        self.push(name, Kind::Counter, Some((label.0, label.1.to_owned())), value);
    }

    fn push(&mut self, name: &str, kind: Kind, label: Option<(&'static str, String)>, value: f64) {
        self.0.push(Sample { name: name.to_owned(), kind, label, value });
    }

    /// The text format; what a name may not hold becomes `_`, as Marathon's reporter has it.
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        let mut last = "";
        for Sample { name, kind, label, value } in &self.0 {
            let safe: String =
                name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            if name != last {
                let kind = if *kind == Kind::Gauge { "gauge" } else { "counter" };
                let _ = writeln!(text, "# TYPE {safe} {kind}");
                last = name;
            }
            let _ = match label {
                Some((key, of)) => writeln!(text, "{safe}{{{key}=\"{of}\"}} {value}"),
                None => writeln!(text, "{safe} {value}"),
            };
        }
        text
    }

    /// Marathon's `/metrics` JSON, which knows no labels: without ours.
    pub fn json(&self) -> Value {
        let (mut counters, mut gauges) = (Map::new(), Map::new());
        for Sample { name, kind, value, .. } in self.0.iter().filter(|sample| sample.label.is_none()) {
            match kind {
                Kind::Gauge => gauges.insert(name.clone(), json!({"value": value})),
                Kind::Counter => counters.insert(name.clone(), json!({"count": *value as u64})),
            };
        }
        json!({
            "version": MARATHON_VERSION, "counters": counters, "gauges": gauges,
            "histograms": {}, "meters": {}, "timers": {},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Samples {
        let mut samples = Samples::default();
        samples.gauge("marathon.instances.launch-overdue.gauge", 1.5);
        samples.counter("marathon.deployments.counter", 3);
        samples.labelled_gauge("gantry_agents", ("presence", "lost"), 0.0);
        samples.labelled_gauge("gantry_agents", ("presence", "connected"), 2.0);
        samples
    }

    #[test]
    fn as_text() {
        let expected = "# TYPE marathon_instances_launch_overdue_gauge gauge\n\
                        marathon_instances_launch_overdue_gauge 1.5\n\
                        # TYPE marathon_deployments_counter counter\n\
                        marathon_deployments_counter 3\n\
                        # TYPE gantry_agents gauge\n\
                        gantry_agents{presence=\"lost\"} 0\n\
                        gantry_agents{presence=\"connected\"} 2\n";
        assert_eq!(samples().prometheus(), expected);
    }

    #[test]
    fn as_json() {
        let json = samples().json();
        assert_eq!(json["gauges"], json!({"marathon.instances.launch-overdue.gauge": {"value": 1.5}}));
        assert_eq!(json["counters"], json!({"marathon.deployments.counter": {"count": 3}}));
    }
}
