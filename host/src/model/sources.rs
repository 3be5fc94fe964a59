//! The registered sources and their events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is known about one event of one source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SourceEvent {
    /// The names of the data's top-level members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
    /// Those that make two events the same, for `on_change` and `snooze`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Vec<String>>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema 2020-12 that the data has to fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<serde_json::Value>,
}

/// Source name → event name → what is known.
pub type Sources = BTreeMap<String, BTreeMap<String, SourceEvent>>;

/// The catalogue of Kong's documentation: registered at first start, and not removable.
pub fn catalogue() -> Sources {
    let mut sources = Sources::new();
    let mut put = |source: &str, event: &str, fields: &[&str], unique: &[&str], description: &str| {
        let list = |names: &[&str]| (!names.is_empty()).then(|| names.iter().map(ToString::to_string).collect());
        let about = SourceEvent {
            fields: list(fields),
            unique: list(unique),
            description: (!description.is_empty()).then(|| description.to_owned()),
            schema: None,
        };
        sources.entry(source.to_owned()).or_default().insert(event.to_owned(), about);
    };
    const CRUD: &[&str] = &["operation", "entity", "old_entity", "schema"];
    for operation in ["create", "update", "delete"] {
        put("dao:crud", operation, CRUD, &[], "");
    }
    for entity in CRUD_ENTITIES {
        put("crud", entity, CRUD, &[], "");
        for operation in ["create", "update", "delete"] {
            put("crud", &format!("{entity}:{operation}"), CRUD, &[], "");
        }
    }
    put("balancer", "health", &["upstream_id", "ip", "port", "hostname", "health"], &[], "");
    const EXCEEDED: &str = "Run an event when a rate limit has been exceeded";
    let rate = ["consumer", "ip", "service", "rate", "limit", "window"];
    put("rate-limiting-advanced", "rate-limit-exceeded", &rate, &rate[..3], EXCEEDED);
    put("ai-rate-limiting-advanced", "rate-limit-exceeded", &rate, &rate[..3], EXCEEDED);
    put("service-protection", "rate-limit-exceeded", &rate[2..], &["service"], EXCEEDED);
    let oas = ["consumer", "ip", "service", "err"];
    put("oas-validation", "validation-failed", &oas, &oas[..3], "Run an event when oas validation fails");
    sources
}

/// Is this one of the catalogue's?
pub fn is_built_in(source: &str, event: &str) -> bool {
    catalogue().get(source).is_some_and(|events| events.contains_key(event))
}

/// The entities whose changes the source `crud` speaks of: core, enterprise, plugins.
const CRUD_ENTITIES: &[&str] = &[
    "workspaces",
    "consumers",
    "certificates",
    "services",
    "routes",
    "snis",
    "upstreams",
    "targets",
    "plugins",
    "tags",
    "ca_certificates",
    "clustering_data_planes",
    "parameters",
    "vaults",
    "key_sets",
    "keys",
    "filter_chains",
    "admins",
    "applications",
    "application_instances",
    "audit_objects",
    "audit_requests",
    "consumer_group_consumers",
    "consumer_group_plugins",
    "consumer_groups",
    "consumer_reset_secrets",
    "credentials",
    "developers",
    "document_objects",
    "event_hooks",
    "files",
    "group_rbac_roles",
    "groups",
    "keyring_keys",
    "keyring_meta",
    "legacy_files",
    "licenses",
    "login_attempts",
    "rbac_role_endpoints",
    "rbac_role_entities",
    "rbac_roles",
    "rbac_user_groups",
    "rbac_user_roles",
    "rbac_users",
    "workspace_entity_counters",
    "acls",
    "acme_storage",
    "basicauth_credentials",
    "hmacauth_credentials",
    "jwt_secrets",
    "keyauth_credentials",
    "oauth2_authorization_codes",
    "oauth2_credentials",
    "oauth2_tokens",
    "ratelimiting_metrics",
    "sessions",
    "session_metadatas",
    "degraphql_routes",
    "graphql_ratelimiting_advanced_cost_decoration",
    "header_cert_auth_credentials",
    "jwt_signer_jwks",
    "keyauth_enc_credentials",
    "konnect_applications",
    "mtls_auth_credentials",
    "vault_auth_vaults",
];
