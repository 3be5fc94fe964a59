//! What the specification's sentences mean for one event.

use super::*;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), http::HeaderValue::from_bytes(value.as_bytes()).unwrap()))
        .collect()
}

fn said(result: Result<Vec<NewEvent>, Problem>) -> Vec<String> {
    match result {
        Ok(events) => events.iter().map(|event| event.data.as_str().to_owned()).collect(),
        Err(Problem::Events(errors)) => errors.into_iter().map(|error| format!("{}: {}", error.index, error.message)).collect(),
        Err(other) => vec![format!("{other:?}")],
    }
}

fn one(members: &str) -> Vec<String> {
    let body = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{members}}}"#);
    said(structured(&body.into(), &Settings::default()))
}

#[test]
fn header_values_are_decoded_once() {
    for (header, text) in [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("a%20b%22c%25d", "a b\"c%d"),
        ("/x?y=z", "/x?y=z"),
        ("na%C3%AFve", "naïve"),
        ("na%c3%afve", "naïve"),
        ("%41%2541", "A%41"),
        (r#""a \"b\" \\ %20""#, "a \"b\" \\  "),
        ("100%", "100%"),
        ("%zz%4", "%zz%4"),
        ("naïve", "naïve"),
        ("\"", "\""),
    ] {
        assert_eq!(from_header_value(header.as_bytes()).as_deref(), Some(text), "{header}");
    }
    for wrong in ["%C0%A0", "%ED%A0%80", "%FF"] {
        assert_eq!(from_header_value(wrong.as_bytes()), None, "{wrong}");
    }
}

#[test]
fn structured_events_keep_their_attributes() {
    let body = r#"{"specversion":"1.0","id":"A-1","source":"/s","type":"t","time":"2026-01-02T03:04:05Z","subject":"x","n":-7,"yes":true,
        "gone":null,"datacontenttype":"application/json","data":{"a":[1]}}"#;
    let events = structured(&body.into(), &Settings::default()).unwrap();
    let [event] = events.as_slice() else { panic!("one event") };
    assert_eq!((&*event.source, &*event.name, event.key.as_deref()), ("/s", "t", Some("A-1")));
    assert_eq!((event.time, event.data.as_str()), (Some(Timestamp(1_767_323_045_000)), r#"{"a":[1]}"#));
    let kept: Vec<_> = event.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(kept, [("specversion", "1.0"), ("subject", "x"), ("n", "-7"), ("yes", "true"), ("datacontenttype", "application/json")]);
}

#[test]
fn data_is_what_the_format_says() {
    assert_eq!(one(""), ["{}"]);
    assert_eq!(one(r#","data":null"#), ["null"]);
    assert_eq!(one(r#","data":"text""#), [r#""text""#]);
    assert_eq!(one(r#","datacontenttype":"text/plain","data":"text""#), [r#""text""#]);
    assert_eq!(one(r#","datacontenttype":"application/vnd.a+json","data":[1]"#), ["[1]"]);
    assert_eq!(one(r#","datacontenttype":"text/plain","data":7"#), ["0: data: expected a string, because datacontenttype is 'text/plain'"]);
    assert_eq!(one(r#","data_base64":"AQI=""#), [r#"{"data_base64":"AQI="}"#]);
    assert_eq!(one(r#","data_base64":null,"data":1"#), ["1"]);
    assert_eq!(one(r#","data_base64":"AQI=","data":1"#), ["0: data_base64: data and data_base64 exclude each other"]);
    assert_eq!(one(r#","data_base64":"!""#), ["0: data_base64: expected base64 (RFC 4648 section 4, padded)"]);
    assert_eq!(one(r#","data_base64":7"#), ["0: data_base64: expected a string"]);
}

#[test]
fn wrong_attributes_are_named() {
    let all = said(structured(&"{}".into(), &Settings::default()));
    assert_eq!(all, ["specversion", "id", "source", "type"].map(|name| format!("0: {name}: required field missing")));
    for (members, message) in [
        (r#","Upper":"x""#, "0: Upper: an attribute's name is lower-case letters and digits, at most 64, and not 'data'"),
        (r#","a":1.5"#, "0: a: expected a string, a boolean or a 32-bit integer"),
        (r#","a":2147483648"#, "0: a: expected a string, a boolean or a 32-bit integer"),
        (r#","a":[]"#, "0: a: expected a string, a boolean or a 32-bit integer"),
        (r#","a":"x\u0001""#, "0: a: control characters are not allowed"),
        (r#","time":"noon""#, "0: time: expected an RFC 3339 time such as 2026-01-02T03:04:05Z"),
        (r#","id":"2""#, "0: id: duplicate field"),
    ] {
        assert_eq!(one(members), [message], "{members}");
    }
    let old = r#"{"specversion":"0.3","id":"1","source":"","type":"t"}"#;
    let expected = ["0: specversion: '0.3' is not read here; send 1.0", "0: source: length must be at least 1"];
    assert_eq!(said(structured(&old.into(), &Settings::default())), expected);
    assert!(said(structured(&"{bad".into(), &Settings::default()))[0].contains("at byte 1"));
    let members: String = (0..200).map(|n| format!(r#","a{n}":1"#)).collect();
    assert!(one(&members)[0].contains("more than 128 members"), "{:?}", one(&members));
}

#[test]
fn a_batch_is_an_array_and_may_be_empty() {
    let event = |id: &str| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","data":"{id}"}}"#);
    let batch = |body: String, max_batch| said(batched(&body.into(), &Settings { max_batch, ..Settings::default() }));
    assert_eq!(batch("[]".into(), 5), [""; 0]);
    assert_eq!(batch(format!("[{},{}]", event("1"), event("2")), 2), [r#""1""#, r#""2""#]);
    assert_eq!(
        batch(format!("[{},7,{{}}]", event("1")), 5)[..2],
        ["1: expected an event object", "2: specversion: required field missing"]
    );
    assert!(batch("[1,2,3]".into(), 2)[0].contains("events.max_batch"));
    assert!(batch(event("1"), 2)[0].contains("an array of event objects"), "{:?}", batch(event("1"), 2));
}

#[test]
fn binary_mode_reads_headers() {
    let base = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s%20x"), ("ce-type", "t")];
    let with = |more: &[(&str, &str)], body: &'static str| {
        let all = [base.as_slice(), more].concat();
        binary(&headers(&all), &Bytes::from_static(body.as_bytes()), &Settings::default())
    };
    let events = with(&[("content-type", "application/json"), ("ce-subject", "\"a\""), ("ce-traceparent", "00-x")], r#"{"a":1}"#).unwrap();
    assert_eq!((&*events[0].source, events[0].data.as_str()), ("/s x", r#"{"a":1}"#));
    assert!(events[0].attributes.contains(&("subject".into(), "a".into())), "{:?}", events[0].attributes);
    assert!(events[0].attributes.contains(&("datacontenttype".into(), "application/json".into())));
    assert_eq!(said(with(&[], "")), ["{}"]);
    assert_eq!(said(with(&[], "[1]")), ["[1]"]);
    assert_eq!(said(with(&[], "\u{1}\u{2}")), [r#"{"data_base64":"AQI="}"#]);
    assert_eq!(said(with(&[("content-type", "text/plain")], "1")), [r#"{"data_base64":"MQ=="}"#]);
    assert!(said(with(&[("content-type", "application/json")], "{bad"))[0].contains("at byte 1"));
    assert_eq!(said(with(&[("ce-datacontenttype", "text/plain")], "1")), ["0: ce-datacontenttype: Content-Type says it"]);
    assert_eq!(said(with(&[("ce-x", "%C0%A0")], "1")), ["0: ce-x: the value is not UTF-8 once it is percent-decoded"]);
    let missing = said(binary(&headers(&base[..2]), &Bytes::new(), &Settings::default()));
    assert_eq!(missing, ["0: source: required field missing", "0: type: required field missing"]);
    let mut twice = headers(&base);
    twice.append("ce-x", "1".parse().unwrap());
    twice.append("ce-x", "2".parse().unwrap());
    assert_eq!(said(binary(&twice, &Bytes::new(), &Settings::default())), ["0: ce-x: the header stands there more than once"]);
}
