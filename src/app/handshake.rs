//! Asks which certificate is served under a name, through rustls, and keeps it where it is refused too: what is wrong with
//! it stands in it. Sends no request.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate, X509Name};

use super::edge::{EdgeError, EdgeErrorKind, Presented, Refused, Way};

/// The certificate that is served under this name.
pub(super) async fn presented(name: &str, port: u16, way: &Way) -> Result<Presented, EdgeError> {
    let failed = |kind, message: String| EdgeError {
        kind,
        target: format!("{name}:{port}"),
        message,
    };
    let server = ServerName::try_from(name.to_owned())
        .map_err(|error| failed(EdgeErrorKind::Unreachable, error.to_string()))?;
    let witness = Arc::new(Witness {
        verifier: verifier(way).map_err(|why| failed(EdgeErrorKind::Here, why))?,
        seen: Mutex::default(),
    });
    let config = config_with(Arc::clone(&witness) as Arc<_>, way)
        .map_err(|error| failed(EdgeErrorKind::Here, error.to_string()))?;
    let greet = async {
        let stream = match way.connect {
            Some(address) => connect(&[address]).await,
            None => TcpStream::connect((name, port)).await,
        };
        let stream = stream.map_err(|error| failed(unconnected(error.kind()), error.to_string()))?;
        let greeted = TlsConnector::from(Arc::new(config)).connect(server, stream).await;
        greeted
            .map(|_| ())
            .map_err(|error| failed(EdgeErrorKind::Tls, error.to_string()))
    };
    let greeted = tokio::time::timeout(way.timeout, greet).await;
    // Whatever came of the rest: the certificate was served, and was judged.
    if let Some((certificate, judged)) = witness.take() {
        return facts(&certificate, judged).map_err(|why| failed(EdgeErrorKind::Tls, why));
    }
    match greeted {
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) => Err(failed(EdgeErrorKind::Tls, "no certificate was served".to_owned())),
        Err(_) => Err(failed(
            EdgeErrorKind::Silent,
            "no complete answer in time".to_owned(),
        )),
    }
}

async fn connect(addresses: &[SocketAddr]) -> std::io::Result<TcpStream> {
    TcpStream::connect(addresses).await
}

/// What an operating system's word for a failed connection means here.
pub(super) const fn unconnected(kind: std::io::ErrorKind) -> EdgeErrorKind {
    if matches!(kind, std::io::ErrorKind::ConnectionRefused) {
        EdgeErrorKind::Refused
    } else if matches!(kind, std::io::ErrorKind::TimedOut) {
        EdgeErrorKind::Silent
    } else {
        EdgeErrorKind::Unreachable
    }
}

/// As a visitor's program is set up.
///
/// # Errors
/// No authorities can be read; why.
pub(super) fn config(way: &Way) -> Result<ClientConfig, String> {
    config_with(verifier(way)?, way).map_err(|error| error.to_string())
}

fn config_with(verifier: Arc<dyn ServerCertVerifier>, way: &Way) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_details(provider, Arc::new(At(way.now)))
        .with_safe_default_protocol_versions()?
        // Not one that believes more than the system's: it has the same authorities, and those of a file.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

fn verifier(way: &Way) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let further = match &way.authorities {
        Some(file) => authorities(file)?,
        None => Vec::new(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(further, provider)
        .map_err(|error| format!("reading the system's certificate authorities: {error}"))?;
    Ok(Arc::new(verifier))
}

fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |why: String| format!("reading the certificate authorities of {}: {why}", file.display());
    let found = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(error.to_string()))?;
    if found.is_empty() {
        return Err(failed("there is no certificate in it".to_owned()));
    }
    Ok(found)
}

/// A clock that stands: certificates are held against the time of the command, as everything else is.
#[derive(Debug)]
struct At(OffsetDateTime);

impl rustls::time_provider::TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.unix_timestamp()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

type Judged = (CertificateDer<'static>, Result<(), Error>);

/// Judges as the verifier does, and remembers what was judged.
#[derive(Debug)]
struct Witness {
    verifier: Arc<dyn ServerCertVerifier>,
    seen: Mutex<Option<Judged>>,
}

impl Witness {
    fn take(&self) -> Option<Judged> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged =
            self.verifier
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let seen = judged.as_ref().map(|_| ()).map_err(Clone::clone);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((end_entity.clone().into_owned(), seen));
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

fn facts(certificate: &CertificateDer<'_>, judged: Result<(), Error>) -> Result<Presented, String> {
    let (_, read) = X509Certificate::from_der(certificate)
        .map_err(|error| format!("the certificate that is served cannot be read: {error}"))?;
    let moment = |time: x509_parser::time::ASN1Time| {
        OffsetDateTime::from_unix_timestamp(time.timestamp())
            .map_err(|error| format!("the certificate that is served has no sensible dates: {error}"))
    };
    let names = read.subject_alternative_name().ok().flatten();
    let names = names.map_or_else(Vec::new, |names| {
        names.value.general_names.iter().filter_map(named).collect()
    });
    Ok(Presented {
        issuer: called(read.issuer()),
        self_signed: read.issuer() == read.subject(),
        names,
        not_before: moment(read.validity().not_before)?,
        not_after: moment(read.validity().not_after)?,
        refused: judged.err().map(|error| refused(&error)),
    })
}

/// Names and addresses; nothing else names a server.
fn named(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) = name {
        return Some((*name).to_owned());
    }
    if let GeneralName::IPAddress(bytes) = name {
        let four = <[u8; 4]>::try_from(*bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string());
        let six = <[u8; 16]>::try_from(*bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string());
        return four.or(six).ok();
    }
    None
}

fn called(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next();
    let common = common.and_then(|common| common.as_str().ok());
    common.map_or_else(|| name.to_string(), str::to_owned)
}

/// rustls' reason as ours.
fn refused(error: &Error) -> Refused {
    let Error::InvalidCertificate(reason) = error else {
        return Refused::Other(error.to_string());
    };
    if matches!(
        reason,
        CertificateError::Expired | CertificateError::ExpiredContext { .. }
    ) {
        Refused::Expired
    } else if matches!(
        reason,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }
    ) {
        Refused::NotYetValid
    } else if matches!(
        reason,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    ) {
        Refused::OtherName
    } else if matches!(reason, CertificateError::UnknownIssuer) {
        Refused::UnknownIssuer
    } else if matches!(reason, CertificateError::Revoked) {
        Refused::Revoked
    } else {
        Refused::Other(reason.to_string())
    }
}
