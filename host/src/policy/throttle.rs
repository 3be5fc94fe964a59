//! `on_change` and `snooze`: has this hook just let the same event through? (Kong's documentation of event hooks; the memory is ours and
//! persistent, and belongs to the hook's revision.)

use std::fmt::Write as _;
use std::time::Duration;

use md5::{Digest as _, Md5};
use serde_json::Value;

use crate::model::{Hook, JsonText, Skip, ThrottleKey, ThrottleMark, Timestamp};

/// What to look up and how to decide, worked out in the request's own task: the one loop that decides in order only compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// What to look up.
    pub key: ThrottleKey,
    digest: [u8; 16],
    rule: Rule,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    OnChange,
    Snooze(Duration),
}

/// The throttle of `hook` for an event, or none. `unique` are the fields of the event that make two of them the same.
pub fn plan(hook: &Hook, source: &str, event: &str, data: &JsonText, unique: Option<&[String]>) -> Option<Throttle> {
    let on_change = hook.on_change.unwrap_or(false);
    let snooze = hook.snooze.filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
    let rule = match (on_change, snooze) {
        (false, None) => return None,
        (true, None) => Rule::OnChange,
        (_, Some(snooze)) => Rule::Snooze(snooze),
    };
    let digest = if on_change { digest(&data.to_value(), unique) } else { [0; 16] };
    let mut hash = Md5::new();
    hash.update(source);
    hash.update([0]);
    hash.update(event);
    if on_change && snooze.is_some() {
        hash.update([0]);
        hash.update(digest);
    }
    Some(Throttle { key: ThrottleKey(hash.finalize().into()), digest, rule })
}

/// A hash of source, event and digest: what makes two events the same to Kong.
pub fn sameness(source: &str, event: &str, data: &JsonText, unique: Option<&[String]>) -> [u8; 16] {
    let mut hash = Md5::new();
    for part in [source.as_bytes(), &[0], event.as_bytes(), &[0], &digest(&data.to_value(), unique)] {
        hash.update(part);
    }
    hash.finalize().into()
}

impl Throttle {
    /// Let through, and what to remember; or not, and why.
    pub fn decide(&self, last: Option<ThrottleMark>, now: Timestamp) -> Result<ThrottleMark, Skip> {
        match (self.rule, last) {
            (Rule::OnChange, Some(last)) if last.digest == self.digest => Err(Skip::Unchanged),
            (Rule::OnChange, _) => Ok(ThrottleMark { digest: self.digest, until: Timestamp::FAR }),
            (Rule::Snooze(_), Some(last)) if now < last.until => Err(Skip::Snoozed),
            (Rule::Snooze(length), _) => Ok(ThrottleMark { digest: self.digest, until: now.plus(length) }),
        }
    }
}

/// MD5 of the normal form of the data, restricted to `unique` where the event has such fields.
pub fn digest(data: &Value, unique: Option<&[String]>) -> [u8; 16] {
    let mut text = String::new();
    match (data, unique) {
        (Value::Object(members), Some(unique)) => {
            let kept = members.iter().filter(|(name, _)| unique.contains(name)).map(|(name, value)| (name.clone(), value.clone()));
            normal_form(&Value::Object(kept.collect()), &mut text);
        }
        _ => normal_form(data, &mut text),
    }
    Md5::digest(text).into()
}

/// Keys ascending, `key:value` joined with `:`; an empty table or a null is its key alone; arrays are tables with keys from 1.
fn normal_form(value: &Value, out: &mut String) {
    let mut member = |key: &dyn std::fmt::Display, value: &Value| {
        if !out.is_empty() && !out.ends_with(':') {
            out.push(':');
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "{key}");
        let before = out.len();
        out.push(':');
        normal_form(value, out);
        if out.len() == before + 1 {
            out.truncate(before);
        }
    };
    match value {
        Value::Null => {}
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&lua_number(number.as_f64().unwrap_or(f64::NAN))),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| member(&(i + 1), item)),
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            sorted.into_iter().for_each(|(name, item)| member(name, item));
        }
    }
}

/// A number as Lua prints it: C's `%.14g`, with ties away from zero as LuaJIT has it.
fn lua_number(number: f64) -> String {
    const DIGITS: usize = 14;
    // Exact decimal digits, one before the point; enough of them to tell a tie from its neighbours.
    let exact = format!("{:.40e}", number.abs());
    let Some((mantissa, exponent)) = exact.split_once('e').and_then(|(m, e)| Some((m, e.parse::<i32>().ok()?))) else {
        return number.to_string();
    };
    let all: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
    let (mut digits, mut exponent) = (all[..DIGITS].to_vec(), exponent);
    if all[DIGITS] >= 5 && !round_up(&mut digits) {
        exponent += 1;
    }
    let digits: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
    let sign = if number < 0.0 { "-" } else { "" };
    let trim = |text: String| if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text };
    match usize::try_from(exponent) {
        Ok(whole) if whole < DIGITS => format!("{sign}{}", trim(format!("{}.{}", &digits[..=whole], &digits[whole + 1..]))),
        Err(_) if exponent >= -4 => {
            let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
            format!("{sign}{}", trim(format!("0.{zeros}{digits}")))
        }
        _ => {
            let power = if exponent < 0 { '-' } else { '+' };
            format!("{sign}{}e{power}{:02}", trim(format!("{}.{}", &digits[..1], &digits[1..])), exponent.abs())
        }
    }
}

/// Adds one to the last digit. False if that carried out of the first one, which is then 1.
fn round_up(digits: &mut [u8]) -> bool {
    for digit in digits.iter_mut().rev() {
        if *digit < 9 {
            *digit += 1;
            return true;
        }
        *digit = 0;
    }
    digits[0] = 1;
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::matching::tests::hook;
    use serde_json::json;

    fn form(value: &Value) -> String {
        let mut out = String::new();
        normal_form(value, &mut out);
        out
    }

    fn hex(digest: [u8; 16]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_digest_is_kongs() {
        let consumer = json!({"entity":{"created_at":1627581878,"id":"0fd2319f-13ea-4582-a448-8d11893026a8","type":0,"username":"Ada Lovelace"},
            "operation":"create","schema":"consumers"});
        let limited = json!({"consumer":{},"ip":"10.42.0.1","service":{"id":"9d0bee90-04b9-4af3-993f-b10db881b144","name":"demo"}});
        let cases = [
            (json!({"some":"data"}), "some:data", "bc31a334fcc4ed689f4ea9ab824f23b3"),
            (json!({"some":"data","with_more":"data"}), "some:data:with_more:data", "80dfae20a5ce00b394c00a4c42658c67"),
            (
                consumer,
                "entity:created_at:1627581878:id:0fd2319f-13ea-4582-a448-8d11893026a8:type:0:username:Ada Lovelace:operation:create:schema:consumers",
                "438ab428e4c43ead088b51218f8ea56b",
            ),
            (
                limited,
                "consumer:ip:10.42.0.1:service:id:9d0bee90-04b9-4af3-993f-b10db881b144:name:demo",
                "9b7118a7cc11c532a0da360985cf6439",
            ),
        ];
        for (data, normal, md5) in cases {
            assert_eq!(form(&data), normal);
            assert_eq!(hex(digest(&data, None)), md5);
        }
        assert_eq!(form(&json!({"a":[1,2,3],"b":true,"c":1.5,"d":false})), "a:1:1:2:2:3:3:b:true:c:1.5:d:false");
        assert_eq!(form(&json!({"a":null,"b":[],"c":"x"})), "a:b:c:x");
    }

    #[test]
    fn numbers_print_as_lua_prints_them() {
        let cases = [
            (1_627_581_878.0, "1627581878"),
            (1.5, "1.5"),
            (1e20, "1e+20"),
            (123_456_789_012_345.0, "1.2345678901235e+14"),
            (99_999_999_999_999.0, "99999999999999"),
            (999_999_999_999_999.0, "1e+15"),
            (0.3, "0.3"),
            (0.0, "0"),
            (-0.1, "-0.1"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
        ];
        for (number, text) in cases {
            assert_eq!(lua_number(number), text);
        }
    }

    /// Feeds (second, data) to one hook and gives the seconds that were let through.
    fn passed(on_change: Option<bool>, snooze: Option<i64>, events: &[(i64, &str)]) -> Vec<i64> {
        let hook = Hook { on_change, snooze, ..hook(1, "s", None) };
        let mut memory = std::collections::HashMap::new();
        let mut let_through = Vec::new();
        for (second, data) in events {
            let data = JsonText::from_value(&json!({ "some": data }));
            let Some(throttle) = plan(&hook, "s", "e", &data, None) else {
                let_through.push(*second);
                continue;
            };
            if let Ok(mark) = throttle.decide(memory.get(&throttle.key).copied(), Timestamp(second * 1000)) {
                memory.insert(throttle.key, mark);
                let_through.push(*second);
            }
        }
        let_through
    }

    #[test]
    fn on_change_and_snooze_drop_what_kong_drops() {
        assert_eq!(passed(Some(true), None, &[(0, "A"), (1, "A"), (2, "B"), (3, "B"), (4, "A")]), [0, 2, 4]);
        let times = [(0, "A"), (0, "B"), (50, "A"), (70, "A"), (100, "A"), (131, "A")];
        assert_eq!(passed(None, Some(60), &times), [0, 70, 131]);
        assert_eq!(passed(Some(true), Some(60), &[(0, "A"), (1, "B"), (2, "A"), (61, "A"), (62, "B"), (63, "B")]), [0, 1, 61, 62]);
        assert_eq!(passed(None, Some(0), &[(0, "A"), (0, "A")]), [0, 0]);
        assert_eq!(passed(Some(false), None, &[(0, "A"), (0, "A")]), [0, 0]);
    }

    #[test]
    fn only_unique_fields_count_where_an_event_has_them() {
        let unique = ["ip".to_owned()];
        let one = digest(&json!({"ip":"a","rate":1}), Some(&unique));
        assert_eq!(one, digest(&json!({"ip":"a","rate":2}), Some(&unique)));
        assert_ne!(one, digest(&json!({"ip":"b","rate":1}), Some(&unique)));
    }
}
