//! The operator's wish to stop, as a value that can be waited for. Who turns signals into it is `commands`.

use tokio::sync::watch;

/// How often the operator asked to stop: once unwinds, twice leaves everything as it stands.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<u32>);

impl Interrupt {
    /// The wish, and the sender that counts it up.
    pub fn new() -> (watch::Sender<u32>, Self) {
        let (sender, receiver) = watch::channel(0);
        (sender, Self(receiver))
    }

    /// Returns once the operator has asked at least `times` times; never, if nobody can ask any more.
    pub async fn asked(&self, times: u32) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|count| *count >= times).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
