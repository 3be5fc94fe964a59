//! Who may use which door, and what no answer and no log ever shows.

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::{Host, HostBuilder, Sink, fixtures};

use crate::shared::{created, hook_with, id};

const ADMIN: &str = "admin-token-of-the-tests";
const SHOP: &str = "events-token-of-the-tests";

fn hash(token: &str) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(token.as_bytes());
    digest.iter().fold("sha256:".to_owned(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn tokens() -> String {
    format!(
        "[auth]\nadmin_tokens = [\"{}\"]\nevents_tokens = [{{ hash = \"{}\", sources = [\"shop\", \"crm-*\"] }}]\n",
        hash(ADMIN),
        hash(SHOP)
    )
}

fn guarded() -> HostBuilder {
    Host::builder().config(tokens()).admin_token(ADMIN).events_token(SHOP)
}

#[tokio::test]
async fn the_admin_door_wants_its_token() {
    let host = guarded().start().await;
    host.admin().get("/event-hooks").await.expect(200);
    host.admin().with_token(None).call(Method::GET, "/event-hooks").header("kong-admin-token", ADMIN).send().await.expect(200);
    for token in [None, Some("wrong"), Some(SHOP), Some("")] {
        for (method, path) in
            [(Method::GET, "/event-hooks"), (Method::POST, "/event-hooks"), (Method::GET, "/metrics"), (Method::GET, "/handlers")]
        {
            let answer = host.admin().with_token(token).call(method, path).json(&json!({})).send().await.expect(401).json();
            assert_eq!(answer["status"], 401, "{path}: {answer}");
            assert!(answer["message"].is_string(), "{path}: {answer}");
        }
    }
}

#[tokio::test]
async fn the_events_door_wants_a_token_that_may_emit_the_source() {
    let host = guarded().start().await;
    let event = |source: &str| fixtures::event(source, "sold", &json!({}));
    for source in ["shop", "crm-eu", "crm-"] {
        host.events().post("/events", &event(source)).await.expect(202);
    }
    for source in ["bank", "shopping", "crm"] {
        let refused = host.events().post("/events", &event(source)).await.expect(403);
        crate::events::assert_error(&refused);
    }
    let mixed = json!([event("shop"), event("bank")]);
    host.events().post("/events", &mixed).await.expect(403);
    host.events().post("/events/bank/sold", &json!({})).await.expect(403);
    for token in [None, Some("wrong"), Some(ADMIN)] {
        let refused = host.events().with_token(token).post("/events", &event("shop")).await.expect(401);
        crate::events::assert_error(&refused);
    }
}

#[tokio::test]
async fn health_is_open_and_metrics_stand_behind_admin() {
    let host = guarded().start().await;
    for door in [host.events().with_token(None), host.admin().with_token(None)] {
        door.get("/health/live").await.expect(200);
        door.get("/health/ready").await.expect(200);
    }
    host.admin().with_token(None).get("/metrics").await.expect(401);
    host.admin().get("/metrics").await.expect(200);
}

#[tokio::test]
async fn tokens_change_on_sighup() {
    let mut host = guarded().start().await;
    host.reload(&tokens().replace(&hash(ADMIN), &hash("the-next-one")));
    let next = host.admin().with_token(Some("the-next-one"));
    tenterhook_tests::eventually("the new token is taken", async || (next.get("/event-hooks").await.status == 200).then_some(())).await;
    host.admin().get("/event-hooks").await.expect(401);
}

#[tokio::test]
async fn without_tokens_only_loopback_is_bound() {
    for builder in [Host::builder().admin_listen("0.0.0.0:0"), Host::builder().events_listen("0.0.0.0:0")] {
        let refusal = builder.clone().try_start().await.expect_err("an open door to the network");
        assert!(!refusal.status.success());
        assert!(refusal.stderr.contains("--no-auth") && refusal.stderr.contains("token"), "both ways out are named: {refusal:?}");
        builder.flag("--no-auth").start().await;
    }
    let guarded = guarded().admin_listen("0.0.0.0:0").events_listen("0.0.0.0:0").start().await;
    guarded.admin().get("/event-hooks").await.expect(200);
}

#[tokio::test]
async fn without_tokens_a_web_page_cannot_drive_the_admin_api() {
    let host = Host::start().await;
    let port = host.admin().address().port();
    let hook = json!({ "source": "crud", "handler": "log" });
    let from =
        |header: &'static str, value: String| host.admin().call(Method::POST, "/event-hooks").header(header, value).json(&hook).send();
    for (header, value) in [
        ("origin", "https://evil.example".to_owned()),
        ("origin", "null".to_owned()),
        ("origin", "http://localhost.evil.example".to_owned()),
        ("origin", "http://127.0.0.1.evil.example:80".to_owned()),
        ("host", format!("evil.example:{port}")),
    ] {
        let answer = from(header, value.clone()).await;
        assert_eq!(answer.status, 403, "{header}: {value}: {}", answer.text());
    }
    host.admin().get("/event-hooks").await.expect_json(200, &json!({ "data": [], "next": null }));
    for (header, value) in [
        ("origin", format!("http://127.0.0.1:{port}")),
        ("origin", "http://localhost:3000".to_owned()),
        ("origin", "http://[::1]:3000".to_owned()),
        ("host", format!("localhost:{port}")),
        ("host", format!("[::1]:{port}")),
    ] {
        let answer = from(header, value.clone()).await;
        assert_eq!(answer.status, 201, "{header}: {value}: {}", answer.text());
    }
}

#[tokio::test]
async fn cors_headers_are_sent_only_where_an_origin_was_allowed() {
    let host = Host::start().await;
    let answer = host.admin().call(Method::GET, "/event-hooks").header("origin", "http://localhost:3000").send().await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let config = format!("{}\n[admin]\ncors_origins = [\"https://console.example\"]\n", tokens());
    let host = Host::builder().config(config).admin_token(ADMIN).start().await;
    let answer = host.admin().call(Method::GET, "/event-hooks").header("origin", "https://console.example").send().await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "https://console.example");
    let answer = host.admin().call(Method::GET, "/event-hooks").header("origin", "https://evil.example").send().await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn secrets_and_event_data_are_not_logged() {
    let host = Host::builder().config("[log]\nlevel = \"debug\"\n").start().await;
    let sink = Sink::start().await;
    let (secret, private) = ("whsec_bm90LWZvci10aGUtbG9nLW5vdC1mb3ItdGhlLWxvZw==", "private-matter-of-a-customer");
    let url = sink.url("/in?token=also-not-for-the-log");
    hook_with(&host, &sink, "shop", "/in", &json!({ "config": { "url": url, "secret": secret } })).await;
    host.events().post("/events", &fixtures::event("shop", "sold", &json!({ "note": private }))).await.expect(202);
    sink.wait_for("/in", 1).await;
    let log = host.log().text();
    assert!(!log.is_empty());
    for hidden in [secret, private, "also-not-for-the-log"] {
        assert!(!log.contains(hidden), "{hidden} is in the log");
    }
}

#[tokio::test]
async fn cloud_metadata_addresses_are_always_refused() {
    let host = Host::builder().config("[egress]\nallow = [\"169.254.0.0/16\"]\n").try_start().await;
    // Whether such a setting may be written at all is the configuration's; in no case may it open the address.
    let host = match host {
        Ok(host) => host,
        Err(refusal) => {
            assert_eq!(refusal.status.code(), Some(2), "{refusal:?}");
            Host::start().await
        }
    };
    let hook = created(host.admin().post("/event-hooks", &fixtures::webhook("crud", "http://169.254.169.254/latest/meta-data/")).await);
    let answer = host.admin().post(&format!("/event-hooks/{}/test", id(&hook)), &json!({})).await.expect(500).json();
    let text = answer["err"].as_str().unwrap_or_default().to_lowercase();
    assert!(text.contains("link-local") || text.contains("denied") || text.contains("metadata"), "{answer}");
}

#[tokio::test]
async fn private_networks_are_refused_where_the_setting_says_so_and_the_refusal_names_it() {
    let host = Host::builder().config("[egress]\ndeny = [\"private\"]\n").start().await;
    let sink = Sink::start().await;
    let hook = created(host.admin().post("/event-hooks", &fixtures::webhook("crud", &sink.url("/in"))).await);
    let answer = host.admin().post(&format!("/event-hooks/{}/test", id(&hook)), &json!({})).await.expect(500).json();
    assert!(answer["err"].as_str().is_some_and(|err| err.contains("egress")), "{answer}");
    assert!(sink.all().is_empty());
    let allowed = Host::builder().config("[egress]\ndeny = [\"private\"]\nallow = [\"127.0.0.0/8\"]\n").start().await;
    let hook: Value = created(allowed.admin().post("/event-hooks", &fixtures::webhook("crud", &sink.url("/in"))).await);
    allowed.admin().post(&format!("/event-hooks/{}/test", id(&hook)), &json!({})).await.expect(200);
}
