//! What follows from an attempt: the table of verdicts for both delivery profiles.

use std::time::Duration;

use crate::model::{Failure, FailureCode, HookState, PausedByHost, Profile, Timestamp};

/// Attempts after which a crashing handler is given up: the first one and three more.
pub const CRASHES_MAX: u32 = 4;

/// Quarantines in a row that pause a hook.
pub const QUARANTINES_MAX: u32 = 5;

/// A Retry-After is believed up to here.
pub const HOLD_MAX: Duration = Duration::from_secs(10 * 3600);

/// The default schedule of profile `durable`: the gaps between attempts, about three days in all.
pub const DURABLE: [Duration; 11] = {
    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }
    const HOUR: u64 = 3600;
    [
        secs(1),
        secs(5),
        secs(30),
        secs(120),
        secs(600),
        secs(HOUR),
        secs(4 * HOUR),
        secs(10 * HOUR),
        secs(14 * HOUR),
        secs(20 * HOUR),
        secs(24 * HOUR),
    ]
};

/// What is known about the delivery and its hook when an attempt has ended.
#[derive(Debug, Clone, Copy)]
pub struct Attempted<'a> {
    /// Attempts before this one.
    pub spent: u32,
    /// Crashes of the handler before this one.
    pub crashes: u32,
    /// When the first attempt started.
    pub first_tried: Timestamp,
    /// When this one ended.
    pub now: Timestamp,
    /// 0 to 1, random: jitter only adds.
    pub jitter: f64,
    /// Whose semantics.
    pub profile: Profile,
    /// The gaps between attempts in profile `durable`.
    pub schedule: &'a [Duration],
}

/// How the attempt ended, as far as the verdict needs it.
#[derive(Debug, Clone, Copy)]
pub enum Ended<'a> {
    /// The handler said `done`.
    Done,
    /// The destination of a `send` answered.
    Answered {
        /// Its status.
        status: u16,
        /// `Retry-After`, already read.
        retry_after: Option<Duration>,
        /// The response header `webhook-delivery`.
        control: Option<&'a str>,
    },
    /// No answer, or none from the handler.
    Failed(&'a Failure),
}

/// What happens to the delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Delivered,
    /// Another attempt, not before `due`.
    RetryAt {
        /// Wall time.
        due: Timestamp,
        /// Attempts spent so far; a hold spends none.
        spent: u32,
        /// Crashes so far.
        crashes: u32,
    },
    /// A dead letter: refused, or out of tries.
    Exhausted(String),
    /// A dead letter: the handler crashed too often.
    Quarantined(String),
}

/// The verdict and what it means for the hook as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// For the delivery.
    pub verdict: Verdict,
    /// The hook's state, if it changed.
    pub hook: Option<HookState>,
}

/// Judges an attempt.
pub fn judge(attempted: &Attempted<'_>, ended: Ended<'_>, hook: &HookState) -> Judgement {
    match attempted.profile {
        Profile::Durable => durable(attempted, ended, hook),
        Profile::Kong => kong(attempted, ended, hook),
    }
}

fn durable(attempted: &Attempted<'_>, ended: Ended<'_>, hook: &HookState) -> Judgement {
    match ended {
        Ended::Answered { control: Some("disable"), .. } => {
            pause(attempted, hook, "the destination answered with the header webhook-delivery: disable".into())
        }
        Ended::Answered { control: Some("abort-message"), status, .. } => {
            dead(hook, format!("the destination answered {status} with the header webhook-delivery: abort-message"))
        }
        Ended::Done | Ended::Answered { status: 200..=299, .. } => delivered(hook),
        Ended::Answered { status: 410, .. } => pause(attempted, hook, "the destination answered 410 Gone".into()),
        Ended::Answered { status: 429 | 503, retry_after: Some(hint), .. } => hold(attempted, hook, hint.min(HOLD_MAX)),
        Ended::Answered { status, .. } => on_schedule(attempted, hook, None, &format!("the destination answered {status}")),
        Ended::Failed(failure) => failed(attempted, hook, failure),
    }
}

fn failed(attempted: &Attempted<'_>, hook: &HookState, failure: &Failure) -> Judgement {
    let reason = format!("{}: {}", failure.code.as_str(), failure.detail);
    match failure.code {
        FailureCode::PauseHook => pause(attempted, hook, failure.detail.clone()),
        code if code.is_handler_crash() => crashed(attempted, hook, &reason),
        code if !code.retryable() => dead(hook, reason),
        _ => on_schedule(attempted, hook, failure.after, &reason),
    }
}

fn on_schedule(attempted: &Attempted<'_>, hook: &HookState, after: Option<Duration>, reason: &str) -> Judgement {
    let spent = attempted.spent + 1;
    let Some(gap) = attempted.schedule.get(attempted.spent as usize) else {
        return dead(hook, format!("out of tries after {spent} attempts; the last one: {reason}"));
    };
    let gap = gap.mul_f64(1.0 + 0.2 * attempted.jitter.clamp(0.0, 1.0)).max(after.unwrap_or_default());
    let verdict = Verdict::RetryAt { due: attempted.now.plus(gap), spent, crashes: attempted.crashes };
    Judgement { verdict, hook: None }
}

fn crashed(attempted: &Attempted<'_>, hook: &HookState, reason: &str) -> Judgement {
    let crashes = attempted.crashes + 1;
    if crashes >= CRASHES_MAX {
        return quarantined(attempted, hook, format!("the handler crashed in {crashes} attempts; the last one: {reason}"));
    }
    let mut judgement = on_schedule(attempted, hook, None, reason);
    if let Verdict::RetryAt { crashes: kept, .. } = &mut judgement.verdict {
        *kept = crashes;
    }
    judgement
}

fn quarantined(attempted: &Attempted<'_>, hook: &HookState, reason: String) -> Judgement {
    let quarantines = hook.quarantines + 1;
    let mut state = HookState { quarantines, ..hook.clone() };
    if quarantines >= QUARANTINES_MAX {
        state.paused_by_host = Some(PausedByHost { at: attempted.now, reason: format!("{quarantines} quarantines in a row; the last one: {reason}") });
        state.quarantines = 0;
    }
    Judgement { verdict: Verdict::Quarantined(reason), hook: Some(state) }
}

/// The delivery stays owed and is due at once, so that it is the first one when the hook is resumed.
fn pause(attempted: &Attempted<'_>, hook: &HookState, reason: String) -> Judgement {
    let verdict = Verdict::RetryAt { due: attempted.now, spent: attempted.spent + 1, crashes: attempted.crashes };
    let state = HookState { paused_by_host: Some(PausedByHost { at: attempted.now, reason }), ..hook.clone() };
    Judgement { verdict, hook: Some(state) }
}

/// All deliveries of the hook wait, and none has spent an attempt. A gate that is already later stays.
fn hold(attempted: &Attempted<'_>, hook: &HookState, hint: Duration) -> Judgement {
    let due = attempted.now.plus(hint).max(hook.not_before.unwrap_or_default());
    let verdict = Verdict::RetryAt { due, spent: attempted.spent, crashes: attempted.crashes };
    Judgement { verdict, hook: Some(HookState { not_before: Some(due), ..hook.clone() }) }
}

fn delivered(hook: &HookState) -> Judgement {
    let state = (hook.quarantines > 0).then(|| HookState { quarantines: 0, ..hook.clone() });
    Judgement { verdict: Verdict::Delivered, hook: state }
}

fn dead(hook: &HookState, reason: String) -> Judgement {
    let state = (hook.quarantines > 0).then(|| HookState { quarantines: 0, ..hook.clone() });
    Judgement { verdict: Verdict::Exhausted(reason), hook: state }
}

/// Profile `kong`: any HTTP answer is delivered; the first retry after 10 ms, doubling, at most a minute apart, given up once more than a
/// minute has passed at a failure.
fn kong(attempted: &Attempted<'_>, ended: Ended<'_>, hook: &HookState) -> Judgement {
    const FIRST: Duration = Duration::from_millis(10);
    const GAP_MAX: Duration = Duration::from_secs(60);
    const GIVE_UP: Duration = Duration::from_secs(60);
    let failure = match ended {
        Ended::Done | Ended::Answered { .. } => return delivered(hook),
        Ended::Failed(failure) => failure,
    };
    if attempted.now.since(attempted.first_tried) > GIVE_UP {
        return dead(hook, "could not send entries due to max_retry_time exceeded. 1 queue entries were lost".into());
    }
    let gap = FIRST.saturating_mul(1 << attempted.spent.min(16)).min(GAP_MAX);
    let crashes = attempted.crashes + u32::from(failure.code.is_handler_crash());
    let verdict = Verdict::RetryAt { due: attempted.now.plus(gap), spent: attempted.spent + 1, crashes };
    Judgement { verdict, hook: None }
}

/// Reads `Retry-After` (RFC 9110 section 10.2.3): whole seconds, or an HTTP date; a past date is zero; anything else is none.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let date = httpdate::parse_http_date(value).ok()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let date = Timestamp(i64::try_from(date.as_millis()).ok()?);
    Some(date.since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn attempted(profile: Profile, spent: u32) -> Attempted<'static> {
        Attempted { spent, crashes: 0, first_tried: NOW, now: NOW, jitter: 0.0, profile, schedule: &DURABLE }
    }

    fn answered(status: u16) -> Ended<'static> {
        Ended::Answered { status, retry_after: None, control: None }
    }

    fn retry_in(judgement: &Judgement) -> Option<u64> {
        match &judgement.verdict {
            Verdict::RetryAt { due, .. } => Some(due.since(NOW).as_millis() as u64),
            Verdict::Delivered | Verdict::Exhausted(_) | Verdict::Quarantined(_) => None,
        }
    }

    #[test]
    fn durable_delivers_on_2xx_alone_and_retries_the_rest_on_the_schedule() {
        let state = HookState::default();
        for status in [200, 201, 204, 299] {
            assert_eq!(judge(&attempted(Profile::Durable, 0), answered(status), &state).verdict, Verdict::Delivered);
        }
        for status in [301, 302, 400, 404, 429, 500, 503] {
            let judgement = judge(&attempted(Profile::Durable, 0), answered(status), &state);
            assert_eq!(retry_in(&judgement), Some(1000), "{status}");
            assert_eq!(judgement.hook, None);
        }
        let gaps: Vec<_> = (0..12).map(|spent| retry_in(&judge(&attempted(Profile::Durable, spent), answered(500), &state))).collect();
        let expected: Vec<_> = DURABLE.iter().map(|gap| Some(gap.as_millis() as u64)).chain([None]).collect();
        assert_eq!(gaps, expected);
        let last = judge(&attempted(Profile::Durable, 11), answered(500), &state);
        assert_eq!(last.verdict, Verdict::Exhausted("out of tries after 12 attempts; the last one: the destination answered 500".into()));
    }

    #[test]
    fn jitter_only_adds() {
        let late = Attempted { jitter: 1.0, ..attempted(Profile::Durable, 1) };
        assert_eq!(retry_in(&judge(&late, answered(500), &HookState::default())), Some(6000));
    }

    #[test]
    fn gone_and_disable_pause_the_hook_and_keep_the_delivery_owed() {
        let disable = Ended::Answered { status: 200, retry_after: None, control: Some("disable") };
        for ended in [answered(410), disable] {
            let judgement = judge(&attempted(Profile::Durable, 0), ended, &HookState::default());
            assert_eq!(retry_in(&judgement), Some(0));
            assert!(judgement.hook.expect("a new state").paused_by_host.is_some());
        }
        let abort = Ended::Answered { status: 500, retry_after: None, control: Some("abort-message") };
        assert!(matches!(judge(&attempted(Profile::Durable, 0), abort, &HookState::default()).verdict, Verdict::Exhausted(_)));
    }

    #[test]
    fn a_retry_after_holds_the_whole_hook_and_spends_no_attempt() {
        let held = |seconds| Ended::Answered { status: 429, retry_after: Some(Duration::from_secs(seconds)), control: None };
        let judgement = judge(&attempted(Profile::Durable, 3), held(7), &HookState::default());
        assert_eq!(judgement.verdict, Verdict::RetryAt { due: NOW.plus(Duration::from_secs(7)), spent: 3, crashes: 0 });
        assert_eq!(judgement.hook.expect("a new state").not_before, Some(NOW.plus(Duration::from_secs(7))));
        let capped = judge(&attempted(Profile::Durable, 0), held(1_000_000), &HookState::default());
        assert_eq!(retry_in(&capped), Some(36_000_000));
        let later = HookState { not_before: Some(NOW.plus(Duration::from_secs(60))), ..HookState::default() };
        assert_eq!(retry_in(&judge(&attempted(Profile::Durable, 0), held(7), &later)), Some(60_000));
    }

    #[test]
    fn a_crashing_handler_is_tried_four_times_and_five_quarantines_pause_the_hook() {
        let trap = Failure::new(FailureCode::Trap, "boom");
        let after = |crashes, state: &HookState| {
            judge(&Attempted { crashes, spent: crashes, ..attempted(Profile::Durable, 0) }, Ended::Failed(&trap), state)
        };
        let mut state = HookState::default();
        for crashes in 0..3 {
            assert!(matches!(after(crashes, &state).verdict, Verdict::RetryAt { crashes: kept, .. } if kept == crashes + 1));
        }
        for quarantine in 1..=5 {
            let judgement = after(3, &state);
            assert!(matches!(judgement.verdict, Verdict::Quarantined(_)));
            state = judgement.hook.expect("a new state");
            assert_eq!(state.paused_by_host.is_some(), quarantine == 5);
        }
        let one = HookState { quarantines: 1, ..HookState::default() };
        assert_eq!(judge(&attempted(Profile::Durable, 0), Ended::Done, &one).hook.expect("a new state").quarantines, 0);
    }

    #[test]
    fn what_a_handler_says_decides() {
        let state = HookState::default();
        let said = |failure: &Failure| judge(&attempted(Profile::Durable, 0), Ended::Failed(failure), &state);
        assert!(matches!(said(&Failure::new(FailureCode::Reject, "no")).verdict, Verdict::Exhausted(reason) if reason == "reject: no"));
        let later = Failure { after: Some(Duration::from_secs(90)), ..Failure::new(FailureCode::Retry, "busy") };
        assert_eq!(retry_in(&said(&later)), Some(90_000));
        assert_eq!(retry_in(&said(&Failure::new(FailureCode::Connect, "refused"))), Some(1000));
        assert!(said(&Failure::new(FailureCode::PauseHook, "stop")).hook.expect("a new state").paused_by_host.is_some());
    }

    #[test]
    fn kong_takes_any_answer_and_gives_up_after_fourteen_instant_failures() {
        let state = HookState::default();
        for status in [200, 302, 404, 500] {
            assert_eq!(judge(&attempted(Profile::Kong, 0), answered(status), &state).verdict, Verdict::Delivered);
        }
        let refused = Failure::new(FailureCode::Connect, "refused");
        let (mut now, mut times) = (NOW, Vec::new());
        for spent in 0.. {
            times.push(now.since(NOW).as_millis());
            let judgement = judge(&Attempted { now, ..attempted(Profile::Kong, spent) }, Ended::Failed(&refused), &state);
            match judgement.verdict {
                Verdict::RetryAt { due, .. } => now = due,
                Verdict::Delivered | Verdict::Exhausted(_) | Verdict::Quarantined(_) => break,
            }
        }
        assert_eq!(times, [0, 10, 30, 70, 150, 310, 630, 1270, 2550, 5110, 10230, 20470, 40950, 81910]);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Timestamp(1_445_412_480_000); // Wed, 21 Oct 2015 07:28:00 GMT
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:10 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:27:10 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }
}
