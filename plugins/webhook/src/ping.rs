//! The body of a ping: as for any event, but the hook in it is shown with the header that is really sent.
//!
//! Kong adds `content-type` to the hook's headers in place before it pings, and receivers have seen it there ever since.

use serde_json::{Map, Value};
use tenterhook_sdk::Event;

use crate::body;

/// `{"event_hooks": {… "config": {"headers": {"content-type": …}}}, "operation": …, "event": "ping", "source": "kong:event_hooks"}`.
pub(crate) fn write(event: &Event) -> Result<Vec<u8>, serde_json::Error> {
    // A producer may send an event of this name too, with any data.
    let Ok(Value::Object(mut data)) = event.parse() else { return body::write(event) };
    if let Some(config) = data.get_mut("event_hooks").and_then(|hook| hook.get_mut("config")).and_then(Value::as_object_mut) {
        show_content_type(config);
    }
    data.insert("event".into(), event.name.as_str().into());
    data.insert("source".into(), event.source.as_str().into());
    serde_json::to_vec(&data)
}

fn show_content_type(config: &mut Map<String, Value>) {
    let headers = config.entry("headers").or_insert(Value::Null);
    if !headers.is_object() {
        *headers = Value::Object(Map::new());
    }
    if let Some(headers) = headers.as_object_mut() {
        headers.retain(|name, _| !name.eq_ignore_ascii_case("content-type"));
        headers.insert("content-type".into(), "application/json".into());
    }
}
