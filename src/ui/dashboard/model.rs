//! What the dashboard shows, and how it was asked to show it. Knows no terminal and draws nothing. Bounded: of what was
//! measured it keeps the last look whole, and three figures of each look before it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::pipeline::{Event, Measured, MeasuredContainer};

/// So many looks are drawn as a curve, at most: wider than any screen.
const LOOKS: usize = 400;
/// So many warnings are kept.
const WARNINGS: usize = 20;

/// A key that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// `q`, Ctrl-C: the watch ends.
    End,
    /// `s`: another order of the services.
    Sort,
    /// Tab: another list is scrolled.
    Next,
    Up,
    Down,
    PageUp,
    PageDown,
    /// `?`
    Help,
    /// Any other.
    Other,
}

/// What the services are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Order {
    #[default]
    Name,
    Processor,
    Memory,
    Network,
}

impl Order {
    const fn next(self) -> Self {
        match self {
            Self::Name => Self::Processor,
            Self::Processor => Self::Memory,
            Self::Memory => Self::Network,
            Self::Network => Self::Name,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Processor => "cpu",
            Self::Memory => "memory",
            Self::Network => "network",
        }
    }
}

/// A list that may be longer than its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Services,
    Errors,
    Pages,
    Database,
}

impl List {
    const fn next(self) -> Self {
        match self {
            Self::Services => Self::Errors,
            Self::Errors => Self::Database,
            Self::Database => Self::Pages,
            Self::Pages => Self::Services,
        }
    }
}

/// The figures of one look that are drawn as curves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    /// A second.
    pub(super) requests: Option<f64>,
    /// Seconds.
    pub(super) p95: Option<f64>,
    /// From 0 to 1.
    pub(super) failed: Option<f64>,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Model {
    pub(super) project: String,
    pub(super) release: String,
    /// What is done until there is something to show.
    pub(super) doing: String,
    pub(super) measured: Option<Measured>,
    /// When it came, by the reporter's clock.
    pub(super) at: Duration,
    pub(super) figures: VecDeque<Figures>,
    pub(super) warnings: VecDeque<String>,
    pub(super) order: Order,
    pub(super) scrolled: List,
    /// The first line that is shown of that list.
    pub(super) from: usize,
    pub(super) helps: bool,
    pub(super) ends: bool,
    /// Another one with each change.
    version: u64,
}

impl Model {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            project: String::new(),
            release: String::new(),
            doing: String::new(),
            measured: None,
            at: Duration::ZERO,
            figures: VecDeque::new(),
            warnings: VecDeque::new(),
            order: Order::Name,
            scrolled: List::Services,
            from: 0,
            helps: false,
            ends: false,
            version: 0,
        }
    }

    /// Another number as soon as something else is to be shown.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// Takes one event.
    pub fn event(&mut self, event: &Event, now: Duration) {
        self.version += 1;
        match event {
            Event::RunStarted { project, release, .. } => {
                self.project.clone_from(project);
                self.release = release.clone().unwrap_or_default();
            }
            Event::TaskStarted { title, .. } => {
                self.doing = format!("{title}: reading the logs of before");
            }
            Event::Measured { measured, .. } => self.measured(measured, now),
            Event::Warning { message, .. } => {
                if self.warnings.len() >= WARNINGS {
                    self.warnings.pop_front();
                }
                self.warnings.push_back(message.clone());
            }
            Event::StepStarted { .. }
            | Event::TaskProgress { .. }
            | Event::TaskAmount { .. }
            | Event::TaskOutput { .. }
            | Event::TaskFinished { .. }
            | Event::StepFinished { .. }
            | Event::UnwindStarted { .. }
            | Event::UnwindFinished { .. }
            | Event::Checked { .. }
            | Event::Settled { .. }
            | Event::Planned { .. }
            | Event::NoticePlanned { .. }
            | Event::Notified { .. }
            | Event::Checklist { .. }
            | Event::Reported { .. }
            | Event::Finished { .. } => {}
        }
    }

    fn measured(&mut self, measured: &Measured, now: Duration) {
        let requests = measured.requests.as_ref();
        if self.figures.len() >= LOOKS {
            self.figures.pop_front();
        }
        self.figures.push_back(Figures {
            requests: requests.map(|told| told.per_second),
            p95: requests.and_then(|told| told.p95),
            failed: requests.and_then(|told| told.failed_share),
        });
        self.measured = Some(measured.clone());
        self.at = now;
    }

    /// Takes one key; says whether the watch is to end.
    pub fn key(&mut self, key: Key) -> bool {
        self.version += 1;
        if self.helps {
            self.helps = false;
            return match key {
                Key::End => self.end(),
                Key::Sort
                | Key::Next
                | Key::Up
                | Key::Down
                | Key::PageUp
                | Key::PageDown
                | Key::Help
                | Key::Other => false,
            };
        }
        match key {
            Key::End => return self.end(),
            Key::Sort => self.order = self.order.next(),
            Key::Next => {
                self.scrolled = self.scrolled.next();
                self.from = 0;
            }
            Key::Up => self.from = self.from.saturating_sub(1),
            Key::Down => self.scroll(1),
            Key::PageUp => self.from = self.from.saturating_sub(5),
            Key::PageDown => self.scroll(5),
            Key::Help => self.helps = true,
            Key::Other => {}
        }
        false
    }

    fn end(&mut self) -> bool {
        self.ends = true;
        true
    }

    fn scroll(&mut self, lines: usize) {
        let last = self.length(self.scrolled).saturating_sub(1);
        self.from = (self.from + lines).min(last);
    }

    /// How many lines a list has.
    fn length(&self, list: List) -> usize {
        let Some(measured) = &self.measured else { return 0 };
        match list {
            List::Services => measured.containers.len(),
            List::Errors => measured.errors.len(),
            List::Pages => measured
                .requests
                .as_ref()
                .map_or(0, |requests| requests.pages.len()),
            List::Database => {
                let activity = measured.database.as_ref().and_then(|one| one.activity.as_ref());
                activity.map_or(0, |activity| activity.longest.len() + activity.waits.len())
            }
        }
    }

    /// The containers in the order that was asked for.
    pub(super) fn containers(&self) -> Vec<&MeasuredContainer> {
        let Some(measured) = &self.measured else {
            return Vec::new();
        };
        let mut containers: Vec<&MeasuredContainer> = measured.containers.iter().collect();
        // Most first; of equal ones, and by name, the order is the one they came in.
        let by = |of: &dyn Fn(&MeasuredContainer) -> f64, a: &MeasuredContainer, b: &MeasuredContainer| {
            of(b).total_cmp(&of(a))
        };
        match self.order {
            Order::Name => {}
            Order::Processor => {
                containers.sort_by(|a, b| by(&|one| one.cores.unwrap_or_default(), a, b));
            }
            Order::Memory => {
                containers.sort_by(|a, b| by(&|one| one.memory.unwrap_or_default() as f64, a, b));
            }
            Order::Network => containers.sort_by(|a, b| {
                by(
                    &|one| one.received.unwrap_or_default() + one.sent.unwrap_or_default(),
                    a,
                    b,
                )
            }),
        }
        containers
    }

    /// From which line on a list is shown in a room of so many.
    pub(super) fn first_line(&self, list: List, room: usize) -> usize {
        if list == self.scrolled {
            self.from.min(self.length(list).saturating_sub(room))
        } else {
            0
        }
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}
