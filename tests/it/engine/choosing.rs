//! Which engine is chosen: never another one than the one that was named.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use viatique_deploy::engine::docker::{DockerEngine, EngineEnvironment};
use viatique_deploy::engine::{EngineError, EngineErrorKind, Inspect};

fn in_folder(folder: &Path) -> EngineEnvironment {
    EngineEnvironment {
        configuration_folder: Some(folder.to_owned()),
        ..EngineEnvironment::default()
    }
}

fn current_context(folder: &Path, name: &str) {
    fs::write(
        folder.join("config.json"),
        format!(r#"{{"currentContext":"{name}"}}"#),
    )
    .unwrap();
}

fn context_file(folder: &Path, name: &str, text: &str) {
    let digest: String = Sha256::digest(name.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let folder = folder.join("contexts/meta").join(digest);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("meta.json"), text).unwrap();
}

fn refusal(environment: &EngineEnvironment) -> EngineError {
    let error = DockerEngine::connect(environment).expect_err("this must not be connected to");
    assert_eq!(error.kind, EngineErrorKind::Unreachable);
    error
}

/// As the error tells it: at once where there is no socket, otherwise at the first call.
async fn address(environment: &EngineEnvironment) -> String {
    let error = match DockerEngine::connect(environment) {
        Ok(engine) => engine.identity().await.expect_err("nothing listens there"),
        Err(error) => error,
    };
    assert_eq!(error.kind, EngineErrorKind::Unreachable);
    error.to_string()
}

#[test]
fn a_context_that_cannot_be_used_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    current_context(folder, "production");
    let shown = refusal(&in_folder(folder)).to_string();
    assert!(
        shown.contains("`production`") && shown.contains("meta.json") && shown.contains("config.json"),
        "{shown}"
    );

    for (text, why) in [
        ("not json", "expected"),
        (r#"{"Name":"production","Endpoints":{}}"#, "no `docker` endpoint"),
        (
            r#"{"Endpoints":{"docker":{"Host":"ssh://deploy@host"}}}"#,
            "ssh is not supported",
        ),
        (r#"{"Endpoints":{"docker":{"Host":""}}}"#, "begins with"),
        (
            r#"{"Endpoints":{"docker":{"Host":"tcp://host:2376","SkipTLSVerify":true}}}"#,
            "verification",
        ),
    ] {
        context_file(folder, "production", text);
        let shown = refusal(&in_folder(folder)).to_string();
        assert!(shown.contains(why) && shown.contains("`production`"), "{shown}");
    }
    fs::write(folder.join("config.json"), "{").unwrap();
    assert!(refusal(&in_folder(folder)).to_string().contains("config.json"));
}

#[tokio::test]
async fn a_context_that_can_be_used_is_used_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("nothing.sock");
    let meta = |host: &str| {
        format!(r#"{{"Name":"x","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#)
    };
    context_file(
        folder.path(),
        "production",
        &meta(&format!("unix://{}", socket.display())),
    );
    context_file(folder.path(), "other", &meta("tcp://127.0.0.1:9"));
    current_context(folder.path(), "production");
    let shown = address(&in_folder(folder.path())).await;
    assert!(
        shown.contains("nothing.sock") && shown.contains("`production`"),
        "{shown}"
    );

    // The variable stands over the file, DOCKER_HOST over both.
    let mut environment = in_folder(folder.path());
    environment.docker_context = Some("other".to_owned());
    let shown = address(&environment).await;
    assert!(
        shown.contains("tcp://127.0.0.1:9") && shown.contains("`other`"),
        "{shown}"
    );
    environment.docker_host = Some("tcp://127.0.0.1:10".to_owned());
    let shown = address(&environment).await;
    assert!(
        shown.contains("tcp://127.0.0.1:10") && !shown.contains("context"),
        "{shown}"
    );
    environment.docker_context = Some("missing".to_owned());
    environment.docker_host = None;
    assert!(refusal(&environment).to_string().contains("DOCKER_CONTEXT"));
}

#[test]
fn addresses_of_other_kinds_are_refused() {
    for (host, why) in [
        ("ssh://deploy@host", "ssh is not supported"),
        ("/var/run/docker.sock", "begins with"),
        ("fd://3", "only unix://"),
        ("tcp://", "host and a port"),
        ("tcp://host:2375/path", "without a path"),
        ("unix://relative.sock", "absolute"),
    ] {
        let environment = EngineEnvironment {
            docker_host: Some(host.to_owned()),
            ..EngineEnvironment::default()
        };
        let shown = refusal(&environment).to_string();
        assert!(shown.contains(why) && shown.contains(host), "{shown}");
    }
}

#[test]
fn tls_is_verified_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut environment = EngineEnvironment {
        docker_host: Some("tcp://127.0.0.1:9".to_owned()),
        certificate_folder: Some(folder.path().to_owned()),
        tls_unverified: Some("1".to_owned()),
        ..EngineEnvironment::default()
    };
    assert!(refusal(&environment).to_string().contains("DOCKER_TLS_VERIFY"));
    environment.tls_verify = Some("1".to_owned());
    let shown = refusal(&environment).to_string();
    assert!(shown.contains("ca.pem"), "{shown}");
    for file in ["ca.pem", "cert.pem"] {
        fs::write(folder.path().join(file), "").unwrap();
    }
    assert!(refusal(&environment).to_string().contains("key.pem"));
}

#[tokio::test]
async fn the_default_context_is_the_local_socket() {
    let folder = tempfile::tempdir().unwrap();
    current_context(folder.path(), "default");
    for environment in [in_folder(folder.path()), EngineEnvironment::default()] {
        match DockerEngine::connect(&environment) {
            // There may be an engine on this machine, or none.
            Ok(_) => {}
            Err(error) => assert!(error.to_string().contains("/var/run/docker.sock"), "{error}"),
        }
    }
}
