//! Does something grow? A line through what was seen over time, and a verdict on it. Pure.

use std::fmt;
use std::time::Duration;

/// The part at the beginning that does not count: buffers fill, and what is kept for a while is kept for the first
/// time.
const WARM_UP_SHARE: f64 = 0.4;
/// A rise over the rest by this share of the mean is no growth: the allocator, and snapshots that come and go.
const TOLERATED_SHARE: f64 = 0.05;
/// Nor is one of so many MiB.
const TOLERATED_MIB: f64 = 16.0;

/// What rises for a while and then falls must fall when it has risen by so many MiB: of the log 64 are written between
/// two snapshots, and it lies in parts of 16; while a snapshot is written there are two.
const TOOTH_MIB: f64 = 160.0;

/// How something may behave that does not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It stays where it is.
    Level,
    /// It rises and falls: a log, which is cut when a snapshot was written.
    Saw,
}

/// Something that is looked at again and again, in MiB.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    kind: Kind,
    seen: Vec<(Duration, f64)>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Growth {
    first: f64,
    pub(super) last: f64,
    most: f64,
    /// The rise a minute of the line of least squares through what was seen after the beginning.
    a_minute: f64,
    /// How much that is until the end.
    rise: f64,
    /// The longest rise without a fall.
    climb: f64,
    pub(super) is_ok: bool,
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, most, a_minute, rise, climb, is_ok } = self;
        write!(
            f,
            "{first:.0} at first, {last:.0} in the end, {most:.0} at most; {climb:.0} without a fall; the line through \
             the later part rises by {a_minute:.1} a minute, {rise:.1} in all: {}",
            if *is_ok { "ok" } else { "it grows" }
        )
    }
}

impl Series {
    pub(super) fn of(name: String, kind: Kind) -> Self {
        Self { name, kind, seen: Vec::new() }
    }

    pub(super) fn push(&mut self, at: Duration, mib: f64) {
        self.seen.push((at, mib));
    }

    /// `None` before there is enough for a line.
    pub(super) fn growth(&self) -> Option<Growth> {
        let ((_, first), (end, last)) = (self.seen.first()?, self.seen.last()?);
        let counts = |(at, _): &&(Duration, f64)| at.as_secs_f64() >= end.as_secs_f64() * WARM_UP_SHARE;
        let points: Vec<_> =
            self.seen.iter().filter(counts).map(|(at, mib)| (at.as_secs_f64(), *mib)).collect();
        let slope = slope(&points)?;
        let span = points.last()?.0 - points.first()?.0;
        let mean = points.iter().map(|(_, mib)| mib).sum::<f64>() / points.len() as f64;
        let (rise, climb) = (slope * span, self.climb());
        Some(Growth {
            first: *first,
            last: *last,
            most: self.seen.iter().map(|(_, mib)| *mib).fold(0.0, f64::max),
            a_minute: slope * 60.0,
            rise,
            climb,
            is_ok: match self.kind {
                Kind::Level => rise <= (mean * TOLERATED_SHARE).max(TOLERATED_MIB),
                Kind::Saw => climb <= TOOTH_MIB,
            },
        })
    }

    /// The longest rise without a fall worth the name.
    fn climb(&self) -> f64 {
        let (mut foot, mut top, mut climb) = (f64::MAX, f64::MIN, 0.0_f64);
        for (_, mib) in &self.seen {
            if *mib < top - TOLERATED_MIB {
                (foot, top) = (*mib, *mib);
            }
            (foot, top) = (foot.min(*mib), top.max(*mib));
            climb = climb.max(top - foot);
        }
        climb
    }
}

/// Of the line of least squares; `None` for less than three points.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let square: f64 = points.iter().map(|point| (point.0 - x) * (point.0 - x)).sum();
    let product: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    (points.len() > 2 && square > 0.0).then_some(product / square)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(kind: Kind, mib: impl Fn(u64) -> f64) -> Option<Growth> {
        let mut series = Series::of("x".to_owned(), kind);
        (0..=30).for_each(|n| series.push(Duration::from_secs(10 * n), mib(n)));
        series.growth()
    }

    #[test]
    fn what_rises_steadily_grows() {
        for (what, mib, is_ok) in [
            ("steady", (|_| 1000.0) as fn(u64) -> f64, true),
            ("falls", |n| 1000.0 - n as f64, true),
            ("fills up first", |n| 200.0 * (n as f64).min(12.0), true),
            ("a saw", |n| 500.0 + 8.0 * (n % 5) as f64, true),
            ("a little", |n| 1000.0 + n as f64, true),
            ("a tenth in the time that counts", |n| 1000.0 + 6.0 * n as f64, false),
            ("a small one doubles", |n| 20.0 + n as f64, false),
        ] {
            let growth = seen(Kind::Level, mib).unwrap();
            assert_eq!(growth.is_ok, is_ok, "{what}: {growth:?}");
        }
    }

    #[test]
    fn what_is_cut_now_and_then_does_not_grow() {
        for (what, mib, climb, is_ok) in [
            ("never cut", (|n| 80.0 + 6.0 * n as f64) as fn(u64) -> f64, 180.0, false),
            ("cut", |n| 80.0 + 10.0 * (n % 12) as f64, 110.0, true),
            ("cut too late", |n| 80.0 + 10.0 * (n % 20) as f64, 190.0, false),
            ("not much", |n| 80.0 + n as f64, 30.0, true),
        ] {
            let growth = seen(Kind::Saw, mib).unwrap();
            assert!((growth.climb - climb).abs() < 1e-9 && growth.is_ok == is_ok, "{what}: {growth:?}");
        }
    }

    #[test]
    fn figures_are_those_of_the_line() {
        let growth = seen(Kind::Level, |n| 100.0 + 2.0 * n as f64).unwrap();
        assert_eq!((growth.first, growth.last, growth.most), (100.0, 160.0, 160.0));
        assert!((growth.a_minute - 12.0).abs() < 1e-9 && (growth.rise - 36.0).abs() < 1e-9, "{growth:?}");
        let mut short = Series::of("x".to_owned(), Kind::Level);
        assert_eq!(short.growth(), None);
        (0..2).for_each(|n| short.push(Duration::from_secs(n), 1.0));
        assert_eq!(short.growth(), None);
    }
}
