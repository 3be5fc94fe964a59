//! The forms of single values: sizes, durations, addresses, token hashes, lists. Each reads what was written and says what it expected.

use std::fmt;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Bytes: a number, or text with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// A duration: text with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// The address of a listener; none is `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listen(pub(crate) Option<SocketAddr>);

/// The SHA-256 of a token. Written `sha256:<64 hexadecimal digits>`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

/// A token of the events door, and what it may emit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsToken {
    /// Its hash.
    pub hash: TokenHash,
    /// Sources, which may end in `*`. Never empty; `*` alone is every source.
    pub sources: Vec<String>,
}

impl EventsToken {
    /// May it emit events of this source?
    pub fn may_emit(&self, source: &str) -> bool {
        self.sources.iter().any(|said| match said.strip_suffix('*') {
            Some(prefix) => source.starts_with(prefix),
            None => said == source,
        })
    }
}

const SIZE: &str = "a size such as \"64 MiB\" or a number of bytes";
const SPAN: &str = "a duration with its unit, such as \"30 s\", \"10 min\" or \"72 h\"";
const LISTEN: &str = "an address with a port, such as \"127.0.0.1:8010\" or \"[::1]:8010\"";
const HASH: &str = "\"sha256:\" and 64 hexadecimal digits, as `tenterhook token` prints them";
const EVENTS_TOKEN: &str = "a hash, or a table with `hash` and `sources`";

/// Units of a duration in milliseconds, largest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1)];

/// Longer durations than this are typing errors, and would overflow sums with a time of day.
const SPAN_DAYS_MAX: u64 = 3660;

fn parse_span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let millis = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?.1;
    let millis = number.parse::<u64>().ok()?.checked_mul(millis)?;
    (millis <= SPAN_DAYS_MAX * 86_400_000).then(|| Duration::from_millis(millis))
}

fn parse_size(text: &str) -> Option<u64> {
    text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64())
}

/// `localhost` is taken as its IPv4 address, and the listener adds the one of IPv6; other names would need a resolver at start.
fn parse_listen(text: &str) -> Option<Option<SocketAddr>> {
    if text == "off" {
        return Some(None);
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return port.parse().ok().map(|port| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    }
    text.parse().ok().map(Some)
}

fn parse_hash(text: &str) -> Option<TokenHash> {
    let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.is_ascii())?;
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        // `from_str_radix` alone would take a sign.
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(TokenHash(hash))
}

/// Reads text through `parse`, or says what was expected.
struct Text<T>(&'static str, fn(&str) -> Option<T>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self.0))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = u64;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(SIZE)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
                Text(SIZE, parse_size).visit_str(text)
            }
            fn visit_u64<E: Error>(self, bytes: u64) -> Result<u64, E> {
                Ok(bytes)
            }
            fn visit_i64<E: Error>(self, bytes: i64) -> Result<u64, E> {
                u64::try_from(bytes).map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &SIZE))
            }
        }
        from.deserialize_any(Either).map(Self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Text(SPAN, parse_span)).map(Self)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Text(LISTEN, parse_listen)).map(Self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Text(HASH, parse_hash))
    }
}

/// The long form of an events token.
#[derive(Deserialize, Serialize)]
#[serde(rename = "token", deny_unknown_fields)]
struct TokenTable {
    hash: TokenHash,
    #[serde(default = "every_source")]
    sources: Vec<String>,
}

fn every_source() -> Vec<String> {
    vec!["*".to_owned()]
}

impl<'de> Deserialize<'de> for EventsToken {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = EventsToken;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(EVENTS_TOKEN)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<EventsToken, E> {
                Ok(EventsToken { hash: Text(HASH, parse_hash).visit_str(text)?, sources: every_source() })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EventsToken, A::Error> {
                let TokenTable { hash, sources } = TokenTable::deserialize(MapAccessDeserializer::new(map))?;
                if sources.is_empty() {
                    return Err(A::Error::invalid_length(0, &"at least one source; without the key every source is allowed"));
                }
                Ok(EventsToken { hash, sources })
            }
        }
        from.deserialize_any(Either)
    }
}

/// Reads a list, or text with commas, which is how a list stands in the environment.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    struct Either<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
        type Value = Vec<T>;
        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a list")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts.map(|part| T::deserialize(StrDeserializer::<E>::new(part))).collect()
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = seq.next_element()? {
                all.push(one);
            }
            Ok(all)
        }
    }
    from.deserialize_any(Either(PhantomData))
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (unit, size) = UNITS.into_iter().find(|(_, size)| millis != 0 && millis % size == 0).unwrap_or(("s", 1000));
        write!(out, "{} {unit}", millis / size)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.0)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(address) => to.collect_str(&address),
            None => to.serialize_str("off"),
        }
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Serialize for EventsToken {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        TokenTable { hash: self.hash, sources: self.sources.clone() }.serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        let cases = [("30 s", 30_000), ("72h", 259_200_000), ("250 ms", 250), ("10min", 600_000), ("30 d", 2_592_000_000), ("0 s", 0)];
        for (text, millis) in cases {
            assert_eq!(parse_span(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "30", "s", "-1 s", "1.5 s", "1 fortnight", "9999999 d", "99999999999999999999 s", "1 h 30 min", "10 m"] {
            assert_eq!(parse_span(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_in_their_largest_whole_unit() {
        for text in ["90 s", "72 h", "31 d", "0 s", "250 ms", "10 min"] {
            let span = Span(parse_span(text).unwrap());
            assert_eq!(parse_span(&span.to_string()), Some(span.0));
        }
        assert_eq!(Span(Duration::from_secs(72 * 3600)).to_string(), "3 d");
        assert_eq!(Span(Duration::from_secs(90)).to_string(), "90 s");
    }

    #[test]
    fn sizes_take_binary_and_decimal_units() {
        assert_eq!(parse_size("64 MiB"), Some(64 << 20));
        assert_eq!(parse_size("64MB"), Some(64_000_000));
        assert_eq!(parse_size("1024"), Some(1024));
        assert_eq!(parse_size("64 bananas"), None);
        assert_eq!(parse_size("-1"), None);
    }

    #[test]
    fn addresses_need_a_port() {
        assert_eq!(parse_listen("localhost:1"), Some(Some(([127, 0, 0, 1], 1).into())));
        assert_eq!(parse_listen("[::1]:8010").map(|at| at.is_some()), Some(true));
        assert_eq!(parse_listen("off"), Some(None));
        assert_eq!(parse_listen("127.0.0.1"), None);
        assert_eq!(parse_listen("host.example:80"), None);
    }

    #[test]
    fn a_hash_is_64_hexadecimal_digits() {
        let text = format!("sha256:{}", "0aF9".repeat(16));
        assert_eq!(parse_hash(&text).unwrap().to_string(), text.to_lowercase());
        for bad in ["0a".repeat(32), format!("sha256:{}", "0a".repeat(31)), format!("sha256:{}", "+a".repeat(32)), "sha1:00".to_owned()] {
            assert_eq!(parse_hash(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_token_emits_the_sources_it_names() {
        let token = EventsToken { hash: TokenHash([0; 32]), sources: vec!["shop".to_owned(), "crm-*".to_owned()] };
        assert!(token.may_emit("shop") && token.may_emit("crm-eu"));
        assert!(!token.may_emit("shop2") && !token.may_emit("crm"));
    }
}
