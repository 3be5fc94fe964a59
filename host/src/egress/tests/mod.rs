//! Egress against real sockets on loopback.

mod hostile;
mod refused;
mod tls;
mod wire;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;
use crate::model::{HeaderValue, RequestOptions};

/// Long enough for anything that is supposed to work.
const LONG: Duration = Duration::from_secs(20);

/// An answer that leaves the connection open.
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A server that does what it is told with each connection. It ends when dropped.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Server {
    async fn each<F>(script: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                open.spawn(script(socket));
            }
        });
        Self { address, connections, _accepting: accepting }
    }

    /// Writes these bytes when a request's head has come, and leaves the connection open.
    async fn writes(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::each(move |mut socket| {
            let answer = Arc::clone(&answer);
            async move {
                head_of(&mut socket).await;
                // Whoever has seen enough hangs up.
                let _ = socket.write_all(&answer).await;
                let _ = socket.read_to_end(&mut Vec::new()).await;
            }
        })
        .await
    }

    /// Speaks HTTP.
    async fn answers<F>(answer: impl Fn(Request<Bytes>) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        Self::each(move |socket| http(socket, answer.clone())).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn http<S, F>(socket: S, answer: impl Fn(Request<Bytes>) -> F + Clone + Send + Sync + 'static)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let answer = answer.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Ok::<_, Infallible>(answer(Request::from_parts(head, body)).await)
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

/// Reads up to the empty line after the headers; what was read.
async fn head_of(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

fn ok(body: &'static str) -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from_static(body.as_bytes())))
}

fn egress() -> Egress {
    with_limits(Limits::default())
}

fn with_limits(limits: Limits) -> Egress {
    Egress::new(limits, Rules::default(), None, Clock::default()).unwrap()
}

fn with_rules(deny: &[&str], allow: &[&str]) -> Egress {
    Egress::new(Limits::default(), Rules::of(deny, allow).unwrap(), None, Clock::default()).unwrap()
}

fn options() -> RequestOptions {
    RequestOptions { verify_tls: true, connect_timeout: None, total_timeout: None }
}

fn get(url: impl Into<String>) -> GuestRequest {
    GuestRequest { method: "GET".into(), url: url.into(), headers: Vec::new(), body: None, options: options() }
}

fn post(url: impl Into<String>, body: &'static [u8]) -> GuestRequest {
    GuestRequest { method: "POST".into(), body: Some(Bytes::from_static(body)), ..get(url) }
}

fn header(name: &str, value: &[u8]) -> (String, HeaderValue) {
    (name.into(), HeaderValue::Text(value.into()))
}

async fn send(egress: &Egress, request: GuestRequest) -> Result<ResponseSummary, EgressError> {
    egress.send(request, &Grants::any(), LONG).await
}

/// The request fails with this code, and a detail that has this in it.
#[track_caller]
fn failed(sent: Result<ResponseSummary, EgressError>, code: FailureCode, part: &str) -> EgressError {
    let error = sent.expect_err("the request must fail");
    assert_eq!(error.code, code, "{error}");
    assert!(error.detail.contains(part), "'{part}' is not in: {}", error.detail);
    error
}
