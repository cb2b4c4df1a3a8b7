//! The operator's wish to stop, as a value that can be waited for. Who turns signals into it is `commands`.

use tokio::sync::watch;

/// How often the operator asked to stop: once unwinds, twice leaves everything as it stands.
#[derive(Debug, Clone)]
pub struct Interrupt {
    asked: watch::Receiver<u32>,
    /// The right to go on has been taken away: as if everything had been asked for at once.
    forbidden: Option<watch::Receiver<bool>>,
}

impl Interrupt {
    /// The wish, and the sender that counts it up.
    pub fn new() -> (watch::Sender<u32>, Self) {
        let (sender, receiver) = watch::channel(0);
        let interrupt = Self {
            asked: receiver,
            forbidden: None,
        };
        (sender, interrupt)
    }

    /// The same, which also ends everything where it stands once this says so.
    #[must_use]
    pub fn or_forbidden(&self, forbidden: watch::Receiver<bool>) -> Self {
        Self {
            asked: self.asked.clone(),
            forbidden: Some(forbidden),
        }
    }

    /// How often the operator has asked so far.
    pub fn times(&self) -> u32 {
        *self.asked.borrow()
    }

    /// Returns once the operator has asked at least `times` times; never, if nobody can ask any more.
    pub async fn asked(&self, times: u32) {
        tokio::select! {
            () = becomes(self.asked.clone(), |count| *count >= times) => {}
            () = self.forbidden() => {}
        }
    }

    async fn forbidden(&self) {
        match &self.forbidden {
            Some(forbidden) => becomes(forbidden.clone(), |forbidden| *forbidden).await,
            None => std::future::pending().await,
        }
    }
}

async fn becomes<T>(mut receiver: watch::Receiver<T>, wanted: impl FnMut(&T) -> bool) {
    if receiver.wait_for(wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}
