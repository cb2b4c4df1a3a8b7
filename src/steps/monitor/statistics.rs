//! The arithmetic of a verdict: how likely so many failures are by chance, how long answers took, and whether something
//! grows. Knows nothing of releases.

use std::collections::BTreeMap;

/// The chance that of `of` things at least `least` happen, each with this probability by itself: the upper tail of the
/// binomial distribution.
pub fn chance_of_at_least(least: u64, of: u64, probability: f64) -> f64 {
    if least == 0 || probability >= 1.0 {
        return 1.0;
    }
    if least > of || probability <= 0.0 {
        return 0.0;
    }
    let (n, k, p) = (of as f64, least as f64, probability);
    // As many as are expected are no surprise; below, the terms fall from the first one on.
    if k <= n * p {
        return 1.0;
    }
    let first = logarithm_of_choose(n, k) + k * p.ln() + (n - k) * (-p).ln_1p();
    let (mut sum, mut term, mut k) = (1.0_f64, 1.0_f64, k);
    while k < n {
        term *= (n - k) / (k + 1.0) * p / (1.0 - p);
        sum += term;
        k += 1.0;
        if term < sum * 1e-12 {
            break;
        }
    }
    (first + sum.ln()).exp().min(1.0)
}

fn logarithm_of_choose(n: f64, k: f64) -> f64 {
    logarithm_of_factorial(n) - logarithm_of_factorial(k) - logarithm_of_factorial(n - k)
}

/// Stirling's series, exact to ten digits from 10 on; below that, multiplied out.
fn logarithm_of_factorial(n: f64) -> f64 {
    if n < 10.0 {
        let mut product = 1.0;
        let mut factor = 2.0;
        while factor <= n {
            product *= factor;
            factor += 1.0;
        }
        return f64::ln(product);
    }
    let series = 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3)) + 1.0 / (1260.0 * n.powi(5));
    n * n.ln() - n + 0.5 * (std::f64::consts::TAU * n).ln() + series
}

/// How long things took, kept by size: each class is 7 % wider than the one before it, so that a quantile is exact to
/// half of that, whatever comes. From half a millisecond to ten minutes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Durations {
    classes: BTreeMap<u16, u64>,
    count: u64,
}

const SHORTEST: f64 = 0.000_5;
const WIDTH: f64 = 1.07;
const LAST_CLASS: f64 = 207.0;

impl Durations {
    /// Adds one, in seconds.
    pub fn add(&mut self, seconds: f64) {
        self.add_many(seconds, 1);
    }

    /// Adds so many that took about so many seconds.
    pub fn add_many(&mut self, seconds: f64, count: u64) {
        let class = (seconds.max(SHORTEST) / SHORTEST).ln() / WIDTH.ln();
        // Between 0 and 207.
        let class = class.round().min(LAST_CLASS) as u16;
        *self.classes.entry(class).or_default() += count;
        self.count += count;
    }

    /// Adds all of these.
    pub fn add_all(&mut self, other: &Self) {
        for (class, count) in &other.classes {
            *self.classes.entry(*class).or_default() += count;
        }
        self.count += other.count;
    }

    /// How many there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// What this part of them (0 to 1) did not exceed, in seconds; `None` where there are none.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let wanted = (part * self.count as f64).ceil().max(1.0);
        let mut so_far = 0;
        let (class, _) = self.classes.iter().find(|(_, count)| {
            so_far += **count;
            so_far as f64 >= wanted
        })?;
        Some(SHORTEST * WIDTH.powi(i32::from(*class)))
    }

    /// How many took longer.
    pub fn longer_than(&self, seconds: f64) -> u64 {
        let longer = self
            .classes
            .iter()
            .filter(|(class, _)| SHORTEST * WIDTH.powi(i32::from(**class)) > seconds);
        longer.map(|(_, count)| count).sum()
    }
}

/// How something that was measured again and again went, in seconds and whatever it is measured in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    pub first: f64,
    pub last: f64,
    /// In a second, by the median of all pairs: single outliers do not move it.
    pub per_second: f64,
    /// From -1, where each value is less than those before it, to 1, where each is more (Kendall's tau).
    pub steadiness: f64,
    /// By how much it grew in the second half of the time, in parts of what it grew by in the first: what levels off is
    /// far below 1.
    pub goes_on: f64,
}

/// How it went; `None` for fewer than four values. At most the newest 128 are looked at.
pub fn growth(values: &[(f64, f64)]) -> Option<Growth> {
    let values = values.get(values.len().saturating_sub(128)..)?;
    let [(_, first), .., (_, last)] = values else {
        return None;
    };
    if values.len() < 4 {
        return None;
    }
    let mut slopes = Vec::new();
    let (mut up, mut down) = (0.0, 0.0);
    for (position, (earlier, before)) in values.iter().enumerate() {
        for (later, after) in values.iter().skip(position + 1) {
            if later > earlier {
                slopes.push((after - before) / (later - earlier));
            }
            if after > before {
                up += 1.0;
            } else if after < before {
                down += 1.0;
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    let per_second = *slopes.get(slopes.len() / 2)?;
    let pairs = (values.len() * (values.len() - 1)) as f64 / 2.0;
    let (_, middle) = values.get(values.len() / 2)?;
    let first_half = (middle - first).max(f64::MIN_POSITIVE);
    Some(Growth {
        first: *first,
        last: *last,
        per_second,
        steadiness: (up - down) / pairs,
        goes_on: (last - middle) / first_half,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_those_of_the_tables() {
        for (least, of, probability, expected) in [
            (3, 3, 0.01, 1e-6),
            (1, 10, 0.1, 0.651_321_6),
            (5, 10, 0.1, 0.001_634_9),
            (60, 1000, 0.03, 5.802e-7),
            (0, 10, 0.1, 1.0),
            (11, 10, 0.1, 0.0),
            (10, 10, 1.0, 1.0),
        ] {
            let chance = chance_of_at_least(least, of, probability);
            // What is expected at least once in so many is told as certain.
            let close =
                (chance - expected).abs() <= 0.001 * expected || (least as f64 <= of as f64 * probability);
            assert!(
                close,
                "{least} of {of} at {probability}: {chance} and not {expected}"
            );
        }
        assert!(chance_of_at_least(1_000, 10_000_000, 0.000_01) < 1e-100);
    }

    #[test]
    fn quantiles_are_within_a_class() {
        let mut durations = Durations::default();
        assert_eq!(durations.quantile(0.5), None);
        for milliseconds in 1..=1000 {
            durations.add(f64::from(milliseconds) / 1000.0);
        }
        for (part, expected) in [(0.5, 0.5), (0.95, 0.95), (0.99, 0.99), (1.0, 1.0)] {
            let quantile = durations.quantile(part).unwrap();
            assert!((quantile / expected - 1.0).abs() < 0.05, "{part}: {quantile}");
        }
        let longer = durations.longer_than(0.9);
        assert!((60..=140).contains(&longer), "{longer}");
        durations.add(f64::MAX);
        durations.add(0.0);
        assert_eq!(durations.count(), 1002);
    }

    #[test]
    fn growth_is_told_from_what_levels_off_and_from_noise() {
        let at = |value: &dyn Fn(f64) -> f64| -> Vec<(f64, f64)> {
            (0..12)
                .map(|look| f64::from(look) * 2.0)
                .map(|time| (time, value(time)))
                .collect()
        };
        let steady = growth(&at(&|time| 100.0 + 3.0 * time)).unwrap();
        assert!(
            (steady.per_second - 3.0).abs() < 1e-9 && steady.steadiness > 0.99,
            "{steady:?}"
        );
        assert!(steady.goes_on > 0.7, "{steady:?}");
        let levels_off = growth(&at(&|time| 100.0 + 60.0 * (1.0 - (-time / 4.0).exp()))).unwrap();
        assert!(levels_off.goes_on < 0.2, "{levels_off:?}");
        let noise = growth(&at(&|time| 100.0 + 5.0 * (time * 7.7).sin())).unwrap();
        assert!(noise.steadiness.abs() < 0.6, "{noise:?}");
        assert_eq!(growth(&[(0.0, 1.0); 3]), None);
    }
}
