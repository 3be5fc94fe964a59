//! The Admin API's event hooks, as an existing Kong client sees them: create, list, read, change, delete. The numbers are the acceptance cases'.

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::{Host, Sink, fixtures};

use crate::shared::{barrier, created, emit, hook_to, hook_with, id};

fn documented(sink: &Sink) -> Value {
    json!({ "source": "crud", "event": "consumers", "handler": "webhook", "on_change": true, "config": { "url": sink.url("/in") } })
}

#[tokio::test]
async fn case_1_creating_a_webhook_gives_the_whole_entity() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let answer = host.admin().post("/event-hooks", &documented(&sink)).await.expect(201);
    assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
    assert!(answer.header("server").starts_with("tenterhook/"), "{:?}", answer.headers);
    let mut hook = answer.json();
    let id = id(&hook);
    assert_eq!((id.len(), id.matches('-').count()), (36, 4), "{id}");
    assert!(hook["created_at"].is_i64(), "{hook}");
    assert_eq!(hook["created_at"], hook["updated_at"]);
    for volatile in ["id", "created_at", "updated_at"] {
        hook.as_object_mut().expect("an object").remove(volatile);
    }
    let expected = json!({
        "source": "crud", "event": "consumers", "handler": "webhook", "on_change": true, "snooze": null,
        "config": { "url": sink.url("/in"), "headers": {}, "secret": null, "ssl_verify": true }
    });
    assert_eq!(hook, expected, "no member of ours appears in a hook that uses none");
}

#[tokio::test]
async fn case_2_creating_a_webhook_sends_a_ping_without_nulls() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = created(host.admin().post("/event-hooks", &documented(&sink)).await);
    let ping = sink.wait_for_pings("/in", 1).await[0].clone();
    assert_eq!((ping.method.as_str(), ping.header("content-type")), ("POST", "application/json"));
    let body = ping.json();
    assert_eq!((&body["source"], &body["event"], &body["operation"]), (&json!("kong:event_hooks"), &json!("ping"), &json!("create")));
    let entity = &body["event_hooks"];
    assert_eq!(entity["id"], hook["id"]);
    assert_eq!(entity["config"]["headers"], json!({ "content-type": "application/json" }));
    for absent in [&entity["snooze"], &entity["config"]["secret"]] {
        assert!(absent.is_null(), "{body}");
    }
    let members = entity.as_object().expect("an object");
    assert!(!members.contains_key("snooze") && !entity["config"].as_object().expect("an object").contains_key("secret"), "{body}");
}

#[tokio::test]
async fn cases_4_and_5_a_log_hook_has_an_empty_config() {
    let host = Host::start().await;
    for body in [
        json!({ "source": "dao:crud", "event": "create", "handler": "log" }),
        json!({ "source": "dao:crud", "event": "create", "handler": "log", "config": {} }),
    ] {
        let hook = created(host.admin().post("/event-hooks", &body).await);
        assert_eq!((&hook["config"], &hook["on_change"], &hook["snooze"]), (&json!({}), &json!(null), &json!(null)));
    }
}

#[tokio::test]
async fn cases_8_and_9_the_list_holds_every_hook() {
    let host = Host::start().await;
    host.admin().get("/event-hooks").await.expect_json(200, &json!({ "data": [], "next": null }));
    let mut ids = Vec::new();
    for event in ["create", "update", "delete"] {
        let body = json!({ "source": "dao:crud", "event": event, "handler": "log" });
        ids.push(id(&created(host.admin().post("/event-hooks/", &body).await)));
    }
    let list = host.admin().get("/event-hooks").await.expect(200).json();
    let mut listed: Vec<String> = list["data"].as_array().expect("a list").iter().map(id).collect();
    listed.sort();
    ids.sort();
    assert_eq!((listed, &list["next"]), (ids, &json!(null)));
    assert!(!list.as_object().expect("an object").contains_key("offset"), "{list}");
}

#[tokio::test]
async fn pages_follow_each_other_by_offset_and_by_link() {
    let host = Host::start().await;
    for _ in 0..5 {
        created(host.admin().post("/event-hooks", &json!({ "source": "dao:crud", "handler": "log" })).await);
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut next = "/event-hooks?size=2".to_owned();
    let mut pages = 0;
    loop {
        let page = host.admin().get(&next).await.expect(200).json();
        seen.extend(page["data"].as_array().expect("a list").iter().map(id));
        pages += 1;
        assert!(pages <= 3, "the pages do not end");
        let Some(link) = page["next"].as_str() else { break };
        assert!(link.starts_with("/event-hooks?offset="), "{link}");
        assert!(page["offset"].is_string(), "{page}");
        next = link.to_owned();
    }
    assert_eq!((seen.len(), pages), (5, 3));
}

#[tokio::test]
async fn case_13_reading_a_hook_shows_its_nulls() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = created(host.admin().post("/event-hooks", &documented(&sink)).await);
    let path = format!("/event-hooks/{}", id(&hook));
    host.admin().get(&path).await.expect_json(200, &hook);
    host.admin().get(&format!("/default{path}/")).await.expect_json(200, &hook);
    let members = hook.as_object().expect("an object");
    assert!(members.contains_key("snooze") && members["snooze"].is_null(), "{hook}");
}

#[tokio::test]
async fn case_14_patching_replaces_what_was_sent() {
    let host = Host::start().await;
    let hook = created(host.admin().post("/event-hooks", &json!({ "source": "dao:crud", "event": "create", "handler": "log" })).await);
    let changed = host.admin().patch(&format!("/event-hooks/{}", id(&hook)), &json!({ "event": "update" })).await.expect(200).json();
    assert_eq!((&changed["event"], &changed["created_at"], &changed["source"]), (&json!("update"), &hook["created_at"], &hook["source"]));
    assert!(changed["updated_at"].as_i64() >= hook["updated_at"].as_i64(), "{changed}");
    host.admin().get(&format!("/event-hooks/{}", id(&hook))).await.expect_json(200, &changed);
}

#[tokio::test]
async fn case_15_patching_config_keeps_what_was_not_sent_and_pings() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook =
        hook_with(&host, &sink, "crud", "/in", &json!({ "config": { "url": sink.url("/in"), "headers": { "a": "1", "b": "2" } } })).await;
    let path = format!("/event-hooks/{hook}");
    let body = json!({ "config": { "secret": "s", "headers": { "c": "3" } } });
    let changed = host.admin().patch(&path, &body).await.expect(200).json();
    assert_eq!((&changed["config"]["url"], &changed["config"]["secret"]), (&json!(sink.url("/in")), &json!("s")));
    assert_eq!(changed["config"]["headers"], json!({ "c": "3" }), "a map is replaced whole");
    let pings = sink.wait_for_pings("/in", 2).await;
    let update = pings.iter().map(|ping| ping.json()).find(|ping| ping["operation"] == "update").expect("a ping for the change");
    assert_eq!(update["event_hooks"]["id"], hook.as_str());
    assert!(!update.to_string().contains("\"secret\""), "the secret stays at home: {update}");
}

#[tokio::test]
async fn patching_with_null_clears_an_optional_field_and_not_a_required_one() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = created(host.admin().post("/event-hooks", &documented(&sink)).await);
    let path = format!("/event-hooks/{}", id(&hook));
    let changed = host.admin().patch(&path, &json!({ "on_change": null, "event": null })).await.expect(200).json();
    assert_eq!((&changed["on_change"], &changed["event"]), (&json!(null), &json!(null)));
    let refused = host.admin().patch(&path, &json!({ "source": null })).await.expect(400).json();
    assert_eq!(refused["fields"], json!({ "source": "required field missing" }));
}

#[tokio::test]
async fn case_16_deleting_twice_is_204_twice_and_then_it_is_gone() {
    let host = Host::start().await;
    let hook = created(host.admin().post("/event-hooks", &json!({ "source": "dao:crud", "handler": "log" })).await);
    let path = format!("/event-hooks/{}", id(&hook));
    for _ in 0..2 {
        assert!(host.admin().delete(&path).await.expect(204).body.is_empty());
    }
    host.admin().get(&path).await.expect_json(404, &json!({ "message": "Not found" }));
}

#[tokio::test]
async fn case_18_methods_that_do_not_exist_are_405() {
    let host = Host::start().await;
    let hook = created(host.admin().post("/event-hooks", &json!({ "source": "dao:crud", "handler": "log" })).await);
    let path = format!("/event-hooks/{}", id(&hook));
    for method in [Method::PUT, Method::POST] {
        let answer = host.admin().call(method, &path).json(&json!({})).send().await;
        answer.expect_json(405, &json!({ "message": "Method not allowed" }));
    }
}

#[tokio::test]
async fn options_names_the_methods() {
    let host = Host::start().await;
    for (path, allow) in [
        ("/event-hooks", "GET, HEAD, OPTIONS, POST"),
        ("/event-hooks/c57340ab-9fed-40fd-bb7e-1cef8d37c2df", "DELETE, GET, HEAD, OPTIONS, PATCH"),
    ] {
        let answer = host.admin().call(Method::OPTIONS, path).send().await.expect(204);
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
}

#[tokio::test]
async fn a_client_may_bring_its_own_id_once() {
    let host = Host::start().await;
    let own = "c57340ab-9fed-40fd-bb7e-1cef8d37c2df";
    let body = json!({ "id": own, "created_at": 1_627_581_575, "source": "dao:crud", "handler": "log" });
    let hook = created(host.admin().post("/event-hooks", &body).await);
    assert_eq!((&hook["id"], &hook["created_at"]), (&json!(own), &json!(1_627_581_575)));
    assert!(hook["updated_at"].as_i64() > hook["created_at"].as_i64(), "{hook}");
    let again = host.admin().post("/event-hooks", &body).await;
    let message = format!("primary key violation on key '{{id=\"{own}\"}}'");
    again.expect_json(400, &json!({ "code": 3, "name": "primary key violation", "message": message, "fields": { "id": own } }));
}

#[tokio::test]
async fn case_36_a_hook_without_event_hears_every_event_of_its_source() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_to(&host, &sink, "crud", "/in").await;
    for name in ["consumers", "consumers:create"] {
        emit(host.events(), "crud", name, &fixtures::consumer_created()).await;
    }
    let got = sink.wait_for("/in", 2).await;
    let mut names: Vec<Value> = got.iter().map(|got| got.json()["event"].clone()).collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, ["consumers", "consumers:create"]);
}

#[tokio::test]
async fn case_75_deleting_a_webhook_pings_and_ends_its_deliveries() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_to(&host, &sink, "shop", "/in").await;
    emit(host.events(), "shop", "sold", &json!({ "n": 1 })).await;
    sink.wait_for("/in", 1).await;
    host.admin().delete(&format!("/event-hooks/{hook}")).await.expect(204);
    emit(host.events(), "shop", "sold", &json!({ "n": 2 })).await;
    let pings = sink.wait_for_pings("/in", 2).await;
    let delete = pings.iter().map(|ping| ping.json()).find(|ping| ping["operation"] == "delete").expect("a ping for the deletion");
    assert_eq!(delete["event_hooks"]["id"], hook.as_str());
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/in").len(), 1);
}

#[tokio::test]
async fn hooks_survive_a_restart_and_a_kill_as_they_were() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    created(host.admin().post("/event-hooks", &documented(&sink)).await);
    let gone = created(host.admin().post("/event-hooks", &json!({ "source": "dao:crud", "handler": "log" })).await);
    host.admin().delete(&format!("/event-hooks/{}", id(&gone))).await.expect(204);
    let before = host.admin().get("/event-hooks").await.expect(200).json();
    host.kill9();
    host.restart().await;
    host.admin().get("/event-hooks").await.expect_json(200, &before);
    host.restart().await;
    host.admin().get("/event-hooks").await.expect_json(200, &before);
}

#[tokio::test]
async fn a_hook_with_a_name_is_found_by_it() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    let hook = hook_with(&host, &sink, "shop", "/in", &json!({ "name": "sales" })).await;
    let read = host.admin().get("/event-hooks/sales").await.expect(200).json();
    assert_eq!((&read["id"], &read["name"]), (&json!(hook), &json!("sales")));
    let body = fixtures::with(fixtures::webhook("shop", &sink.url("/in")), &json!({ "name": "sales" }));
    assert_eq!(host.admin().post("/event-hooks", &body).await.expect(409).json()["code"], 5);
}

#[tokio::test]
async fn a_disabled_hook_gets_no_events_and_a_paused_one_keeps_them() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_with(&host, &sink, "shop", "/disabled", &json!({ "enabled": false })).await;
    let paused = hook_with(&host, &sink, "shop", "/paused", &json!({ "paused": true })).await;
    emit(host.events(), "shop", "sold", &json!({})).await;
    barrier(&host, &sink).await;
    assert_eq!((sink.at("/disabled").len(), sink.at("/paused").len()), (0, 0));
    host.admin().patch(&format!("/event-hooks/{paused}"), &json!({ "paused": false })).await.expect(200);
    sink.wait_for("/paused", 1).await;
    assert_eq!(sink.at("/disabled").len(), 0);
}
