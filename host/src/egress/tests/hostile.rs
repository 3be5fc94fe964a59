//! Servers that are slow, broken or hostile.

use super::*;

#[tokio::test]
async fn request_that_may_have_arrived_is_not_sent_twice() {
    let heads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heads);
    let server = Server::each(move |mut socket| {
        let count = Arc::clone(&count);
        async move {
            head_of(&mut socket).await;
            count.fetch_add(1, Ordering::SeqCst);
            socket.write_all(OK.as_bytes()).await.unwrap();
            // The second one is read and not answered.
            head_of(&mut socket).await;
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let egress = egress();
    send(&egress, get(server.url("/"))).await.unwrap();
    failed(send(&egress, get(server.url("/"))).await, FailureCode::Protocol, "the connection was closed before an answer came");
    assert_eq!((heads.load(Ordering::SeqCst), server.connections(), egress.metrics().reused), (2, 1, 1));
}

#[tokio::test]
async fn connection_whose_request_was_not_read_to_its_end_is_not_kept() {
    static LARGE: [u8; 8_000_000] = [b'x'; 8_000_000];
    let server = Server::each(|mut socket| async move {
        head_of(&mut socket).await;
        socket.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let egress = egress();
    assert_eq!(send(&egress, post(server.url("/"), &LARGE)).await.unwrap().status, 413);
    assert_eq!(egress.metrics().idle, 0);
    assert_eq!(send(&egress, get(server.url("/"))).await.unwrap().status, 413);
}

#[tokio::test]
async fn silent_server_is_a_timeout_that_says_whose_limit_it_was() {
    let server = Server::each(|mut socket| async move {
        let _ = socket.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let egress = egress();
    let clock = Clock::default();
    let started = clock.instant();
    let mut request = get(server.url("/"));
    request.options.total_timeout = Some(Duration::from_millis(150));
    failed(
        send(&egress, request.clone()).await,
        FailureCode::Timeout,
        "not done within 150 ms (the request's own limit): waiting for the answer",
    );
    let sent = egress.send(request, &Grants::any(), Duration::from_millis(50)).await;
    failed(sent, FailureCode::Timeout, "not done within 50 ms (what was left of the attempt's deadline): waiting for the answer");
    let brief = with_limits(Limits { total_timeout: Duration::from_millis(50), ..Limits::default() });
    failed(send(&brief, get(server.url("/"))).await, FailureCode::Timeout, "(setting egress.total_timeout)");
    assert!(started.elapsed() < LONG / 2);
    assert_eq!((egress.metrics().failed, egress.metrics().idle, egress.metrics().in_flight), (2, 0, 0));
}

#[tokio::test]
async fn answer_that_drips_is_a_timeout_that_says_how_much_came() {
    let server = Server::each(|mut socket| async move {
        head_of(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx").await.unwrap();
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if socket.write_all(b"x").await.is_err() {
                return;
            }
        }
    })
    .await;
    let sent = egress().send(get(server.url("/")), &Grants::any(), Duration::from_millis(1500)).await;
    failed(sent, FailureCode::Timeout, "reading the answer's body, 2 bytes so far");
}

#[tokio::test]
async fn address_that_does_not_answer_is_a_connect_timeout() {
    // Reserved for documentation (RFC 5737): nobody answers. Where a router says so at once, that is a failed connection.
    let mut request = get("http://192.0.2.1:81/");
    request.options.connect_timeout = Some(Duration::from_millis(200));
    let error = send(&egress(), request).await.unwrap_err();
    match error.code {
        FailureCode::Timeout => assert_eq!(error.detail, "not done within 200 ms (the request's own limit): connecting to 192.0.2.1:81"),
        code => assert_eq!(code, FailureCode::Connect, "{error}"),
    }
}

#[tokio::test]
async fn answers_that_are_not_http_or_end_early_are_protocol_errors() {
    for (answer, part) in [
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n", "what came back is not HTTP/1.1"),
        ("HTTP/1.1 2x0 OK\r\n\r\n", "what came back is not HTTP/1.1"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\n", "what came back is not HTTP/1.1"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "within the answer's body"),
    ] {
        let server = Server::writes(answer).await;
        failed(send(&egress(), get(server.url("/"))).await, FailureCode::Protocol, part);
    }
    for (answer, part) in [
        ("", "the connection was closed before an answer came"),
        ("HTTP/1.1 200 OK\r\ncontent-le", "the connection was closed before an answer came"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc", "the connection was closed within the answer's body"),
    ] {
        let server = Server::each(move |mut socket| async move {
            head_of(&mut socket).await;
            socket.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        failed(send(&egress(), get(server.url("/"))).await, FailureCode::Protocol, part);
    }
}

#[tokio::test]
async fn reset_connection_is_a_protocol_error() {
    let server = Server::each(|mut socket| async move {
        head_of(&mut socket).await;
        socket.set_zero_linger().unwrap();
    })
    .await;
    failed(send(&egress(), get(server.url("/"))).await, FailureCode::Protocol, "before an answer came");
}

#[tokio::test]
async fn too_large_answers_are_refused_announced_or_not() {
    let limits = Limits { response_bytes: 1000, response_header_bytes: 10_000, ..Limits::default() };
    let egress = with_limits(limits);
    let announced = Server::writes("HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n").await;
    let error = failed(send(&egress, get(announced.url("/"))).await, FailureCode::TooLarge, "has 1001 bytes, over the limit of 1000 bytes");
    assert!(error.detail.contains("limits.http_response_bytes"));
    let endless = Server::each(|mut socket| async move {
        head_of(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        while socket.write_all(b"5\r\nabcde\r\n").await.is_ok() {}
    })
    .await;
    failed(send(&egress, get(endless.url("/"))).await, FailureCode::TooLarge, "over the limit of 1000 bytes");
    let head = Server::writes(format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(10_000))).await;
    failed(send(&egress, get(head.url("/"))).await, FailureCode::TooLarge, "egress.response_header_bytes");
    let just = Server::writes(format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{}", "y".repeat(1000))).await;
    assert_eq!(send(&egress, get(just.url("/"))).await.unwrap().body.len(), 1000);
}

#[tokio::test]
async fn closed_port_is_a_connect_error() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = failed(send(&egress(), get(format!("http://127.0.0.1:{port}/x?secret"))).await, FailureCode::Connect, "refused");
    assert_eq!(&*error.target, format!("GET http://127.0.0.1:{port}/x"));
}

#[tokio::test]
async fn unknown_name_is_a_dns_error() {
    failed(send(&egress(), get("http://nobody.invalid/")).await, FailureCode::Dns, "'nobody.invalid' could not be resolved");
}

#[tokio::test]
async fn answer_that_nobody_asked_for_is_not_given_to_the_next_request() {
    let served = Arc::new(AtomicUsize::new(0));
    let server = Server::each(move |mut socket| {
        let served = Arc::clone(&served);
        async move {
            head_of(&mut socket).await;
            let second = if served.fetch_add(1, Ordering::SeqCst) == 0 { "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil" } else { "" };
            socket.write_all(format!("{OK}{second}").as_bytes()).await.unwrap();
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    let egress = egress();
    for _ in 0..2 {
        assert_eq!(&*send(&egress, get(server.url("/"))).await.unwrap().body, b"ok");
    }
    assert_eq!((egress.metrics().opened, egress.metrics().reused), (2, 0));
}

#[tokio::test]
async fn interim_answers_are_skipped_and_an_unasked_upgrade_ends_the_connection() {
    let interim = Server::writes(format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n{OK}")).await;
    assert_eq!(send(&egress(), get(interim.url("/"))).await.unwrap().status, 200);
    let upgrade = Server::writes("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await;
    let egress = egress();
    assert_eq!(send(&egress, get(upgrade.url("/"))).await.unwrap().status, 101);
    assert_eq!(egress.metrics().idle, 0);
}

#[tokio::test]
async fn answer_to_head_has_no_body_whatever_its_length_says() {
    let server = Server::writes("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n").await;
    let egress = egress();
    let answer = send(&egress, GuestRequest { method: "HEAD".into(), ..get(server.url("/")) }).await.unwrap();
    assert_eq!((answer.status, answer.body.len(), egress.metrics().idle), (200, 0, 1));
}
