//! TLS towards destinations: rustls with ring, the system's certificate authorities and the operator's.
//!
//! Both configurations are made at the first request that needs them: reading the system's authorities takes milliseconds that a start, and a host
//! without HTTPS destinations, need not spend.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use super::{SetupError, Tasks};
use crate::model::{Failure, FailureCode};

/// The two ways of TLS. They share nothing, not even sessions: one resumed without a check would be a hole in the checked way.
#[derive(Debug)]
pub(super) struct Tls {
    /// From `egress.ca_file`.
    authorities: Vec<CertificateDer<'static>>,
    verified: OnceCell<Configured>,
    unverified: OnceLock<Configured>,
    tasks: Tasks,
}

type Configured = Arc<ClientConfig>;

impl Tls {
    /// `ca_file`: PEM, at least one certificate, trusted beside the system's.
    pub(super) fn new(ca_file: Option<&Path>, tasks: Tasks) -> Result<Self, SetupError> {
        let authorities = ca_file.map_or(Ok(Vec::new()), read_authorities)?;
        Ok(Self { authorities, verified: OnceCell::new(), unverified: OnceLock::new(), tasks })
    }

    /// Checks the destination's certificate. The first call reads the system's authorities, on a thread for blocking work.
    pub(super) async fn verified(&self) -> Result<TlsConnector, Failure> {
        let config = self.verified.get_or_try_init(|| async {
            let ours = self.authorities.clone();
            let reading = self.tasks.spawn_blocking(move || verifying(ours)).await;
            reading.unwrap_or_else(|ended| Err(format!("reading the certificate authorities ended early: {ended}")))
        });
        let config = config.await.map_err(|why| Failure::new(FailureCode::Tls, why))?;
        Ok(TlsConnector::from(Arc::clone(config)))
    }

    /// Takes any certificate.
    pub(super) fn unverified(&self) -> TlsConnector {
        let config = self.unverified.get_or_init(|| {
            let provider = Arc::new(ring::default_provider());
            let anything = Arc::new(Anything(Arc::clone(&provider)));
            Arc::new(finished(builder(provider).dangerous().with_custom_certificate_verifier(anything)))
        });
        TlsConnector::from(Arc::clone(config))
    }
}

fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let wrong = |why: String| SetupError { setting: "egress.ca_file", message: format!("{}: {why}", path.display()) };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?;
    let mut tried = RootCertStore::empty();
    for certificate in &certificates {
        tried.add(certificate.clone()).map_err(|error| wrong(format!("not a certificate authority: {error}")))?;
    }
    if certificates.is_empty() { Err(wrong("no PEM certificate found in it".into())) } else { Ok(certificates) }
}

fn verifying(ours: Vec<CertificateDer<'static>>) -> Result<Configured, String> {
    let system = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Old system stores have a few that cannot be read; who is signed by one of them gets an error of its own.
    roots.add_parsable_certificates(system.certs);
    roots.add_parsable_certificates(ours);
    if roots.is_empty() {
        let errors: String = system.errors.iter().map(|error| format!("; {error}")).collect();
        return Err(format!(
            "no certificate authority is known: install the system's (package ca-certificates), or set egress.ca_file{errors}"
        ));
    }
    Ok(Arc::new(finished(builder(Arc::new(ring::default_provider())).with_root_certificates(roots))))
}

fn builder(provider: Arc<CryptoProvider>) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring's provider has cipher suites for TLS 1.2 and 1.3")
}

fn finished(config: rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>) -> ClientConfig {
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// What `verify_tls: false` means: encrypted, towards whoever answers.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    // Checking signatures would only refuse certificates too old to be parsed, which are why people turn the check off.
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
