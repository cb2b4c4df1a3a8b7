//! Stages: what runs side by side, and what waits for what. How they are run is in `run`.

use super::step::Step;

/// Steps that run side by side, because none needs what another does or finds out.
pub struct Stage(Vec<Box<dyn Step>>);

impl Stage {
    /// A step by itself.
    pub fn of(step: impl Step + 'static) -> Self {
        Self(vec![Box::new(step)])
    }

    /// And this one beside it.
    #[must_use]
    pub fn beside(mut self, step: impl Step + 'static) -> Self {
        self.0.push(Box::new(step));
        self
    }

    /// The same, each step as this makes of it.
    #[must_use]
    pub fn map(self, with: impl Fn(Box<dyn Step>) -> Box<dyn Step>) -> Self {
        Self(self.0.into_iter().map(with).collect())
    }

    /// Its steps, in the order in which they are shown, planned, and (backwards) undone.
    pub fn steps(&self) -> impl Iterator<Item = &dyn Step> {
        self.0.iter().map(AsRef::as_ref)
    }
}

/// The steps of a whole pipeline, in order.
pub fn steps(stages: &[Stage]) -> impl Iterator<Item = &dyn Step> {
    stages.iter().flat_map(Stage::steps)
}

/// Whether any of them changes what serves, or what that stands on.
pub fn changes_what_serves(stages: &[Stage]) -> bool {
    steps(stages).any(|step| step.id().changes_what_serves())
}
