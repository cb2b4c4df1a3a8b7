//! The lock on a real engine: as many racers as there may be, and one of them has it.

use std::sync::Arc;

use viatique_deploy::lock::{Holder, Lock, LockError};

use crate::contract::Ground;
use crate::support::on_docker;

const RACERS: usize = 16;
const ROUNDS: usize = 100;

#[tokio::test]
async fn one_of_sixteen_racers_has_it_a_hundred_times() {
    on_docker("racers", async |ground: Ground| {
        for round in 0..ROUNDS {
            let racers = (0..RACERS).map(|racer| {
                let engine = Arc::clone(&ground.engine);
                let project = ground.project.clone();
                tokio::spawn(async move {
                    let holder = Holder {
                        owner: "ada".to_owned(),
                        host: "machine boot".to_owned(),
                        host_name: "deploy-host".to_owned(),
                        process: std::process::id(),
                        command: "run".to_owned(),
                        run: format!("{round}-{racer}"),
                        since: "2026-01-01T00:00:00Z".to_owned(),
                    };
                    Lock::acquire(&*engine, &project, &holder).await
                })
            });
            let mut winners = Vec::new();
            for racer in futures_util::future::join_all(racers).await {
                match racer.unwrap() {
                    Ok(lock) => winners.push(lock),
                    Err(LockError::Held { .. }) => {}
                    Err(LockError::Engine(error)) => panic!("round {round}: {error}"),
                }
            }
            assert_eq!(winners.len(), 1, "round {round}");
            for lock in winners {
                lock.release(&*ground.engine).await.unwrap();
            }
        }
    })
    .await;
}
