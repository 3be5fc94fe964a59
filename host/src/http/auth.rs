//! Who is asking, and may they? One table, [`authorize`], for every request of every door. Tokens are known by their SHA-256 only.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use sha2::Digest as _;
use subtle::{Choice, ConstantTimeEq as _};

use super::listen::Door;

/// Kong's own header for the Admin API's token.
const KONG_ADMIN_TOKEN: &str = "kong-admin-token";

/// Who may come in.
#[derive(Debug, Clone, Default)]
pub struct Auth {
    /// SHA-256 of the tokens of the Admin API. Empty: it asks for none, and takes requests from loopback names only.
    pub admin: Vec<[u8; 32]>,
    /// The tokens of the events door. Empty: it asks for none.
    pub events: Vec<EventsToken>,
    /// The operator said `auth.no_auth`: no tokens, and no rule about loopback names either.
    pub no_auth: bool,
}

/// A token of the events door.
#[derive(Debug, Clone)]
pub struct EventsToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// The sources it may emit; may end in `*`.
    pub sources: Vec<String>,
}

impl EventsToken {
    fn may_emit(&self, source: &str) -> bool {
        self.sources.iter().any(|said| match said.strip_suffix('*') {
            Some(prefix) => source.starts_with(prefix),
            None => said == source,
        })
    }
}

/// What somebody wants to do. Every route of every door is one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// `OPTIONS`: which methods are there? Browsers ask it without a token.
    Describe,
    /// Is the process alive, is it ready?
    ReadHealth,
    /// The metrics.
    ReadMetrics,
    /// Version, uptime, counters.
    ReadNode,
    /// To post events at all, asked before the body is read.
    Post,
    /// To post an event of this source.
    Emit(&'a str),
    /// Hooks, lists of them.
    ReadHooks,
    /// To create, change or delete hooks.
    ChangeHooks,
    /// Ping and test: they make a handler run.
    TryHooks,
    /// The registered sources.
    ReadSources,
    /// To register and remove sources.
    ChangeSources,
    /// Deliveries and dead letters.
    ReadDeliveries,
    /// To retry, cancel, replay or remove them.
    ChangeDeliveries,
    /// Installed handlers.
    ReadHandlers,
    /// To install handlers.
    ChangeHandlers,
    /// To move the clock of a test.
    MoveClock,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// The door wants a token and none came.
    NoToken,
    /// The token is not one of ours.
    WrongToken,
    /// Without tokens the Admin API takes no request that names another host than this one: it may come from a web page.
    NotLocal {
        /// `Host` or `Origin`.
        header: &'static str,
        /// What it said.
        value: String,
    },
    /// The token may not emit events of this source.
    Source(String),
}

/// Somebody at a door, as far as the headers tell.
#[derive(Debug)]
pub(crate) struct Who<'a> {
    door: Door,
    standing: Standing<'a>,
    /// The first of `Host` and `Origin` that names another host.
    foreign: Option<(&'static str, String)>,
}

#[derive(Debug)]
enum Standing<'a> {
    /// The door asks for no token.
    Anybody,
    NoToken,
    WrongToken,
    Operator,
    Producer(&'a EventsToken),
}

/// Reads who is asking. `authority` is the host of the request's target, which HTTP/2 has in place of a `Host` header.
pub(crate) fn identify<'a>(auth: &'a Auth, door: Door, headers: &HeaderMap, authority: Option<&str>) -> Who<'a> {
    let standing = match door {
        Door::Events if !auth.no_auth && !auth.events.is_empty() => producer(auth, bearer(headers)),
        Door::Admin if !auth.no_auth && !auth.admin.is_empty() => operator(auth, admin_token(headers)),
        Door::Events | Door::Admin | Door::Status => Standing::Anybody,
    };
    let keeps_to_loopback = door == Door::Admin && !auth.no_auth && matches!(standing, Standing::Anybody);
    let foreign = if keeps_to_loopback { foreign(headers, authority) } else { None };
    Who { door, standing, foreign }
}

/// May they?
pub(crate) fn authorize(who: &Who<'_>, action: Action<'_>) -> Result<(), Denied> {
    let open = match action {
        Action::ReadHealth => return Ok(()),
        Action::Describe => true,
        Action::ReadMetrics | Action::ReadNode => who.door == Door::Status,
        Action::Post
        | Action::Emit(_)
        | Action::ReadHooks
        | Action::ChangeHooks
        | Action::TryHooks
        | Action::ReadSources
        | Action::ChangeSources
        | Action::ReadDeliveries
        | Action::ChangeDeliveries
        | Action::ReadHandlers
        | Action::ChangeHandlers
        | Action::MoveClock => false,
    };
    if let Some((header, value)) = &who.foreign {
        return Err(Denied::NotLocal { header, value: value.clone() });
    }
    match (&who.standing, action) {
        (Standing::Anybody | Standing::Operator, _) => Ok(()),
        _ if open => Ok(()),
        (Standing::NoToken, _) => Err(Denied::NoToken),
        (Standing::WrongToken, _) => Err(Denied::WrongToken),
        (Standing::Producer(token), Action::Emit(source)) if !token.may_emit(source) => Err(Denied::Source(source.to_owned())),
        (Standing::Producer(_), _) => Ok(()),
    }
}

fn operator<'a>(auth: &Auth, token: Option<&[u8]>) -> Standing<'a> {
    let Some(token) = token else { return Standing::NoToken };
    let hash = hash(token);
    // Every hash is compared, and in constant time: how long it takes says nothing about them.
    let known = auth.admin.iter().fold(Choice::from(0), |known, one| known | one.ct_eq(&hash));
    if bool::from(known) { Standing::Operator } else { Standing::WrongToken }
}

fn producer<'a>(auth: &'a Auth, token: Option<&[u8]>) -> Standing<'a> {
    let Some(token) = token else { return Standing::NoToken };
    let hash = hash(token);
    let found = auth.events.iter().fold(None, |found, one| if bool::from(one.hash.ct_eq(&hash)) { Some(one) } else { found });
    found.map_or(Standing::WrongToken, Standing::Producer)
}

fn hash(token: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(token).into()
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim_ascii())
}

fn admin_token(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(KONG_ADMIN_TOKEN).map(|value| value.as_bytes().trim_ascii()).or_else(|| bearer(headers))
}

fn foreign(headers: &HeaderMap, authority: Option<&str>) -> Option<(&'static str, String)> {
    let named = |header: &'static str, value: &[u8], is_local: fn(&str) -> bool| {
        let text = String::from_utf8_lossy(value);
        (!is_local(&text)).then(|| (header, text.into_owned()))
    };
    let host = headers.get(HOST).map(http::HeaderValue::as_bytes).or_else(|| authority.map(str::as_bytes));
    host.and_then(|host| named("Host", host, is_loopback_host))
        .or_else(|| headers.get(ORIGIN).and_then(|origin| named("Origin", origin.as_bytes(), is_loopback_origin)))
}

fn is_loopback_origin(origin: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, host)| is_loopback_host(host))
}

/// `localhost`, names under it, and the loopback addresses; with or without a port.
fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if port.is_empty() || is_port(port) => address,
        Some(_) => return false,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    if let Ok(address) = name.parse::<std::net::IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn with_tokens() -> Auth {
        Auth {
            admin: vec![hash(b"other"), hash(b"root")],
            events: vec![
                EventsToken { hash: hash(b"shop-token"), sources: vec!["shop".into(), "crm-*".into()] },
                EventsToken { hash: hash(b"all-token"), sources: vec!["*".into()] },
            ],
            no_auth: false,
        }
    }

    fn ask(auth: &Auth, door: Door, pairs: &[(&'static str, &str)], action: Action<'_>) -> Result<(), Denied> {
        authorize(&identify(auth, door, &headers(pairs), None), action)
    }

    const EVERY: [Action<'static>; 15] = [
        Action::Describe,
        Action::ReadHealth,
        Action::ReadMetrics,
        Action::ReadNode,
        Action::Post,
        Action::Emit("shop"),
        Action::ReadHooks,
        Action::ChangeHooks,
        Action::TryHooks,
        Action::ReadSources,
        Action::ChangeSources,
        Action::ReadDeliveries,
        Action::ReadHandlers,
        Action::ChangeHandlers,
        Action::MoveClock,
    ];

    #[test]
    fn with_tokens_only_health_and_options_are_open() {
        let auth = with_tokens();
        for door in [Door::Events, Door::Admin] {
            for action in EVERY {
                let expected = match action {
                    Action::Describe | Action::ReadHealth => Ok(()),
                    _ => Err(Denied::NoToken),
                };
                assert_eq!(ask(&auth, door, &[], action), expected, "{door:?} {action:?}");
            }
        }
    }

    #[test]
    fn the_status_door_asks_for_nothing() {
        for action in EVERY {
            assert_eq!(ask(&with_tokens(), Door::Status, &[("host", "scraper.example")], action), Ok(()), "{action:?}");
        }
    }

    #[test]
    fn operators_show_their_token_in_either_header() {
        let auth = with_tokens();
        let read = |pairs: &[(&'static str, &str)]| ask(&auth, Door::Admin, pairs, Action::ChangeHooks);
        assert_eq!(read(&[("authorization", "Bearer root")]), Ok(()));
        assert_eq!(read(&[("authorization", "bearer root ")]), Ok(()));
        assert_eq!(read(&[("kong-admin-token", "root")]), Ok(()));
        assert_eq!(read(&[("kong-admin-token", "root"), ("host", "kong.example:8001")]), Ok(()), "a token may come from anywhere");
        assert_eq!(read(&[("kong-admin-token", "toor")]), Err(Denied::WrongToken));
        assert_eq!(read(&[("authorization", "Bearer shop-token")]), Err(Denied::WrongToken), "a producer is no operator");
        assert_eq!(read(&[("authorization", "Basic root")]), Err(Denied::NoToken));
        assert_eq!(read(&[("authorization", "B")]), Err(Denied::NoToken));
    }

    #[test]
    fn a_producer_emits_the_sources_of_its_token() {
        let auth = with_tokens();
        let emit = |token: &str, source| ask(&auth, Door::Events, &[("authorization", token)], Action::Emit(source));
        assert_eq!(emit("Bearer shop-token", "shop"), Ok(()));
        assert_eq!(emit("Bearer shop-token", "crm-eu"), Ok(()));
        assert_eq!(emit("Bearer shop-token", "shopping"), Err(Denied::Source("shopping".into())));
        assert_eq!(emit("Bearer all-token", "anything"), Ok(()));
        assert_eq!(emit("Bearer root", "shop"), Err(Denied::WrongToken), "an operator is no producer");
    }

    #[test]
    fn without_tokens_the_admin_door_takes_loopback_names_only() {
        let auth = Auth::default();
        for host in ["localhost", "localhost:8001", "LOCALHOST.:1", "a.localhost", "127.0.0.1:8001", "127.8.8.8", "[::1]:8001", "[::1]"] {
            assert_eq!(ask(&auth, Door::Admin, &[("host", host)], Action::ReadHooks), Ok(()), "{host}");
            let origin = format!("http://{host}");
            assert_eq!(ask(&auth, Door::Admin, &[("host", host), ("origin", &origin)], Action::ReadHooks), Ok(()), "{origin}");
        }
        let foreign =
            ["example.com", "192.168.0.4:8001", "localhost.example.com", "127.0.0.1.example.com", "[::2]:1", "[::1]x", "", "0.0.0.0"];
        for host in foreign {
            let denied = Err(Denied::NotLocal { header: "Host", value: host.into() });
            assert_eq!(ask(&auth, Door::Admin, &[("host", host)], Action::ReadHooks), denied, "{host}");
            assert_eq!(ask(&auth, Door::Admin, &[("host", host)], Action::Describe), denied, "{host}");
            assert_eq!(ask(&auth, Door::Admin, &[("host", host)], Action::ReadHealth), Ok(()), "probes name the pod");
            assert_eq!(ask(&auth, Door::Events, &[("host", host)], Action::Post), Ok(()), "the rule is the admin door's");
        }
        for origin in ["null", "https://example.com", "http://localhost.example.com", "localhost"] {
            let denied = Err(Denied::NotLocal { header: "Origin", value: origin.into() });
            assert_eq!(ask(&auth, Door::Admin, &[("host", "localhost"), ("origin", origin)], Action::ReadHooks), denied, "{origin}");
        }
        let over_http2 = authorize(&identify(&auth, Door::Admin, &HeaderMap::new(), Some("evil.example:8001")), Action::ReadHooks);
        assert!(over_http2.is_err());
    }

    #[test]
    fn no_auth_lets_everybody_in() {
        let auth = Auth { no_auth: true, ..with_tokens() };
        for action in EVERY {
            assert_eq!(ask(&auth, Door::Admin, &[("host", "example.com")], action), Ok(()));
            assert_eq!(ask(&auth, Door::Events, &[("host", "example.com")], action), Ok(()));
        }
    }
}
