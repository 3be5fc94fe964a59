//! Wiring, start and stop order: the only file that knows everybody.
//!
//! Start: listeners are bound first, so that a taken port fails before anything is touched; then egress, store, sandbox, pipeline, doors. Stop is
//! the same list backwards: the doors finish their requests, the attempts end, the store is synced and closed.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{self, Config};
use crate::egress::{self, Egress, Rules};
use crate::http::listen::{Door, Inherited, Listener};
use crate::http::transport::Transport;
use crate::http::{self, Figure, serve};
use crate::model::Clock;
use crate::pipeline::{self, Pipeline};
use crate::policy::admit::Unregistered;
use crate::sandbox::{self, Sandbox};
use crate::store;

include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

/// What a host asks of whoever runs it.
pub trait Outside {
    /// The configuration, read again (SIGHUP).
    fn reload(&self) -> Result<Config>;
    /// The settings took effect: the log level may be another.
    fn reloaded(&self, config: &Config);
    /// The host is ready; the one line that says where it listens.
    fn ready(&self, addresses: &serde_json::Value) -> Result<()>;
}

/// Runs a host until it is told to stop. `inherited` are sockets that came with the process.
pub async fn serve(config: Config, inherited: Inherited, outside: &impl Outside) -> Result<()> {
    let clock = Clock::default();
    let since = clock.instant();
    // Before anybody is told that the host is there: a signal that came earlier would end it unasked.
    let mut signals = Signals::new()?;
    let config = within_descriptors(config);
    let listeners = Listeners::bind(&config, inherited)?;
    let running = start(&config, &clock).await?;
    let doors = Doors::open(&config, listeners, running.pipeline(), &clock);
    tracing::info!(ms = (clock.instant() - since).as_millis() as u64, version = env!("CARGO_PKG_VERSION"), "host.ready");
    outside.ready(&doors.addresses)?;
    let mut config = config;
    while signals.next().await == Signal::Reload {
        config = reloaded(config, outside.reload(), running.pipeline(), &doors);
        outside.reloaded(&config);
    }
    tracing::info!("host.stopping: requests and attempts that run may finish");
    let drain = config.drain_limit;
    let stop_by = clock.instant() + drain;
    doors.close(drain).await;
    running.stop(stop_by.saturating_duration_since(clock.instant())).await;
    tracing::info!("host.stopped");
    Ok(())
}

/// Lets the process have as many file descriptors as it may. Where even that is less than the settings could use, connections are fewer: a client that is
/// told 503 comes back, a journal without descriptors stands still.
fn within_descriptors(mut config: Config) -> Config {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    /// Journal, caches, listeners, the runtime.
    const OURS: usize = 256;
    let limit = getrlimit(Resource::Nofile);
    // Refused, the limit stays what it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let most = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let listeners = 2 + usize::from(config.status.is_some());
    let wanted = OURS + listeners * config.http.max_connections + config.egress.in_flight + config.egress.idle_connections;
    if wanted > most {
        let left = most.saturating_sub(OURS).max(64);
        config.http.max_connections = config.http.max_connections.min(left / 2 / listeners).max(1);
        config.egress.in_flight = config.egress.in_flight.min(left / 4).max(1);
        config.egress.idle_connections = config.egress.idle_connections.min(left / 4);
        let (connections, in_flight) = (config.http.max_connections, config.egress.in_flight);
        tracing::warn!(
            descriptors = most,
            wanted,
            connections,
            in_flight,
            "fewer connections than the settings allow (http.max_connections, egress.in_flight): raise the limit of file descriptors (ulimit -n)"
        );
    }
    config
}

/// Everything behind the doors.
async fn start(config: &Config, clock: &Clock) -> Result<pipeline::Running> {
    let rules = Rules::of(&config.egress.deny, &config.egress.allow).map_err(anyhow::Error::msg)?;
    let egress = Egress::new(egress_limits(config), rules, config.egress.ca_file.as_deref(), clock.clone())?;
    let (dir, limits, store_clock) = (config.store.dir.clone(), store_limits(config), clock.clone());
    let opening = tokio::task::spawn_blocking(move || store::open(&dir, limits, store_clock, store::Seam::default()));
    let opened = opening.await?.with_context(|| format!("cannot open the data folder {}", config.store.dir.display()))?;
    for note in &opened.notes {
        tracing::warn!(note, "store.opened");
    }
    let cache = config.store.dir.join("cache");
    let sandbox = Sandbox::new(sandbox_limits(config), &cache, egress.clone(), clock.clone())?;
    let limits = pipeline::Limits {
        queued_bytes: config.events.queued_bytes,
        in_flight: config.delivery.max_in_flight,
        between_attempts: config.delivery.max_between_attempts,
        preparing: config.limits.compiles,
        snapshot_bytes: config.limits.snapshots_loaded_bytes,
        ..pipeline::Limits::default()
    };
    let parts = pipeline::Parts { opened, sandbox, egress, clock: clock.clone(), limits, settings: pipeline_settings(config) };
    Ok(Pipeline::start(parts, BUILT_IN)?.finish().await?)
}

/// A new configuration takes effect as far as it can; a wrong one changes nothing.
fn reloaded(old: Config, new: Result<Config>, pipeline: &Pipeline, doors: &Doors) -> Config {
    let new = match new {
        Ok(new) => new,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "host.reload refused: the old settings stay");
            return old;
        }
    };
    let restart = Config::restart_needed(&old, &new);
    pipeline.reload(pipeline_settings(&new));
    doors.reload(&new);
    if restart.is_empty() {
        tracing::info!("host.reloaded");
    } else {
        tracing::warn!(keys = restart.join(", "), "host.reloaded: these keys take effect after a restart");
    }
    new
}

/// The sockets, in the order of the doors.
struct Listeners {
    events: (Listener, Transport),
    admin: (Listener, Transport),
    status: Option<Listener>,
}

impl Listeners {
    fn bind(config: &Config, mut inherited: Inherited) -> Result<Self> {
        let transport = |tls: &Option<config::TlsFiles>| match tls {
            Some(files) => Transport::tls(&files.cert_file, &files.key_file),
            None => Ok(Transport::plain()),
        };
        let events = Listener::open(Door::Events, config.events.listen, &mut inherited)?;
        let admin = Listener::open(Door::Admin, config.admin.listen, &mut inherited)?;
        let status = config.status.map(|address| Listener::open(Door::Status, address, &mut inherited)).transpose()?;
        // The addresses in the settings were checked when these were read; an inherited socket may be bound to another.
        let doors = [("events.listen", &events, config.events_need_token()), ("admin.listen", &admin, config.admin_needs_token())];
        for (key, listener, has_tokens) in doors {
            for address in listener.addresses() {
                config::loopback_only(key, address, has_tokens, config.auth.no_auth)?;
            }
        }
        Ok(Self { events: (events, transport(&config.events.tls)?), admin: (admin, transport(&config.admin.tls)?), status })
    }
}

/// The open doors.
struct Doors {
    state: http::State,
    transports: Vec<Transport>,
    /// The one line on standard output.
    addresses: serde_json::Value,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Doors {
    fn open(config: &Config, listeners: Listeners, pipeline: &Pipeline, clock: &Clock) -> Self {
        let state = http::State::new(pipeline.clone(), http_settings(config), clock.clone(), figures(pipeline));
        let (shutdown, tasks) = (CancellationToken::new(), TaskTracker::new());
        let limits = serve::Limits {
            max_connections: config.http.max_connections,
            header_timeout: config.http.header_timeout,
            handshake_timeout: config.http.handshake_timeout,
            max_header: config.http.max_header,
        };
        let first = |listener: &Listener| listener.addresses().first().map(ToString::to_string);
        let Listeners { events, admin, status } = listeners;
        let addresses = json!({
            "ready": true,
            "events": first(&events.0),
            "admin": first(&admin.0),
            "status": status.as_ref().and_then(first),
            "pid": std::process::id(),
        });
        let transports = vec![events.1.clone(), admin.1.clone()];
        let status = status.map(|listener| ((listener, Transport::plain()), http::status_router(&state)));
        let doors = [(events, http::events_router(&state)), (admin, http::admin_router(&state))].into_iter().chain(status);
        for ((listener, transport), router) in doors {
            let (shutdown, connections) = (shutdown.clone(), tasks.clone());
            tasks.spawn(async move { serve::serve(listener, transport, router, limits, shutdown, &connections).await });
        }
        Self { state, transports, addresses, shutdown, tasks }
    }

    fn reload(&self, config: &Config) {
        self.state.reload(http_settings(config));
        for transport in &self.transports {
            if let Err(error) = transport.reload() {
                tracing::error!(%error, "a certificate cannot be read again: the old one stays");
            }
        }
    }

    async fn close(self, limit: Duration) {
        self.shutdown.cancel();
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!(open = self.tasks.len(), "connections are cut after the drain limit (setting shutdown.drain)");
        }
    }
}

#[derive(PartialEq, Eq)]
enum Signal {
    Reload,
    Stop,
}

struct Signals {
    hangup: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
        }
    }
}

/// The figures of modules that the doors do not know.
fn figures(pipeline: &Pipeline) -> Vec<http::FigureSource> {
    let (sandbox, egress, pipeline) = (pipeline.sandbox().clone(), pipeline.egress().clone(), pipeline.clone());
    let of_sandbox = move || {
        let now = sandbox.metrics();
        vec![
            Figure::counter("components_compiled", "Components compiled", now.compiled),
            Figure::counter("code_cache_hits", "Components loaded from the code cache", now.cache_hits),
            Figure::counter("code_cache_misses", "Components that were not in the code cache, or not sound", now.cache_misses),
            Figure::counter("instances_fresh", "Attempts that got a fresh instance", now.fresh),
            Figure::counter("instances_reused", "Attempts that got a used instance", now.reused),
            Figure::counter("instances_prepared", "Attempts that got a fresh instance of a snapshot", now.prepared),
            Figure::gauge("instances_living", "Instances now, those kept for reuse included", now.living as f64),
            Figure::gauge("guests_running", "Guests running now", now.running as f64),
        ]
    };
    let of_snapshots = move || {
        let (cache, now) = (pipeline.sandbox().metrics(), pipeline.snapshots());
        vec![
            Figure::counter("snapshot_hits", "Snapshots loaded from the code cache", cache.snapshot_hits),
            Figure::counter("snapshot_misses", "Snapshots that were not in the code cache, or not sound", cache.snapshot_misses),
            Figure::counter("snapshot_failures", "Snapshots that could not be made: their hooks work without", now.failed),
            Figure::gauge("snapshots", "Snapshots in memory", now.loaded as f64),
            Figure::gauge("snapshot_bytes", "Bytes of the snapshots in memory", now.loaded_bytes as f64),
        ]
    };
    let of_egress = move || {
        let now = egress.metrics();
        vec![
            Figure::counter("egress_requests", "Outbound requests asked for", now.requests),
            Figure::counter("egress_refused", "Outbound requests refused before any socket", now.refused),
            Figure::counter("egress_failed", "Outbound requests that failed otherwise", now.failed),
            Figure::counter("egress_connections_opened", "Outbound connections opened", now.opened),
            Figure::counter("egress_connections_reused", "Outbound requests sent over a kept connection", now.reused),
            Figure::gauge("egress_in_flight", "Outbound requests in flight", now.in_flight as f64),
        ]
    };
    vec![Box::new(of_sandbox), Box::new(of_snapshots), Box::new(of_egress)]
}

fn egress_limits(config: &Config) -> egress::Limits {
    let (egress, limits) = (&config.egress, &config.limits);
    egress::Limits {
        response_bytes: size(limits.http_response_bytes),
        response_header_bytes: egress.response_header_bytes,
        request_bytes: limits.http_request_bytes,
        url_bytes: limits.http_url_bytes,
        header_bytes: limits.http_header_bytes,
        in_flight: egress.in_flight,
        connect_timeout: egress.connect_timeout,
        total_timeout: egress.total_timeout,
        idle: egress.idle_timeout,
        idle_per_destination: egress.idle_per_destination,
        idle_total: egress.idle_connections,
    }
}

fn store_limits(config: &Config) -> store::Limits {
    let store = &config.store;
    store::Limits {
        retention: store.retention_age,
        retention_bytes: store.retention_bytes,
        segment_bytes: store.segment_bytes,
        segment_age: store.segment_age,
        cache_bytes: size(store.event_cache_bytes),
        keys_age: store.keys_window,
        keys_max: store.keys_max,
        dead_letters_age: store.dead_letter_age,
        dead_letters_bytes: store.dead_letter_bytes,
        disk_floor: store.free_floor_bytes,
        disk_max: store.max_bytes,
        queued_max: config.delivery.max_owed,
        throttle_max: store.throttle_max,
        #[cfg(feature = "bench")]
        no_journal: bench_switch("NO_JOURNAL"),
        ..store::Limits::default()
    }
}

fn sandbox_limits(config: &Config) -> sandbox::Limits {
    let limits = &config.limits;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    sandbox::Limits {
        wall: limits.wall,
        fuel: limits.fuel,
        memory_bytes: limits.memory_bytes,
        table_elements: limits.table_elements,
        hostcall_bytes: limits.hostcall_bytes,
        handles: limits.handles,
        log_bytes: limits.log_bytes,
        http_requests: limits.http_requests,
        http_response_bytes: limits.http_response_bytes,
        answer_bytes: limits.answer_bytes,
        component_bytes: limits.component_bytes,
        compiles: limits.compiles,
        instances: limits.instances,
        slots: limits.slots.unwrap_or(cores),
        cache_bytes: limits.cache_bytes,
        snapshot_component_bytes: limits.snapshot_component_bytes,
        snapshot_bytes: limits.snapshot_bytes,
        ..sandbox::Limits::default()
    }
}

fn pipeline_settings(config: &Config) -> pipeline::Settings {
    let (delivery, limits) = (&config.delivery, &config.limits);
    pipeline::Settings {
        unregistered: match config.events.unregistered {
            config::Unregistered::Register => Unregistered::Register,
            config::Unregistered::Refuse => Unregistered::Refuse,
        },
        profile: delivery.profile,
        schedule: delivery.schedule.clone(),
        timeout: delivery.timeout,
        concurrency: delivery.concurrency,
        max_queued: delivery.max_queued,
        max_wait: delivery.max_wait,
        signature: delivery.signature.as_str().to_owned(),
        ping_includes_secret: delivery.ping_includes_secret,
        handlers: config.handlers.clone(),
        caps: pipeline::RunCaps {
            fuel: limits.fuel,
            memory_bytes: limits.memory_bytes,
            log_bytes: limits.log_bytes,
            http_requests: limits.http_requests,
        },
        #[cfg(feature = "bench")]
        native_handler: bench_switch("NATIVE_HANDLER"),
    }
}

fn http_settings(config: &Config) -> http::Settings {
    let tokens = |tokens: &[config::EventsToken]| {
        let token = |token: &config::EventsToken| http::EventsToken { hash: token.hash.0, sources: token.sources.clone() };
        tokens.iter().map(token).collect()
    };
    http::Settings {
        max_body: size(config.events.max_body),
        max_event: size(config.events.max_event),
        max_batch: config.events.max_batch,
        arriving_bytes: config.events.arriving_bytes,
        component_bytes: size(config.limits.component_bytes),
        body_wait: config.http.body_timeout,
        cors_origins: config.admin.cors_origins.clone(),
        auth: http::Auth {
            admin: config.auth.admin_tokens.iter().map(|hash| hash.0).collect(),
            events: tokens(&config.auth.events_tokens),
            no_auth: config.auth.no_auth,
        },
    }
}

/// Switches of the benchmark come from the environment, because they are no settings.
#[cfg(feature = "bench")]
fn bench_switch(name: &str) -> bool {
    std::env::var_os(format!("TENTERHOOK_BENCH_{name}")).is_some()
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
