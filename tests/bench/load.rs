//! The generator, in a process of its own: a closed loop for the ceiling, an open loop for latencies.
//!
//! The open loop has a constant schedule that nothing slows down: latency counts from the intended send time, late requests are sent all the same
//! and counted. With `--bare` it is the bare client: the same body, straight to the sink.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::helper::{Latency, event, histogram, ids_in};
use crate::{now_ns, say};

/// A request of the open loop that starts so much after its time is late.
const LATE: Duration = Duration::from_millis(2);

/// Requests of the open loop in flight; at this bound the schedule still stands and what waits gets later.
const OPEN_IN_FLIGHT: usize = 4096;

/// A pause after a refusal, so that a full host is not made fuller.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Where to post.
    #[arg(long)]
    url: Uri,
    /// Straight to the sink, with ids of its own.
    #[arg(long)]
    bare: bool,
    /// Requests in flight of the closed loop.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Requests a second: the open loop.
    #[arg(long)]
    rate: Option<u64>,
    /// How long to send.
    #[arg(long)]
    seconds: f64,
    /// Stop after so many events.
    #[arg(long, default_value_t = u64::MAX)]
    events: u64,
    /// Events in one request.
    #[arg(long, default_value_t = 1)]
    batch: u64,
    /// Where to write the acknowledged ids.
    #[arg(long)]
    ids: Option<PathBuf>,
}

/// What a generator did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) started_ns: u64,
    pub(crate) seconds: f64,
    /// Events acknowledged.
    pub(crate) events: u64,
    pub(crate) refused: u64,
    pub(crate) errors: u64,
    pub(crate) late: u64,
    pub(crate) ack: Latency,
}

type Http = Client<HttpConnector, Full<Bytes>>;

struct Generator {
    client: Http,
    arguments: Arguments,
    /// Events handed out to be sent.
    taken: AtomicU64,
    bare_ids: AtomicU64,
}

/// What one task saw.
struct Seen {
    ack: Histogram<u64>,
    ids: HashSet<u128>,
    events: u64,
    refused: u64,
    errors: u64,
    late: u64,
}

impl Seen {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { ack: histogram()?, ids: HashSet::new(), events: 0, refused: 0, errors: 0, late: 0 })
    }

    fn add(&mut self, other: Self) -> anyhow::Result<()> {
        self.ack.add(other.ack)?;
        self.ids.extend(other.ids);
        self.events += other.events;
        self.refused += other.refused;
        self.errors += other.errors;
        self.late += other.late;
        Ok(())
    }
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(OPEN_IN_FLIGHT).build(connector);
    let ids = arguments.ids.clone();
    let generator = Arc::new(Generator { client, arguments, taken: AtomicU64::new(0), bare_ids: AtomicU64::new(0) });
    let (started_ns, started) = (now_ns(), Instant::now());
    let seen = match generator.arguments.rate {
        None => closed(&generator).await?,
        Some(rate) => open(&generator, rate).await?,
    };
    let sent = Sent {
        started_ns,
        seconds: started.elapsed().as_secs_f64(),
        events: seen.events,
        refused: seen.refused,
        errors: seen.errors,
        late: seen.late,
        ack: Latency::of(&seen.ack),
    };
    if let Some(path) = ids {
        let bytes: Vec<u8> = seen.ids.iter().flat_map(|id| id.to_be_bytes()).collect();
        std::fs::write(&path, bytes).with_context(|| path.display().to_string())?;
    }
    say(&serde_json::to_string(&sent)?);
    Ok(())
}

/// `concurrency` tasks, each with one request in flight.
async fn closed(generator: &Arc<Generator>) -> anyhow::Result<Seen> {
    let until = Instant::now() + Duration::from_secs_f64(generator.arguments.seconds);
    let mut tasks = JoinSet::new();
    for _ in 0..generator.arguments.concurrency {
        let generator = generator.clone();
        tasks.spawn(async move {
            let mut seen = Seen::new()?;
            while Instant::now() < until && generator.take() {
                if !generator.post(now_ns(), &mut seen).await {
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
            }
            anyhow::Ok(seen)
        });
    }
    collect(tasks).await
}

/// One request at each time of the schedule. A thread keeps the schedule: the runtime's timer knows milliseconds only.
async fn open(generator: &Arc<Generator>, rate: u64) -> anyhow::Result<Seen> {
    let (send, mut due) = mpsc::unbounded_channel();
    let (gap, seconds) = (Duration::from_secs_f64(1.0 / rate as f64), generator.arguments.seconds);
    // Bounded by the schedule's own length, rate times seconds.
    let slots = (seconds * rate as f64) as u32;
    std::thread::spawn(move || {
        let (start, start_ns) = (Instant::now(), now_ns());
        for slot in 0..slots {
            let offset = gap * slot;
            std::thread::sleep(offset.saturating_sub(start.elapsed()));
            if send.send((start + offset, start_ns + u64::try_from(offset.as_nanos()).unwrap_or(u64::MAX))).is_err() {
                return;
            }
        }
    });
    let in_flight = Arc::new(Semaphore::new(OPEN_IN_FLIGHT));
    let (mut tasks, mut all) = (JoinSet::new(), Seen::new()?);
    while let Some((intended, intended_ns)) = due.recv().await {
        if !generator.take() {
            break;
        }
        let permit = in_flight.clone().acquire_owned().await?;
        let generator = generator.clone();
        tasks.spawn(async move {
            let mut seen = Few { late: intended.elapsed() > LATE, ..Few::default() };
            generator.post_few(intended_ns, &mut seen).await;
            drop(permit);
            seen
        });
        while let Some(done) = tasks.try_join_next() {
            all.absorb(done?);
        }
    }
    while let Some(done) = tasks.join_next().await {
        all.absorb(done?);
    }
    Ok(all)
}

async fn collect(mut tasks: JoinSet<anyhow::Result<Seen>>) -> anyhow::Result<Seen> {
    let mut all = Seen::new()?;
    while let Some(seen) = tasks.join_next().await {
        all.add(seen??)?;
    }
    Ok(all)
}

/// What one request of the open loop saw: a histogram each would be a megabyte each.
#[derive(Debug, Default)]
struct Few {
    ack_us: u64,
    ids: Vec<u128>,
    events: u64,
    refused: bool,
    error: bool,
    late: bool,
}

impl Seen {
    fn absorb(&mut self, few: Few) {
        if few.events > 0 {
            self.ack.saturating_record(few.ack_us);
        }
        self.ids.extend(few.ids);
        self.events += few.events;
        self.refused += u64::from(few.refused);
        self.errors += u64::from(few.error);
        self.late += u64::from(few.late);
    }
}

impl Generator {
    /// False when all events were handed out.
    fn take(&self) -> bool {
        self.taken.fetch_add(self.arguments.batch, Ordering::Relaxed) < self.arguments.events
    }

    /// One request; false when it was not taken.
    async fn post(&self, intended_ns: u64, seen: &mut Seen) -> bool {
        let mut few = Few::default();
        self.post_few(intended_ns, &mut few).await;
        let taken = few.events > 0;
        seen.absorb(few);
        taken
    }

    async fn post_few(&self, intended_ns: u64, seen: &mut Few) {
        let Ok(request) = self.request(intended_ns) else {
            seen.error = true;
            return;
        };
        let answer = async {
            let (head, body) = self.client.request(request).await?.into_parts();
            anyhow::Ok((head.status, body.collect().await?.to_bytes()))
        };
        match answer.await {
            Ok((status, body)) if status.is_success() => {
                seen.ack_us = now_ns().saturating_sub(intended_ns) / 1000;
                seen.events = self.arguments.batch;
                if self.arguments.ids.is_some() {
                    seen.ids.extend(ids_in(&body));
                }
            }
            Ok(_) => seen.refused = true,
            Err(_) => seen.error = true,
        }
    }

    fn request(&self, intended_ns: u64) -> http::Result<Request<Full<Bytes>>> {
        let mut request = Request::post(self.arguments.url.clone()).header("content-type", "application/json");
        if self.arguments.bare {
            // So that the sink has the same to do.
            let id = self.bare_ids.fetch_add(1, Ordering::Relaxed);
            request = request.header("webhook-id", format!("evt_{intended_ns:016x}{id:016x}"));
        }
        request.body(Full::new(self.body(intended_ns)))
    }

    fn body(&self, intended_ns: u64) -> Bytes {
        let one = event(intended_ns);
        if self.arguments.batch == 1 {
            return one.into();
        }
        let count = usize::try_from(self.arguments.batch).unwrap_or(usize::MAX);
        let mut body = Vec::with_capacity(count * (one.len() + 1) + 1);
        for n in 0..count {
            body.push(if n == 0 { b'[' } else { b',' });
            body.extend_from_slice(&one);
        }
        body.push(b']');
        body.into()
    }
}
