//! What can be asked for.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};

use super::tools::Tool;

/// Deploys the example again and again while requests come in at a fixed rate, with this tool and with others, and
/// prints what that cost.
#[derive(Debug, Clone, Parser)]
#[command(bin_name = "cargo bench --bench deploys --")]
pub(crate) struct Options {
    /// How often to deploy with viatique-deploy
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = up_to_100(1))]
    pub(crate) deploys: usize,

    /// How often to deploy with each other tool, and with this one without uploads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = up_to_100(1))]
    pub(crate) others: usize,

    /// How often to roll back
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = up_to_100(0))]
    pub(crate) rollbacks: usize,

    /// How many releases to deploy that fail half-way
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = up_to_100(0))]
    pub(crate) failing: usize,

    /// Requests a second
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rate: u32,

    /// Which tools to compare
    #[arg(
        long,
        value_name = "TOOLS",
        value_enum,
        value_delimiter = ',',
        default_value = "viatique,script,compose,rollout"
    )]
    pub(crate) tools: Vec<Tool>,

    /// Whether 6-second uploads are in flight during the deploys
    #[arg(long, value_name = "MODE", value_enum, default_value = "both")]
    pub(crate) uploads: Uploads,

    /// Let nginx hand an upload on while it comes in, so that it occupies the backend too
    #[arg(long)]
    pub(crate) unbuffered: bool,

    /// Write the plot here
    #[arg(long, value_name = "FILE", default_value = "target/deploys.svg")]
    pub(crate) plot: PathBuf,

    /// Write everything that was measured here
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Print the tables as Markdown
    #[arg(long)]
    pub(crate) markdown: bool,

    /// Instead: how long projects of this many small services take, beside docker compose
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = up_to(1, 200))]
    pub(crate) scale: Vec<usize>,

    /// Instead: how long a backup takes of a database of so many megabytes and 20,000 files, beside a bare pg_dump
    #[arg(long, value_name = "MB", conflicts_with = "scale", value_parser = up_to(1, 20_000))]
    pub(crate) backups: Option<usize>,

    /// Instead: what `monitor` takes of processor and memory in so many seconds, under requests and under a flood of logs
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["scale", "backups"], value_parser = clap::value_parser!(u64).range(20..=3600))]
    pub(crate) monitor: Option<u64>,

    /// How often to measure each size, or the backups
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = up_to_100(1))]
    pub(crate) rounds: usize,

    /// What `cargo bench` puts in front; without it nothing is measured
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

/// With uploads, without, or one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Uploads {
    On,
    Off,
    Both,
}

impl Uploads {
    /// The modes, in order.
    pub(crate) const fn modes(self) -> &'static [bool] {
        match self {
            Self::On => &[true],
            Self::Off => &[false],
            Self::Both => &[true, false],
        }
    }
}

fn up_to_100(least: u64) -> RangedU64ValueParser<usize> {
    up_to(least, 100)
}

fn up_to(least: u64, most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..=most)
}
