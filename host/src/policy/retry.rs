//! What follows from an attempt: the table of verdicts for both delivery profiles.

use std::time::Duration;

use crate::model::{Failure, FailureCode, HookState, PausedByHost, Profile, Timestamp};

/// Attempts after which a crashing handler is given up: the first one and three more.
pub const CRASHES_MAX: u32 = 4;

/// Quarantines in a row that pause a hook.
pub const QUARANTINES_MAX: u32 = 5;

/// Kong's words for a delivery that it gives up. Here it becomes a dead letter all the same.
pub const KONG_GAVE_UP: &str = "could not send entries due to max_retry_time exceeded. 1 queue entries were lost";

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

/// What an attempt means for the hook as a whole. It is applied where settlements have an order ([`Effect::on`]): attempts of one hook end at the same
/// time, and each judges without knowing the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// The handler came to an end of its own: no quarantine follows another.
    Sound,
    /// A quarantine; the fifth in a row pauses the hook.
    Quarantine(PausedByHost),
    /// The hook is paused.
    Pause(PausedByHost),
    /// No attempt of the hook starts before this.
    Hold(Timestamp),
}

impl Effect {
    /// The hook's state after this, or none if nothing changes.
    pub fn on(&self, state: &HookState) -> Option<HookState> {
        let state = state.clone();
        match self {
            Self::None => None,
            Self::Sound => (state.quarantines > 0).then_some(HookState { quarantines: 0, ..state }),
            Self::Quarantine(PausedByHost { at, reason }) => {
                let quarantines = state.quarantines + 1;
                if quarantines < QUARANTINES_MAX {
                    return Some(HookState { quarantines, ..state });
                }
                let reason = format!("{quarantines} quarantines in a row; the last one: {reason}");
                Some(HookState { quarantines: 0, paused_by_host: Some(PausedByHost { at: *at, reason }), ..state })
            }
            Self::Pause(paused) => state.paused_by_host.is_none().then(|| HookState { paused_by_host: Some(paused.clone()), ..state }),
            Self::Hold(until) => (state.not_before < Some(*until)).then_some(HookState { not_before: Some(*until), ..state }),
        }
    }
}

/// The verdict and what it means for the hook as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// For the delivery.
    pub verdict: Verdict,
    /// For the hook.
    pub effect: Effect,
}

/// Judges an attempt.
pub fn judge(attempted: &Attempted<'_>, ended: Ended<'_>) -> Judgement {
    match attempted.profile {
        Profile::Durable => durable(attempted, ended),
        Profile::Kong => kong(attempted, ended),
    }
}

fn durable(attempted: &Attempted<'_>, ended: Ended<'_>) -> Judgement {
    match ended {
        Ended::Answered { control: Some("disable"), .. } => {
            pause(attempted, "the destination answered with the header webhook-delivery: disable".into())
        }
        Ended::Answered { control: Some("abort-message"), status, .. } => {
            exhausted(format!("the destination answered {status} with the header webhook-delivery: abort-message"))
        }
        Ended::Done | Ended::Answered { status: 200..=299, .. } => delivered(),
        Ended::Answered { status: 410, .. } => pause(attempted, "the destination answered 410 Gone".into()),
        Ended::Answered { status: 429 | 503, retry_after: Some(hint), .. } => hold(attempted, hint.min(HOLD_MAX)),
        Ended::Answered { status, .. } => on_schedule(attempted, None, &format!("the destination answered {status}")),
        Ended::Failed(failure) => failed(attempted, failure),
    }
}

fn failed(attempted: &Attempted<'_>, failure: &Failure) -> Judgement {
    let reason = format!("{}: {}", failure.code.as_str(), failure.detail);
    match failure.code {
        FailureCode::PauseHook => pause(attempted, failure.detail.clone()),
        code if code.is_handler_crash() => crashed(attempted, reason),
        code if !code.retryable() => exhausted(reason),
        _ => on_schedule(attempted, failure.after, &reason),
    }
}

fn on_schedule(attempted: &Attempted<'_>, after: Option<Duration>, reason: &str) -> Judgement {
    let spent = attempted.spent + 1;
    let Some(gap) = attempted.schedule.get(attempted.spent as usize) else {
        return exhausted(format!("out of tries after {spent} attempts; the last one: {reason}"));
    };
    let gap = gap.mul_f64(1.0 + 0.2 * attempted.jitter.clamp(0.0, 1.0)).max(after.unwrap_or_default());
    let verdict = Verdict::RetryAt { due: attempted.now.plus(gap), spent, crashes: attempted.crashes };
    Judgement { verdict, effect: Effect::None }
}

fn crashed(attempted: &Attempted<'_>, reason: String) -> Judgement {
    let crashes = attempted.crashes + 1;
    if crashes >= CRASHES_MAX {
        let reason = format!("the handler crashed in {crashes} attempts; the last one: {reason}");
        let effect = Effect::Quarantine(PausedByHost { at: attempted.now, reason: reason.clone() });
        return Judgement { verdict: Verdict::Quarantined(reason), effect };
    }
    on_schedule(&Attempted { crashes, ..*attempted }, None, &reason)
}

/// The delivery stays owed and is due at once, so that it is the first one when the hook is resumed.
fn pause(attempted: &Attempted<'_>, reason: String) -> Judgement {
    let verdict = Verdict::RetryAt { due: attempted.now, spent: attempted.spent + 1, crashes: attempted.crashes };
    Judgement { verdict, effect: Effect::Pause(PausedByHost { at: attempted.now, reason }) }
}

/// All deliveries of the hook wait, and none has spent an attempt.
fn hold(attempted: &Attempted<'_>, hint: Duration) -> Judgement {
    let due = attempted.now.plus(hint);
    let verdict = Verdict::RetryAt { due, spent: attempted.spent, crashes: attempted.crashes };
    Judgement { verdict, effect: Effect::Hold(due) }
}

fn delivered() -> Judgement {
    Judgement { verdict: Verdict::Delivered, effect: Effect::Sound }
}

fn exhausted(reason: String) -> Judgement {
    Judgement { verdict: Verdict::Exhausted(reason), effect: Effect::Sound }
}

/// Profile `kong`: any HTTP answer is delivered; the first retry after 10 ms, doubling, at most a minute apart, given up once more than a
/// minute has passed at a failure.
fn kong(attempted: &Attempted<'_>, ended: Ended<'_>) -> Judgement {
    const FIRST: Duration = Duration::from_millis(10);
    const GAP_MAX: Duration = Duration::from_secs(60);
    const GIVE_UP: Duration = Duration::from_secs(60);
    let failure = match ended {
        Ended::Done | Ended::Answered { .. } => return delivered(),
        Ended::Failed(failure) => failure,
    };
    if attempted.now.since(attempted.first_tried) > GIVE_UP {
        return exhausted(KONG_GAVE_UP.into());
    }
    let gap = FIRST.saturating_mul(1 << attempted.spent.min(16)).min(GAP_MAX);
    let crashes = attempted.crashes + u32::from(failure.code.is_handler_crash());
    let verdict = Verdict::RetryAt { due: attempted.now.plus(gap), spent: attempted.spent + 1, crashes };
    Judgement { verdict, effect: Effect::None }
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

    /// The state of a hook that had none, after this.
    fn after(judgement: &Judgement) -> HookState {
        judgement.effect.on(&HookState::default()).expect("a new state")
    }

    fn retry_in(judgement: &Judgement) -> Option<u64> {
        match &judgement.verdict {
            Verdict::RetryAt { due, .. } => Some(due.since(NOW).as_millis() as u64),
            Verdict::Delivered | Verdict::Exhausted(_) | Verdict::Quarantined(_) => None,
        }
    }

    #[test]
    fn durable_delivers_on_2xx_alone_and_retries_the_rest_on_the_schedule() {
        for status in [200, 201, 204, 299] {
            assert_eq!(judge(&attempted(Profile::Durable, 0), answered(status)).verdict, Verdict::Delivered);
        }
        for status in [301, 302, 400, 404, 429, 500, 503] {
            let judgement = judge(&attempted(Profile::Durable, 0), answered(status));
            assert_eq!(retry_in(&judgement), Some(1000), "{status}");
            assert_eq!(judgement.effect, Effect::None);
        }
        let gaps: Vec<_> = (0..12).map(|spent| retry_in(&judge(&attempted(Profile::Durable, spent), answered(500)))).collect();
        let expected: Vec<_> = DURABLE.iter().map(|gap| Some(gap.as_millis() as u64)).chain([None]).collect();
        assert_eq!(gaps, expected);
        let last = judge(&attempted(Profile::Durable, 11), answered(500));
        assert_eq!(last.verdict, Verdict::Exhausted("out of tries after 12 attempts; the last one: the destination answered 500".into()));
    }

    #[test]
    fn jitter_only_adds() {
        let late = Attempted { jitter: 1.0, ..attempted(Profile::Durable, 1) };
        assert_eq!(retry_in(&judge(&late, answered(500))), Some(6000));
    }

    #[test]
    fn gone_and_disable_pause_the_hook_and_keep_the_delivery_owed() {
        let disable = Ended::Answered { status: 200, retry_after: None, control: Some("disable") };
        for ended in [answered(410), disable] {
            let judgement = judge(&attempted(Profile::Durable, 0), ended);
            assert_eq!(retry_in(&judgement), Some(0));
            assert!(after(&judgement).paused_by_host.is_some());
        }
        let abort = Ended::Answered { status: 500, retry_after: None, control: Some("abort-message") };
        assert!(matches!(judge(&attempted(Profile::Durable, 0), abort).verdict, Verdict::Exhausted(_)));
    }

    #[test]
    fn a_retry_after_holds_the_whole_hook_and_spends_no_attempt() {
        let held = |seconds| Ended::Answered { status: 429, retry_after: Some(Duration::from_secs(seconds)), control: None };
        let judgement = judge(&attempted(Profile::Durable, 3), held(7));
        assert_eq!(judgement.verdict, Verdict::RetryAt { due: NOW.plus(Duration::from_secs(7)), spent: 3, crashes: 0 });
        assert_eq!(after(&judgement).not_before, Some(NOW.plus(Duration::from_secs(7))));
        let capped = judge(&attempted(Profile::Durable, 0), held(1_000_000));
        assert_eq!(retry_in(&capped), Some(36_000_000));
        let later = HookState { not_before: Some(NOW.plus(Duration::from_secs(60))), ..HookState::default() };
        assert_eq!(judgement.effect.on(&later), None);
    }

    #[test]
    fn a_crashing_handler_is_tried_four_times_and_five_quarantines_pause_the_hook() {
        let trap = Failure::new(FailureCode::Trap, "boom");
        let crash = |crashes| judge(&Attempted { crashes, spent: crashes, ..attempted(Profile::Durable, 0) }, Ended::Failed(&trap));
        for crashes in 0..3 {
            assert!(matches!(crash(crashes).verdict, Verdict::RetryAt { crashes: kept, .. } if kept == crashes + 1));
        }
        let judgement = crash(3);
        assert!(matches!(judgement.verdict, Verdict::Quarantined(_)));
        let mut state = HookState::default();
        for quarantine in 1..=5 {
            state = judgement.effect.on(&state).expect("a new state");
            assert_eq!(state.paused_by_host.is_some(), quarantine == 5);
        }
        let one = HookState { quarantines: 1, ..HookState::default() };
        let sound = judge(&attempted(Profile::Durable, 0), Ended::Done).effect;
        assert_eq!(sound.on(&one), Some(HookState::default()));
        assert_eq!(sound.on(&HookState::default()), None);
    }

    #[test]
    fn attempts_that_end_together_do_not_undo_each_other() {
        let gone = judge(&attempted(Profile::Durable, 0), answered(410)).effect;
        let delivered = judge(&attempted(Profile::Durable, 0), answered(200)).effect;
        let paused = gone.on(&HookState { quarantines: 2, ..HookState::default() }).expect("a new state");
        let after = delivered.on(&paused).expect("a new state");
        assert!(after.paused_by_host.is_some());
        assert_eq!(gone.on(&after), None);
    }

    #[test]
    fn what_a_handler_says_decides() {
        let said = |failure: &Failure| judge(&attempted(Profile::Durable, 0), Ended::Failed(failure));
        assert!(matches!(said(&Failure::new(FailureCode::Reject, "no")).verdict, Verdict::Exhausted(reason) if reason == "reject: no"));
        let later = Failure { after: Some(Duration::from_secs(90)), ..Failure::new(FailureCode::Retry, "busy") };
        assert_eq!(retry_in(&said(&later)), Some(90_000));
        assert_eq!(retry_in(&said(&Failure::new(FailureCode::Connect, "refused"))), Some(1000));
        assert!(after(&said(&Failure::new(FailureCode::PauseHook, "stop"))).paused_by_host.is_some());
    }

    #[test]
    fn kong_takes_any_answer_and_gives_up_after_fourteen_instant_failures() {
        for status in [200, 302, 404, 500] {
            assert_eq!(judge(&attempted(Profile::Kong, 0), answered(status)).verdict, Verdict::Delivered);
        }
        let refused = Failure::new(FailureCode::Connect, "refused");
        let (mut now, mut times) = (NOW, Vec::new());
        for spent in 0.. {
            times.push(now.since(NOW).as_millis());
            let judgement = judge(&Attempted { now, ..attempted(Profile::Kong, spent) }, Ended::Failed(&refused));
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
