//! Real sockets: every version of HTTP, slow clients, stops, certificates.

use std::path::Path;

use axum::routing::get;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::*;
use crate::http::listen::Door;

/// Far above what anything here takes; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    tracker: TaskTracker,
    /// A request to `/slow` is running.
    begun: Arc<Notify>,
    /// Lets it go on.
    go_on: Arc<Notify>,
}

fn start(transport: Transport, limits: Limits) -> Running {
    let listener = Listener::bind(Door::Events, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.addresses()[0];
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, waits) = (begun.clone(), go_on.clone());
    let slow = async move || {
        begins.notify_one();
        waits.notified().await;
        "at last"
    };
    let whoami = async |request: axum::extract::Request| {
        let peer = request.extensions().get::<Peer>().unwrap().0;
        format!("{:?} {}", request.version(), peer.ip())
    };
    let router = Router::new().route("/", get(whoami)).route("/slow", get(slow));
    let (shutdown, tracker) = (CancellationToken::new(), TaskTracker::new());
    let of_serve = tracker.clone();
    let stop = shutdown.clone();
    tracker.spawn(async move { serve(listener, transport, router, limits, stop, &of_serve).await });
    Running { address, shutdown, tracker, begun, go_on }
}

fn plain() -> Running {
    start(Transport::plain(), Limits::default())
}

impl Running {
    fn client(&self, http2: bool) -> Client<HttpConnector, Empty<Bytes>> {
        Client::builder(TokioExecutor::new()).http2_only(http2).build_http()
    }

    async fn get(&self, client: &Client<HttpConnector, Empty<Bytes>>, path: &str) -> String {
        let uri = format!("http://{}{path}", self.address).parse().unwrap();
        let answer = tokio::time::timeout(PATIENCE, client.get(uri)).await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Every task of the server has ended.
    async fn ended(&self) {
        self.tracker.close();
        tokio::time::timeout(PATIENCE, self.tracker.wait()).await.expect("the server ends");
    }
}

/// What the server says until it closes.
async fn rest(tcp: &mut TcpStream) -> String {
    let mut said = Vec::new();
    // A reset is an end too: it comes when the server closes with bytes of the client unread.
    let _ = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut said)).await.expect("the server closes the connection");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn both_versions_are_spoken_without_tls() {
    let running = plain();
    assert_eq!(running.get(&running.client(false), "/").await, "HTTP/1.1 127.0.0.1");
    assert_eq!(running.get(&running.client(true), "/").await, "HTTP/2.0 127.0.0.1");
}

#[tokio::test]
async fn clients_that_never_finish_a_request_are_closed() {
    let running = start(Transport::plain(), Limits { header_timeout: Duration::from_millis(150), ..Limits::default() });
    let mut all = Vec::new();
    for said in [
        "",
        "PRI * HT",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        "GET / HTTP/1.1\r\nHost: a",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET",
    ] {
        let mut tcp = running.connect().await;
        tcp.write_all(said.as_bytes()).await.unwrap();
        all.push((said, tcp));
    }
    for (said, mut tcp) in all {
        let answer = rest(&mut tcp).await;
        assert_eq!(answer.contains("200 OK"), said.contains("\r\n\r\nGET"), "{said:?}: {answer}");
    }
}

#[tokio::test]
async fn a_long_running_request_outlives_the_header_timeout() {
    let running = start(Transport::plain(), Limits { header_timeout: Duration::from_millis(50), ..Limits::default() });
    for http2 in [false, true] {
        let client = running.client(http2);
        let slow = running.get(&client, "/slow");
        let wait = async {
            running.begun.notified().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            running.go_on.notify_one();
        };
        assert_eq!(tokio::join!(slow, wait).0, "at last");
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_answered_431() {
    let running = start(Transport::plain(), Limits { max_header: 8 * 1024, ..Limits::default() });
    let mut tcp = running.connect().await;
    // Exactly the limit, and not finished: nothing is left unread, which would turn the close into a reset that can overtake the answer.
    let begin = "GET / HTTP/1.1\r\nHost: a\r\nX-Long: ";
    let head = format!("{begin}{}", "a".repeat(8 * 1024 - begin.len()));
    tcp.write_all(head.as_bytes()).await.unwrap();
    assert!(rest(&mut tcp).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn a_stop_finishes_the_running_request_and_takes_no_new_one() {
    for http2 in [false, true] {
        let running = plain();
        let client = running.client(http2);
        let slow = running.get(&client, "/slow");
        let stop = async {
            running.begun.notified().await;
            let mut idle = running.connect().await;
            idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut first = [0; 15];
            idle.read_exact(&mut first).await.unwrap();
            running.shutdown.cancel();
            // The idle connection closes at once, and nobody listens any more.
            rest(&mut idle).await;
            while TcpStream::connect(running.address).await.is_ok() {
                tokio::task::yield_now().await;
            }
            assert!(!running.tracker.is_empty(), "the running request holds the stop up");
            running.go_on.notify_one();
        };
        assert_eq!(tokio::join!(slow, stop).0, "at last");
        running.ended().await;
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_clients_that_say_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, _) = tls(dir.path());
    for transport in [Transport::plain(), tls] {
        let running = start(transport, Limits::default());
        let mut silent = running.connect().await;
        // One task accepts; a second one is the connection's.
        while running.tracker.len() < 2 {
            tokio::task::yield_now().await;
        }
        running.shutdown.cancel();
        rest(&mut silent).await;
        running.ended().await;
    }
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_place() {
    let running = start(Transport::plain(), Limits { max_connections: 1, ..Limits::default() });
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut first = running.connect().await;
    first.write_all(request).await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = running.connect().await;
    second.write_all(request).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(100), second.read_exact(&mut byte)).await;
    assert!(waiting.is_err(), "the second has no place yet");
    drop(first);
    tokio::time::timeout(PATIENCE, second.read_exact(&mut byte)).await.unwrap().unwrap();
}

#[test]
fn failed_accepts_back_off_up_to_a_second() {
    assert_eq!([0, 1, 2, 6, 7, 1_000_000].map(|failures| backoff(failures).as_millis()), [10, 20, 40, 640, 1000, 1000]);
    assert!(is_of_peer(&io::ErrorKind::ConnectionAborted.into()));
    // EMFILE and ENFILE have no kind of their own; they must back off.
    assert!(!is_of_peer(&io::Error::from_raw_os_error(24)) && !is_of_peer(&io::Error::from_raw_os_error(23)));
}

/// Writes a new self-signed certificate to the folder's two files.
fn write_certificate(dir: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

fn tls(dir: &Path) -> (Transport, CertificateDer<'static>) {
    let certificate = write_certificate(dir);
    (Transport::tls(&dir.join("tls.crt"), &dir.join("tls.key")).unwrap(), certificate)
}

type Encrypted = tokio_rustls::client::TlsStream<TcpStream>;

/// A handshake by a client that trusts this certificate alone.
async fn handshake(running: &Running, trusted: &CertificateDer<'static>, alpn: &str) -> io::Result<Encrypted> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::try_from("localhost").unwrap(), running.connect().await).await
}

#[tokio::test]
async fn both_versions_are_spoken_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (transport, certificate) = tls(dir.path());
    let running = start(transport, Limits::default());
    let request = || Request::get("https://localhost/").header("host", "localhost").body(Empty::<Bytes>::new()).unwrap();

    let stream = handshake(&running, &certificate, "h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    running.tracker.spawn(connection);
    let body = send.send_request(request()).await.unwrap().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"HTTP/2.0"));

    let stream = handshake(&running, &certificate, "http/1.1").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    running.tracker.spawn(connection);
    let body = send.send_request(request()).await.unwrap().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"HTTP/1.1"));
}

#[tokio::test]
async fn a_reloaded_certificate_is_shown_to_new_connections() {
    let dir = tempfile::tempdir().unwrap();
    let (transport, old) = tls(dir.path());
    let running = start(transport.clone(), Limits::default());
    handshake(&running, &old, "h2").await.unwrap();
    let new = write_certificate(dir.path());
    handshake(&running, &new, "h2").await.unwrap_err();
    transport.reload().unwrap();
    handshake(&running, &new, "h2").await.unwrap();
    handshake(&running, &old, "h2").await.unwrap_err();
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let (transport, _) = tls(dir.path());
    let running = start(transport, Limits { handshake_timeout: Duration::from_millis(100), ..Limits::default() });
    let mut silent = running.connect().await;
    assert_eq!(rest(&mut silent).await, "");
    let mut plain = running.connect().await;
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(!rest(&mut plain).await.contains("HTTP"), "no plain answer on a TLS listener");
}
