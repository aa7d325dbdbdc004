//! What the apps look like: all alike, or each drawn from ranges by a seed. Pure: the same flags give the same apps.

use std::fmt::Display;
use std::str::FromStr;

use fastrand::Rng;
use serde_json::{Value, json};

use super::Million;

/// One value, or any from the first to the last, each as likely: `1000`, `1..2000`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range<T> {
    first: T,
    last: T,
}

impl<T: FromStr + PartialOrd + Display> FromStr for Range<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a number"));
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (first, last): (T, T) = (number(first)?, number(last)?);
        match first <= last {
            true => Ok(Self { first, last }),
            false => Err(format!("{first} is more than {last}")),
        }
    }
}

impl Range<usize> {
    fn draw(self, rng: &mut Rng) -> usize {
        rng.usize(self.first..=self.last)
    }
}

impl Range<f64> {
    fn draw(self, rng: &mut Rng) -> f64 {
        self.first + rng.f64() * (self.last - self.first)
    }
}

/// What one app asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    pub(super) instances: usize,
    /// Of each task.
    pub(super) cpus: f64,
    /// Of each task, in MiB.
    pub(super) mem: f64,
    ports: usize,
    /// As Marathon writes it, with colons.
    constraint: Option<String>,
}

impl Shape {
    /// Of the app with this number.
    pub(super) fn of(number: usize, options: &Million) -> Self {
        // Neither another seed nor another app begins where this one does.
        let mut rng = Rng::with_seed(options.seed << 32 | number as u64);
        let constraints = &options.constraint;
        Self {
            instances: options.instances.draw(&mut rng),
            cpus: options.cpus.draw(&mut rng),
            mem: options.mem.draw(&mut rng),
            ports: options.ports.draw(&mut rng),
            constraint: constraints.get(number % constraints.len().max(1)).cloned(),
        }
    }

    /// All apps'.
    pub(super) fn all(options: &Million) -> impl Iterator<Item = Self> {
        (0..options.apps).map(|number| Self::of(number, options))
    }

    /// The same with so many tasks.
    pub(super) fn of_tasks(self, instances: usize) -> Self {
        Self { instances, ..self }
    }

    /// The document of an app of that shape.
    pub(super) fn document(&self, id: &str, options: &Million) -> String {
        let ports: Vec<Value> = (0..self.ports).map(|_| json!({"port": 0, "protocol": "tcp"})).collect();
        let constraint: Option<Vec<&str>> = self.constraint.as_deref().map(|text| text.split(':').collect());
        let mut app = json!({
            "id": id, "cmd": "sleep 1000000", "cpus": self.cpus, "mem": self.mem, "disk": 0,
            "instances": self.instances, "portDefinitions": ports,
            "constraints": constraint.into_iter().collect::<Vec<_>>(),
            "labels": {"owner": "bench", "tier": "hollow"}, "env": {"MODE": "bench"},
        });
        let fields = options.fields.as_object().into_iter().flatten();
        fields.for_each(|(name, value)| app[name] = value.clone());
        app.to_string()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Million,
    }

    fn options(flags: &[&str]) -> Million {
        Line::parse_from(["million"].iter().chain(flags)).options
    }

    #[test]
    fn a_range_is_one_value_or_two() {
        assert_eq!("7".parse(), Ok(Range { first: 7usize, last: 7 }));
        assert_eq!("0.1..2".parse(), Ok(Range { first: 0.1, last: 2.0 }));
        assert_eq!("9..1".parse::<Range<usize>>(), Err("9 is more than 1".to_owned()));
        assert_eq!("1..x".parse::<Range<usize>>(), Err("\"x\" is not a number".to_owned()));
    }

    #[test]
    fn apps_are_alike_unless_there_are_ranges() {
        let alike = options(&[]);
        assert_eq!(alike.tasks(), 1_000_000);
        assert!(Shape::all(&alike).all(|shape| shape == Shape::of(0, &alike)));
    }

    #[test]
    fn a_seed_draws_the_same_apps_again_and_another_one_others() {
        let flags = ["--instances", "1..2000", "--cpus", "0.05..0.4", "--mem", "8..96", "--ports", "0..2"];
        let drawn = |seed| -> Vec<Shape> {
            Shape::all(&options(&[&flags[..], &["--apps", "300", "--seed", seed]].concat())).collect()
        };
        assert_eq!(drawn("1"), drawn("1"));
        assert_ne!(drawn("1"), drawn("2"));
        for shape in drawn("1") {
            assert!((1..=2000).contains(&shape.instances) && (0.05..=0.4).contains(&shape.cpus));
            assert!((8.0..=96.0).contains(&shape.mem) && shape.ports <= 2);
        }
        let ports = |wanted| drawn("1").iter().filter(|shape| shape.ports == wanted).count();
        assert!((0..=2).all(|wanted| ports(wanted) > 50));
    }

    #[test]
    fn constraints_take_turns() {
        let flags = ["--constraint", "hostname:UNIQUE", "--constraint", "rack:GROUP_BY"];
        let options = options(&flags);
        let of = |number| Shape::of(number, &options).constraint;
        assert_eq!([of(0), of(1)].map(Option::unwrap), ["hostname:UNIQUE", "rack:GROUP_BY"]);
        assert_eq!(of(2), of(0));
        assert!(Shape::of(1, &options).document("/a", &options).contains(r#"[["rack","GROUP_BY"]]"#));
    }
}
