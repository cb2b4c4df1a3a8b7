//! One deploy at a time: who gets the lock, who is told what, and what a dead holder leaves.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use viatique_deploy::engine::{EngineErrorKind, Inspect as _, labels};
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::ledger::{JOURNAL_FORMAT, SignOfLife};
use viatique_deploy::lock::{BEAT, Holder, Life, Lock, LockError, SILENCE, holder, object_name, standing};
use viatique_deploy::pipeline::Outcome;
use viatique_deploy::release::RunId;

use crate::support::{FakeEngine, Fault, Stack};

/// Above the highest number that Linux gives to a process.
const NO_PROCESS: u32 = 4_194_305;

fn somebody(run: &str) -> Holder {
    Holder {
        owner: "ada".to_owned(),
        host: "machine boot".to_owned(),
        host_name: "deploy-host".to_owned(),
        process: std::process::id(),
        command: "run".to_owned(),
        run: run.to_owned(),
        since: "2026-01-01T00:00:00Z".to_owned(),
    }
}

fn refused(taken: Result<Lock, LockError>) -> (String, String) {
    match taken {
        Err(LockError::Held {
            holder, container, ..
        }) => (holder.run, container),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_many_racers_gets_it() {
    let engine = FakeEngine::new();
    let racers = (0..16).map(|number| {
        let engine = engine.clone();
        async move { Lock::acquire(&engine, "viatique", &somebody(&number.to_string())).await }
    });
    let taken = futures_util::future::join_all(racers).await;
    let winners = taken.iter().filter(|one| one.is_ok()).count();
    assert_eq!(winners, 1);
    for loser in taken.into_iter().filter(Result::is_err) {
        assert_eq!(refused(loser).1, object_name("viatique"));
    }
}

#[tokio::test(start_paused = true)]
async fn it_says_who_holds_it_until_it_is_given_back() {
    let engine = FakeEngine::new();
    assert_eq!(holder(&engine, "viatique").await.unwrap(), None);
    let lock = Lock::acquire(&engine, "viatique", &somebody("one"))
        .await
        .unwrap();
    assert_eq!(holder(&engine, "viatique").await.unwrap(), Some(somebody("one")));
    assert_eq!(
        refused(Lock::acquire(&engine, "viatique", &somebody("two")).await).0,
        "one"
    );
    // Another project is another lock.
    let other = Lock::acquire(&engine, "other", &somebody("two")).await.unwrap();
    other.release(&engine).await.unwrap();
    lock.release(&engine).await.unwrap();
    assert_eq!(holder(&engine, "viatique").await.unwrap(), None);
    let again = Lock::acquire(&engine, "viatique", &somebody("two"))
        .await
        .unwrap();
    again.release(&engine).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_gives_back_the_lock_of_another() {
    let engine = FakeEngine::new();
    let mine = Lock::acquire(&engine, "viatique", &somebody("one"))
        .await
        .unwrap();
    // A person removed it by hand, and somebody else took it.
    let name = object_name("viatique");
    let id = engine.peek().container(&name).id.clone();
    viatique_deploy::engine::Engine::remove_container(&engine, &id)
        .await
        .unwrap();
    let theirs = Lock::acquire(&engine, "viatique", &somebody("two"))
        .await
        .unwrap();
    mine.release(&engine).await.unwrap();
    assert_eq!(holder(&engine, "viatique").await.unwrap().unwrap().run, "two");
    theirs.release(&engine).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_certainly_dead_is_succeeded() {
    let engine = FakeEngine::new();
    let dead = Holder {
        process: NO_PROCESS,
        ..somebody("dead")
    };
    let left = Lock::acquire(&engine, "viatique", &dead).await.unwrap();
    let lock = Lock::acquire(&engine, "viatique", &somebody("next"))
        .await
        .unwrap();
    assert_eq!(lock.taken_over_from.as_ref(), Some(&dead));
    // The dead one's own release removes nothing any more.
    left.release(&engine).await.unwrap();
    assert_eq!(holder(&engine, "viatique").await.unwrap().unwrap().run, "next");
    lock.release(&engine).await.unwrap();
}

/// Killed, and its parent has not taken note of it yet: it still has a number, and does nothing any more.
#[tokio::test(start_paused = true)]
async fn a_zombie_holds_no_lock() {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let stat = format!("/proc/{}/stat", child.id());
    while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    let engine = FakeEngine::new();
    let zombie = Holder {
        process: child.id(),
        ..somebody("zombie")
    };
    let _left = Lock::acquire(&engine, "viatique", &zombie).await.unwrap();
    let lock = Lock::acquire(&engine, "viatique", &somebody("next"))
        .await
        .unwrap();
    assert_eq!(lock.taken_over_from.as_ref(), Some(&zombie));
    child.wait().unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_may_live_is_believed_to() {
    let elsewhere = Holder {
        host: "another machine".to_owned(),
        process: NO_PROCESS,
        ..somebody("elsewhere")
    };
    let unknown = Holder {
        host: "unknown".to_owned(),
        process: NO_PROCESS,
        ..somebody("unknown")
    };
    let alive = Holder {
        process: 1,
        ..somebody("alive")
    };
    for living in [elsewhere, unknown.clone(), alive] {
        let engine = FakeEngine::new();
        let lock = Lock::acquire(&engine, "viatique", &living).await.unwrap();
        let me = Holder {
            host: if living.run == "unknown" {
                "unknown".to_owned()
            } else {
                "machine boot".to_owned()
            },
            ..somebody("me")
        };
        assert_eq!(
            refused(Lock::acquire(&engine, "viatique", &me).await).0,
            living.run
        );
        lock.release(&engine).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_whose_labels_say_nothing_is_believed_to_be_held() {
    let engine = FakeEngine::new();
    let lock = Lock::acquire(&engine, "viatique", &somebody("one"))
        .await
        .unwrap();
    engine.relabel(&object_name("viatique"), "viatique-deploy.lock.process", "none");
    assert_eq!(
        refused(Lock::acquire(&engine, "viatique", &somebody("two")).await).0,
        "one"
    );
    lock.release(&engine).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_was_taken_though_the_answer_was_lost_is_one_s_own() {
    let engine = FakeEngine::new();
    engine.fault_at(1, Fault::LoseReply(EngineErrorKind::ConnectionLost));
    let lock = Lock::acquire(&engine, "viatique", &somebody("one"))
        .await
        .unwrap();
    lock.release(&engine).await.unwrap();
    assert!(engine.peek().containers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_second_command_is_told_who_holds_it_and_changes_nothing() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let lock = Lock::acquire(&stack.engine, "viatique", &somebody("first"))
        .await
        .unwrap();
    let before = stack.engine.peek();
    let ended = stack.run("v2").await;
    ended
        .ended(Outcome::Failed, ExitCode::Locked)
        .says("project viatique is locked by ada@deploy-host (run, process")
        .says("since 2026-01-01T00:00:00Z; it lives: its last sign of life is 0 s old")
        .hints_at("--lock-wait 10m");
    assert_eq!(stack.engine.peek(), before);
    lock.release(&stack.engine).await.unwrap();
    stack.run("v2").await.succeeded();
}

#[tokio::test(start_paused = true)]
async fn a_command_that_takes_over_says_from_whom() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.engine.fault_on("build", 5, Fault::HangBefore);
    let killed = tokio::time::timeout(crate::support::FOREVER, stack.run("v2")).await;
    assert!(killed.is_err());
    stack.engine.heal();
    let name = object_name("viatique");
    let dead = stack
        .engine
        .peek()
        .container(&name)
        .label(labels::RUN)
        .map(ToOwned::to_owned);
    stack.run("v2").await.ended(Outcome::Failed, ExitCode::Locked);
    stack
        .engine
        .relabel(&name, "viatique-deploy.lock.process", &NO_PROCESS.to_string());
    let ended = stack.run("v2").await;
    ended.succeeded();
    let warnings = ended.warnings();
    assert!(
        warnings.contains(&format!(
            "took the lock over from run (process {NO_PROCESS}), which is gone"
        )),
        "{warnings}"
    );
    // It was still building: there is nothing to finish.
    assert!(!warnings.contains("never finished"), "{warnings}");
    let memory = stack.memory().await;
    let dead = memory
        .runs
        .iter()
        .find(|run| Some(&run.header.run.0) == dead.as_ref());
    assert_eq!(dead.unwrap().outcome, None);
}

fn sign(run: &str, at: time::OffsetDateTime) -> SignOfLife {
    SignOfLife {
        format: JOURNAL_FORMAT,
        run: RunId(run.to_owned()),
        at,
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_holder_is_told_from_a_slow_one() {
    let engine = FakeEngine::new();
    let elsewhere = Holder {
        host: "another machine".to_owned(),
        ..somebody("one")
    };
    let lock = Lock::acquire(&engine, "viatique", &elsewhere).await.unwrap();
    let found = standing(&engine, "viatique").await.unwrap().unwrap();
    let here = somebody("me");
    let taken = engine.time().await.unwrap();
    assert!(matches!(found.life(&here, None, taken), Life::Lives(_)));
    // Long ago, and slow: it has given a sign since.
    let now = taken + 10 * SILENCE;
    let lives = sign("one", now - BEAT);
    assert_eq!(found.life(&here, Some(&lives), now), Life::Lives(BEAT));
    let silent = sign("one", now - SILENCE);
    assert_eq!(found.life(&here, Some(&silent), now), Life::Silent(SILENCE));
    // Another run's sign says nothing of this one.
    let other = sign("two", now);
    assert!(matches!(found.life(&here, Some(&other), now), Life::Silent(_)));
    // Nor does a clock that has been set back make it dead.
    assert_eq!(
        found.life(&here, Some(&sign("one", now + SILENCE)), now),
        Life::Lives(Duration::ZERO)
    );
    lock.release(&engine).await.unwrap();
    let dead = Holder {
        process: NO_PROCESS,
        ..somebody("dead")
    };
    let _lock = Lock::acquire(&engine, "viatique", &dead).await.unwrap();
    let found = standing(&engine, "viatique").await.unwrap().unwrap();
    assert_eq!(found.life(&here, Some(&sign("dead", now)), now), Life::Ended);
}

#[tokio::test(start_paused = true)]
async fn a_run_says_again_and_again_that_it_is_alive_and_what_it_is_at() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.engine.builds_take(Duration::from_secs(3600));
    let killed = timeout(Duration::from_secs(300), stack.run("v2")).await;
    assert!(killed.is_err());
    let found = standing(&stack.engine, "viatique").await.unwrap().unwrap();
    let memory = stack.memory().await;
    let now = stack.engine.time().await.unwrap();
    let last = memory.sign_of_life.unwrap();
    assert_eq!(last.run.0, found.holder.run);
    assert!(now - last.at <= BEAT, "{last:?} at {now}");
    // From another machine, a while later.
    sleep(2 * SILENCE).await;
    stack.engine.relabel(
        &object_name("viatique"),
        "viatique-deploy.lock.host",
        "another machine",
    );
    let ended = stack.run("v3").await;
    ended
        .ended(Outcome::Failed, ExitCode::Locked)
        .says("it gave its last sign of life 2 min ago, and is probably dead")
        .hints_at("viatique-deploy unlock");
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_lock_was_taken_away_stops_where_it_stands() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    let before = stack.engine.peek();
    stack.engine.builds_take(Duration::from_secs(3600));
    let somebody = stack.engine.onlooker();
    let take_away = async {
        sleep(Duration::from_secs(45)).await;
        let lock = standing(&somebody, "viatique").await.unwrap().unwrap();
        lock.remove(&somebody).await.unwrap();
        Lock::acquire(&somebody, "viatique", &self::somebody("next"))
            .await
            .unwrap()
    };
    let (ended, lock) = tokio::join!(stack.run("v2"), take_away);
    ended
        .ended(Outcome::Stuck, ExitCode::Stuck)
        .says("the project's lock was taken away from this run");
    let mut seen = stack.engine.peek();
    // Whoever has it now keeps it.
    assert_eq!(
        holder(&stack.engine, "viatique").await.unwrap().unwrap().run,
        "next"
    );
    seen.containers
        .retain(|container| container.name != object_name("viatique"));
    assert_eq!(seen.containers, before.containers);
    lock.release(&stack.engine).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_lock_can_be_waited_for() {
    let mut stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    for (wait, code) in [(60, ExitCode::Done), (10, ExitCode::Locked)] {
        stack.lock_wait = Duration::from_secs(wait);
        let lock = Lock::acquire(&stack.engine, "viatique", &somebody("first"))
            .await
            .unwrap();
        let give_back = async {
            sleep(Duration::from_secs(30)).await;
            lock.release(&stack.engine.onlooker()).await.unwrap();
        };
        let (ended, ()) = tokio::join!(stack.run("v2"), give_back);
        assert_eq!(ended.code, code, "{}", ended.message());
        let warnings = ended.warnings();
        let waiting =
            format!("waiting up to {wait} s for the lock: project viatique is locked by ada@deploy-host");
        assert!(warnings.contains(&waiting), "{warnings}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_does_not_answer_is_spoken_of_while_it_is_waited_for() {
    let stack = Stack::viatique();
    stack.run("v1").await.succeeded();
    stack.engine.builds_take(Duration::from_secs(60));
    let goes_away = async {
        // Before the first sign of life.
        sleep(BEAT / 2).await;
        let asked = stack.engine.calls();
        let asked = asked.iter().filter(|call| call.name == "container").count();
        stack.engine.fault_on("container", asked + 1, Fault::HangBefore);
    };
    let (ended, ()) = tokio::join!(stack.run("v2"), goes_away);
    ended.succeeded();
    assert_eq!(
        ended
            .warnings()
            .lines()
            .filter(|line| line.contains("has not answered"))
            .count(),
        1,
        "{}",
        ended.warnings()
    );
}
