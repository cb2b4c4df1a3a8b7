//! Marker containers, and files in containers.

use std::io::Read;

use viatique_deploy::engine::{Captured, ContainerId, ContainerState, EngineErrorKind};

use super::{Ground, kind, specs};

async fn marker(ground: &Ground, what: &str, volume: &str) -> ContainerId {
    ground
        .engine
        .create_volume(&specs::volume(&ground.project, volume))
        .await
        .unwrap();
    let labels = specs::project_label(&ground.project);
    ground
        .engine
        .create_marker(&ground.name(what), &labels, Some(volume))
        .await
        .unwrap()
}

fn file(path: &str, content: &[u8]) -> (String, Vec<u8>) {
    (path.to_owned(), content.to_vec())
}

pub(crate) async fn a_marker_keeps_files(ground: Ground) {
    let engine = &ground.engine;
    let id = marker(&ground, "ledger", &ground.name("ledger-data")).await;
    assert_eq!(engine.read_files(&id, "/data").await.unwrap().unwrap(), []);
    let both = [file("b.json", b"two"), file("runs/2026/a.json", b"one")];
    engine.write_files(&id, "/data", &both).await.unwrap();
    assert_eq!(engine.read_files(&id, "/data").await.unwrap().unwrap(), both);
    // Longer, then shorter: nothing of the old content stays.
    let longer = [file("b.json", &[b'x'; 70_000])];
    engine.write_files(&id, "/data", &longer).await.unwrap();
    let shorter = [file("b.json", b"")];
    engine.write_files(&id, "/data", &shorter).await.unwrap();
    let all = engine.read_files(&id, "/data").await.unwrap().unwrap();
    assert_eq!(all, [file("b.json", b""), file("runs/2026/a.json", b"one")]);
    let below = engine.read_files(&id, "/data/runs").await.unwrap().unwrap();
    assert_eq!(below, [file("2026/a.json", b"one")]);
    assert_eq!(ground.look(&id).await.state, ContainerState::Created);
    assert_eq!(
        kind(
            engine
                .write_files(&id, "/data", &[file("c.json", b""), file("../b.json", b"")])
                .await
        ),
        EngineErrorKind::Invalid
    );
}

pub(crate) async fn a_file_takes_the_place_of_a_folder(ground: Ground) {
    let engine = &ground.engine;
    let id = marker(&ground, "ledger", &ground.name("ledger-data")).await;
    let files = [
        file("runs/1/a.json", b"one"),
        file("runs/1/deep/b.json", b"two"),
        file("runs/12/a.json", b"three"),
    ];
    engine.write_files(&id, "/data", &files).await.unwrap();
    engine
        .write_files(&id, "/data", &[file("runs/1", b"")])
        .await
        .unwrap();
    assert_eq!(
        engine.read_files(&id, "/data").await.unwrap().unwrap(),
        [file("runs/1", b""), file("runs/12/a.json", b"three")]
    );
}

pub(crate) async fn files_outlive_their_marker(ground: Ground) {
    let engine = &ground.engine;
    let volume = ground.name("ledger-data");
    let first = marker(&ground, "first", &volume).await;
    engine
        .write_files(&first, "/data", &[file("a.json", b"one")])
        .await
        .unwrap();
    let second = marker(&ground, "second", &volume).await;
    assert_eq!(
        engine.read_files(&second, "/data").await.unwrap().unwrap(),
        [file("a.json", b"one")]
    );
    engine.remove_container(&first).await.unwrap();
    engine.remove_container(&second).await.unwrap();
    let third = marker(&ground, "third", &volume).await;
    assert_eq!(
        engine.read_files(&third, "/data").await.unwrap().unwrap(),
        [file("a.json", b"one")]
    );
}

pub(crate) async fn a_folder_that_is_missing_is_none(ground: Ground) {
    let engine = &ground.engine;
    let id = marker(&ground, "ledger", &ground.name("ledger-data")).await;
    assert!(engine.read_files(&id, "/data/runs").await.unwrap().is_none());
    assert_eq!(
        kind(engine.write_files(&id, "/data/runs", &[file("a", b"")]).await),
        EngineErrorKind::NotFound
    );
    let nobody = ContainerId(ground.name("nobody"));
    assert_eq!(
        kind(engine.read_files(&nobody, "/data").await),
        EngineErrorKind::NotFound
    );
    assert_eq!(
        kind(engine.write_files(&nobody, "/data", &[file("a", b"")]).await),
        EngineErrorKind::NotFound
    );
    assert_eq!(
        kind(engine.archive(&nobody, "/data", &mut Captured::default()).await),
        EngineErrorKind::NotFound
    );
}

pub(crate) async fn an_archive_is_whole(ground: Ground) {
    let engine = &ground.engine;
    let id = marker(&ground, "media", &ground.name("media-data")).await;
    let large: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let both = [file("a/large", &large), file("small", b"small")];
    engine.write_files(&id, "/data", &both).await.unwrap();
    let mut output = Captured::default();
    engine.archive(&id, "/data", &mut output).await.unwrap();
    let mut archive = tar::Archive::new(output.stdout.as_slice());
    let mut files = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if entry.header().entry_type().is_file() && !content.is_empty() {
            files.push((entry.path().unwrap().to_string_lossy().into_owned(), content));
        }
    }
    files.sort();
    assert_eq!(files.len(), 2);
    assert_eq!(files[0].0, "data/a/large");
    assert!(files[0].1 == large);
    assert_eq!(files[1], file("data/small", b"small"));
}
