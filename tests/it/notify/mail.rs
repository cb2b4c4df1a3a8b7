//! Letters, to a mail server of this machine.

use super::{CANARY, failed, got, sent, target};
use crate::support::{MailServer, Receiver, Say};

fn entry(port: u16, login: &str) -> viatique_deploy::notify::Target {
    let entry = format!(
        "  - email:\n      host: 127.0.0.1\n      port: {port}\n      tls: none\n      from: Deploys <deploy@viatique.test>\n      \
         to: [ops@viatique.test, Ada <ada@viatique.test>]\n{login}    timeout: 20s\n"
    );
    target(&entry, &[("PASSWORD", CANARY)])
}

const LOGIN: &str = "      user: ops\n      password: ${PASSWORD}\n";

#[tokio::test]
async fn a_letter_names_everything() {
    let server = MailServer::start(&[], "235");
    got(&sent(&entry(server.port, LOGIN), &failed()).await);
    let letters = server.letters();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert!(letter.login.is_some());
    assert!(letter.from.contains("<deploy@viatique.test>"), "{letter:?}");
    assert_eq!(letter.to.len(), 2);
    // A long header goes on in the next line.
    let text = letter.text.replace("\r\n ", " ");
    for line in [
        "Subject: viatique: v42 failed at deploy and was rolled back: v41 serves again",
        "Content-Type: text/plain; charset=utf-8",
        "service: backend",
        "release: v42",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(letter.text.contains("\r\nDate: "), "{}", letter.text);
    // As it is sent: no line is longer than a server takes.
    assert!(letter.text.lines().all(|line| line.len() <= 998));
    assert!(!letter.text.contains(CANARY), "{}", letter.text);
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let server = MailServer::start(&["451 busy"], "235");
    let delivered = sent(&entry(server.port, ""), &failed()).await;
    got(&delivered);
    assert_eq!((delivered.tries, server.letters().len()), (2, 1));
    let server = MailServer::start(&["554 no such thing"], "235");
    let delivered = sent(&entry(server.port, ""), &failed()).await;
    assert_eq!(delivered.tries, 1);
    assert!(delivered.why_not.unwrap().contains("554"));
}

#[tokio::test]
async fn a_login_that_is_refused_does_not_tell_the_password() {
    let server = MailServer::start(&[], "535 who is");
    let delivered = sent(&entry(server.port, LOGIN), &failed()).await;
    let why = delivered.why_not.unwrap();
    assert!(why.contains("535"), "{why}");
    // The password, and the login with it in base64, which the server has said again.
    assert!(
        !why.contains(CANARY) && !why.contains("AG9wcwBjYW5hcnkt"),
        "{why}"
    );
    assert!(server.letters().is_empty());
}

#[tokio::test]
async fn a_server_without_tls_gets_no_letter_where_tls_is_wanted() {
    let server = MailServer::start(&[], "235");
    let entry = format!(
        "  - email:\n      host: 127.0.0.1\n      port: {}\n      from: a@viatique.test\n      to: [b@viatique.test]\n    \
         timeout: 1s\n",
        server.port
    );
    let delivered = sent(&target(&entry, &[]), &failed()).await;
    assert!(delivered.why_not.is_some());
    assert!(server.letters().is_empty());
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let server = Receiver::saying(&[Say::Nothing]);
    let port = server.url().rsplit_once(':').unwrap().1.parse().unwrap();
    let mut target = entry(port, "");
    target.timeout = std::time::Duration::from_millis(200);
    let why = sent(&target, &failed()).await.why_not.unwrap();
    assert!(why.starts_with("no answer in time"), "{why}");
}
