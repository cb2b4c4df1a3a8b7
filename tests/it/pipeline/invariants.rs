//! What must hold of the engine after any command, whatever went wrong in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use viatique_deploy::engine::ContainerState;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::Outcome;

use crate::support::{Ended, PROJECT, Seen, Stack};

/// Services that go from release to release.
pub(super) const WEB: [&str; 4] = ["backend", "frontend", "celery_worker", "celery_beat"];
/// Services that no release of these tests changes.
pub(super) const KEPT: [&str; 3] = ["db", "redis", "nginx"];

pub(super) const LOCK: &str = "viatique-deploy-lock-viatique";
/// Above the highest number that Linux gives to a process.
const NO_PROCESS: &str = "4194305";

/// The one release that serves, or what is wrong: held against what stood before.
pub(super) fn serves_one_release(seen: &Seen, before: &Seen) -> Result<String, String> {
    let mut releases = BTreeSet::new();
    for service in WEB {
        match seen.releases(service).as_slice() {
            [one] => {
                releases.insert((*one).to_owned());
            }
            others => return Err(format!("{service} runs as {others:?}")),
        }
    }
    for service in KEPT {
        let name = format!("{PROJECT}-{service}-1");
        let is = |seen: &Seen| {
            let found = seen.containers.iter().find(|container| container.name == name);
            found.map(|container| (container.id.clone(), container.state == ContainerState::Running))
        };
        if is(seen) != is(before) {
            return Err(format!("{name} is not what it was"));
        }
    }
    if releases.len() > 1 {
        return Err(format!("a mixture serves: {releases:?}"));
    }
    releases.pop_first().ok_or_else(|| "nothing serves".to_owned())
}

/// Nothing stands but one container of each service under its own name, the ledger, and what was there before.
pub(super) fn nothing_else_stands(seen: &Seen, before: &Seen) -> Result<(), String> {
    let names: BTreeSet<&str> = seen.names();
    let expected: BTreeSet<&str> = before.names();
    if names != expected {
        let more: Vec<_> = names.difference(&expected).collect();
        let less: Vec<_> = expected.difference(&names).collect();
        return Err(format!("left over: {more:?}, missing: {less:?}"));
    }
    if seen.networks != before.networks {
        return Err(format!("networks: {:?}", seen.networks));
    }
    if seen.volumes.keys().ne(before.volumes.keys()) {
        return Err(format!("volumes: {:?}", seen.volumes.keys()));
    }
    Ok(())
}

/// The next command must end well, and all of its release must serve: `resume` where this run has to be finished first,
/// which a `run` then says, and changes nothing. What held the lock is dead by then.
pub(super) async fn converges(stack: &Stack, tag: &str, before: &Seen) -> Vec<String> {
    bury_the_holder(stack);
    let mut wrong = Vec::new();
    let memory = stack.memory().await;
    if let Some(unfinished) = memory.unfinished {
        let stood = stack.engine.peek();
        let refused = stack.run(tag).await;
        let told = format!("{}\n{}", refused.message(), refused.hints());
        if refused.code != ExitCode::Locked || !told.contains("viatique-deploy resume") {
            wrong.push(format!("a run is not refused: {:?} {told}", refused.code));
        }
        let mut now = stack.engine.peek();
        // The dead holder's lock was taken over and given back.
        now.containers.retain(|container| container.name != LOCK);
        let stood = stood
            .containers
            .into_iter()
            .filter(|container| container.name != LOCK);
        if now.containers != stood.collect::<Vec<_>>() {
            wrong.push("a run that is refused changes something".to_owned());
        }
        let ended = stack.resume().await.unwrap().unwrap();
        let tag = unfinished.header.release.unwrap();
        wrong.extend(holds_after(stack, &ended, tag.as_str(), before));
        return wrong;
    }
    let ended = stack.run(tag).await;
    wrong.extend(holds_after(stack, &ended, tag, before));
    wrong
}

/// The process that holds the lock, if any, exists no more.
pub(super) fn bury_the_holder(stack: &Stack) {
    if stack.engine.peek().names().contains(LOCK) {
        stack
            .engine
            .relabel(LOCK, "viatique-deploy.lock.process", NO_PROCESS);
    }
}

/// It ended well, and all of this release serves, and nothing else stands.
pub(super) fn holds_after(stack: &Stack, ended: &Ended, tag: &str, before: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    if ended.outcome != Outcome::Succeeded {
        wrong.push(format!(
            "afterwards: {:?}, {} {}",
            ended.outcome,
            ended.message(),
            ended.hints()
        ));
    }
    let seen = stack.engine.peek();
    match serves_one_release(&seen, before) {
        Ok(serves) if serves == tag => {}
        Ok(other) => wrong.push(format!("afterwards {other} serves")),
        Err(complaint) => wrong.push(format!("afterwards: {complaint}")),
    }
    let stands = nothing_else_stands(&seen, before).err();
    wrong.extend(stands.map(|complaint| format!("afterwards: {complaint}")));
    wrong
}

/// Folders of backups that have no manifest.
pub(super) fn unfinished_backups(stack: &Stack) -> Vec<String> {
    let folders = |below: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(below).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.is_dir()).collect()
    };
    let contents = stack.backups().join("media-objects");
    let backups = folders(&stack.backups()).into_iter();
    let backups = backups.filter(|folder| *folder != contents && !folder.join("manifest.json").exists());
    // What came in of the media and has no name.
    let spaces = folders(&contents.join("viatique"));
    let incoming = spaces.iter().flat_map(|space| folders(space));
    let incoming = incoming.filter(|folder| folder.to_str().unwrap().contains("/new-"));
    backups
        .chain(incoming)
        .map(|folder| folder.display().to_string())
        .collect()
}
