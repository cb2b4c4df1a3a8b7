//! The requests around the moment at which a release was made to serve, as a series over time, for whoever draws it.
//! Values only: who counts them is `steps::monitor`'s business.

/// What a proxy's log tells of a deploy.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct TrafficSeries {
    /// RFC 3339, UTC, by the engine's clock: when the first bucket begins. No earlier request is known.
    pub from: String,
    /// What each bucket covers, in seconds.
    pub every: u32,
    /// When the first container of the release was made, in seconds since `from`.
    pub deployed: f64,
    /// When the watch began, in seconds since `from`.
    pub watched: f64,
    /// When the watch ended, in seconds since `from`.
    pub until: f64,
    /// A few hundred at most.
    pub buckets: Vec<TrafficCounts>,
    /// In the hour before `deployed`.
    pub before: TrafficCounts,
    /// Since `watched`. How long the answers of its first seconds took is not in it: caches are cold.
    pub since: TrafficCounts,
    /// The busiest pages, and those that failed.
    pub pages: Vec<PageTraffic>,
}

/// The requests of some time. The tool's own are among them.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct TrafficCounts {
    pub requests: u64,
    /// Answered 5xx.
    pub failed: u64,
    /// Answered 404.
    pub missing: u64,
    /// Seconds that half of the answers below 500 did not exceed; `None` where there are none, or the log tells no times.
    pub p50: Option<f64>,
    /// And 95 of 100.
    pub p95: Option<f64>,
    /// And 99 of 100.
    pub p99: Option<f64>,
}

/// One page before and after.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PageTraffic {
    /// As in `GET /copies/:n/`.
    pub page: String,
    pub before: TrafficCounts,
    pub since: TrafficCounts,
}
