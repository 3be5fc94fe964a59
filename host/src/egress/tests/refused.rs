//! What is refused before any socket, and in what words.

use super::*;

#[tokio::test]
async fn requests_that_are_not_valid_are_the_handlers_fault() {
    let with = |name: &str, value: &[u8]| GuestRequest { headers: vec![header(name, value)], ..get("http://example.com/") };
    let method = |method: &str| GuestRequest { method: method.into(), ..get("http://example.com/") };
    let secret = HeaderValue::Secret { prefix: "Bearer ".into(), name: "token".into() };
    let cases = [
        (method("GE T"), "is not a token"),
        (method("GET / HTTP/1.1\r\nX:"), "is not a token"),
        (method(""), "is not a token"),
        (method("get"), "write 'GET'"),
        (method("CONNECT"), "CONNECT"),
        (get("/path"), "must begin with http:// or https://"),
        (get("example.com"), "must begin with http:// or https://"),
        (get("ftp://example.com/"), "scheme is 'ftp'"),
        (get("file:///etc/passwd"), "is not a URL"),
        (get(""), "is not a URL"),
        (get("http://"), "is not a URL"),
        (get("http:///x"), "is not a URL"),
        (get("http://example.com/a b"), "is not a URL"),
        (get("http://example.com/\r\nX: y"), "is not a URL"),
        (get("http://exa\tmple.com/"), "is not a URL"),
        (get("http://example.com\\@evil.example/"), "is not a URL"),
        (get("http://b\u{fc}cher.example/"), "punycode"),
        (get("http://user@example.com/"), "Authorization header"),
        (get("http://user:word@example.com/"), "Authorization header"),
        (get("http://example.com:0/"), "'0' is not a port"),
        (get("http://example.com:99999/"), "port"),
        (get("http://exa..mple.com/"), "is not a host name"),
        (get("http://[::1%25lo]/"), "is not an IPv6 address"),
        (get("http://[::g]/"), "is not an IPv6 address"),
        (get(format!("http://example.com/{}", "x".repeat(8192))), "setting limits.http_url_bytes"),
        (with("Host", b"evil.example"), "header 'host' is the host's"),
        (with("Content-Length", b"3"), "header 'content-length'"),
        (with("Transfer-Encoding", b"chunked"), "header 'transfer-encoding'"),
        (with("Connection", b"close"), "header 'connection'"),
        (with("Keep-Alive", b"1"), "header 'keep-alive'"),
        (with("Upgrade", b"h2c"), "header 'upgrade'"),
        (with("TE", b"trailers"), "header 'te'"),
        (with("Trailer", b"x"), "header 'trailer'"),
        (with("Proxy-Connection", b"x"), "header 'proxy-connection'"),
        (with("Proxy-Authorization", b"x"), "header 'proxy-authorization'"),
        (with("X-A", b"a\r\nX-B: c"), "header 'x-a'"),
        (with("X-A", b"a\nb"), "header 'x-a'"),
        (with("X-A", b"a\0"), "header 'x-a'"),
        (with("X-A\r\nX-B", b"a"), "is not a header name"),
        (with("X A", b"a"), "is not a header name"),
        (with("", b"a"), "is not a header name"),
        (with("X-A", &[b'a'; 65_536]), "setting limits.http_header_bytes"),
        (GuestRequest { headers: vec![("Authorization".into(), secret)], ..get("http://example.com/") }, "secret 'token' is not granted"),
    ];
    let egress = egress();
    for (request, part) in cases {
        failed(send(&egress, request).await, FailureCode::BadRequest, part);
    }
    let small = with_limits(Limits { request_bytes: 3, ..Limits::default() });
    failed(send(&small, post("http://example.com/", b"four")).await, FailureCode::BadRequest, "has 4 bytes, over the limit of 3");
    assert_eq!((egress.metrics().opened, egress.metrics().refused), (0, egress.metrics().requests));
}

#[tokio::test]
async fn addresses_in_disguise_are_denied_even_where_all_is_allowed() {
    for host in [
        "2130706433",
        "0x7f000001",
        "017700000001",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "127.0.0.1.2",
        "1.2.3.4.5.0x6",
        "256.1.1.1",
    ] {
        let sent = send(&with_rules(&[], &["*"]), get(format!("http://{host}/"))).await;
        failed(sent, FailureCode::Denied, "unusual spelling of an IPv4 address");
    }
}

#[tokio::test]
async fn metadata_and_its_like_are_denied_whatever_the_settings() {
    let open = with_rules(&[], &["*", "169.254.0.0/16", "0.0.0.0/0", "::/0"]);
    for host in [
        "169.254.169.254",
        "169.254.169.254.",
        "100.100.100.200",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "[::]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::169.254.169.254]",
    ] {
        failed(send(&open, get(format!("http://{host}/latest/meta-data/"))).await, FailureCode::Denied, "which is always refused");
    }
    assert_eq!(open.metrics().opened, 0);
}

#[tokio::test]
async fn private_addresses_are_denied_by_rule_and_the_message_names_the_hole() {
    let server = Server::answers(|_| async { ok("ok") }).await;
    let (port, denied) = (server.address.port(), with_rules(&["private"], &[]));
    let error = failed(send(&denied, get(server.url("/"))).await, FailureCode::Denied, "127.0.0.1 is a loopback address");
    assert!(error.detail.ends_with("refused by egress.deny = [\"private\"]; egress.allow = [\"127.0.0.1\"] would allow it"), "{error}");
    let error = failed(
        send(&denied, get(format!("http://localhost:{port}/"))).await,
        FailureCode::Denied,
        "an address of localhost, is a loopback",
    );
    assert!(error.detail.contains("egress.allow = [\"localhost\"] or egress.allow = ["), "{error}");
    for host in ["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "[::1]", "[fd12::1]", "[::ffff:127.0.0.1]", "[64:ff9b::10.0.0.1]"] {
        failed(send(&denied, get(format!("http://{host}:{port}/"))).await, FailureCode::Denied, "egress.deny = [\"private\"]");
    }
    assert_eq!((server.connections(), denied.metrics().opened), (0, 0));
    for hole in ["127.0.0.0/8", "127.0.0.1", "*"] {
        assert_eq!(send(&with_rules(&["private"], &[hole]), get(server.url("/"))).await.unwrap().status, 200);
    }
    let named = with_rules(&["private"], &["localhost"]);
    assert_eq!(send(&named, get(format!("http://LocalHost.:{port}/"))).await.unwrap().status, 200);
    failed(send(&named, get(server.url("/"))).await, FailureCode::Denied, "egress.allow");
}

#[tokio::test]
async fn hosts_and_networks_are_denied_and_allowed() {
    let server = Server::answers(|_| async { ok("ok") }).await;
    let port = server.address.port();
    let by_net = with_rules(&["127.0.0.0/8"], &[]);
    failed(
        send(&by_net, get(server.url("/"))).await,
        FailureCode::Denied,
        "in a denied network, refused by egress.deny = [\"127.0.0.0/8\"]",
    );
    let by_host = with_rules(&["*.example"], &[]);
    failed(
        send(&by_host, get("http://a.b.example/")).await,
        FailureCode::Denied,
        "a.b.example:80 is refused by egress.deny = [\"*.example\"]",
    );
    let only = with_rules(&["*"], &["127.0.0.1/32"]);
    assert_eq!(send(&only, get(server.url("/"))).await.unwrap().status, 200);
    failed(send(&only, get("http://8.8.8.8/")).await, FailureCode::Denied, "egress.deny = [\"*\"]");
    let other_port = with_rules(&[&format!("127.0.0.1:{}", port ^ 1)], &[]);
    assert_eq!(send(&other_port, get(server.url("/"))).await.unwrap().status, 200);
}

#[tokio::test]
async fn only_vetted_addresses_of_a_name_are_connected_to() {
    let server = Server::answers(|_| async { ok("ok") }).await;
    let port = server.address.port();
    let egress = with_rules(&["10.0.0.0/8"], &[]);
    let teach = |name, addresses: [&str; 2]| egress.0.client.connector.resolver.teach(name, &addresses.map(|text| text.parse().unwrap()));
    teach("mixed.example", ["169.254.169.254", "127.0.0.1"]);
    assert_eq!(send(&egress, get(format!("http://mixed.example:{port}/"))).await.unwrap().status, 200);
    teach("bad.example", ["169.254.169.254", "::ffff:10.0.0.1"]);
    failed(send(&egress, get("http://bad.example/")).await, FailureCode::Denied, "169.254.169.254, an address of bad.example, is");
}

#[tokio::test]
async fn hosts_that_are_not_granted_are_denied_before_anything_is_resolved() {
    let egress = egress();
    let grants = Grants::of(&["api.example.com", "*.internal", "only.example:8443"]).unwrap();
    let judge = |url: &str| {
        let (request, egress, grants) = (get(url), egress.clone(), grants.clone());
        async move { egress.send(request, &grants, LONG).await }
    };
    let error = failed(judge("https://evil.example/x").await, FailureCode::Denied, "evil.example:443 is not granted to this handler");
    assert!(error.detail.contains("(granted: api.example.com, *.internal, only.example:8443)"), "{error}");
    assert!(error.detail.ends_with("a grant of `evil.example` or `evil.example:443` would allow it"), "{error}");
    for url in
        ["http://internal/", "http://xapi.example.com/", "http://api.example.com.evil.example/", "http://only.example/", "http://[::1]/"]
    {
        failed(judge(url).await, FailureCode::Denied, "is not granted");
    }
    let none = egress.send(get("http://api.example.com/"), &Grants::none(), LONG).await;
    failed(none, FailureCode::Denied, "(granted: no host)");

    let server = Server::answers(|_| async { ok("ok") }).await;
    let exactly = Grants::of(&[server.address.to_string()]).unwrap();
    assert_eq!(egress.send(get(server.url("/")), &exactly, LONG).await.unwrap().status, 200);
    let neither = exactly.and(&grants);
    failed(egress.send(get(server.url("/")), &neither, LONG).await, FailureCode::Denied, "is not granted");
    assert_eq!(egress.send(get(server.url("/")), &exactly.and(&Grants::any()), LONG).await.unwrap().status, 200);
}

#[test]
fn rules_and_grants_that_cannot_be_read_say_which() {
    for (deny, allow, part) in [
        ("public internet", "*", "egress.deny[1]: 'public internet' is not a host"),
        ("10.0.0.0/33", "*", "egress.deny[1]: '10.0.0.0/33' is not a network"),
        ("*", "a.*.example", "egress.allow[0]: 'a.*.example' is not a host"),
        ("*", "example.com:0", "egress.allow[0]: 'example.com:0' is not a host"),
        ("*", "*example.com", "egress.allow[0]: '*example.com' is not a host"),
        ("*", "http://example.com", "egress.allow[0]: 'http://example.com' is not a network"),
    ] {
        let error = Rules::of(&["private", deny], &[allow]).unwrap_err();
        assert!(error.starts_with(part), "{error}");
    }
    assert!(Grants::of(&["exa mple"]).unwrap_err().contains("'exa mple'"));
    for text in ["*", "example.com", "*.example.com", "*:443", "example.com:8080", "[::1]:80"] {
        assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), text);
    }
}

#[test]
fn targets_have_no_query_user_or_control_character() {
    for (url, text) in [
        ("https://example.com/a?token=1#x", "POST https://example.com/a"),
        ("https://me:word@example.com:8443/a", "POST https://example.com:8443/a"),
        ("https://example.com?token=1", "POST https://example.com/"),
        ("https://example.com/a\r\nb", "POST https://example.com/a\u{fffd}\u{fffd}b"),
        ("nonsense", "POST nonsense/"),
    ] {
        assert_eq!(&*target(&post(url, b"")), text);
    }
    assert_eq!(target(&get(format!("http://a/{}", "x".repeat(10_000)))).chars().count(), 1024);
}
