//! One deploy at a time: who gets the lock, who is told what, and what a dead holder leaves.

use viatique_deploy::engine::{EngineErrorKind, labels};
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::lock::{Holder, Lock, LockError, holder, object_name};
use viatique_deploy::pipeline::Outcome;

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
        .says("since 2026-01-01T00:00:00Z")
        .hints_at("docker rm viatique-deploy-lock-viatique");
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
    assert!(
        warnings.contains(&format!("run {} (run)", dead.unwrap())) && warnings.contains("stopped at build"),
        "{warnings}"
    );
}
