//! HTTPS, with a certificate that nobody has signed.

use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::*;

/// An HTTPS server for `localhost`, and its certificate as PEM.
async fn https() -> (Server, String) {
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::each(move |socket| {
        let acceptor = acceptor.clone();
        async move {
            // A client that does not like the certificate hangs up.
            if let Ok(socket) = acceptor.accept(socket).await {
                http(socket, |_| async { ok("safe") }).await;
            }
        }
    })
    .await;
    (server, cert.pem())
}

fn url(server: &Server) -> String {
    format!("https://localhost:{}/", server.address.port())
}

fn unverified(url: String) -> GuestRequest {
    GuestRequest { options: RequestOptions { verify_tls: false, ..options() }, ..get(url) }
}

#[tokio::test]
async fn certificate_is_checked_unless_told_otherwise_and_the_two_never_share_a_connection() {
    let (server, _) = https().await;
    let egress = egress();
    let error = failed(send(&egress, get(url(&server))).await, FailureCode::Tls, "invalid peer certificate: UnknownIssuer");
    assert!(error.detail.contains("egress.ca_file"), "{error}");
    for _ in 0..2 {
        let answer = send(&egress, unverified(url(&server))).await.unwrap();
        assert_eq!((answer.status, &*answer.body), (200, &b"safe"[..]));
    }
    assert_eq!((egress.metrics().opened, egress.metrics().reused, egress.metrics().idle), (1, 1, 1));
    failed(send(&egress, get(url(&server))).await, FailureCode::Tls, "UnknownIssuer");
}

#[tokio::test]
async fn operators_certificate_authority_is_trusted_for_its_names_only() {
    let (server, pem) = https().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, pem).unwrap();
    let egress = Egress::new(Limits::default(), Rules::default(), Some(&file), Clock::default()).unwrap();
    for _ in 0..2 {
        assert_eq!(send(&egress, get(url(&server))).await.unwrap().status, 200);
    }
    assert_eq!((egress.metrics().opened, egress.metrics().reused), (1, 1));
    let by_address = get(format!("https://{}/", server.address));
    failed(send(&egress, by_address).await, FailureCode::Tls, "certificate not valid for name");
}

#[tokio::test]
async fn server_without_tls_is_a_tls_error() {
    let plain = Server::each(|mut socket| async move {
        let _ = socket.write_all(b"220 mail.example ESMTP\r\n").await;
        let _ = socket.read_to_end(&mut Vec::new()).await;
    })
    .await;
    failed(send(&egress(), unverified(format!("https://{}/", plain.address))).await, FailureCode::Tls, "is it an https port?");
    let closing = Server::each(|socket| async move { drop(socket) }).await;
    failed(send(&egress(), unverified(format!("https://{}/", closing.address))).await, FailureCode::Tls, "TLS with 127.0.0.1:");
    let silent = Server::each(|mut socket| async move {
        let _ = socket.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let mut request = unverified(format!("https://{}/", silent.address));
    request.options.connect_timeout = Some(Duration::from_millis(100));
    failed(send(&egress(), request).await, FailureCode::Timeout, "not done within 100 ms (the request's own limit): in the TLS handshake");
}

#[tokio::test]
async fn certificate_file_that_cannot_be_used_fails_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let start = || Egress::new(Limits::default(), Rules::default(), Some(&file), Clock::default()).unwrap_err().to_string();
    assert!(start().starts_with("egress.ca_file: "), "a missing file: {}", start());
    std::fs::write(&file, "no certificate").unwrap();
    assert!(start().contains("no PEM certificate found"), "{}", start());
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(start().contains("not a certificate authority"), "{}", start());
}
