//! What may be reached: the grants of a handler, and the operator's rules for everybody. Pure; resolving is `resolve`'s, connecting is `connect`'s.
//!
//! Grants are about the host of the URL. Rules are about the host and about every address it resolves to, since a name says nothing about where
//! it leads.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use super::address;

/// A host, or hosts: `*`, `example.com`, `*.example.com` (not `example.com` itself), each with `:port` or for any port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    name: NamePattern,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum NamePattern {
    Any,
    Exactly(Box<str>),
    /// With the leading dot.
    Under(Box<str>),
}

impl HostPattern {
    /// `host` in lower case without a final dot, an address in its canonical form.
    fn matches(&self, host: &str, port: u16) -> bool {
        let name = match &self.name {
            NamePattern::Any => true,
            NamePattern::Exactly(name) => **name == *host,
            NamePattern::Under(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
        };
        name && self.port.is_none_or(|only| only == port)
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a host: write `*`, `example.com`, `*.example.com` or `example.com:443`");
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { name: NamePattern::Exactly(address::canonical(address).to_string().into()), port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?)),
            None => (text, None),
        };
        let name = if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let v6: std::net::Ipv6Addr = v6.parse().map_err(|_| wrong())?;
            NamePattern::Exactly(address::canonical(v6.into()).to_string().into())
        } else if host == "*" {
            NamePattern::Any
        } else {
            let (suffix, plain) = host.strip_prefix('*').map_or((None, host), |rest| (Some(rest), rest.strip_prefix('.').unwrap_or("")));
            let plain = plain.strip_suffix('.').unwrap_or(plain).to_ascii_lowercase();
            if !is_host_name(&plain) {
                return Err(wrong());
            }
            if suffix.is_some() { NamePattern::Under(format!(".{plain}").into()) } else { NamePattern::Exactly(plain.into()) }
        };
        Ok(Self { name, port })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            NamePattern::Any => f.write_str("*")?,
            NamePattern::Exactly(name) if name.contains(':') => write!(f, "[{name}]")?,
            NamePattern::Exactly(name) => f.write_str(name)?,
            NamePattern::Under(suffix) => write!(f, "*{suffix}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Letters, digits, hyphens and underscores in labels of 1 to 63, 253 in all. The underscore is not in RFC 1123, but in many container networks.
pub(super) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// What a handler may reach. Clones share the lists.
#[derive(Debug, Clone)]
pub struct Grants {
    /// A host must be in every one of these.
    lists: Arc<[Arc<[HostPattern]>]>,
}

impl Grants {
    /// Any host; the rules still decide.
    pub fn any() -> Self {
        Self { lists: Arc::default() }
    }

    /// No host at all.
    pub fn none() -> Self {
        Self { lists: Arc::new([Arc::default()]) }
    }

    /// The hosts that match one of these. The error says which text is not a pattern.
    pub fn of<T: AsRef<str>>(patterns: &[T]) -> Result<Self, String> {
        let list: Result<Arc<[HostPattern]>, String> = patterns.iter().map(|text| text.as_ref().parse()).collect();
        Ok(Self { lists: Arc::new([list?]) })
    }

    /// The hosts that are in both: what a handler asks for, what it is granted, what a hook leaves of it.
    pub fn and(&self, narrower: &Self) -> Self {
        Self { lists: self.lists.iter().chain(narrower.lists.iter()).cloned().collect() }
    }

    /// The refusal, for people.
    pub(super) fn judge(&self, host: &str, port: u16) -> Result<(), String> {
        let Some(list) = self.lists.iter().find(|list| !list.iter().any(|pattern| pattern.matches(host, port))) else {
            return Ok(());
        };
        let wanted = exactly(host, port);
        let granted = if list.is_empty() { "no host".into() } else { listed(list.iter()) };
        Err(format!(
            "{wanted} is not granted to this handler (granted: {granted}); a grant of `{}` or `{wanted}` would allow it",
            bracketed(host)
        ))
    }
}

/// One entry of `egress.deny`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DenyRule {
    /// `private`: loopback, private networks, carrier-grade NAT, reserved.
    Private,
    /// `10.1.0.0/16`, or one address.
    Net(IpNet),
    /// A host of a URL.
    Host(HostPattern),
}

impl FromStr for DenyRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "private" { Ok(Self::Private) } else { net_or_host(text, Self::Net, Self::Host) }
    }
}

impl fmt::Display for DenyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("private"),
            Self::Net(net) => net.fmt(f),
            Self::Host(host) => host.fmt(f),
        }
    }
}

/// One entry of `egress.allow`: a hole in `egress.deny`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowRule {
    /// `10.1.0.0/16`, or one address.
    Net(IpNet),
    /// A host of a URL, wherever it leads.
    Host(HostPattern),
}

impl FromStr for AllowRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        net_or_host(text, Self::Net, Self::Host)
    }
}

fn net_or_host<R>(text: &str, net: fn(IpNet) -> R, host: fn(HostPattern) -> R) -> Result<R, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(net(address::canonical(address).into()));
    }
    if text.contains('/') {
        return text.parse().map(|found: IpNet| net(found.trunc())).map_err(|_| format!("'{text}' is not a network: write `10.1.0.0/16`"));
    }
    text.parse().map(host)
}

/// The operator's rules, for every handler. Without any, all is allowed but what is always refused.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// `egress.deny`.
    pub deny: Vec<DenyRule>,
    /// `egress.allow`.
    pub allow: Vec<AllowRule>,
}

impl Rules {
    /// From the texts of the settings. The error names the setting and the entry.
    pub fn of<T: AsRef<str>>(deny: &[T], allow: &[T]) -> Result<Self, String> {
        fn all<R: FromStr<Err = String>, T: AsRef<str>>(setting: &str, texts: &[T]) -> Result<Vec<R>, String> {
            let read = |(at, text): (usize, &T)| text.as_ref().parse().map_err(|wrong| format!("{setting}[{at}]: {wrong}"));
            texts.iter().enumerate().map(read).collect()
        }
        Ok(Self { deny: all("egress.deny", deny)?, allow: all("egress.allow", allow)? })
    }

    /// Before the name is resolved, so that a refused host does not even cause a lookup. Hosts that an allowed network may still save pass.
    pub(super) fn judge_host(&self, host: &str, port: u16) -> Result<(), String> {
        let denies = |rule: &&DenyRule| matches!(rule, DenyRule::Host(pattern) if pattern.matches(host, port));
        let may_be_saved = |rule: &AllowRule| match rule {
            AllowRule::Net(_) => true,
            AllowRule::Host(pattern) => pattern.matches(host, port),
        };
        match self.deny.iter().find(denies) {
            Some(rule) if !self.allow.iter().any(may_be_saved) => {
                Err(format!("{} is refused by egress.deny = [\"{rule}\"]; {}", exactly(host, port), hole(host, None)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// One address that the host resolved to.
    pub(super) fn judge_address(&self, host: &str, port: u16, address: IpAddr) -> Result<(), String> {
        let of_host = if host.parse() == Ok(address) { String::new() } else { format!(", an address of {host},") };
        if let Some(kind) = address::never(address) {
            return Err(format!("{address}{of_host} is {kind}, which is always refused"));
        }
        let Some((rule, kind)) = self.deny.iter().find_map(|rule| denied(rule, host, port, address).map(|kind| (rule, kind))) else {
            return Ok(());
        };
        let allowed = self.allow.iter().any(|rule| match rule {
            // What is inside an IPv6 address does not count here: a hole is as small as it was written.
            AllowRule::Net(net) => net.contains(&address::canonical(address)),
            AllowRule::Host(pattern) => pattern.matches(host, port),
        });
        if allowed {
            return Ok(());
        }
        Err(format!("{address}{of_host} is {kind}, refused by egress.deny = [\"{rule}\"]; {}", hole(host, Some(address))))
    }
}

/// What the address is, if this rule denies it.
fn denied(rule: &DenyRule, host: &str, port: u16, address: IpAddr) -> Option<&'static str> {
    match rule {
        DenyRule::Private => address::private(address),
        DenyRule::Net(net) => address::faces(address).any(|face| net.contains(&face)).then_some("in a denied network"),
        DenyRule::Host(pattern) => pattern.matches(host, port).then_some("the address of a denied host"),
    }
}

/// The settings line that would allow it.
fn hole(host: &str, address: Option<IpAddr>) -> String {
    let host = bracketed(host);
    match address.map(|address| address.to_string()) {
        Some(address) if address != host && format!("[{address}]") != host => {
            format!("egress.allow = [\"{host}\"] or egress.allow = [\"{address}\"] would allow it")
        }
        Some(_) | None => format!("egress.allow = [\"{host}\"] would allow it"),
    }
}

fn exactly(host: &str, port: u16) -> String {
    format!("{}:{port}", bracketed(host))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.into() }
}

fn listed<'a>(patterns: impl Iterator<Item = &'a HostPattern>) -> String {
    /// A longer list does not help who reads it.
    const NAMED_MAX: usize = 8;
    let mut texts: Vec<String> = patterns.take(NAMED_MAX + 1).map(ToString::to_string).collect();
    if texts.len() > NAMED_MAX {
        texts[NAMED_MAX] = "…".into();
    }
    texts.join(", ")
}
