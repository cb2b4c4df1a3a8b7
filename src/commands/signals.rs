//! Ctrl-C and SIGTERM as the operator's wish to stop. The first unwinds, the second leaves everything as it stands.

use tokio::signal::unix::{SignalKind, signal};

use crate::pipeline::Interrupt;

/// Listens from now on. Where signals cannot be listened to, they end the process as they always did.
pub(super) fn listen() -> Interrupt {
    let (count, interrupt) = Interrupt::new();
    tokio::spawn(async move {
        let (Ok(mut interrupted), Ok(mut terminated)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        loop {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
            count.send_modify(|count| *count += 1);
        }
    });
    interrupt
}

/// What a terminal does on Ctrl-C.
pub(super) fn interrupt_this_process() {
    // A process may always send itself a signal.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT);
}
