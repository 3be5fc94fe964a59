//! Data that many tests use.

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The data of Kong's documented example: a consumer was created.
pub fn consumer_created() -> Value {
    json!({
        "operation": "create",
        "schema": "consumers",
        "entity": {
            "username_lower": "my-consumer",
            "id": "ea87c99f-36f1-41c9-8543-7b13ee2b5dfe",
            "updated_at": 1_734_547_295,
            "type": 0,
            "username": "my-consumer",
            "created_at": 1_734_547_295
        }
    })
}

/// What a webhook's sink sees of it.
pub fn consumer_created_on_the_wire() -> Value {
    let mut body = consumer_created();
    body["source"] = "crud".into();
    body["event"] = "consumers".into();
    body
}

/// An event as producers send it.
pub fn event(source: &str, name: &str, data: &Value) -> Value {
    json!({ "source": source, "event": name, "data": data })
}

/// The documented example as an event.
pub fn consumer_event() -> Value {
    event("crud", "consumers", &consumer_created())
}

/// A webhook hook for every event of `source`.
pub fn webhook(source: &str, url: &str) -> Value {
    json!({ "source": source, "handler": "webhook", "config": { "url": url } })
}

/// `base` with the members of `more` set, one level deep.
pub fn with(mut base: Value, more: &Value) -> Value {
    let members = more.as_object().expect("`more` is an object").clone();
    base.as_object_mut().expect("`base` is an object").extend(members);
    base
}

/// HMAC-SHA256 in lower-case hex.
pub fn hmac_sha256_hex(key: &[u8], body: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(body);
    mac.finalize().into_bytes().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes everything");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_helper_gives_the_published_value() {
        // Kong's documented key and a body of its receivers' examples.
        let expected = "5a358840a04feeb31ef3f2ee5025f9c8ca772beece1dabc628a84dc946809eea";
        assert_eq!(hmac_sha256_hex(b"hunter2", b"foobar"), expected);
    }
}
