//! Makes tokens. Who holds one shows it in a header; the settings hold its hash alone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::TokenHash;

/// Random bytes in a token: as many as its hash has, so guessing either is equally hopeless.
const TOKEN_BYTES: usize = 32;

/// What tokens start with, so that scanners for leaked secrets can find them.
const TOKEN_PREFIX: &str = "thk_";

/// A new random token and its hash. The error is the operating system's, when it has no randomness to give.
pub fn new_token() -> std::io::Result<(String, TokenHash)> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    let token = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let hash = TokenHash::of(&token);
    Ok((token, hash))
}

impl TokenHash {
    /// The hash of a token. Tokens are random, so a fast hash without salt is enough.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_random_and_their_hash_is_sha_256() {
        let (first, hash) = new_token().unwrap();
        let (second, _) = new_token().unwrap();
        assert_ne!(first, second);
        assert_eq!(first.len(), TOKEN_PREFIX.len() + 43);
        assert_eq!(hash, TokenHash::of(&first));
        assert_eq!(TokenHash::of("abc").to_string(), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
