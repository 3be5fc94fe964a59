//! `tenterhook demo`: a host, a sink, a hook and an event; then a burst with SIGKILL in the middle, and every acknowledged event arrives all the
//! same. The host is the real one in a process of its own, and every figure is measured.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use axum::extract::State;
use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use http::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::egress::{self, Egress, Grants, Rules};
use crate::model::{Clock, GuestRequest, HeaderValue, RequestOptions};

const SECRET: &str = "hunter2";
/// How long anything in the demo may take before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the demo. Fails if anything that it shows does not hold.
pub async fn run(out: &mut Output) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("tenterhook-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let result = story(out, &folder).await;
    // What is left in the temporary folder is of no use to anybody.
    let _ = std::fs::remove_dir_all(&folder);
    result
}

async fn story(out: &mut Output, folder: &Path) -> Result<()> {
    let client = Client::new()?;
    out.title("1  a host on an empty folder");
    let host = Host::start(folder, &client.clock).await?;
    out.fact("ready after", &format!("{:.0} ms, handlers compiled and cached", host.ready_ms));
    out.fact("events, admin", &format!("http://{}  http://{}", host.events, host.admin));

    out.title("2  hooks through the Admin API");
    let sink = Sink::start().await?;
    let config = json!({ "url": sink.url, "secret": SECRET });
    let hook = client.create(&host, json!({ "source": "crud", "event": "consumers", "handler": "webhook", "config": config })).await?;
    out.fact("webhook", hook["id"].as_str().unwrap_or_default());
    let logged = client.create(&host, json!({ "source": "crud", "event": "consumers", "handler": "log" })).await?;
    out.fact("log", logged["id"].as_str().unwrap_or_default());
    let ping = sink.wait(|seen| seen.first().cloned()).await.context("no ping arrived at the sink")?;
    out.fact("the sink got", &format!("a ping: {}", shorten(&ping.body)));

    out.title("3  an event over HTTP");
    one_event(out, &client, &host, &sink, &hook).await?;

    out.title("4  SIGKILL in the middle of a burst");
    let (host, acknowledged) = burst(out, &client, host, &sink, folder).await?;

    out.title("5  nothing acknowledged is lost");
    let arrived = sink
        .wait(|seen| {
            let ids: HashSet<&str> = seen.iter().map(|request| request.id.as_str()).collect();
            acknowledged.iter().all(|id| ids.contains(id.as_str())).then_some(())
        })
        .await;
    let counts = sink.counts();
    let missing = acknowledged.iter().filter(|id| !counts.contains_key(*id)).count();
    ensure!(arrived.is_some() && missing == 0, "{missing} acknowledged events did not arrive");
    let twice = counts.values().filter(|count| **count > 1).count();
    out.good(&format!("{} acknowledged, {} arrived, 0 lost, {twice} arrived more than once", acknowledged.len(), acknowledged.len()));
    host.stop().await
}

async fn one_event(out: &mut Output, client: &Client, host: &Host, sink: &Sink, hook: &Value) -> Result<()> {
    let data = json!({ "operation": "create", "schema": "consumers", "entity": { "id": "ea87c99f-36f1-41c9-8543-7b13ee2b5dfe",
        "username": "my-consumer", "username_lower": "my-consumer", "type": 0, "created_at": 1_734_547_295, "updated_at": 1_734_547_295 } });
    let since = client.clock.instant();
    let event = json!({ "source": "crud", "event": "consumers", "data": data });
    let (status, answer) = client.call("POST", &format!("http://{}/events", host.events), Some(&event)).await?;
    let ack = client.clock.instant() - since;
    ensure!(status == 202, "the event was answered {status}: {answer}");
    let id = answer["events"][0]["id"].as_str().unwrap_or_default().to_owned();
    out.fact("202 after", &format!("{:.2} ms: on disk, queued for {} hooks", millis(ack), answer["events"][0]["deliveries"]));
    let got = sink.wait(|seen| seen.iter().find(|request| request.id == id).cloned()).await.context("the event did not arrive")?;
    out.fact("the sink got", &shorten(&got.body));
    ensure!(got.signature == sign(&got.body), "the signature is wrong: {}", got.signature);
    out.good(&format!("X-Kong-Signature {}… is right", &got.signature[..23.min(got.signature.len())]));
    let url = format!("http://{}/event-hooks/{}/deliveries", host.admin, hook["id"].as_str().unwrap_or_default());
    let delivery = client.until(&url, |page| {
        let all = page["data"].as_array()?;
        all.iter().find(|delivery| delivery["event_id"] == id.as_str() && delivery["state"] == "delivered").cloned()
    });
    let delivery = delivery.await.context("the delivery is not listed as delivered")?;
    let attempt = &delivery["attempts"][0];
    let sandbox = format!(
        "instance {} µs, guest {} µs, fuel {}, peak memory {} KiB",
        attempt["instantiate_us"],
        attempt["run_us"],
        attempt["fuel"],
        attempt["memory_bytes"].as_u64().unwrap_or_default() / 1024
    );
    out.fact("the sandbox", &sandbox);
    out.fact("the destination", &format!("answered {}; whole attempt {} ms", attempt["status"], attempt["duration_ms"]));
    let metrics = client.text(&format!("http://{}/metrics", host.admin)).await?;
    let metric = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    if let (Some(seconds), Some(count)) = (metric("tenterhook_fsync_seconds_total "), metric("tenterhook_fsyncs_total ")) {
        out.fact("the disk", &format!("fdatasync {:.2} ms on average of {count}", seconds / count.max(1.0) * 1000.0));
    }
    Ok(())
}

async fn burst(out: &mut Output, client: &Client, host: Host, sink: &Sink, folder: &Path) -> Result<(Host, Vec<String>)> {
    const PRODUCERS: usize = 8;
    const KILL_AFTER: usize = 1500;
    sink.desk.slow.store(true, Ordering::Relaxed);
    let acknowledged = Arc::new(Mutex::new(Vec::<String>::new()));
    let (count, mut counted) = watch::channel(0_usize);
    let count = Arc::new(count);
    let mut producers = tokio::task::JoinSet::new();
    for producer in 0..PRODUCERS {
        let (client, url) = (client.clone(), format!("http://{}/events", host.events));
        let (acknowledged, count) = (acknowledged.clone(), count.clone());
        producers.spawn(async move {
            // Each goes on until the host is gone.
            for n in 0.. {
                let event = json!({ "source": "crud", "event": "consumers", "data": { "producer": producer, "n": n } });
                let Ok((202, answer)) = client.call("POST", &url, Some(&event)).await else { break };
                let id = answer["events"][0]["id"].as_str().unwrap_or_default().to_owned();
                acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                count.send_modify(|count| *count += 1);
            }
        });
    }
    let enough = counted.wait_for(|count| *count >= KILL_AFTER);
    tokio::time::timeout(PATIENCE, enough).await.context("the burst took too long")??;
    host.kill().await?;
    while producers.join_next().await.is_some() {}
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap_or_else(PoisonError::into_inner));
    let arrived = sink.counts();
    let before = acknowledged.iter().filter(|id| arrived.contains_key(*id)).count();
    out.fact("killed", &format!("{PRODUCERS} producers, {} events acknowledged, {before} of them delivered so far", acknowledged.len()));
    sink.desk.slow.store(false, Ordering::Relaxed);
    let host = Host::start(folder, &client.clock).await?;
    out.fact("ready again after", &format!("{:.0} ms, journal read", host.ready_ms));
    Ok((host, acknowledged))
}

/// The host's process. Killed when dropped.
struct Host {
    child: Child,
    events: String,
    admin: String,
    ready_ms: f64,
}

impl Host {
    async fn start(folder: &Path, clock: &Clock) -> Result<Self> {
        let since = clock.instant();
        let log = std::fs::File::options().create(true).append(true).open(folder.join("host.log"))?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", "--events-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data"])
            .arg(folder.join("data"))
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the host")?;
        let stdout = child.stdout.take().context("the host has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.context("the host did not get ready")??;
        let Some(line) = line else { bail!("the host ended:\n{}", std::fs::read_to_string(folder.join("host.log"))?) };
        let ready: Value = serde_json::from_str(&line).context("the host's first line is not JSON")?;
        let address = |name: &str| ready[name].as_str().map(ToOwned::to_owned).with_context(|| format!("no {name} address in {ready}"));
        Ok(Self { events: address("events")?, admin: address("admin")?, ready_ms: millis(clock.instant() - since), child })
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("cannot kill the host")
    }

    /// SIGTERM, and wait.
    async fn stop(mut self) -> Result<()> {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.context("the host is gone")?, rustix::process::Signal::TERM)?;
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.context("the host did not stop")??;
        ensure!(status.success(), "the host ended with {status}");
        Ok(())
    }
}

#[derive(Clone)]
struct Client {
    egress: Egress,
    clock: Clock,
}

impl Client {
    fn new() -> Result<Self> {
        let clock = Clock::default();
        let egress = Egress::new(egress::Limits::default(), Rules::default(), None, clock.clone())?;
        Ok(Self { egress, clock })
    }

    async fn bytes(&self, method: &str, url: &str, body: Option<Bytes>) -> Result<(u16, Bytes)> {
        let request = GuestRequest {
            method: method.into(),
            url: url.into(),
            headers: vec![("content-type".into(), HeaderValue::Text(b"application/json".to_vec()))],
            body,
            options: RequestOptions { verify_tls: true, connect_timeout: None, total_timeout: None },
        };
        let response = self.egress.send(request, &Grants::any(), PATIENCE).await?;
        Ok((response.status, response.body))
    }

    async fn call(&self, method: &str, url: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let (status, answer) = self.bytes(method, url, body.map(|body| Bytes::from(body.to_string()))).await?;
        Ok((status, serde_json::from_slice(&answer).unwrap_or_default()))
    }

    async fn text(&self, url: &str) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes("GET", url, None).await?.1).into_owned())
    }

    async fn create(&self, host: &Host, hook: Value) -> Result<Value> {
        let (status, answer) = self.call("POST", &format!("http://{}/event-hooks", host.admin), Some(&hook)).await?;
        ensure!(status == 201, "the hook was answered {status}: {answer}");
        Ok(answer)
    }

    /// Asks again until `found` gives something, a bounded number of times.
    async fn until(&self, url: &str, found: impl Fn(&Value) -> Option<Value>) -> Option<Value> {
        const PAUSE: Duration = Duration::from_millis(20);
        for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
            if let Some(value) = self.call("GET", url, None).await.ok().and_then(|(_, page)| found(&page)) {
                return Some(value);
            }
            tokio::time::sleep(PAUSE).await;
        }
        None
    }
}

/// What the sink keeps of a request.
#[derive(Clone)]
struct Seen {
    id: String,
    signature: String,
    body: Bytes,
}

/// What the sink's handler shares with the story.
#[derive(Clone)]
struct Desk {
    seen: watch::Sender<Vec<Seen>>,
    /// Answers take their time, so that something is left to deliver when the host is killed.
    slow: Arc<AtomicBool>,
}

/// A destination that answers 200 and remembers.
struct Sink {
    url: String,
    desk: Desk,
    _server: tokio::task::JoinSet<()>,
}

impl Sink {
    async fn start() -> Result<Self> {
        let desk = Desk { seen: watch::Sender::new(Vec::new()), slow: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let router = axum::Router::new().fallback(receive).with_state(desk.clone());
        let mut server = tokio::task::JoinSet::new();
        server.spawn(async move {
            // It serves until the demo ends.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, desk, _server: server })
    }

    /// Waits until `found` gives something; none when patience is over.
    async fn wait<T>(&self, found: impl Fn(&[Seen]) -> Option<T>) -> Option<T> {
        let mut changes = self.desk.seen.subscribe();
        let waiting = async {
            loop {
                if let Some(value) = found(&changes.borrow_and_update()) {
                    return value;
                }
                // The sender lives as long as the sink.
                let _ = changes.changed().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.ok()
    }

    fn counts(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        self.desk.seen.borrow().iter().for_each(|request| *counts.entry(request.id.clone()).or_default() += 1);
        counts
    }
}

async fn receive(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> &'static str {
    if desk.slow.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    desk.seen.send_modify(|seen| seen.push(Seen { id: header("webhook-id"), signature: header("x-kong-signature"), body }));
    "ok"
}

fn sign(body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()) else { return String::new() };
    mac.update(body);
    mac.finalize().into_bytes().iter().fold("sha256=".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn shorten(body: &[u8]) -> String {
    const SHOWN: usize = 96;
    let text = String::from_utf8_lossy(body);
    if text.chars().count() <= SHOWN { text.into_owned() } else { text.chars().take(SHOWN).collect::<String>() + "…" }
}

/// Where the demo prints, with or without colours.
pub struct Output {
    to: Box<dyn std::io::Write + Send>,
    colours: bool,
}

impl Output {
    /// Standard output; coloured on a terminal, unless NO_COLOR is set.
    pub fn stdout() -> Self {
        use std::io::IsTerminal as _;
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { to: Box::new(std::io::stdout()), colours }
    }

    fn line(&mut self, colour: &str, text: &str, rest: &str) {
        let (on, off) = if self.colours { (colour, "\x1b[0m") } else { ("", "") };
        // Whoever closed our output does not want to read on.
        let _ = writeln!(self.to, "{on}{text}{off}{rest}");
    }

    fn title(&mut self, text: &str) {
        self.line("", "", "");
        self.line("\x1b[1;36m", text, "");
    }

    fn fact(&mut self, name: &str, value: &str) {
        self.line("\x1b[2m", &format!("   {name:<18}"), value);
    }

    fn good(&mut self, text: &str) {
        self.line("\x1b[1;32m", &format!("   ✓ {text}"), "");
    }
}
