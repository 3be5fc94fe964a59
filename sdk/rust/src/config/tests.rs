//! Types of every shape, and everything that can be wrong with them.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Everything {
    name: String,
    #[serde(default)]
    on: bool,
    count: Option<u8>,
    #[serde(default)]
    ratio: f64,
    #[serde(default)]
    list: Vec<String>,
    #[serde(default)]
    map: BTreeMap<String, i64>,
    mode: Option<Mode>,
    inner: Option<Inner>,
    pair: Option<(u32, char)>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Fast,
    Slow { seconds: u32 },
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    url: String,
    port: u16,
    mode: Mode,
}

fn violations(config: serde_json::Value) -> String {
    let result = read::<Everything>(&config.to_string(), |_, _| ());
    result.expect_err("something is wrong with it").to_string()
}

#[test]
fn a_good_config_is_read() {
    let config = json!({
        "name": "n", "on": true, "count": 3, "ratio": 1, "list": ["a"], "map": {"x": -1}, "mode": "fast",
        "inner": {"url": "u", "port": 80, "mode": {"slow": {"seconds": 2}}}, "pair": [1, "x"],
    });
    let expected = Everything {
        name: "n".into(),
        on: true,
        count: Some(3),
        ratio: 1.0,
        list: vec!["a".into()],
        map: BTreeMap::from([("x".into(), -1)]),
        mode: Some(Mode::Fast),
        inner: Some(Inner { url: "u".into(), port: 80, mode: Mode::Slow { seconds: 2 } }),
        pair: Some((1, 'x')),
    };
    assert_eq!(read(&config.to_string(), |_, _| ()), Ok(expected));
}

#[test]
fn null_members_are_absent() {
    let config = json!({"name": "n", "on": null, "count": null, "list": null, "inner": null});
    assert_eq!(read(&config.to_string(), |_, _| ()), Ok(Everything { name: "n".into(), ..Everything::default() }));
    assert_eq!(violations(json!({"name": null})), "name: required field missing");
    assert_eq!(violations(json!(null)), "name: required field missing");
}

#[test]
fn each_wrong_type_is_named_as_kong_does() {
    let cases = [
        (json!({"name": 1}), "name: expected a string"),
        (json!({"name": "n", "on": "yes"}), "on: expected a boolean"),
        (json!({"name": "n", "count": "3"}), "count: expected an integer"),
        (json!({"name": "n", "count": 1.5}), "count: expected an integer"),
        (json!({"name": "n", "count": 300}), "count: invalid value: 300"),
        (json!({"name": "n", "count": -1}), "count: invalid value: -1"),
        (json!({"name": "n", "ratio": "x"}), "ratio: expected a number"),
        (json!({"name": "n", "list": {}}), "list: expected an array"),
        (json!({"name": "n", "map": []}), "map: expected a map"),
        (json!({"name": "n", "inner": "x"}), "inner: expected a record"),
        (json!({"name": "n", "inner": []}), "inner: expected a record"),
        (json!({"name": "n", "mode": 1}), "mode: expected a string"),
        (json!({"name": "n", "mode": "medium"}), "mode: expected one of: fast, slow"),
        (json!({"name": "n", "colour": "red"}), "colour: unknown field"),
        (json!([]), "expected a record"),
        (json!("x"), "expected a record"),
    ];
    for (config, message) in cases {
        assert_eq!(violations(config.clone()), message, "{config}");
    }
}

#[test]
fn every_violation_is_found_with_its_path() {
    let config = json!({
        "on": 0, "count": [], "list": ["a", 1, null], "map": {"x": "y", "z": true}, "extra": 1,
        "inner": {"port": "80", "mode": {"slow": {"seconds": "2"}}, "more": {}},
    });
    assert_eq!(
        violations(config),
        "count: expected an integer; extra: unknown field; inner.mode.slow.seconds: expected an integer; inner.more: unknown field; \
         inner.port: expected an integer; inner.url: required field missing; list[1]: expected a string; list[2]: expected a string; \
         map.x: expected an integer; map.z: expected an integer; name: required field missing; on: expected a boolean"
    );
}

#[test]
fn rules_run_beside_wrong_types_and_say_nothing_about_them() {
    let rules = |config: &Everything, check: &mut Check| {
        check.field("name").not_empty(&config.name);
        if !config.on {
            check.field("on").refuse("must be on");
        }
    };
    let result = read(&json!({"name": 5, "on": false}).to_string(), rules);
    assert_eq!(result.unwrap_err().to_string(), "name: expected a string; on: must be on");
    let result = read(&json!({"name": "", "on": true}).to_string(), rules);
    assert_eq!(result.unwrap_err().to_string(), "name: length must be at least 1");
}

#[test]
fn a_whole_record_that_is_wrong_is_reported_once() {
    let rules = |config: &Everything, check: &mut Check| {
        if config.inner.is_none() {
            check.field("inner").field("url").refuse("missing");
        }
    };
    let result = read::<Everything>(&json!({"name": "n", "inner": 5}).to_string(), rules);
    assert_eq!(result.unwrap_err().to_string(), "inner: expected a record");
}

#[test]
fn a_type_that_no_placeholder_fits_still_gives_its_message() {
    #[derive(Debug, Deserialize)]
    struct Strict {
        #[serde(deserialize_with = "even", rename = "even")]
        _even: u32,
    }
    fn even<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        match u32::deserialize(deserializer)? {
            0 => Err(serde::de::Error::custom("zero is not a number I like")),
            odd if odd % 2 == 1 => Err(serde::de::Error::custom("must be even")),
            even => Ok(even),
        }
    }
    let result = read::<Strict>(r#"{"even":3}"#, |_, _| ());
    assert_eq!(result.unwrap_err().to_string(), "even: must be even");
}

#[test]
fn what_is_not_json_is_said_so() {
    let result = read::<Everything>("{", |_, _| ()).unwrap_err();
    assert!(result.to_string().starts_with("cannot be read as JSON: "), "{result}");
}

#[test]
fn a_config_without_fields_takes_none() {
    assert_eq!(read("{}", |_, _| ()), Ok(NoConfig {}));
    assert_eq!(read::<NoConfig>(r#"{"x":1}"#, |_, _| ()).unwrap_err().to_string(), "x: unknown field");
}

#[test]
fn more_mistakes_than_are_looked_for_still_end() {
    let many: serde_json::Map<_, _> = (0..200).map(|n| (format!("k{n:03}"), json!(1))).collect();
    let found = read::<NoConfig>(&serde_json::Value::from(many).to_string(), |_, _| ()).unwrap_err();
    assert_eq!(found.iter().count(), FAULTS_MAX);
}
