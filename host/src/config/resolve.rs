//! From what was written to what is meant: the checks that need more than one value, and the bounds of single ones.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::forms::{Listen, Span};
use super::raw::{RawAuth, RawConfig, RawDelivery, RawEgress, RawEvents, RawHttp, RawLimits, RawStore, RawTls};
use super::resolved::{Admin, Auth, Config, Delivery, Egress, Events, Http, Limits, Log, Store, TlsFiles};
use super::{ConfigError, Unregistered};
use crate::model::Profile;

type Resolved<T> = Result<T, ConfigError>;

/// Longest list of gaps between attempts, and longest gap: beyond it a delivery would outlive everybody's patience.
const GAPS_MAX: usize = 64;
const GAP_DAYS_MAX: u64 = 30;

/// Checks and converts the whole.
pub(crate) fn resolve(raw: RawConfig) -> Resolved<Config> {
    let written = written(&raw);
    let auth = auth(raw.auth)?;
    let events = events(raw.events, raw.delivery.profile)?;
    let admin = Admin {
        listen: address("admin.listen", raw.admin.listen)?,
        tls: tls("admin.tls", raw.admin.tls)?,
        cors_origins: origins(raw.admin.cors_origins)?,
    };
    loopback_only("events.listen", events.listen, !auth.events_tokens.is_empty(), auth.no_auth)?;
    loopback_only("admin.listen", admin.listen, !auth.admin_tokens.is_empty(), auth.no_auth)?;
    Ok(Config {
        status: raw.status.listen.0,
        http: http(&raw.http)?,
        delivery: delivery(raw.delivery)?,
        limits: limits(&raw.limits)?,
        egress: egress(raw.egress)?,
        store: store(raw.store)?,
        handlers: raw.handlers,
        log: Log { format: raw.log.format, level: level(raw.log.level)? },
        drain_limit: raw.shutdown.drain.0,
        events,
        admin,
        auth,
        written,
    })
}

/// Without tokens a listener may bind to loopback only. `key` is its setting, such as `events.listen`.
///
/// Also for inherited sockets, whose address no setting says. The status listener asks for no token by its nature and is not held to this.
pub fn loopback_only(key: &str, address: SocketAddr, has_tokens: bool, no_auth: bool) -> Resolved<()> {
    if has_tokens || no_auth || address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let (door, tokens) = if key.starts_with("admin") { ("Admin API", "auth.admin_tokens") } else { ("events door", "auth.events_tokens") };
    let ways = format!(
        "a loopback address, because without tokens anybody who reaches this one could use the {door}; two ways out: put the hash of a token \
         into {tokens} (`tenterhook token` makes both), or say --no-auth"
    );
    Err(ConfigError::new(key, address.to_string(), ways))
}

fn events(raw: RawEvents, profile: Profile) -> Resolved<Events> {
    let by_profile = match profile {
        Profile::Durable => Unregistered::Register,
        Profile::Kong => Unregistered::Refuse,
    };
    Ok(Events {
        listen: address("events.listen", raw.listen)?,
        tls: tls("events.tls", raw.tls)?,
        max_body: in_range("events.max_body", raw.max_body.0, 1024, 1 << 30)?,
        max_event: in_range("events.max_event", raw.max_event.0, 1024, 1 << 30)?,
        max_batch: in_range("events.max_batch", raw.max_batch, 1, 1_000_000)? as usize,
        queued_bytes: to_usize(in_range("events.queued_bytes", raw.queued_bytes.0, 1 << 20, 1 << 31)?),
        arriving_bytes: to_usize(in_range("events.arriving_bytes", raw.arriving_bytes.0, 1 << 20, 1 << 36)?),
        unregistered: raw.unregistered.unwrap_or(by_profile),
    })
}

fn address(key: &str, listen: Listen) -> Resolved<SocketAddr> {
    listen.0.ok_or_else(|| ConfigError::new(key, "\"off\"", "an address; only status.listen can be off"))
}

fn tls(key: &str, raw: RawTls) -> Resolved<Option<TlsFiles>> {
    match (raw.cert_file, raw.key_file) {
        (Some(cert_file), Some(key_file)) => Ok(Some(TlsFiles { cert_file, key_file })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError::new(format!("{key}.key_file"), "nothing", "the private key's file beside cert_file")),
        (None, Some(_)) => Err(ConfigError::new(format!("{key}.cert_file"), "nothing", "the certificate's file beside key_file")),
    }
}

fn origins(origins: Vec<String>) -> Resolved<Vec<String>> {
    let is_origin = |said: &str| {
        let host = said.strip_prefix("https://").or_else(|| said.strip_prefix("http://"));
        said == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', ' ', '*']))
    };
    match origins.iter().find(|said| !is_origin(said)) {
        Some(bad) => Err(ConfigError::new(
            "admin.cors_origins",
            format!("`{bad}`"),
            "\"*\" or an origin such as \"https://ops.example\", without a path",
        )),
        None => Ok(origins),
    }
}

fn http(raw: &RawHttp) -> Resolved<Http> {
    Ok(Http {
        max_connections: in_range("http.max_connections", raw.max_connections, 1, 1_000_000)? as usize,
        header_timeout: not_zero("http.header_timeout", raw.header_timeout)?,
        body_timeout: not_zero("http.body_timeout", raw.body_timeout)?,
        handshake_timeout: not_zero("http.handshake_timeout", raw.handshake_timeout)?,
        // Hyper's read buffer is never smaller than 8 KiB.
        max_header: to_usize(in_range("http.max_header", raw.max_header.0, 8 << 10, 1 << 20)?),
    })
}

fn auth(raw: RawAuth) -> Resolved<Auth> {
    let tokens = raw.admin_tokens.len() + raw.events_tokens.len();
    if raw.no_auth && tokens > 0 {
        let expected = "false while tokens are configured: they would be of no use; leave out one or the other";
        return Err(ConfigError::new("auth.no_auth", format!("true beside {tokens} tokens"), expected));
    }
    Ok(Auth { admin_tokens: raw.admin_tokens, events_tokens: raw.events_tokens, no_auth: raw.no_auth })
}

fn delivery(raw: RawDelivery) -> Resolved<Delivery> {
    let gaps = in_range("delivery.schedule_ms", raw.schedule_ms.len(), 0, GAPS_MAX);
    gaps.map_err(|error| ConfigError { found: format!("{} gaps", error.found), expected: format!("at most {GAPS_MAX}"), ..error })?;
    for gap in &raw.schedule_ms {
        in_range("delivery.schedule_ms", *gap, 1, GAP_DAYS_MAX * 86_400_000)?;
    }
    Ok(Delivery {
        profile: raw.profile,
        timeout: Duration::from_millis(in_range("delivery.timeout_ms", raw.timeout_ms, 1, 3_600_000)?.into()),
        concurrency: in_range("delivery.concurrency", raw.concurrency, 1, 100_000)?,
        max_in_flight: in_range("delivery.max_in_flight", raw.max_in_flight, 1, 100_000)? as usize,
        max_between_attempts: in_range("delivery.max_between_attempts", raw.max_between_attempts, 1, 10_000_000)? as usize,
        max_queued: in_range("delivery.max_queued", raw.max_queued, 1, u64::MAX / 2)?,
        max_wait: not_zero("delivery.max_wait", raw.max_wait)?,
        max_owed: in_range("delivery.max_owed", raw.max_owed, 1, u64::MAX / 2)?,
        schedule: raw.schedule_ms.into_iter().map(Duration::from_millis).collect(),
        signature: raw.signature,
        ping_includes_secret: raw.ping_includes_secret,
    })
}

fn limits(raw: &RawLimits) -> Resolved<Limits> {
    Ok(Limits {
        wall: not_zero("limits.wall", raw.wall)?,
        fuel: in_range("limits.fuel", raw.fuel, 1_000_000, u64::MAX / 2)?,
        memory_bytes: in_range("limits.memory_bytes", raw.memory_bytes.0, 1 << 20, 4 << 30)?,
        table_elements: in_range("limits.table_elements", raw.table_elements, 1000, 100_000_000)?,
        hostcall_bytes: in_range("limits.hostcall_bytes", raw.hostcall_bytes.0, 64 << 10, 1 << 30)?,
        handles: in_range("limits.handles", raw.handles, 8, 1_000_000)?,
        log_bytes: raw.log_bytes.0,
        http_requests: raw.http_requests,
        http_url_bytes: to_usize(in_range("limits.http_url_bytes", raw.http_url_bytes.0, 256, 64 << 10)?),
        http_header_bytes: to_usize(in_range("limits.http_header_bytes", raw.http_header_bytes.0, 256, 16 << 20)?),
        http_request_bytes: to_usize(in_range("limits.http_request_bytes", raw.http_request_bytes.0, 1024, 1 << 30)?),
        http_response_bytes: raw.http_response_bytes.0,
        answer_bytes: in_range("limits.answer_bytes", raw.answer_bytes.0, 1024, 1 << 30)?,
        component_bytes: in_range("limits.component_bytes", raw.component_bytes.0, 64 << 10, 1 << 30)?,
        compiles: in_range("limits.compiles", raw.compiles, 1, 1024)? as usize,
        instances: in_range("limits.instances", raw.instances, 1, 100_000)?,
        slots: (raw.slots > 0).then_some(raw.slots as usize),
        cache_bytes: raw.cache_bytes.0,
        snapshot_component_bytes: raw.snapshot_component_bytes.0,
        snapshot_bytes: in_range("limits.snapshot_bytes", raw.snapshot_bytes.0, 64 << 10, 1 << 30)?,
        snapshots_loaded_bytes: raw.snapshots_loaded_bytes.0,
    })
}

fn egress(raw: RawEgress) -> Resolved<Egress> {
    Ok(Egress {
        deny: raw.deny,
        allow: raw.allow,
        ca_file: raw.ca_file,
        connect_timeout: not_zero("egress.connect_timeout", raw.connect_timeout)?,
        in_flight: in_range("egress.in_flight", raw.in_flight, 1, 100_000)? as usize,
        response_header_bytes: to_usize(in_range("egress.response_header_bytes", raw.response_header_bytes.0, 8 << 10, 16 << 20)?),
        total_timeout: not_zero("egress.total_timeout", raw.total_timeout)?,
        idle_timeout: raw.idle_timeout.0,
        idle_per_destination: raw.idle_per_destination as usize,
        idle_connections: raw.idle_connections as usize,
    })
}

fn store(raw: RawStore) -> Resolved<Store> {
    if raw.dir.as_os_str().is_empty() {
        return Err(ConfigError::new("store.dir", "an empty path", "a folder"));
    }
    // What is kept by right would otherwise fill the folder for good, and no event would be accepted any more.
    let kept = raw.retention_bytes.0.saturating_add(raw.dead_letter_bytes.0);
    if raw.max_bytes.0 <= kept {
        let expected = format!("more than store.retention_bytes and store.dead_letter_bytes together ({kept} bytes)");
        return Err(ConfigError::new("store.max_bytes", format!("{} bytes", raw.max_bytes.0), expected));
    }
    Ok(Store {
        dir: raw.dir,
        segment_bytes: in_range("store.segment_bytes", raw.segment_bytes.0, 1 << 20, 1 << 30)?,
        segment_age: not_zero("store.segment_age", raw.segment_age)?,
        retention_bytes: raw.retention_bytes.0,
        retention_age: raw.retention_age.0,
        dead_letter_bytes: in_range("store.dead_letter_bytes", raw.dead_letter_bytes.0, 1 << 20, u64::MAX / 2)?,
        dead_letter_age: not_zero("store.dead_letter_age", raw.dead_letter_age)?,
        free_floor_bytes: raw.free_floor_bytes.0,
        max_bytes: in_range("store.max_bytes", raw.max_bytes.0, 16 << 20, u64::MAX / 2)?,
        keys_window: raw.keys_window.0,
        keys_max: raw.keys_max,
        throttle_max: to_usize(in_range("store.throttle_max", raw.throttle_max, 1, 1 << 31)?),
        event_cache_bytes: raw.event_cache_bytes.0,
    })
}

/// A bare word that is no level would be taken as the name of a part, and switch everything else off.
fn level(said: String) -> Resolved<String> {
    let is_level = |word: &str| matches!(word, "off" | "error" | "warn" | "info" | "debug" | "trace");
    let is_part = |part: &str| match part.split_once('=') {
        Some((name, word)) => is_level(word) && !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_:-".contains(c)),
        None => is_level(part),
    };
    if said.split(',').map(str::trim).all(is_part) {
        return Ok(said);
    }
    let expected = "off, error, warn, info, debug or trace, or levels by part such as \"info,tenterhook::pipeline=debug\"";
    Err(ConfigError::new("log.level", format!("`{said}`"), expected))
}

fn not_zero(key: &str, span: Span) -> Resolved<Duration> {
    if span.0.is_zero() { Err(ConfigError::new(key, "zero", "a duration longer than zero")) } else { Ok(span.0) }
}

fn in_range<T: PartialOrd + std::fmt::Display + Copy>(key: &str, value: T, least: T, most: T) -> Resolved<T> {
    if value >= least && value <= most {
        return Ok(value);
    }
    Err(ConfigError::new(key, value.to_string(), format!("a number from {least} to {most}")))
}

/// For sizes with an upper bound that every machine with 64 bits can address.
fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Every leaf's value as JSON text under its dotted path; the free tables as one.
fn written(raw: &RawConfig) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let value = serde_json::to_value(raw).unwrap_or_default();
    flatten(&value, "", &mut all);
    all
}

fn flatten(value: &serde_json::Value, path: &str, into: &mut BTreeMap<String, String>) {
    match value.as_object() {
        Some(table) if path != "handlers" => {
            for (name, value) in table {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(value, &path, into);
            }
        }
        _ => {
            into.insert(path.to_owned(), value.to_string());
        }
    }
}
