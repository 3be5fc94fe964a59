//! Names to addresses, through the system's resolver, with a small memory. What the addresses are is not judged here.
//!
//! A lookup runs in a task of its own: the system's call cannot be cancelled, so it goes on, and counts, when whoever asked has given up. All who
//! ask for a name while it is being looked up share the answer.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};

use super::Tasks;
use crate::model::{Clock, Failure, FailureCode};

/// The system does not tell how long an answer is good. Long enough that a busy host costs nothing, short enough that a moved one is found.
const FOUND_FOR: Duration = Duration::from_secs(30);

/// A name that was not found may be there soon; this only spares the resolver the attempts of one moment.
const MISSING_FOR: Duration = Duration::from_secs(2);

/// Names remembered or being looked up. When full, the stale go first, then any other; if all are being looked up, one more is refused.
const NAMES_MAX: usize = 4096;

/// Lookups at a time, each of which holds a thread; the others wait their turn.
const LOOKUPS_MAX: usize = 32;

/// Addresses of one name that are looked at.
const ADDRESSES_MAX: usize = 16;

/// What a lookup gave: addresses, never none, or the resolver's words.
type Answer = Result<Arc<[IpAddr]>, Arc<str>>;

#[derive(Debug)]
enum Entry {
    Known { answer: Answer, until: Instant },
    Asked(watch::Receiver<Option<Answer>>),
}

#[derive(Debug, Clone)]
pub(super) struct Resolver(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    names: Mutex<HashMap<Box<str>, Entry>>,
    turns: Semaphore,
    tasks: Tasks,
    clock: Clock,
}

impl Resolver {
    pub(super) fn new(tasks: Tasks, clock: Clock) -> Self {
        Self(Arc::new(Shared { names: Mutex::default(), turns: Semaphore::new(LOOKUPS_MAX), tasks, clock }))
    }

    /// The addresses of a name, at least one.
    pub(super) async fn resolve(&self, name: &str) -> Result<Arc<[IpAddr]>, Failure> {
        let failed = |why: &str| Failure::new(FailureCode::Dns, format!("'{name}' could not be resolved: {why}"));
        let mut asked = match self.known_or_ask(name) {
            Ok(answer) => return answer.map_err(|why| failed(&why)),
            Err(Some(asked)) => asked,
            Err(None) => return Err(failed(&format!("{NAMES_MAX} other names are being looked up"))),
        };
        // The sender goes without an answer only when the host stops.
        let answer = asked.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
        answer.unwrap_or_else(|| Err("the host is stopping".into())).map_err(|why| failed(&why))
    }

    /// The fresh answer, or whom to wait for; nobody if there is no room.
    fn known_or_ask(&self, name: &str) -> Result<Answer, Option<watch::Receiver<Option<Answer>>>> {
        let now = self.0.clock.instant();
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        match names.get(name) {
            Some(Entry::Known { answer, until }) if *until > now => return Ok(answer.clone()),
            // One whose task ended without an answer is asked again.
            Some(Entry::Asked(asked)) if asked.has_changed().is_ok() => return Err(Some(asked.clone())),
            Some(Entry::Known { .. } | Entry::Asked(_)) | None => {}
        }
        if names.len() >= NAMES_MAX && !make_room(&mut names, now) {
            return Err(None);
        }
        let (answered, asked) = watch::channel(None);
        names.insert(name.into(), Entry::Asked(asked.clone()));
        drop(names);
        self.look_up(name.into(), answered);
        Err(Some(asked))
    }

    fn look_up(&self, name: Box<str>, answered: watch::Sender<Option<Answer>>) {
        let shared = Arc::clone(&self.0);
        self.0.tasks.spawn(async move {
            let Ok(_turn) = shared.turns.acquire().await else { return };
            let answer = ask_system(&name).await;
            shared.remember(name, answer.clone());
            answered.send_replace(Some(answer));
        });
    }

    /// As if the resolver had said so.
    #[cfg(test)]
    pub(super) fn teach(&self, name: &str, addresses: &[IpAddr]) {
        self.0.remember(name.into(), Ok(addresses.into()));
    }
}

impl Shared {
    fn remember(&self, name: Box<str>, answer: Answer) {
        let until = self.clock.instant() + if answer.is_ok() { FOUND_FOR } else { MISSING_FOR };
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Entry::Known { answer, until });
    }
}

async fn ask_system(name: &str) -> Answer {
    let found: io::Result<Vec<IpAddr>> =
        tokio::net::lookup_host((name, 0)).await.map(|found| found.map(|address| address.ip()).take(ADDRESSES_MAX).collect());
    match found {
        Ok(addresses) if addresses.is_empty() => Err("it has no address".into()),
        Ok(addresses) => Ok(addresses.into()),
        Err(error) => Err(error.to_string().into()),
    }
}

/// Forgets what is stale, or else one known name. False if all are being looked up.
fn make_room(names: &mut HashMap<Box<str>, Entry>, now: Instant) -> bool {
    names.retain(|_, entry| match entry {
        Entry::Known { until, .. } => *until > now,
        Entry::Asked(asked) => asked.has_changed().is_ok(),
    });
    if names.len() < NAMES_MAX {
        return true;
    }
    let known = names.iter().find(|(_, entry)| matches!(entry, Entry::Known { .. })).map(|(name, _)| name.clone());
    known.is_some_and(|name| names.remove(&name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver() -> Resolver {
        Resolver::new(Tasks::default(), Clock::default())
    }

    #[tokio::test]
    async fn answers_good_and_bad_are_remembered() {
        let resolver = resolver();
        let found = resolver.resolve("localhost").await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback));
        assert_eq!(resolver.known_or_ask("localhost").unwrap(), Ok(found));
        let failure = resolver.resolve("nobody.invalid").await.unwrap_err();
        assert_eq!(failure.code, FailureCode::Dns);
        assert!(resolver.known_or_ask("nobody.invalid").unwrap().is_err());
    }

    #[tokio::test]
    async fn stale_answer_is_asked_again_and_the_lookup_is_shared() {
        let resolver = resolver();
        let stale = Entry::Known { answer: Err("old".into()), until: resolver.0.clock.instant() };
        resolver.0.names.lock().unwrap().insert("localhost".into(), stale);
        let (first, second) = tokio::join!(resolver.resolve("localhost"), resolver.resolve("localhost"));
        assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()), "two lookups of one name");
    }

    #[tokio::test]
    async fn names_are_bounded() {
        let resolver = resolver();
        for name in 0..NAMES_MAX {
            resolver.teach(&format!("{name}.example"), &[IpAddr::from([192, 0, 2, 1])]);
        }
        resolver.resolve("localhost").await.unwrap();
        assert_eq!(resolver.0.names.lock().unwrap().len(), NAMES_MAX);
        let (_answered, asked) = watch::channel(None);
        resolver.0.names.lock().unwrap().values_mut().for_each(|entry| *entry = Entry::Asked(asked.clone()));
        let failure = resolver.resolve("one.more.example").await.unwrap_err();
        assert!(failure.detail.contains("4096 other names are being looked up"), "{}", failure.detail);
    }

    #[tokio::test]
    async fn lookup_goes_on_when_whoever_asked_has_given_up() {
        let resolver = resolver();
        assert!(resolver.known_or_ask("localhost").is_err(), "it is being looked up");
        assert!(resolver.resolve("localhost").await.is_ok());
        resolver.0.tasks.tracker.close();
        resolver.0.tasks.tracker.wait().await;
        assert!(matches!(resolver.0.names.lock().unwrap()["localhost"], Entry::Known { answer: Ok(_), .. }));
    }
}
