//! Whole stories: the real program deploys the real example on a real engine, as an operator or a CI job would.
//! Each story has its own project, copy of the example, port and images, and removes them at its end. A fresh deploy
//! takes half a minute, so one story asks several questions of one stack.

mod backups;
mod bad_input;
mod before_switch;
mod broken_releases;
mod checks;
mod first_deploy;
mod health;
mod interrupted;
mod killed;
mod ledger;
mod maintenance;
mod migrations;
mod notices;
mod proxy;
mod rehearsal;
mod replicas;
mod restarted_engine;
mod restore;
mod reversal;
mod settling;
mod smoke;
mod support;
mod take_over;
mod traffic;
