//! `tenterhook token`: a new token for who will hold it, and the line with its hash for the settings.

use clap::Args;

use crate::config::{TokenHash, new_token};

/// `tenterhook token`
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    /// For producers, who post events; without it for operators, who use the Admin API
    #[arg(long)]
    pub events: bool,
    /// With --events: a source that may be emitted, which may end in `*`; may be said again [default: every source]
    #[arg(long, value_name = "SOURCE", requires = "events")]
    pub source: Vec<String>,
}

/// Makes a token and says what to do with it: the text for standard output.
pub fn run(args: &TokenArgs) -> std::io::Result<String> {
    let (token, hash) = new_token()?;
    let lines = lines(args, &hash);
    Ok(format!("{token}\n\nShown once. Send it as `Authorization: Bearer {token}`.\nIts hash, for the settings:\n\n{lines}"))
}

fn lines(args: &TokenArgs, hash: &TokenHash) -> String {
    if !args.events {
        return format!("[auth]\nadmin_tokens = [\"{hash}\"]\n");
    }
    if args.source.is_empty() {
        return format!("[auth]\nevents_tokens = [\"{hash}\"]\n");
    }
    // JSON's strings are TOML's.
    let sources: Vec<String> = args.source.iter().map(|source| serde_json::Value::from(source.as_str()).to_string()).collect();
    format!("[auth]\nevents_tokens = [{{ hash = \"{hash}\", sources = [{}] }}]\n", sources.join(", "))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::{Config, load};

    fn settings(text: &str) -> Config {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.split("settings:\n\n").nth(1).unwrap().as_bytes()).unwrap();
        load(Some(file.path()), [], []).unwrap().config
    }

    #[test]
    fn the_printed_lines_are_settings_that_know_the_printed_token() {
        let text = run(&TokenArgs { events: false, source: Vec::new() }).unwrap();
        let hash = TokenHash::of(text.lines().next().unwrap());
        assert_eq!(settings(&text).auth.admin_tokens, [hash]);

        let text = run(&TokenArgs { events: true, source: vec!["shop".to_owned(), "a \"b\"*".to_owned()] }).unwrap();
        let hash = TokenHash::of(text.lines().next().unwrap());
        let token = &settings(&text).auth.events_tokens[0];
        assert_eq!(token.hash, hash);
        assert!(token.may_emit("shop") && token.may_emit("a \"b\"c") && !token.may_emit("crm"));

        let text = run(&TokenArgs { events: true, source: Vec::new() }).unwrap();
        assert!(settings(&text).auth.events_tokens[0].may_emit("anything"));
    }
}
