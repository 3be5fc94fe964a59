//! The kill -9 story: producers that never stop, a host that is killed again and again, and a reconciliation of every single id.
//!
//! 3 kills by default; `TENTERHOOK_KILLS` says another number. A kill keeps the page cache, so this cannot show a missing fdatasync: the
//! store's power-loss test does that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use tenterhook_tests::wait::within;
use tenterhook_tests::{DEADLINE, Door, Host, Reply, Sink};
use tokio::sync::watch;

use crate::shared::{hook_to, id};

const PRODUCERS: usize = 8;

/// How long the rest may take to arrive after the last start.
const DRAIN_LIMIT: Duration = Duration::from_secs(300);

/// When nothing more has arrived for so long, what is missing is lost. Longer than the gap before a second attempt.
const STALLED: Duration = Duration::from_secs(30);

/// Examples of what went wrong that a failure shows.
const SHOWN: usize = 20;

/// What the producers share.
struct Story {
    /// The host's present events listener.
    door: watch::Receiver<Door>,
    /// Key to id, for every event that was answered 202.
    acknowledged: Mutex<HashMap<String, String>>,
    count: AtomicUsize,
    stop: AtomicBool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_no_acknowledged_event() {
    let kills: usize = std::env::var("TENTERHOOK_KILLS").map_or(3, |said| said.parse().expect("TENTERHOOK_KILLS is a number"));
    let (mut host, sink) = (Host::start().await, Sink::start().await);
    sink.on_each("/in", |_, nth| Reply::status(if nth % 50 == 0 { 503 } else { 200 }).after(Duration::from_millis(nth as u64 % 4)));
    hook_to(&host, &sink, "story", "/in").await;
    let (door, current) = watch::channel(host.events().clone());
    let story = Arc::new(Story { door: current, acknowledged: Mutex::default(), count: AtomicUsize::new(0), stop: AtomicBool::new(false) });
    let mut producers = tokio::task::JoinSet::new();
    for producer in 0..PRODUCERS {
        producers.spawn(produce(producer, story.clone()));
    }
    let mut dice = Dice::new();
    for _ in 0..kills {
        let until = story.count.load(Ordering::Relaxed) + dice.up_to(500);
        within(DEADLINE, "producers make progress", async || (story.count.load(Ordering::Relaxed) >= until).then_some(())).await;
        host.kill9();
        host.restart().await;
        door.send_replace(host.events().clone());
    }
    let until = story.count.load(Ordering::Relaxed) + 100;
    within(DEADLINE, "producers go on after the last kill", async || (story.count.load(Ordering::Relaxed) >= until).then_some(())).await;
    story.stop.store(true, Ordering::Relaxed);
    producers.join_all().await;
    // A 503 of the sink is tried again after a second; a second kill in between repeats more.
    reconcile(&story, &sink, kills, dice.seed).await;
}

/// Sends one event after the other, each until it is acknowledged.
async fn produce(producer: usize, story: Arc<Story>) {
    for n in 0.. {
        if story.stop.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("{producer}-{n}");
        let event = json!({ "source": "story", "event": "told", "data": { "key": key }, "key": key });
        let told = loop {
            let door = story.door.borrow().clone();
            match door.call(Method::POST, "/events").json(&event).try_send().await {
                Ok(answer) if answer.status == 202 => break id(&answer.json()["events"][0]),
                Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text()),
                // The host is being killed or started: the same event goes to the next one.
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        story.acknowledged.lock().expect("no holder panics").insert(key, told);
        story.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Every acknowledged id at the sink, every id at the sink acknowledged, one id for each key.
async fn reconcile(story: &Story, sink: &Sink, kills: usize, seed: u64) {
    let acknowledged = story.acknowledged.lock().expect("no holder panics").clone();
    let ids: BTreeSet<String> = acknowledged.values().cloned().collect();
    assert_eq!(ids.len(), acknowledged.len(), "one id for each key");
    let (started, mut moved, mut requests) = (Instant::now(), Instant::now(), 0);
    // A wait that looks at every request would look at all of them each time.
    let seen = loop {
        let seen = sink.unique_ids("/in");
        if ids.iter().all(|id| seen.contains(id)) || moved.elapsed() > STALLED || started.elapsed() > DRAIN_LIMIT {
            break seen;
        }
        if sink.all().len() != requests {
            (requests, moved) = (sink.all().len(), Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let lost: Vec<(&String, &String)> = acknowledged.iter().filter(|(_, id)| !seen.contains(*id)).collect();
    let some = &lost[..lost.len().min(SHOWN)];
    assert!(lost.is_empty(), "{} of {} acknowledged events were lost (seed {seed}), among them {some:?}", lost.len(), ids.len());
    let mut by_key: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let got = sink.at("/in");
    for one in &got {
        let key = one.json()["key"].as_str().expect("every event has its key").to_owned();
        by_key.entry(key).or_default().insert(one.id().to_owned());
    }
    let twice: Vec<_> = by_key.iter().filter(|(_, ids)| ids.len() > 1).take(SHOWN).collect();
    assert!(twice.is_empty(), "events accepted twice under one key (seed {seed}): {twice:?}");
    let untold: Vec<_> = seen.iter().filter(|id| !ids.contains(*id)).take(SHOWN).collect();
    assert!(untold.is_empty(), "ids that no producer was told (seed {seed}): {untold:?}");
    let refused = got.len() / 50;
    let repeated = got.len().saturating_sub(ids.len() + refused);
    report(&format!(
        "kill -9: {kills} kills, {} events acknowledged, 0 lost, {} requests at the sink ({refused} answered 503), {repeated} repeated (seed {seed})",
        ids.len(),
        got.len()
    ));
}

#[allow(clippy::print_stderr, reason = "the figures belong in the test's output")]
fn report(text: &str) {
    eprintln!("{text}");
}

/// Pseudo-random numbers, seeded by the time; the seed is printed.
struct Dice {
    seed: u64,
    state: u64,
}

impl Dice {
    fn new() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let seed = u64::try_from(since.as_nanos() % u128::from(u64::MAX)).expect("below") | 1;
        Self { seed, state: seed }
    }

    fn up_to(&mut self, most: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % most as u64).expect("below `most`")
    }
}
