//! What a handler says about itself when it is installed.

/// What a handler says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `slack-digest`: lower case, digits and hyphens. By default the package's name.
    pub name: String,
    /// Semantic version. By default the package's.
    pub version: String,
    /// One line for people. By default the package's description.
    pub summary: String,
    /// JSON Schema of the config, as text. Serves forms, documentation and the marking of secrets (`"x-secret": true`). Whether a config is valid
    /// is decided by [`Handler::validate`](crate::Handler::validate) alone. By default any object.
    pub config_schema: String,
    /// True: the host queues an event `kong:event_hooks`/`ping` for this handler's hooks when they are created, changed or deleted.
    pub wants_pings: bool,
    /// What it would like to be allowed. By default nothing.
    pub asks: Asks,
}

/// What a handler would like to be allowed. An operator grants all, some or none of it; a hook may narrow it further.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asks {
    /// Outbound hosts: `hooks.slack.com`, `*.example.com`, `example.com:8443`, or `*` for any (the host's own egress policy still decides).
    pub http_hosts: Vec<String>,
    /// Names of secrets.
    pub secrets: Vec<String>,
    /// A small store of its own for each hook.
    pub kv: bool,
    /// To queue further events.
    pub emit: bool,
}

impl Description {
    /// With everything else at its default. [`about!`](crate::about) takes the three from `Cargo.toml`.
    pub fn new(name: impl Into<String>, version: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            summary: summary.into(),
            config_schema: r#"{"type":"object"}"#.into(),
            wants_pings: false,
            asks: Asks::default(),
        }
    }
}
