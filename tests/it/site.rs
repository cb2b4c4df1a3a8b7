//! The edge, on servers of this machine that speak real TLS with certificates of an authority of the test's own.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use viatique_deploy::commands::steps::Chosen;
use viatique_deploy::exit_code::ExitCode;
use viatique_deploy::pipeline::{Outcome, StepId, StepResult};
use viatique_deploy::steps::check::Selection;

use crate::support::{Ended, Stack};

const NAME: &str = "viatique.example.com";
const OTHER: &str = "www.viatique.example.com";

/// What the stack's clock says, about.
const NOW: OffsetDateTime = time::macros::datetime!(2026-01-01 00:00 UTC);
/// More than the stack's clock goes on within a test.
const A_LITTLE: Duration = Duration::hours(12);

type Answer = dyn Fn(&str) -> String + Send + Sync;

/// Somebody who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn called(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = (NOW - Duration::days(1000), NOW + Duration::days(1000));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for these names, from so many days before the stack's time until so many after it.
    pub(crate) fn signs(&self, names: &[&str], since: i64, until: i64) -> rustls::ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names, since, until).signed_by(&key, &self.0).unwrap();
        serving(certificate, &key)
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }
}

fn params(names: &[&str], since: i64, until: i64) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.not_before = NOW + Duration::days(since);
    params.not_after = NOW + Duration::days(until) + A_LITTLE;
    params
}

fn self_signed() -> rustls::ServerConfig {
    let key = KeyPair::generate().unwrap();
    serving(params(&[NAME], -1, 90).self_signed(&key).unwrap(), &key)
}

fn serving(certificate: rcgen::Certificate, key: &KeyPair) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}

/// Answers one request, by its path.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &Answer) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
        // Whoever begins so speaks TLS, and never ends a head.
        if head.first() == Some(&0x16) {
            break;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let _ = stream.write_all(answer(path).as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A site over https.
pub(crate) async fn https(
    config: rustls::ServerConfig,
    answers: impl Fn(&str) -> String + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let answers: Arc<Answer> = Arc::new(answers);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, answers) = (acceptor.clone(), Arc::clone(&answers));
            // Whoever refuses the certificate asks nothing.
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream, &*answers).await;
                }
            });
        }
    });
    address
}

/// The same over http.
async fn http(answers: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answers: Arc<Answer> = Arc::new(answers);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answers = Arc::clone(&answers);
            tokio::spawn(async move { answer(stream, &*answers).await });
        }
    });
    address
}

/// Takes connections, and says nothing.
async fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            open.push(listener.accept().await.unwrap());
        }
    });
    address
}

/// Where nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

pub(crate) fn page(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// A stack that has never been deployed, whose site is at these places.
fn first(authority: &Authority, https: SocketAddr, http: SocketAddr, further: &str) -> Stack {
    at(Stack::viatique(), authority, https, http, further)
}

fn at(stack: Stack, authority: &Authority, https: SocketAddr, http: SocketAddr, further: &str) -> Stack {
    std::fs::write(stack.directory.path().join("ca.pem"), authority.pem()).unwrap();
    stack.edit_deploy_yml(
        "\nhealth:",
        &format!(
            "\nchecks: {{ timeout: 5s, site: {{ url: 'https://{NAME}/', connect: '{https}', http_connect: '{http}', \
             ca_file: ca.pem{further} }} }}\nhealth:"
        ),
    );
    stack
}

/// The same once something serves. The deploy itself takes no time; what follows is asked of real sockets.
pub(crate) async fn served(
    authority: &Authority,
    https: SocketAddr,
    http: SocketAddr,
    further: &str,
) -> Stack {
    let stack = Stack::viatique();
    tokio::time::pause();
    stack.run("v1").await.succeeded();
    tokio::time::resume();
    at(stack, authority, https, http, further)
}

async fn check(stack: &Stack, id: &str) -> Ended {
    let selection = Selection::of(&[id.to_owned()], &[]).unwrap();
    stack.command(Chosen::check_with(selection), "v1").await
}

fn said(ended: &Ended, id: &str) -> (StepResult, String) {
    (
        ended.task_result(StepId::Check, id).unwrap(),
        ended.task_message(StepId::Check, id).unwrap(),
    )
}

#[tokio::test]
async fn a_certificate_that_browsers_believe_passes_under_every_name() {
    let authority = Authority::called("Viatique Test CA");
    let site = https(authority.signs(&[NAME, OTHER], -1, 90), |_| page(200, "", "")).await;
    let stack = first(&authority, site, nobody().await, &format!(", names: [{OTHER}]"));
    let ended = check(&stack, "certificate").await;
    ended.succeeded();
    let (result, line) = said(&ended, "certificate");
    assert_eq!(result, StepResult::Succeeded);
    for name in [NAME, OTHER] {
        let says = format!(
            "the certificate of {name} expires on 2026-04-01, in 90 days (issued by Viatique Test CA)"
        );
        assert!(line.contains(&says), "{line}");
    }
}

#[tokio::test]
async fn a_certificate_that_browsers_refuse_stops_and_says_why() {
    let authority = Authority::called("Viatique Test CA");
    let stranger = Authority::called("Somebody's CA");
    for (config, says, hint) in [
        (
            authority.signs(&[NAME], -80, 3),
            "the certificate of viatique.example.com expires on 2026-01-04, in 3 days (issued by Viatique Test CA)",
            "certbot renew",
        ),
        (
            authority.signs(&[NAME], -90, -2),
            "the certificate of viatique.example.com expired on 2025-12-30, 1 day ago (issued by Viatique Test CA)",
            "certbot renew",
        ),
        (
            authority.signs(&[NAME], 5, 90),
            "the certificate of viatique.example.com is not valid before 2026-01-06 (issued by Viatique Test CA)",
            "timedatectl",
        ),
        (
            authority.signs(&["other.example.com", OTHER], -1, 90),
            "the certificate served for viatique.example.com is one for other.example.com, www.viatique.example.com \
             (issued by Viatique Test CA)",
            "certbot --expand -d viatique.example.com",
        ),
        (
            self_signed(),
            "the certificate of viatique.example.com is self-signed: no browser believes it",
            "checks.site.ca_file",
        ),
        (
            stranger.signs(&[NAME], -1, 90),
            "the certificate of viatique.example.com is issued by Somebody's CA, which stands below no authority that is \
             known here",
            "fullchain.pem",
        ),
    ] {
        let site = https(config, |_| page(200, "", "")).await;
        let stack = first(&authority, site, nobody().await, "");
        check(&stack, "certificate")
            .await
            .ended(Outcome::Failed, ExitCode::Gate)
            .says(says)
            .says("[certificate: viatique.example.com]")
            .hints_at(hint);
    }
}

#[tokio::test]
async fn a_certificate_that_will_expire_is_told_and_stops_nothing() {
    let authority = Authority::called("Viatique Test CA");
    let site = https(authority.signs(&[NAME], -80, 10), |_| page(200, "", "")).await;
    let stack = first(&authority, site, nobody().await, "");
    let ended = check(&stack, "certificate").await;
    ended.succeeded();
    assert!(
        ended.warnings().contains("expires on 2026-01-11, in 10 days"),
        "{}",
        ended.warnings()
    );
    // How many days are enough is the operator's to say.
    let stack = first(
        &authority,
        site,
        nobody().await,
        ", days: { block: 11, warn: 30 }",
    );
    check(&stack, "certificate")
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("in 10 days");
}

#[tokio::test]
async fn a_site_that_cannot_be_asked_is_never_passed() {
    let authority = Authority::called("Viatique Test CA");
    for (https, says) in [
        (nobody().await, "Connection refused"),
        (silent().await, "no complete answer in time"),
    ] {
        for id in ["certificate", "debug-page", "hsts"] {
            // Before a first deploy nobody is expected to answer.
            let stack = first(&authority, https, nobody().await, "");
            stack.edit_deploy_yml("timeout: 5s", "timeout: 2s");
            let ended = check(&stack, id).await;
            ended.succeeded();
            let (result, line) = said(&ended, id);
            assert_eq!(result, StepResult::NotRun, "{id}: {line}");
            assert!(
                line.starts_with("not verified: nothing serves yet: ") && line.contains(says),
                "{id}: {line}"
            );
            let stack = served(&authority, https, nobody().await, "").await;
            stack.edit_deploy_yml("timeout: 5s", "timeout: 2s");
            let ended = check(&stack, id).await;
            let (result, line) = said(&ended, id);
            assert_eq!(result, StepResult::NotVerified, "{id}: {line}");
            assert!(line.contains(says), "{id}: {line}");
            if id == "hsts" {
                ended.succeeded();
            } else {
                ended
                    .ended(Outcome::Failed, ExitCode::Gate)
                    .says("not verified: ")
                    .says(says)
                    .hints_at("checks.site.connect");
            }
        }
    }
    let stack = served(&authority, nobody().await, silent().await, "").await;
    stack.edit_deploy_yml("timeout: 5s", "timeout: 2s");
    check(&stack, "redirect")
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("not verified: http://viatique.example.com/: no complete answer in time");
    // Who answers, and does not speak TLS, is somebody: also before a first deploy.
    let plain = http(|_| page(200, "", "")).await;
    let stack = first(&authority, plain, nobody().await, "");
    check(&stack, "certificate")
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("not verified: viatique.example.com:443: ");
    // Authorities that cannot be read.
    std::fs::write(stack.directory.path().join("ca.pem"), "").unwrap();
    check(&stack, "certificate")
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("reading the certificate authorities of")
        .says("there is no certificate in it");
}

#[tokio::test]
async fn without_a_public_name_nothing_of_it_is_looked_at() {
    let stack = Stack::viatique();
    let ended = stack.command(Chosen::check(), "v1").await;
    for id in ["certificate", "redirect", "hsts", "debug-page", "dns"] {
        assert_eq!(ended.task_message(StepId::Check, id), None);
    }
    // Who asks for it by name is told.
    check(&stack, "certificate")
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("not verified: no public name is known")
        .hints_at("checks: { site:");
    // An https address to ask the application at is a public one.
    stack.edit_deploy_yml("http://127.0.0.1:8080/health/", "https://localhost/health/");
    let ended = check(&stack, "dns").await;
    assert!(said(&ended, "dns").1.contains("localhost is "));
}

#[tokio::test]
async fn http_must_send_to_https() {
    let authority = Authority::called("Viatique Test CA");
    let to = |status, location: &'static str| move |_: &str| page(status, location, "");
    for (status, location, says) in [
        (
            200,
            "",
            "answers 200 over http: whoever comes that way stays in the clear",
        ),
        (404, "", "answers 404 over http, instead of sending to https"),
        (301, "", "answers 301 over http, and sends nowhere"),
        (
            301,
            "Location: http://viatique.example.com/home/\r\n",
            "sends to http://viatique.example.com over http, which is not https://viatique.example.com/",
        ),
        (
            301,
            "Location: https://elsewhere.example.com/?token=secret\r\n",
            "sends to https://elsewhere.example.com over http, which",
        ),
        (
            301,
            "Location: https://viatique.example.com:8443/\r\n",
            "sends to https://viatique.example.com:8443 over http, which",
        ),
    ] {
        let stack = first(&authority, nobody().await, http(to(status, location)).await, "");
        check(&stack, "redirect")
            .await
            .ended(Outcome::Failed, ExitCode::Gate)
            .says(&format!("http://viatique.example.com/: {says}"))
            .hints_at("return 301 https://$host$request_uri;");
    }
    for (status, location) in [
        (301, "Location: https://viatique.example.com/\r\n"),
        (308, "Location: //www.viatique.example.com/\r\n"),
        (308, "Location: https://www.viatique.example.com/\r\n"),
    ] {
        let further = format!(", names: [{OTHER}]");
        let stack = first(
            &authority,
            nobody().await,
            http(to(status, location)).await,
            &further,
        );
        let ended = check(&stack, "redirect").await;
        if location.contains("https") {
            ended.succeeded();
            let (result, line) = said(&ended, "redirect");
            assert_eq!(result, StepResult::Succeeded, "{line}");
            assert!(line.contains("viatique.example.com sends to https://"), "{line}");
        } else {
            ended.ended(Outcome::Failed, ExitCode::Gate);
        }
    }
    let temporary = http(to(302, "Location: https://viatique.example.com/\r\n")).await;
    let stack = first(&authority, nobody().await, temporary, "");
    let ended = check(&stack, "redirect").await;
    ended.succeeded();
    assert!(
        ended.warnings().contains("sends to https with 302"),
        "{}",
        ended.warnings()
    );
    let stack = served(&authority, nobody().await, nobody().await, "").await;
    let ended = check(&stack, "redirect").await;
    ended.succeeded();
    assert!(
        ended
            .warnings()
            .contains("nobody answers viatique.example.com on http"),
        "{}",
        ended.warnings()
    );
    let stack = first(&authority, nobody().await, nobody().await, "");
    let ended = check(&stack, "redirect").await;
    ended.succeeded();
    assert!(said(&ended, "redirect").1.contains("nothing serves yet"));
}

#[tokio::test]
async fn browsers_are_told_to_stay_on_https_for_half_a_year() {
    let authority = Authority::called("Viatique Test CA");
    for (header, says) in [
        ("", "does not tell browsers to come over https only"),
        (
            "Strict-Transport-Security: max-age=3600\r\n",
            "Strict-Transport-Security has a max-age of 3600 s, less than 180 days",
        ),
        (
            "Strict-Transport-Security: max-age=0\r\n",
            "Strict-Transport-Security has a max-age of 0, which takes it back",
        ),
        (
            "Strict-Transport-Security: includeSubDomains\r\n",
            "Strict-Transport-Security has no max-age",
        ),
        ("Strict-Transport-Security: max-age=31536000; preload\r\n", ""),
    ] {
        let site = https(authority.signs(&[NAME], -1, 90), move |_| page(200, header, "")).await;
        let ended = check(&first(&authority, site, nobody().await, ""), "hsts").await;
        ended.succeeded();
        if says.is_empty() {
            assert_eq!(
                said(&ended, "hsts"),
                (StepResult::Succeeded, format!("{NAME}: 365 days"))
            );
        } else {
            let warnings = ended.warnings();
            assert!(
                warnings.contains(says) && warnings.contains("SECURE_HSTS_SECONDS"),
                "{warnings}"
            );
        }
    }
    // A certificate that is refused is no answer.
    let site = https(self_signed(), |_| page(200, "", "")).await;
    let ended = check(&first(&authority, site, nobody().await, ""), "hsts").await;
    let (result, line) = said(&ended, "hsts");
    assert_eq!(result, StepResult::NotVerified);
    assert!(line.contains("certificate"), "{line}");
}

#[tokio::test]
async fn a_debug_page_in_the_open_stops() {
    let authority = Authority::called("Viatique Test CA");
    let django =
        "<p>You’re seeing this error because you have <code>DEBUG = True</code> in your settings</p>";
    for (status, body, says) in [
        (
            404,
            django,
            "a page that does not exist is answered with Django's debug page (404)",
        ),
        (
            500,
            "<title>x // Werkzeug Debugger</title>",
            "is answered with Werkzeug's debug page (500)",
        ),
        (
            200,
            "Traceback (most recent call last)",
            "is answered with Python's debug page (200)",
        ),
        (
            500,
            "Server Error",
            "a page that does not exist is answered with 500",
        ),
        (
            502,
            "Bad Gateway",
            "not verified: https://viatique.example.com: answers 502: the application did not answer itself",
        ),
    ] {
        let site = https(authority.signs(&[NAME], -1, 90), move |path| {
            assert!(path.starts_with("/viatique-deploy-"), "{path}");
            page(status, "", body)
        })
        .await;
        let stack = served(&authority, site, nobody().await, "").await;
        check(&stack, "debug-page")
            .await
            .ended(Outcome::Failed, ExitCode::Gate)
            .says(says)
            .hints_at("--skip");
    }
    let not_found = authority.signs(&[NAME], -1, 90);
    let site = https(not_found, |_| page(404, "", "<h1>Not Found</h1>")).await;
    let ended = check(&first(&authority, site, nobody().await, ""), "debug-page").await;
    ended.succeeded();
    assert_eq!(
        said(&ended, "debug-page"),
        (
            StepResult::Succeeded,
            format!("{NAME} answers 404, without a debug page")
        )
    );
    // Where it sends to another page of the site, that one is looked at.
    let site = https(authority.signs(&[NAME], -1, 90), move |path| {
        if path.starts_with("/fr/") {
            page(404, "", django)
        } else {
            page(302, &format!("Location: /fr{path}\r\n"), "")
        }
    })
    .await;
    check(&first(&authority, site, nobody().await, ""), "debug-page")
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("Django's debug page (404)");
}

#[tokio::test]
async fn dns_must_lead_here() {
    let site = |further: &str| {
        let stack = Stack::viatique();
        stack.edit_deploy_yml(
            "\nhealth:",
            &format!("\nchecks: {{ site: {{ {further} }} }}\nhealth:"),
        );
        stack
    };
    let localhost = "url: 'https://localhost/'";
    let ended = check(&site(localhost), "dns").await;
    ended.succeeded();
    let (result, line) = said(&ended, "dns");
    assert_eq!(result, StepResult::Succeeded);
    assert!(
        line.contains("localhost is ") && line.contains("127.0.0.1"),
        "{line}"
    );
    let elsewhere = format!("{localhost}, addresses: [203.0.113.7]");
    check(&site(&elsewhere), "dns")
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("localhost leads to 127.0.0.1")
        .says("not in checks.site.addresses, and does not lead to 203.0.113.7")
        .hints_at("A and AAAA records");
    // Whoever says where to connect instead knows.
    let ended = check(&site(&format!("{elsewhere}, connect: '127.0.0.1:443'")), "dns").await;
    ended.succeeded();
    assert!(ended.warnings().contains("does not lead to 203.0.113.7"));
    // A name that nobody has is one that could not be asked for: the resolver says no more. Something serves, or it
    // would be early to ask.
    let stack = Stack::viatique();
    tokio::time::pause();
    stack.run("v1").await.succeeded();
    tokio::time::resume();
    stack.edit_deploy_yml(
        "\nhealth:",
        "\nchecks: { site: { url: 'https://viatique.invalid/' } }\nhealth:",
    );
    check(&stack, "dns")
        .await
        .ended(Outcome::Failed, ExitCode::Gate)
        .says("not verified: viatique.invalid: ");
}
