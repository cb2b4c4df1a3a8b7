//! What the tests without a Docker Engine stand on: a simulated engine, a scripted app, a socket that plays an engine
//! word for word, and a whole stack to deploy.

mod fake_app;
mod fake_engine;
mod fake_s3;
mod fake_socket;
mod receiver;
mod stack;

pub(crate) use fake_app::FakeApp;
pub(crate) use fake_engine::{
    Call, CommandKind, FakeCommand, FakeEngine, FakeOutput, Fault, ImageBehaviour, Seen,
};
pub(crate) use fake_s3::FakeS3;
pub(crate) use fake_socket::{Asked, FakeSocket, Reply};
pub(crate) use receiver::{Encryption, Heard, MailServer, Receiver, Say};
pub(crate) use stack::{
    DUMP, Database, Ended, FOREVER, FakeDatabase, LIVE, PASSWORD, PROJECT, Stack, fit_for_production,
};
