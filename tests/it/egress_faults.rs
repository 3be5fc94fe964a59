//! Destinations at their worst: each fault ends its own attempt with its own code, and the other hooks notice nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit};
use serde_json::{Value, json};
use tenterhook_tests::{Host, Sink, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::shared::{delivery_in, emit, hook_to, hook_with};

/// A server that does `what` with each connection once its request's head has arrived.
async fn server<F>(what: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port can be had");
    let address = listener.local_addr().expect("it has an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 16];
            if stream.read(&mut head).await.is_ok() {
                tokio::spawn(what(stream));
            }
        }
    });
    address
}

/// A hook that is tried once in a while, within a second.
fn hasty() -> Value {
    json!({ "delivery": { "timeout_ms": 1000, "retry": { "schedule_ms": [3_600_000] } } })
}

/// The code of the first attempt for this URL, and what was said; other hooks are served meanwhile.
async fn fault(url: &str, config: Value) -> (String, String) {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let config = tenterhook_tests::fixtures::with(json!({ "url": url }), &config);
    let hook = hook_with(&host, &sink, "shop", "/unused", &tenterhook_tests::fixtures::with(hasty(), &json!({ "config": config }))).await;
    hook_to(&host, &sink, "shop", "/healthy").await;
    let started = Instant::now();
    emit(host.events(), "shop", "sold", &json!({})).await;
    sink.wait_for("/healthy", 1).await;
    let delivery = delivery_in(&host, &hook, "retrying", 1).await;
    assert!(started.elapsed() < Duration::from_secs(30), "one bad destination took {:?}", started.elapsed());
    let failure = &delivery["attempts"][0]["failure"];
    let text = |name: &str| failure[name].as_str().unwrap_or_else(|| panic!("a failure: {delivery}")).to_owned();
    (text("code"), text("detail"))
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_dns() {
    let (code, detail) = fault("http://no-such-host.invalid/", json!({})).await;
    assert!(code == "dns" && detail.contains("no-such-host.invalid"), "{code}: {detail}");
}

#[tokio::test]
async fn a_sink_that_accepts_and_never_answers_is_a_timeout() {
    let address = server(|stream| async move {
        let _held = stream;
        std::future::pending().await
    });
    let (code, detail) = fault(&format!("http://{}/", address.await), json!({})).await;
    assert!(matches!(code.as_str(), "timeout" | "deadline"), "{code}: {detail}");
}

#[tokio::test]
async fn one_byte_at_a_time_is_a_timeout() {
    let address = server(|mut stream| async move {
        for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".iter().chain(std::iter::repeat_n(&b'x', 1000)) {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let (code, detail) = fault(&format!("http://{}/", address.await), json!({})).await;
    assert!(matches!(code.as_str(), "timeout" | "deadline"), "{code}: {detail}");
}

#[tokio::test]
async fn a_reset_is_a_protocol_error() {
    let address = server(|stream| async move {
        // Closing with unread bytes and no linger resets.
        stream.set_zero_linger().ok();
        drop(stream);
    });
    let (code, detail) = fault(&format!("http://{}/", address.await), json!({})).await;
    assert_eq!(code, "protocol", "{detail}");
}

#[tokio::test]
async fn an_answer_of_a_hundred_megabytes_is_too_large() {
    let address = server(|mut stream| async move {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 100 << 20);
        let mut written = stream.write_all(head.as_bytes()).await;
        let block = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            if written.is_err() {
                return;
            }
            written = stream.write_all(&block).await;
        }
    });
    let (code, detail) = fault(&format!("http://{}/", address.await), json!({})).await;
    assert_eq!(code, "too-large", "{detail}");
    let endless = server(|mut stream| async move {
        let mut written = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        let chunk = [format!("{:x}\r\n", 1 << 20).into_bytes(), vec![b'x'; 1 << 20], b"\r\n".to_vec()].concat();
        while written.is_ok() {
            written = stream.write_all(&chunk).await;
        }
    });
    let (code, detail) = fault(&format!("http://{}/", endless.await), json!({})).await;
    assert!(matches!(code.as_str(), "too-large" | "timeout"), "{code}: {detail}");
}

#[tokio::test]
async fn a_server_without_tls_or_with_nobodys_certificate_is_tls() {
    let plain = server(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.ok();
    });
    let (code, detail) = fault(&format!("https://{}/", plain.await), json!({})).await;
    assert_eq!(code, "tls", "{detail}");
}

/// A TLS server with a certificate for `name`, and the file in `dir` that holds it. It answers 200 to everything.
async fn https(dir: &std::path::Path, name: &str) -> (SocketAddr, std::path::PathBuf) {
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    use tokio_rustls::rustls::{ServerConfig, crypto::ring::default_provider};
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate can be made");
    let file = dir.join("ca.crt");
    std::fs::write(&file, made.cert.pem()).expect("and written");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("it has a key");
    let config = ServerConfig::builder_with_provider(default_provider().into()).with_safe_default_protocol_versions();
    let config = config.expect("the versions are known").with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config.expect("certificate and key go together")));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port can be had");
    let address = listener.local_addr().expect("it has an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that refuses the certificate ends the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = [0; 16 << 10];
                if stream.read(&mut head).await.is_ok() {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.ok();
                    stream.shutdown().await.ok();
                }
            });
        }
    });
    (address, file)
}

#[tokio::test]
async fn a_certificate_for_another_name_is_tls_and_one_for_the_name_is_trusted() {
    for (name, state) in [("other.example", "retrying"), ("localhost", "delivered")] {
        let dir = tempfile::tempdir().expect("a folder");
        let (address, ca) = https(dir.path(), name).await;
        let host = Host::builder().config(format!("[egress]\nca_file = \"{}\"\n", ca.display())).start().await;
        let url = format!("https://localhost:{}/", address.port());
        let hook = json!({ "source": "shop", "handler": "webhook", "config": { "url": url, "ssl_verify": true } });
        let hook = tenterhook_tests::fixtures::with(hook, &hasty());
        let hook = crate::shared::id(&crate::shared::created(host.admin().post("/event-hooks", &hook).await));
        emit(host.events(), "shop", "sold", &json!({})).await;
        let delivery = delivery_in(&host, &hook, state, 1).await;
        if state == "retrying" {
            assert_eq!(delivery["attempts"][0]["failure"]["code"], "tls", "{delivery}");
        }
    }
}

/// How many descriptors the host's process has open.
fn descriptors(host: &Host) -> u64 {
    std::fs::read_dir(format!("/proc/{}/fd", host.pid())).expect("the process is there").count() as u64
}

fn allow(host: &Host, descriptors: u64) -> Rlimit {
    let pid = i32::try_from(host.pid()).ok().and_then(Pid::from_raw);
    let now = rustix::process::getrlimit(Resource::Nofile);
    let limit = Rlimit { current: Some(descriptors), maximum: now.maximum };
    rustix::process::prlimit(pid, Resource::Nofile, limit).expect("a limit of one's own child may be lowered and raised")
}

#[tokio::test]
async fn out_of_descriptors_nothing_is_lost_and_nothing_needs_a_restart() {
    let config = "[store]\nsegment_bytes = \"4 MiB\"\n";
    let (host, first, second) = (Host::builder().config(config).start().await, Sink::start().await, Sink::start().await);
    hook_to(&host, &first, "warm", "/in").await;
    emit(host.events(), "warm", "up", &json!({})).await;
    first.wait_for("/in", 1).await;
    // The connection to this sink is not open yet, and none can be opened.
    let retry = json!({ "delivery": { "retry": { "schedule_ms": vec![1_000; 40] } } });
    hook_with(&host, &second, "shop", "/in", &retry).await;
    second.wait_for_pings("/in", 1).await;
    let third = Sink::start().await;
    let blocked = hook_with(&host, &third, "shop", "/in", &tenterhook_tests::fixtures::with(retry, &json!({ "paused": true }))).await;
    let before = allow(&host, descriptors(&host));
    let resume = host.admin().patch(&format!("/event-hooks/{blocked}"), &json!({ "paused": false })).await;
    assert!(matches!(resume.status, 200 | 503), "{}", resume.text());
    // More than a segment: the journal has to go on in the old one, or say 503.
    let text = "x".repeat(900_000);
    let mut accepted = 0;
    for n in 0..10 {
        let event = json!({ "source": "shop", "event": "sold", "data": { "n": n, "text": text } });
        let answer = host.events().post("/events", &event).await;
        assert!(matches!(answer.status, 202 | 503), "{}", answer.text());
        accepted += usize::from(answer.status == 202);
    }
    let failed = eventually("an attempt that found no descriptor", async || {
        let answer = host.admin().get(&format!("/event-hooks/{blocked}/deliveries?state=retrying")).await.expect(200).json();
        let data = answer["data"].as_array()?.clone();
        data.into_iter().find(|one| one["attempts"][0]["failure"]["code"].is_string())
    })
    .await;
    assert_eq!(failed["attempts"][0]["failure"]["code"], "connect", "{failed}");
    allow(&host, before.current.unwrap_or(10_000));
    let after = eventually("events are accepted again", async || {
        let answer = host.events().post("/events", &json!({ "source": "shop", "event": "sold", "data": { "n": 99 } })).await;
        (answer.status == 202).then_some(())
    });
    after.await;
    third.wait_until("all that was accepted", |sink| (sink.unique_ids("/in").len() > accepted).then_some(())).await;
    second.wait_until("all that was accepted", |sink| (sink.unique_ids("/in").len() > accepted).then_some(())).await;
    host.events().get("/health/ready").await.expect(200);
}

#[tokio::test]
async fn where_descriptors_are_few_connections_are_fewer() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let script = dir.path().join("few");
    let binary = tenterhook_tests::binary::path().display().to_string();
    std::fs::write(&script, format!("#!/bin/sh\nulimit -n 400\nexec '{binary}' \"$@\"\n")).expect("a script can be written");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("and made executable");
    let (host, sink) = (Host::builder().binary(&script).start().await, Sink::start().await);
    eventually("the log says so", async || host.log().find("ulimit -n")).await;
    hook_to(&host, &sink, "shop", "/in").await;
    // Far more clients than descriptors: some are told 503, and the host goes on.
    let mut clients = Vec::new();
    for _ in 0..600 {
        clients.push(TcpStream::connect(host.events().address()).await.expect("the kernel's queue takes it"));
    }
    drop(clients);
    eventually("an event gets through", async || {
        let call = host.events().call(http::Method::POST, "/events").json(&json!({ "source": "shop", "event": "sold" }));
        call.try_send().await.is_ok_and(|answer| answer.status == 202).then_some(())
    })
    .await;
    sink.wait_for("/in", 1).await;
}
