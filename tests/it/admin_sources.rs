//! The registered sources: Kong's catalogue, and what is added to it.

use serde_json::json;
use tenterhook_tests::Host;

#[tokio::test]
async fn case_31_the_catalogue_is_registered_at_first_start() {
    let host = Host::start().await;
    let sources = host.admin().get("/event-hooks/sources").await.expect(200).json();
    let data = &sources["data"];
    assert_eq!(data["balancer"]["health"]["fields"], json!(["upstream_id", "ip", "port", "hostname", "health"]));
    let four = json!(["operation", "entity", "old_entity", "schema"]);
    for event in ["consumers", "consumers:create", "consumers:update", "consumers:delete"] {
        assert_eq!(data["crud"][event]["fields"], four, "{event}");
    }
    let limit = &data["rate-limiting-advanced"]["rate-limit-exceeded"];
    assert_eq!(limit["unique"], json!(["consumer", "ip", "service"]));
    assert_eq!(limit["description"], "Run an event when a rate limit has been exceeded");
    for source in ["ai-rate-limiting-advanced", "service-protection", "oas-validation", "dao:crud"] {
        assert!(data[source].is_object(), "{source}");
    }
}

#[tokio::test]
async fn case_32_one_source_shows_its_events() {
    let host = Host::start().await;
    let answer = host.admin().get("/event-hooks/sources/dao:crud").await.expect(200).json();
    let events = answer["data"].as_object().expect("an object");
    let names: Vec<&str> = events.keys().map(String::as_str).collect();
    assert_eq!(names, ["create", "delete", "update"]);
    for (name, event) in events {
        assert_eq!(event["fields"], json!(["operation", "entity", "old_entity", "schema"]), "{name}");
    }
}

#[tokio::test]
async fn case_33_one_event_shows_its_fields() {
    let host = Host::start().await;
    let expected = json!({ "data": { "fields": ["upstream_id", "ip", "port", "hostname", "health"] } });
    host.admin().get("/event-hooks/sources/balancer/health").await.expect_json(200, &expected);
}

#[tokio::test]
async fn case_34_unknown_sources_and_events_are_not_found_with_a_capital_f() {
    let host = Host::start().await;
    for path in ["/event-hooks/sources/nope", "/event-hooks/sources/crud/nope"] {
        host.admin().get(path).await.expect_json(404, &json!({ "message": "Not Found" }));
    }
}

#[tokio::test]
async fn sources_are_added_replaced_and_removed_and_outlive_a_restart() {
    let mut host = Host::start().await;
    let path = "/event-hooks/sources/dog/barked";
    host.admin().put(path, &json!({ "fields": ["loud"], "description": "it did" })).await.expect(201);
    host.admin().put(path, &json!({ "fields": ["loud", "name"], "unique": ["name"] })).await.expect(200);
    let expected = json!({ "data": { "fields": ["loud", "name"], "unique": ["name"] } });
    host.admin().get(path).await.expect_json(200, &expected);
    host.restart().await;
    host.admin().get(path).await.expect_json(200, &expected);
    host.admin().delete(path).await.expect(204);
    host.admin().delete(path).await.expect(404);
    host.admin().get(path).await.expect(404);
}

#[tokio::test]
async fn the_catalogue_cannot_be_removed() {
    let host = Host::start().await;
    let answer = host.admin().delete("/event-hooks/sources/crud/consumers").await.expect(409).json();
    assert_eq!(answer["message"], "source 'crud' is built in");
}
