//! Bodies and what becomes of them.

use serde_json::json;

use super::super::scan;
use super::*;

/// An event, for the tests of other files.
pub(in super::super) fn event(source: &str, name: &str, data: &str) -> NewEvent {
    NewEvent {
        source: source.into(),
        name: name.into(),
        data: JsonText::from_checked(data.into()),
        key: None,
        time: None,
        attributes: Vec::new(),
        origin: Origin::Producer,
    }
}

fn parse(body: &str) -> Result<Vec<NewEvent>, Problem> {
    parse_with(body, &Settings::default())
}

fn parse_with(body: &str, settings: &Settings) -> Result<Vec<NewEvent>, Problem> {
    let bytes = Bytes::copy_from_slice(body.as_bytes());
    scan::check(&bytes, 0)?;
    read(&bytes, settings)
}

#[track_caller]
fn refused(body: &str, expected: &[(usize, &str)]) {
    let Err(Problem::Events(errors)) = parse(body) else { panic!("{body} gave no list of errors") };
    let errors: Vec<_> = errors.iter().map(|error| (error.index, error.message.as_str())).collect();
    assert_eq!(errors, expected, "{body}");
}

#[track_caller]
fn malformed_at(body: &str, end: &str) {
    match parse(body) {
        Err(Problem::Malformed(message)) => assert!(message.ends_with(end), "{body}: {message}"),
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn an_object_is_one_event_and_an_array_many() {
    let one =
        parse(r#" {"source":"shop","event":"placed","data": {"a": [1, 2]} ,"key":"k\u0041","time":"2026-01-02T03:04:05Z"} "#).unwrap();
    assert_eq!((&*one[0].source, &*one[0].name, one[0].data.as_str()), ("shop", "placed", r#"{"a": [1, 2]}"#));
    assert_eq!((one[0].key.as_deref(), one[0].time), (Some("kA"), Some(Timestamp(1_767_323_045_000))));
    assert_eq!(one[0].origin, Origin::Producer);
    let many = parse(r#"[{"source":"s","event":"a"},{"source":"s","event":"b","data":null,"key":null,"time":null}]"#).unwrap();
    assert_eq!(many.len(), 2);
    assert_eq!((many[0].data.as_str(), many[1].data.as_str()), ("{}", "null"));
    assert!(Arc::ptr_eq(&many[0].source, &many[1].source), "names are shared");
    assert!(parse("[]").unwrap().is_empty());
}

#[test]
fn every_error_has_its_index() {
    refused("{}", &[(0, "source: required field missing"), (0, "event: required field missing")]);
    refused(
        r#"[{"source":"s","event":"e"},{"source":7,"event":""},3,[{}],{"source":"s","event":"e","x":1,"data":{},"data":{}}]"#,
        &[
            (1, "source: expected a string"),
            (1, "event: length must be at least 1"),
            (2, "expected an event object"),
            (3, "expected an event object"),
            (4, "x: unknown field"),
            (4, "data: duplicate field"),
        ],
    );
    refused(r#"{"source":null,"event":"e"}"#, &[(0, "source: required field missing")]);
    refused(r#""text""#, &[(0, "expected an event object")]);
    for (key, message) in [
        (json!(""), "key: length must be at least 1"),
        (json!("a\u{7}"), "key: control characters are not allowed"),
        (json!("é".repeat(129)), "key: 258 bytes, more than the limit of 256"),
        (json!(1), "key: expected a string"),
    ] {
        refused(&json!({ "source": "s", "event": "e", "key": key }).to_string(), &[(0, message)]);
    }
    let time = r#"{"source":"s","event":"e","time":"noon"}"#;
    refused(time, &[(0, "time: expected an RFC 3339 time such as 2026-01-02T03:04:05Z")]);
}

#[test]
fn an_object_of_unknown_members_gets_a_bounded_answer() {
    let members: Vec<String> = (0..1000).map(|n| format!(r#""{n}{}":1"#, "x".repeat(100))).collect();
    let Err(Problem::Events(errors)) = parse(&format!("{{{}}}", members.join(","))) else { panic!("no errors") };
    assert_eq!(errors.len(), envelope::ERRORS_MAX);
    assert!(errors.iter().all(|error| error.message.len() < 100));
}

#[test]
fn what_is_not_json_is_named_with_its_byte() {
    malformed_at("", "at byte 0");
    malformed_at("{bad", "at byte 1");
    malformed_at("{\"source\":\"s\",\n \"event\" 7}", "at byte 24");
    malformed_at(r#"{"source":"s","event":"e"} x"#, "at byte 27");
    malformed_at("[{},", "at byte 3");
}

#[test]
fn limits_name_the_number_and_the_setting() {
    let settings = Settings { max_batch: 2, max_event: 20, ..Settings::default() };
    let one = r#"{"source":"s","event":"e"}"#;
    assert_eq!(parse_with(&format!("[{one},{one}]"), &settings).unwrap().len(), 2);
    let many = parse_with(&format!("[{one},{one},{one}]"), &settings);
    assert!(matches!(many, Err(Problem::TooLarge { limit: 2, setting: Some("events.max_batch"), .. })));
    let large = format!(r#"[{one},{{"source":"s","event":"e","data":"{}"}}]"#, "x".repeat(18));
    let Err(Problem::EventTooLarge { errors, limit: 20 }) = parse_with(&large, &settings) else { panic!("not refused") };
    assert_eq!(errors, [EventError { index: 1, message: "22 bytes".into() }]);
}

#[test]
fn large_bodies_are_shared_and_small_ones_copied() {
    let shares = |body: &str| {
        let bytes = Bytes::copy_from_slice(body.as_bytes());
        let events = read(&bytes, &Settings::default()).unwrap();
        let range = bytes.as_ptr_range();
        range.contains(&events[0].data.bytes().as_ptr())
    };
    let with = |data: usize, space: usize| format!(r#"{{"source":"s","event":"e","data":"{}"}}{}"#, "x".repeat(data), " ".repeat(space));
    assert!(!shares(&with(100, 0)));
    assert!(shares(&with(SHARE_FROM, 0)));
    assert!(!shares(&with(100, SHARE_FROM)), "a little data would keep much body alive");
}

#[test]
fn data_alone_is_any_json_value() {
    let read_one =
        |body: &str, key: Option<&[u8]>| read_data(&Bytes::copy_from_slice(body.as_bytes()), "s", "e", key, &Settings::default());
    let event = read_one(" [1, 2] ", Some(b"k")).unwrap();
    assert_eq!((&*event.source, &*event.name, event.data.as_str(), event.key.as_deref()), ("s", "e", "[1, 2]", Some("k")));
    assert_eq!(read_one("7", None).unwrap().key, None);
    assert!(matches!(read_one("", None), Err(Problem::Malformed(_))));
    assert!(matches!(read_one("{} {}", None), Err(Problem::Malformed(message)) if message.ends_with("at byte 3")));
    for key in [&b""[..], b"\xff", b"a\x01"] {
        assert!(matches!(read_one("{}", Some(key)), Err(Problem::Events(_))), "{key:?}");
    }
}
