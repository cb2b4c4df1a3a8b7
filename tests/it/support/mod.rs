//! What the tests without a Docker Engine stand on: a simulated engine, a scripted app, and a socket that plays an
//! engine word for word.

mod fake_app;
mod fake_engine;
mod fake_socket;

pub(crate) use fake_app::FakeApp;
pub(crate) use fake_engine::{CommandKind, FakeCommand, FakeEngine, FakeOutput, Fault, ImageBehaviour};
pub(crate) use fake_socket::{Asked, FakeSocket, Reply};
