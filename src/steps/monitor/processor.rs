//! Whether a container keeps a processor busy which those before it did not. It is told and judged by nobody: a cache that is
//! filled after a deploy, or one more visitor, looks the same for a while. Pure, as all of the verdict.

/// What it has used, and what those before it did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Processor {
    /// Seconds since the watch began, and seconds of processor time since the container was started.
    pub used: Vec<(f64, f64)>,
    /// How many processors those before it used, over all of their time; `None` where nobody knows.
    pub before: Option<f64>,
    /// How many it may use; `None` where it has no limit.
    pub limit: Option<f64>,
}

/// For so many seconds, without a pause.
const BUSY: f64 = 30.0;
/// A pause is what is this long, in seconds: single looks come late on a busy machine.
const PAUSE: f64 = 8.0;
/// Of a processor, or of what it may use, in so long a time.
const ALL_OF_IT: f64 = 0.9;
/// Those before it used less than this part of it.
const BEFORE: f64 = 0.5;

impl Processor {
    /// How many it has kept busy all the while; `None` where that is not known.
    pub(super) fn busy(&self) -> Option<f64> {
        let (first, last) = (self.used.first()?, self.used.last()?);
        (last.0 > first.0).then(|| (last.1 - first.1) / (last.0 - first.0))
    }

    /// What is to be told of a container of this name, if anything is.
    pub(super) fn remark(&self, name: &str) -> Option<String> {
        // A limit above one processor is no measure: what keeps one busy is one process that turns in a circle.
        let whole = self.limit.unwrap_or(1.0).min(1.0);
        let before = self.before.filter(|before| *before < BEFORE * whole)?;
        let (end, last) = *self.used.last()?;
        let from = self.used.partition_point(|(at, _)| *at < end - 2.0 * BUSY);
        let window = self.used.get(from..)?;
        let since = window.iter().rposition(|(at, _)| *at <= end - BUSY)?;
        let busy = window.get(since..)?;
        let (start, first) = *busy.first()?;
        let never_paused = busy.iter().enumerate().all(|(number, (at, used))| {
            let mut later = busy.iter().skip(number);
            let later = later.find(|(later, _)| later - at >= PAUSE);
            later.is_none_or(|(later, more)| more - used >= ALL_OF_IT * whole * (later - at))
        });
        never_paused.then(|| {
            let seconds = end - start;
            format!(
                "{name} has used {:.1} processors for {seconds:.0} s; those before it {before:.1}",
                (last - first) / seconds
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every two seconds, at how much of a processor was used at each.
    fn told(
        seconds: u32,
        before: Option<f64>,
        limit: Option<f64>,
        share: impl Fn(u32) -> f64,
    ) -> Option<String> {
        let mut sum = 5.0;
        let used = (0..=seconds / 2).map(|look| {
            let at = f64::from(2 * look);
            sum += if look == 0 { 0.0 } else { 2.0 * share(2 * look) };
            (at, sum)
        });
        let used = used.collect();
        Processor { used, before, limit }.remark("web-1")
    }

    #[test]
    fn one_that_never_rests_is_told_once_it_has_not_for_half_a_minute() {
        let said = told(40, Some(0.1), None, |_| 1.0);
        assert_eq!(
            said.as_deref(),
            Some("web-1 has used 1.0 processors for 30 s; those before it 0.1")
        );
        assert_eq!(told(28, Some(0.1), None, |_| 1.0), None);
        // At half of a processor's limit it can do no more.
        assert!(told(40, Some(0.1), Some(0.5), |_| 0.49).is_some());
        assert!(told(40, Some(0.1), Some(4.0), |_| 1.0).is_some());
        // Looks that come late.
        assert!(
            told(40, Some(0.1), None, |second| if second % 4 == 0 {
                0.6
            } else {
                1.4
            })
            .is_some()
        );
    }

    #[test]
    fn work_is_no_news() {
        // As those before it, or of which nothing is known.
        assert_eq!(told(60, Some(0.8), None, |_| 1.0), None);
        assert_eq!(told(60, None, None, |_| 1.0), None);
        // Busy, and now and then at rest.
        assert_eq!(
            told(60, Some(0.1), None, |second| if second % 20 < 10 {
                0.3
            } else {
                1.8
            }),
            None
        );
        // At the beginning alone, as code that is loaded.
        assert_eq!(
            told(60, Some(0.1), None, |second| if second < 25 { 1.0 } else { 0.2 }),
            None
        );
        assert_eq!(Processor::default().remark("web-1"), None);
    }
}
