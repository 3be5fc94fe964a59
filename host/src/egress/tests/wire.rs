//! What goes over the wire, what comes back, and what becomes of the connection.

use std::sync::Mutex;

use tokio::sync::{mpsc, oneshot};

use super::*;

#[tokio::test]
async fn request_goes_out_as_asked_and_answer_comes_back_whole() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let server = Server::answers(move |request| {
        seen.send(request).unwrap();
        async { Response::builder().status(201).header("X-A", "1").header("x-a", "2").body(Full::new(Bytes::from("made"))).unwrap() }
    })
    .await;
    let mut request = post(server.url("/in/voice?b=%20c#part"), b"{\"a\":1}");
    request.headers = vec![header("Content-Type", b"application/json"), header("X-Two", b"1"), header("x-two", b"\xff")];
    let answer = send(&egress(), request).await.unwrap();

    assert_eq!((answer.status, &*answer.body), (201, &b"made"[..]));
    let ours: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "x-a").map(|(_, value)| &**value).collect();
    assert_eq!(ours, [b"1", b"2"]);
    assert!(answer.phases.connect_us > 0, "the connection is new");
    assert!(answer.phases.connect_us <= answer.phases.first_byte_us && answer.phases.first_byte_us <= answer.phases.total_us);

    let seen = requests.recv().await.unwrap();
    assert_eq!((seen.method().as_str(), seen.uri().to_string().as_str()), ("POST", "/in/voice?b=%20c"));
    assert_eq!(seen.headers()["host"], server.address.to_string());
    assert_eq!(seen.headers()["content-length"], "7");
    assert_eq!(seen.headers()["user-agent"], concat!("tenterhook/", env!("CARGO_PKG_VERSION")));
    assert_eq!(seen.headers().get_all("x-two").iter().map(|value| value.as_bytes()).collect::<Vec<_>>(), [&b"1"[..], b"\xff"]);
    assert_eq!(&**seen.body(), b"{\"a\":1}");
}

#[tokio::test]
async fn url_without_a_path_and_empty_post_are_sent_as_servers_expect() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let server = Server::answers(move |request| {
        seen.send(request).unwrap();
        async { ok("") }
    })
    .await;
    let egress = egress();
    let mut request = GuestRequest { method: "POST".into(), ..get(server.url("?a=1")) };
    request.headers.push(header("User-Agent", b"mine"));
    send(&egress, request).await.unwrap();
    let seen = requests.recv().await.unwrap();
    assert_eq!(seen.uri().to_string(), "/?a=1");
    assert_eq!((&seen.headers()["content-length"], &seen.headers()["user-agent"]), (&"0".parse().unwrap(), &"mine".parse().unwrap()));

    send(&egress, get(server.url(""))).await.unwrap();
    let seen = requests.recv().await.unwrap();
    assert_eq!((seen.uri().to_string().as_str(), seen.headers().get("content-length")), ("/", None));
}

#[tokio::test]
async fn connection_is_kept_for_the_next_request() {
    let server = Server::answers(|_| async { ok("ok") }).await;
    let egress = egress();
    let first = send(&egress, post(server.url("/"), b"1")).await.unwrap();
    let second = send(&egress, post(server.url("/"), b"2")).await.unwrap();
    assert!(first.phases.connect_us > 0);
    assert_eq!(second.phases.connect_us, 0);
    assert_eq!(server.connections(), 1);
    let metrics = Metrics { requests: 2, refused: 0, failed: 0, opened: 1, reused: 1, in_flight: 0, idle: 1 };
    assert_eq!(egress.metrics(), metrics);
}

#[tokio::test]
async fn connection_that_the_server_closes_is_not_kept() {
    let server = Server::writes("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
    let egress = egress();
    assert_eq!(send(&egress, get(server.url("/"))).await.unwrap().status, 200);
    assert_eq!(egress.metrics().idle, 0);
}

#[tokio::test]
async fn connection_that_was_closed_while_idle_is_replaced_before_anything_is_sent() {
    let (closed, mut closes) = mpsc::unbounded_channel();
    let server = Server::each(move |mut socket| {
        let closed = closed.clone();
        async move {
            head_of(&mut socket).await;
            socket.write_all(OK.as_bytes()).await.unwrap();
            drop(socket);
            closed.send(()).unwrap();
        }
    })
    .await;
    let other = Server::writes(OK).await;
    let egress = egress();
    send(&egress, get(server.url("/"))).await.unwrap();
    closes.recv().await.unwrap();
    // Another exchange: the end of the first connection comes before its answer, so the runtime has seen it.
    send(&egress, get(other.url("/"))).await.unwrap();
    assert_eq!(send(&egress, get(server.url("/"))).await.unwrap().status, 200);
    assert_eq!(server.connections(), 2);
    assert_eq!(egress.metrics().reused, 0);
}

#[tokio::test]
async fn redirect_is_an_answer() {
    let server = Server::writes("HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n").await;
    let answer = send(&egress(), get(server.url("/"))).await.unwrap();
    assert_eq!(answer.status, 302);
    assert!(answer.headers.contains(&("location".into(), b"http://169.254.169.254/".to_vec())));
}

#[tokio::test]
async fn requests_in_flight_are_bounded_and_the_wait_counts() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, peak) = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::answers(move |_| {
        let (count, peak) = (Arc::clone(&count), Arc::clone(&peak));
        async move {
            peak.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            count.fetch_sub(1, Ordering::SeqCst);
            ok("ok")
        }
    })
    .await;
    let egress = with_limits(Limits { in_flight: 2, ..Limits::default() });
    let mut senders = JoinSet::new();
    for _ in 0..12 {
        let (egress, url) = (egress.clone(), server.url("/"));
        senders.spawn(async move { send(&egress, get(url)).await.unwrap().status });
    }
    assert_eq!(senders.join_all().await, [200; 12]);
    assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
    assert!(server.connections() <= 2);

    let silent = Server::each(|mut socket| async move {
        let _ = socket.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let egress = with_limits(Limits { in_flight: 1, ..Limits::default() });
    let holder = send(&egress, get(silent.url("/")));
    let grants = Grants::any();
    let late = egress.send(get(server.url("/")), &grants, Duration::from_millis(100));
    tokio::select! {
        biased;
        _ = holder => panic!("nobody answers it"),
        sent = late => {
            failed(sent, FailureCode::Timeout, "waiting for a place among the requests in flight (setting egress.in_flight)");
        }
    }
}

#[tokio::test]
async fn dropped_request_hangs_up() {
    let (hung_up, seen) = oneshot::channel();
    let hung_up = Arc::new(Mutex::new(Some(hung_up)));
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let server = Server::each(move |mut socket| {
        let (arrived, hung_up) = (arrived.clone(), hung_up.lock().unwrap().take().unwrap());
        async move {
            head_of(&mut socket).await;
            arrived.send(()).unwrap();
            let _ = socket.read_to_end(&mut Vec::new()).await;
            hung_up.send(()).unwrap();
        }
    })
    .await;
    let egress = egress();
    tokio::select! {
        _ = send(&egress, get(server.url("/"))) => panic!("nobody answers it"),
        _ = arrivals.recv() => {}
    }
    tokio::time::timeout(LONG, seen).await.unwrap().unwrap();
}

#[tokio::test]
async fn kept_connections_are_bounded_and_closed_with_egress() {
    let gate = Arc::new(tokio::sync::Barrier::new(3));
    let server = Server::answers(move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.wait().await;
            ok("ok")
        }
    })
    .await;
    for limits in [Limits { idle_per_destination: 2, ..Limits::default() }, Limits { idle_total: 2, ..Limits::default() }] {
        let egress = with_limits(limits);
        let (a, b, c) =
            tokio::join!(send(&egress, get(server.url("/"))), send(&egress, get(server.url("/"))), send(&egress, get(server.url("/"))));
        assert_eq!([a, b, c].map(|sent| sent.unwrap().status), [200; 3]);
        assert_eq!((egress.metrics().opened, egress.metrics().idle), (3, 2));
        tokio::time::timeout(LONG, egress.close()).await.unwrap();
        assert_eq!(egress.metrics().idle, 0);
        failed(send(&egress, get(server.url("/"))).await, FailureCode::Connect, "the host is stopping");
    }
}

#[tokio::test]
async fn connection_idle_for_too_long_is_not_used_again() {
    let server = Server::answers(|_| async { ok("ok") }).await;
    let egress = with_limits(Limits { idle: Duration::ZERO, ..Limits::default() });
    send(&egress, get(server.url("/"))).await.unwrap();
    send(&egress, get(server.url("/"))).await.unwrap();
    assert_eq!((egress.metrics().opened, egress.metrics().reused), (2, 0));
}

#[tokio::test]
async fn idle_connection_is_closed_in_time() {
    let (hung_up, mut hang_ups) = mpsc::unbounded_channel();
    let server = Server::each(move |mut socket| {
        let hung_up = hung_up.clone();
        async move {
            head_of(&mut socket).await;
            socket.write_all(OK.as_bytes()).await.unwrap();
            let _ = socket.read_to_end(&mut Vec::new()).await;
            hung_up.send(()).unwrap();
        }
    })
    .await;
    let egress = with_limits(Limits { idle: Duration::from_millis(50), ..Limits::default() });
    send(&egress, get(server.url("/"))).await.unwrap();
    tokio::time::timeout(LONG, hang_ups.recv()).await.unwrap();
    assert_eq!(egress.metrics().idle, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_arrive_whole_in_both_directions_from_many_at_once() {
    const LENGTH: usize = 3_000_000;
    let server = Server::answers(|request| async move { Response::new(Full::new(request.into_body())) }).await;
    let egress = egress();
    let mut senders = JoinSet::new();
    for sender in 0..8_u8 {
        let (egress, url) = (egress.clone(), server.url("/"));
        senders.spawn(async move {
            for round in 0..4_u8 {
                let body: Bytes = (0..LENGTH).map(|at| at.to_le_bytes()[usize::from(round) % 2] ^ sender).collect::<Vec<_>>().into();
                let request = GuestRequest { method: "PUT".into(), body: Some(body.clone()), ..get(url.clone()) };
                assert!(send(&egress, request).await.unwrap().body == body, "another body came back");
            }
        });
    }
    senders.join_all().await;
    assert!(egress.metrics().opened <= 8);
}
