//! Axes: which values get a tick, and where on the axis a value stands. Pure arithmetic, whatever is asked for.

/// A vertical axis from nothing, or logarithmic where a few values would flatten all others.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    is_logarithmic: bool,
    /// From the lowest to the highest.
    pub(super) ticks: Vec<f64>,
}

/// So many ticks of a linear axis at most, the one at nothing left out.
const TICKS: f64 = 4.0;

/// Values apart by more than this flatten each other.
const APART: f64 = 25.0;

impl Scale {
    /// From nothing to this value at least.
    pub(super) fn linear(highest: f64) -> Self {
        let highest = sane(highest);
        let step = nice(highest / TICKS);
        let mut ticks = vec![0.0];
        let mut tick = step;
        while tick < highest + step {
            ticks.push(tick);
            tick += step;
        }
        Self {
            low: 0.0,
            high: ticks.last().copied().unwrap_or(1.0),
            is_logarithmic: false,
            ticks,
        }
    }

    /// For these values: linear, or logarithmic where the highest is far above what is usual.
    pub(super) fn of(values: &[f64]) -> Self {
        let mut values: Vec<f64> = values
            .iter()
            .copied()
            .filter(|value| value.is_finite() && *value > 0.0)
            .map(sane)
            .collect();
        values.sort_by(f64::total_cmp);
        let (Some(lowest), Some(highest)) = (values.first(), values.last()) else {
            return Self::linear(1.0);
        };
        let usual = values.get(values.len() / 2).unwrap_or(highest);
        if highest / usual < APART {
            return Self::linear(*highest);
        }
        let (first, last) = (lowest.log10().floor(), highest.log10().ceil());
        let mut ticks = Vec::new();
        let mut exponent = first;
        while exponent <= last {
            ticks.push(10.0_f64.powf(exponent));
            exponent += 1.0;
        }
        Self {
            low: 10.0_f64.powf(first),
            high: 10.0_f64.powf(last),
            is_logarithmic: true,
            ticks,
        }
    }

    pub(super) const fn is_logarithmic(&self) -> bool {
        self.is_logarithmic
    }

    /// Where a value stands, from 0 (the lowest) to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        if !value.is_finite() {
            return if value > 0.0 { 1.0 } else { 0.0 };
        }
        let place = if self.is_logarithmic {
            let value = value.max(self.low);
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            value / self.high
        };
        place.clamp(0.0, 1.0)
    }
}

/// A step between ticks of time, in seconds: so that no more than this many fit.
pub(super) fn time_step(span: f64, most: f64) -> f64 {
    const STEPS: [f64; 20] = [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 10_800.0,
        21_600.0, 43_200.0, 86_400.0, 172_800.0, 604_800.0,
    ];
    let span = sane(span);
    let step = STEPS.iter().find(|step| span / **step <= most);
    step.copied().unwrap_or(span)
}

/// 1, 2, 2.5 or 5 times a power of ten, not below the value.
fn nice(value: f64) -> f64 {
    let value = sane(value);
    let power = 10.0_f64.powf(value.log10().floor());
    let times = [1.0, 2.0, 2.5, 5.0, 10.0];
    let step = times.iter().find(|times| **times * power >= value * 0.999_999);
    step.map_or(10.0 * power, |times| times * power)
}

/// What an axis can be made of: between a millionth and a million million.
fn sane(value: f64) -> f64 {
    if value.is_nan() || value <= 0.0 {
        1.0
    } else {
        value.clamp(1e-6, 1e12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_over_the_highest() {
        for (highest, last, step) in [
            (0.83, 1.0, 0.25),
            (7.0, 8.0, 2.0),
            (100.0, 100.0, 25.0),
            (0.004, 0.004, 0.001),
            (1.0, 1.0, 0.25),
        ] {
            let scale = Scale::linear(highest);
            let (first, next) = (scale.ticks[0], scale.ticks[1]);
            assert!(first.abs() < f64::EPSILON, "{highest}");
            assert!((next - step).abs() < 1e-9, "{highest}: {:?}", scale.ticks);
            assert!(
                (scale.ticks.last().unwrap() - last).abs() < 1e-9,
                "{highest}: {:?}",
                scale.ticks
            );
            assert!(scale.place(highest) <= 1.0);
        }
    }

    #[test]
    fn a_few_slow_answers_do_not_flatten_the_others() {
        let mut values = vec![0.1; 50];
        values.push(60.0);
        let scale = Scale::of(&values);
        assert!(scale.is_logarithmic());
        let place = scale.place(0.1);
        assert!((0.0..0.5).contains(&place), "{place}");
        assert!(scale.place(60.0) > 0.8);
        assert_eq!(scale.ticks.len(), 4, "{:?}", scale.ticks);
        assert!(!Scale::of(&[0.1, 0.12, 0.3]).is_logarithmic());
    }

    #[test]
    fn absurd_values_make_an_axis_all_the_same() {
        for value in [f64::NAN, f64::INFINITY, -1.0, 0.0, f64::MAX, f64::MIN_POSITIVE] {
            let scale = Scale::linear(value);
            assert!((2..=8).contains(&scale.ticks.len()), "{value}: {:?}", scale.ticks);
            let place = scale.place(value);
            assert!((0.0..=1.0).contains(&place), "{value}: {place}");
            let place = Scale::of(&[value, value]).place(value);
            assert!((0.0..=1.0).contains(&place), "{value}: {place}");
        }
        assert_eq!(Scale::of(&[]).ticks.len(), 5);
    }

    #[test]
    fn time_has_no_more_ticks_than_fit() {
        for (span, step) in [
            (45.0, 10.0),
            (1320.0, 300.0),
            (86_400.0, 21_600.0),
            (f64::NAN, 1.0),
        ] {
            assert!((time_step(span, 5.0) - step).abs() < f64::EPSILON, "{span}");
        }
    }
}
