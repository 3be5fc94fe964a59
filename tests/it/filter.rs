//! `filter`: a condition of a hook over the event; schemas of sources; and changes of entities, which are three events.

use http::Method;
use serde_json::{Value, json};
use tenterhook_tests::{Host, Sink, fixtures};

use crate::shared::{barrier, created, emit, hook_to, hook_with, id};

#[tokio::test]
async fn only_events_that_match_the_filter_are_queued() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    let filter = "data.rate > data.limit * 0.8 && source == 'shop'";
    let hook = hook_with(&host, &sink, "shop", "/in", &json!({ "filter": filter })).await;
    let read = host.admin().get(&format!("/event-hooks/{hook}")).await.expect(200).json();
    assert_eq!(read["filter"], filter);
    for rate in [10, 90, 80, 81] {
        emit(host.events(), "shop", "sold", &json!({ "rate": rate, "limit": 100 })).await;
    }
    emit(host.events(), "shop", "sold", &json!({ "no": "rate" })).await;
    let rates = async |n| {
        let mut rates: Vec<i64> = sink.wait_for("/in", n).await.iter().filter_map(|got| got.json()["rate"].as_i64()).collect();
        rates.sort_unstable();
        rates
    };
    assert_eq!(rates(2).await, [81, 90]);
    host.restart().await;
    emit(host.events(), "shop", "sold", &json!({ "rate": 1, "limit": 100 })).await;
    emit(host.events(), "shop", "sold", &json!({ "rate": 99, "limit": 100 })).await;
    barrier(&host, &sink).await;
    assert_eq!(rates(3).await, [81, 90, 99]);
    let changed = host.admin().patch(&format!("/event-hooks/{hook}"), &json!({ "filter": null })).await.expect(200).json();
    assert!(!changed.as_object().expect("an object").contains_key("filter"), "{changed}");
}

#[tokio::test]
async fn a_wrong_filter_is_told_where_when_the_hook_is_written() {
    let host = Host::start().await;
    let refused = async |filter: Value| {
        let body = json!({ "source": "shop", "handler": "log", "filter": filter });
        host.admin().post("/event-hooks", &body).await.expect(400).json()["fields"]["filter"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(refused(json!("true && dat.a == 1")).await, "column 9: unknown name 'dat'; there are source, event and data");
    assert!(refused(json!("data.a >")).await.starts_with("line 1, column 9: "));
    assert_eq!(refused(json!("1.0 + 2.0")).await, "gives float, not a boolean");
    assert_eq!(refused(json!(7)).await, "expected a string");
    assert_eq!(refused(json!("")).await, "length must be at least 1");
    assert!(refused(json!(format!("{}true", "!".repeat(4000)))).await.contains("nested deeper than"));
}

#[tokio::test]
async fn data_that_does_not_fit_the_schema_of_its_source_is_refused() {
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    let schema = json!({ "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } });
    let path = "/event-hooks/sources/dog/barked";
    host.admin().put(path, &json!({ "schema": schema })).await.expect(201);
    hook_to(&host, &sink, "dog", "/in").await;
    for _ in 0..2 {
        let events =
            json!([fixtures::event("dog", "barked", &json!({ "name": "Rex" })), fixtures::event("dog", "barked", &json!({ "name": 7 }))]);
        let refused = host.events().post("/events", &events).await.expect(422).json();
        assert_eq!((&refused["code"], &refused["errors"][0]["index"]), (&json!("schema"), &json!(1)), "{refused}");
        assert!(refused["message"].as_str().is_some_and(|message| message.starts_with("data.name: ")), "{refused}");
        host.restart().await;
    }
    emit(host.events(), "dog", "barked", &json!({ "name": "Rex" })).await;
    assert_eq!(sink.wait_for("/in", 1).await[0].json()["name"], "Rex");
    host.admin().get(path).await.expect_json(200, &json!({ "data": { "schema": schema } }));
    let refused = host.admin().put(path, &json!({ "schema": { "type": "dog" } })).await.expect(400).json();
    assert!(refused["fields"]["schema"].is_string(), "{refused}");
    host.admin().put(path, &json!({ "schema": { "$ref": "file:///etc/passwd" } })).await.expect(400);
}

#[tokio::test]
async fn cases_35_and_36_a_change_of_an_entity_is_three_events_in_one_step() {
    let (host, sink) = (Host::start().await, Sink::start().await);
    hook_with(&host, &sink, "crud", "/one", &json!({ "event": "consumers" })).await;
    hook_to(&host, &sink, "crud", "/every").await;
    hook_with(&host, &sink, "dao:crud", "/dao", &json!({ "event": "create" })).await;
    let mut entity = fixtures::consumer_created()["entity"].clone();
    entity["custom_id"] = Value::Null;
    let answer = host.events().post("/crud/consumers/create", &json!({ "entity": entity })).await.expect(202).json();
    let deliveries: Vec<&Value> = answer["events"].as_array().expect("events").iter().map(|event| &event["deliveries"]).collect();
    assert_eq!(deliveries, [&json!(1), &json!(2), &json!(1)]);
    assert_eq!(sink.wait_for("/one", 1).await[0].json(), fixtures::consumer_created_on_the_wire());
    let mut names: Vec<Value> = sink.wait_for("/every", 2).await.iter().map(|got| got.json()["event"].clone()).collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, ["consumers", "consumers:create"]);
    let dao = sink.wait_for("/dao", 1).await[0].json();
    assert_eq!((&dao["source"], &dao["event"], &dao["schema"]), (&json!("dao:crud"), &json!("create"), &json!("consumers")));
    barrier(&host, &sink).await;
    assert_eq!(sink.at("/one").len(), 1);
}

#[tokio::test]
async fn a_change_is_told_once_for_a_key_and_wrong_ones_are_refused() {
    let host = Host::start().await;
    let post =
        async |path: &str, body: Value| host.events().call(Method::POST, path).header("idempotency-key", "k-1").json(&body).send().await;
    let body = json!({ "entity": { "id": "1", "name": "b" }, "old_entity": { "id": "1", "name": "a" } });
    for duplicate in [false, true] {
        let answer = post("/crud/services/update", body.clone()).await.expect(202).json();
        let seen: Vec<&Value> = answer["events"].as_array().expect("events").iter().map(|event| &event["duplicate"]).collect();
        assert_eq!(seen, [&json!(duplicate), &json!(duplicate), &json!(duplicate)]);
    }
    let refused = post("/crud/services/create", body).await.expect(400).json();
    assert_eq!(refused["errors"][0]["message"], "old_entity: only an update has one");
    post("/crud/services/drop", json!({})).await.expect(404);
    let call = host.events().call(Method::POST, "/crud/services/create").body("text/plain", "x");
    call.send().await.expect(415);
}

#[tokio::test]
async fn a_hook_with_a_filter_survives_a_kill() {
    let mut host = Host::start().await;
    let body = json!({ "source": "shop", "handler": "log", "filter": "event == 'sold'" });
    let hook = created(host.admin().post("/event-hooks", &body).await);
    host.kill9();
    host.restart().await;
    host.admin().get(&format!("/event-hooks/{}", id(&hook))).await.expect_json(200, &hook);
}
