//! What an operator writes, and what follows.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::model::Profile;

fn from_file(text: &str) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    load(Some(file.path()), [], []).map(|loaded| loaded.config)
}

fn from_environment(variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    load(None, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())), [])
}

#[test]
fn the_manual_says_the_defaults_of_the_specification() {
    let config = Config::default();
    assert_eq!(config.events.listen, ([127, 0, 0, 1], 8010).into());
    assert_eq!((config.events.max_body, config.events.max_event, config.events.max_batch), (8 << 20, 1 << 20, 10_000));
    assert_eq!(config.events.unregistered, Unregistered::Register);
    assert_eq!((config.events.tls, config.admin.tls, config.status), (None, None, None));
    assert_eq!(config.admin.listen, ([127, 0, 0, 1], 8001).into());
    assert!(config.admin.cors_origins.is_empty() && !config.auth.no_auth);
    let delivery = &config.delivery;
    assert_eq!((delivery.profile, delivery.timeout, delivery.concurrency), (Profile::Durable, Duration::from_secs(30), 64));
    let gaps: Vec<u64> = delivery.schedule.iter().map(Duration::as_secs).collect();
    assert_eq!(gaps, [1, 5, 30, 120, 600, 3600, 4 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600]);
    assert_eq!((delivery.signature, delivery.ping_includes_secret), (Signature::Sha256, false));
    let limits = &config.limits;
    assert_eq!(
        (limits.wall, limits.fuel, limits.memory_bytes, limits.hostcall_bytes),
        (Duration::from_secs(30), 2_000_000_000, 64 << 20, 4 << 20)
    );
    assert_eq!((limits.handles, limits.log_bytes, limits.http_requests, limits.http_response_bytes), (256, 64 << 10, 16, 8 << 20));
    assert_eq!((limits.component_bytes, limits.compiles, limits.slots), (32 << 20, 2, None));
    assert_eq!((limits.snapshot_component_bytes, limits.snapshot_bytes, limits.snapshots_loaded_bytes), (1 << 20, 16 << 20, 256 << 20));
    let store = &config.store;
    assert_eq!((store.segment_bytes, store.segment_age), (64 << 20, Duration::from_secs(3600)));
    assert_eq!((store.retention_bytes, store.retention_age), (2 << 30, Duration::from_secs(72 * 3600)));
    assert_eq!((store.dead_letter_bytes, store.dead_letter_age), (1 << 30, Duration::from_secs(30 * 86_400)));
    assert_eq!((store.keys_window, store.keys_max, store.event_cache_bytes), (Duration::from_secs(86_400), 10_000_000, 32 << 20));
}

#[test]
fn the_manual_read_as_a_file_changes_nothing() {
    assert_eq!(from_file(DEFAULT_TOML).unwrap(), Config::default());
}

/// With the optional keys switched on every field of the raw form is set, so none is missing in the manual; and every key that the manual
/// names is a field, else reading it would fail.
#[test]
fn the_manual_names_every_key_and_no_other() {
    let all: raw::RawConfig = toml_of(&layers::with_optional_keys());
    let value = serde_json::to_value(&all).unwrap();
    let unset = nulls(&value, String::new());
    assert!(unset.is_empty(), "not named in default.toml: {unset:?}");
    assert!(layers::known_keys().iter().any(|key| key == "events.tls.cert_file") && layers::known_keys().len() > 60);
}

fn toml_of<T: serde::de::DeserializeOwned>(text: &str) -> T {
    use figment::providers::Format;
    <figment::providers::Toml as Format>::from_str(text).unwrap()
}

fn nulls(value: &serde_json::Value, path: String) -> Vec<String> {
    match value {
        serde_json::Value::Null => vec![path],
        serde_json::Value::Object(table) => table.iter().flat_map(|(name, value)| nulls(value, format!("{path}.{name}"))).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_key_can_be_said_in_the_environment() {
    for key in layers::known_keys() {
        assert_eq!(layers::key_of_variable(&layers::variable_of_key(key)).as_ref(), Some(key));
    }
    let error = from_environment(&[("TENTERHOOK_STORE_KEYS_MAX", "many")]).unwrap_err();
    assert_eq!(error.place.as_deref(), Some("environment variable TENTERHOOK_STORE_KEYS_MAX"));
    // Bounds are checked after all layers are merged, and still know where a value came from.
    let error = from_environment(&[("TENTERHOOK_DELIVERY_CONCURRENCY", "0")]).unwrap_err();
    assert_eq!(error.place.as_deref(), Some("environment variable TENTERHOOK_DELIVERY_CONCURRENCY"));
    let config = from_environment(&[("TENTERHOOK_DATA", "2024"), ("TENTERHOOK_EVENTS_MAX_EVENT", "4096")]).unwrap().config;
    assert_eq!((config.store.dir.as_path(), config.events.max_event), (Path::new("2024"), 4096));
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[events]\nmax_batch = 1\nmax_event = \"2 KiB\"\nlisten = \"127.0.0.1:1\"").unwrap();
    let env =
        [("TENTERHOOK_EVENTS_MAX_BATCH", "2"), ("TENTERHOOK_EVENTS_LISTEN", "127.0.0.1:2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let flag = Flag { flag: "--events-listen", key: "events.listen", value: "127.0.0.1:3".to_owned() };
    let events = load(Some(file.path()), env, [flag]).unwrap().config.events;
    assert_eq!((events.listen.port(), events.max_batch, events.max_event, events.max_body), (3, 2, 2048, 8 << 20));
}

#[test]
fn an_unknown_key_names_itself_its_file_and_the_nearest_known_one() {
    let cases = [
        ("[events]\nmax_boddy = 1", "events.max_boddy", "events.max_body"),
        ("[event]\nmax_body = 1", "event", "events"),
        ("keys_window = \"1 h\"", "keys_window", "store.keys_window"),
        ("[delivery]\nfuel = 1", "delivery.fuel", "limits.fuel"),
        ("[events.tls]\ncert = \"x\"", "events.tls.cert", "events.tls.cert_file"),
    ];
    for (text, key, nearest) in cases {
        let error = from_file(text).unwrap_err();
        assert_eq!(error.key, key);
        assert!(error.expected.contains(&format!("nearest is {nearest} ")), "{error}");
        assert!(error.place.as_deref().is_some_and(|place| place.starts_with("file /")), "{error}");
    }
}

#[test]
fn a_wrong_type_names_what_was_found_and_expected() {
    let cases = [
        ("[events]\nmax_body = \"many\"", "events.max_body", "many", "a size such as"),
        ("[events]\nmax_body = -1", "events.max_body", "-1", "a size such as"),
        ("[events]\nmax_batch = \"ten\"", "events.max_batch", "ten", "a whole number"),
        ("[events]\nlisten = \"8010\"", "events.listen", "8010", "an address with a port"),
        ("[delivery]\nprofile = \"fast\"", "delivery.profile", "fast", "one of `durable`, `kong`"),
        ("[delivery]\nping_includes_secret = 1", "delivery.ping_includes_secret", "1", "true or false"),
        ("[store]\nretention_age = 72", "store.retention_age", "72", "a duration with its unit"),
        ("[egress]\ndeny = 3", "egress.deny", "3", "a list"),
        ("[auth]\nadmin_tokens = [\"hunter2\"]", "auth.admin_tokens.0", "hunter2", "`tenterhook token`"),
        ("[auth]\nevents_tokens = [{ sources = [] }]", "auth.events_tokens.0", "nothing", "`hash`"),
        ("events = 3", "events", "3", "a table"),
        ("[handlers]\nlambda = 3", "handlers.lambda", "3", "a table"),
        ("[log]\nlevel = \"infoo\"", "log.level", "infoo", "debug or trace"),
        ("[store]\nkeys_max = \"x\"\n", "store.keys_max", "x", "a whole number"),
    ];
    for (text, key, found, expected) in cases {
        let error = from_file(text).unwrap_err();
        assert_eq!(error.key, key, "{error}");
        assert!(error.found.contains(found) && error.expected.contains(expected), "{error}");
        assert!(error.place.as_deref().is_some_and(|place| place.starts_with("file /")), "{error}");
    }
}

#[test]
fn bounds_and_combinations_are_checked() {
    let cases = [
        ("[events]\nmax_event = \"9 GiB\"", "events.max_event"),
        ("[events]\nlisten = \"off\"", "events.listen"),
        ("[events.tls]\ncert_file = \"a\"", "events.tls.key_file"),
        ("[admin.tls]\nkey_file = \"a\"", "admin.tls.cert_file"),
        ("[admin]\ncors_origins = [\"ops.example\"]", "admin.cors_origins"),
        ("[delivery]\nconcurrency = 0", "delivery.concurrency"),
        ("[delivery]\nschedule_ms = [0]", "delivery.schedule_ms"),
        ("[store]\nsegment_bytes = \"1 KiB\"", "store.segment_bytes"),
        ("[limits]\nwall = \"0 s\"", "limits.wall"),
        ("[http]\nmax_header = 10", "http.max_header"),
        ("[store]\ndir = \"\"", "store.dir"),
    ];
    for (text, key) in cases {
        assert_eq!(from_file(text).unwrap_err().key, key);
    }
}

#[test]
fn without_tokens_a_listener_stays_on_loopback() {
    let open = "0.0.0.0:8010".parse().unwrap();
    let error = loopback_only("events.listen", open, false, false).unwrap_err();
    assert!(error.expected.contains("auth.events_tokens") && error.expected.contains("--no-auth"), "{error}");
    assert!(loopback_only("admin.listen", open, false, false).unwrap_err().expected.contains("auth.admin_tokens"));
    for (address, tokens, no_auth) in [("0.0.0.0:1", true, false), ("0.0.0.0:1", false, true), ("[::1]:1", false, false)] {
        loopback_only("events.listen", address.parse().unwrap(), tokens, no_auth).unwrap();
    }
    loopback_only("events.listen", "[::ffff:127.0.0.1]:1".parse().unwrap(), false, false).unwrap();
    loopback_only("events.listen", "[::]:1".parse().unwrap(), false, false).unwrap_err();

    let hash = format!("sha256:{}", "ab".repeat(32));
    let open_events = "[events]\nlisten = \"0.0.0.0:8010\"\n";
    assert_eq!(from_file(open_events).unwrap_err().key, "events.listen");
    // A token of the other door does not open this one.
    assert_eq!(from_file(&format!("{open_events}[auth]\nadmin_tokens = [\"{hash}\"]")).unwrap_err().key, "events.listen");
    from_file(&format!("{open_events}[auth]\nevents_tokens = [\"{hash}\"]")).unwrap();
    from_file(&format!("{open_events}[auth]\nno_auth = true")).unwrap();
    assert_eq!(from_file(&format!("[auth]\nno_auth = true\nadmin_tokens = [\"{hash}\"]")).unwrap_err().key, "auth.no_auth");
    // Probes come without a token, so their listener is not held to it.
    from_file("[status]\nlisten = \"0.0.0.0:8007\"").unwrap();
}

#[test]
fn tokens_name_the_sources_they_may_emit() {
    let (a, b) = ("ab".repeat(32), "cd".repeat(32));
    let auth =
        from_file(&format!("[auth]\nevents_tokens = [\"sha256:{a}\", {{ hash = \"sha256:{b}\", sources = [\"shop\"] }}]")).unwrap().auth;
    assert!(auth.events_tokens[0].may_emit("anything"));
    assert!(auth.events_tokens[1].may_emit("shop") && !auth.events_tokens[1].may_emit("crm"));
    assert_eq!(auth.events_tokens[1].hash.to_string(), format!("sha256:{b}"));
    let error = from_file(&format!("[auth]\nevents_tokens = [{{ hash = \"sha256:{a}\", source = \"x\" }}]")).unwrap_err();
    assert!(error.found.contains("source") && error.expected.contains("`sources`"), "{error}");
}

#[test]
fn the_environment_has_long_short_nested_and_foreign_names() {
    let loaded = from_environment(&[
        ("TENTERHOOK_DATA", "/var/lib/tenterhook"),
        ("TENTERHOOK_NO_AUTH", "true"),
        ("TENTERHOOK_EVENTS__LISTEN", "0.0.0.0:8010"),
        ("TENTERHOOK_EGRESS_DENY", "private, 10.0.0.0/8"),
        ("TENTERHOOK_DELIVERY_SCHEDULE_MS", "[10, 20]"),
        ("TENTERHOOK_PROFILE", "durable"),
        ("TENTERHOOK_DELIVERY_PROFILE", "kong"),
        ("TENTERHOOK_HANDLERS__LAMBDA__UNTRUSTED_LUA", "sandbox"),
        ("TENTERHOOK_CONFIG", "/etc/t.toml"),
        ("TENTERHOOK_EVENTS_SERVICE_HOST", "10.0.0.1"),
        ("TENTERHOOK_EVENTS_PORT_8010_TCP_ADDR", "10.0.0.1"),
        ("PATH", "/bin"),
    ])
    .unwrap();
    let config = &loaded.config;
    assert_eq!(config.store.dir, Path::new("/var/lib/tenterhook"));
    assert_eq!(config.egress.deny, ["private", "10.0.0.0/8"]);
    assert_eq!(config.delivery.schedule, [10, 20].map(Duration::from_millis));
    assert_eq!((config.delivery.profile, config.events.unregistered), (Profile::Kong, Unregistered::Refuse));
    assert_eq!(config.handlers["lambda"]["untrusted_lua"], "sandbox");
    assert_eq!(loaded.notes.len(), 2, "{:?}", loaded.notes);

    let error = from_environment(&[("TENTERHOOK_EVENTS_MAX_BODDY", "1")]).unwrap_err();
    assert!(error.to_string().contains("TENTERHOOK_EVENTS_MAX_BODDY") && error.expected.contains("events.max_body"), "{error}");
    // Wrong in its table: warned of, because the prefix alone does not make it ours.
    let notes = from_environment(&[("TENTERHOOK_EVENT_LISTEN", "x")]).unwrap().notes;
    assert!(notes[0].contains("TENTERHOOK_EVENTS_LISTEN"), "{notes:?}");
}

#[test]
fn a_reload_names_what_needs_a_restart() {
    let old = Config::default();
    let hash = "ab".repeat(32);
    let new = from_file(&format!(
        "[events]\nmax_body = \"9 MiB\"\n[store]\nsegment_bytes = \"9 MiB\"\n[auth]\nadmin_tokens = [\"sha256:{hash}\"]\n[log]\nlevel = \"debug\"\n[handlers.x]\na = 1\n[delivery]\nconcurrency = 3\n[admin.tls]\ncert_file = \"a\"\nkey_file = \"b\""
    ))
    .unwrap();
    assert_eq!(Config::restart_needed(&old, &new), ["admin.tls.cert_file", "admin.tls.key_file", "store.segment_bytes"]);
    // The same size in another unit is no change.
    assert!(Config::restart_needed(&old, &from_file("[events]\nmax_body = 8388608").unwrap()).is_empty());
}

#[test]
fn a_file_that_cannot_be_read_or_parsed_says_so() {
    let error = load(Some(Path::new("/nowhere/t.toml")), [], []).unwrap_err();
    assert!(error.found.contains("/nowhere/t.toml"), "{error}");
    let error = from_file("[events]\nlisten = \n").unwrap_err();
    assert!(error.found.contains("line 2"), "{error}");
}
