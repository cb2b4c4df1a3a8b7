//! Letters over TLS, as the program itself sends them: to a server whose authority this process alone trusts, as another one
//! would be by the machine's own list.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use super::CANARY;
use crate::support::{Encryption, MailServer};

/// An authority: its certificate, and a server that has one of it for this name.
fn certified(name: &str) -> (String, Arc<rustls::ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (authority.pem(), Arc::new(config))
}

/// `notify --test`, to this server at `localhost`, trusting this authority alone: its exit code, and all that it says.
fn told(folder: &Path, server: &MailServer, tls: &str, trusted: &str) -> (i32, String) {
    let deploy_yml = format!(
        "project: shop\ncompose: compose.yml\nnotify:\n  - email:\n      host: localhost\n      port: {}\n      tls: {tls}\n      \
         user: ops\n      password: ${{PASSWORD}}\n      from: deploy@shop.test\n      to: [ops@shop.test]\n    timeout: 20s\n",
        server.port
    );
    std::fs::write(folder.join("deploy.yml"), deploy_yml).unwrap();
    std::fs::write(folder.join("authority.pem"), trusted).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_viatique-deploy"))
        .args(["notify", "--test"])
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("PASSWORD", CANARY)
        .env("SSL_CERT_FILE", folder.join("authority.pem"))
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!said.contains(CANARY), "{said}");
    (output.status.code().unwrap(), said)
}

fn starttls(config: &Arc<rustls::ServerConfig>) -> MailServer {
    MailServer::encrypted(Encryption::Starttls(Arc::clone(config)), &[], "235")
}

fn implicit(config: &Arc<rustls::ServerConfig>) -> MailServer {
    MailServer::encrypted(Encryption::Implicit(Arc::clone(config)), &[], "235")
}

#[test]
fn login_and_letter_are_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, config) = certified("localhost");
    for (tls, server, in_clear) in [
        ("starttls", starttls(&config), &["EHLO", "STARTTLS"][..]),
        ("implicit", implicit(&config), &[]),
    ] {
        let (code, said) = told(folder.path(), &server, tls, &authority);
        assert_eq!(code, 0, "{tls}: {said}");
        let letters = server.letters();
        assert_eq!(letters.len(), 1, "{tls}");
        assert!(letters[0].login.is_some(), "{tls}");
        assert!(
            letters[0].text.contains("nothing has happened"),
            "{tls}: {:?}",
            letters[0]
        );
        let heard = server.heard_in_clear();
        let verbs: Vec<&str> = heard.iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(verbs, in_clear, "{tls}");
    }
}

#[test]
fn a_server_that_nobody_vouches_for_gets_neither_login_nor_letter() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, config) = certified("localhost");
    let (another, _) = certified("localhost");
    let (of_another_name, misnamed) = certified("mail.example.com");
    for (why, trusted, config) in [
        ("an authority nobody knows", &another, &config),
        ("another name", &of_another_name, &misnamed),
    ] {
        for (tls, server) in [("starttls", starttls(config)), ("implicit", implicit(config))] {
            let (code, said) = told(folder.path(), &server, tls, trusted);
            assert_eq!(code, 5, "{why}, {tls}: {said}");
            assert!(said.contains("certificate"), "{why}, {tls}: {said}");
            assert!(server.letters().is_empty(), "{why}, {tls}");
            let heard = server.heard_in_clear();
            assert!(
                heard.iter().all(|line| !line.starts_with("AUTH")),
                "{why}, {tls}: {heard:?}"
            );
        }
    }
    // And one that offers no TLS is not talked to without.
    let server = MailServer::start(&[], "235");
    let (code, said) = told(folder.path(), &server, "starttls", &authority);
    assert_eq!(code, 5, "{said}");
    assert!(server.letters().is_empty());
    assert!(
        server
            .heard_in_clear()
            .iter()
            .all(|line| !line.starts_with("AUTH"))
    );
}
