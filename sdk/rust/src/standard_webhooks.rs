//! Standard Webhooks 1.0.0: the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`, symmetric signatures (`v1`).

use std::fmt;

use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, Engine};

use crate::Request;
use crate::sign::hmac_sha256;

/// Secrets are typed in and copied by people, and padding is what gets lost.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&ALPHABET, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// A signing key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// A secret that starts with `whsec_` and goes on with something that is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretError;

impl Secret {
    /// `whsec_` and base64: the decoded bytes are the key. Any other text: its bytes are the key.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        match text.strip_prefix("whsec_") {
            Some(encoded) => LENIENT.decode(encoded).map(Self).map_err(|_| SecretError),
            None => Ok(Self(text.as_bytes().to_vec())),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected base64 after 'whsec_'")
    }
}

impl std::error::Error for SecretError {}

/// The value of `webhook-signature`: one `v1,…` for each secret, separated by spaces. While a secret is being replaced, sign with the old one and
/// the new one: a receiver accepts if either matches. `id` must not contain a dot.
pub fn signature(secrets: &[Secret], id: &str, timestamp: u64, body: &[u8]) -> String {
    let timestamp = timestamp.to_string();
    let mut text = String::with_capacity(48 * secrets.len());
    for Secret(key) in secrets {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str("v1,");
        let parts: [&[u8]; 5] = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        STANDARD.encode_string(hmac_sha256(key, &parts), &mut text);
    }
    text
}

/// Sets the three headers on a request that already has its body. Without secrets there is no `webhook-signature`.
///
/// `id` is the event's id, which is the same on every attempt: it is how a receiver recognises a repeat. `timestamp` is this attempt's time, see
/// [`clock::unix_seconds`](crate::clock::unix_seconds).
pub fn sign(request: Request, id: &str, timestamp: u64, secrets: &[Secret]) -> Request {
    let signature = (!secrets.is_empty()).then(|| signature(secrets, id, timestamp, request.body.as_deref().unwrap_or_default()));
    let request = request.header("webhook-id", id).header("webhook-timestamp", timestamp.to_string());
    match signature {
        Some(signature) => request.header("webhook-signature", signature),
        None => request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";

    fn sign_one(secret: &str, id: &str, timestamp: u64, body: &str) -> String {
        signature(&[Secret::new(secret).unwrap()], id, timestamp, body.as_bytes())
    }

    #[test]
    fn the_published_vectors_hold() {
        let a = sign_one(
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
        );
        assert_eq!(a, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
        let b = sign_one(OTHER, OTHER_ID, 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(b, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn an_empty_body_and_one_beyond_ascii_are_signed() {
        let c = sign_one(OTHER, OTHER_ID, 1_614_265_330, "");
        assert_eq!(c, "v1,v48jdbgvh29KJz2Qc+ghw8G6vG3nAKnujWBg8oM/62A=");
        let d = sign_one(OTHER, OTHER_ID, 1_614_265_330, r#"{"n":"é€"}"#);
        assert_eq!(d, "v1,Vo6PfMgpdz+AYSjnf6B+7ikBYR+W9nd3C3C/ndwyZ38=");
    }

    #[test]
    fn two_secrets_give_two_signatures() {
        let secrets = [Secret::new("old").unwrap(), Secret::new(OTHER).unwrap()];
        let both = signature(&secrets, OTHER_ID, 1_614_265_330, br#"{"test": 2432232314}"#);
        let old = sign_one("old", OTHER_ID, 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(both, format!("{old} v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn a_plain_secret_is_its_bytes_and_padding_may_be_missing() {
        assert_eq!(Secret::new("hunter2"), Ok(Secret(b"hunter2".to_vec())));
        assert_eq!(Secret::new("whsec_aGk="), Ok(Secret(b"hi".to_vec())));
        assert_eq!(Secret::new("whsec_aGk"), Ok(Secret(b"hi".to_vec())));
        assert_eq!(Secret::new("whsec_!"), Err(SecretError));
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Ok(Secret(…))");
    }

    #[test]
    fn without_a_secret_there_is_no_signature() {
        let request = sign(Request::post("http://h/").body("x"), "evt_1", 5, &[]);
        assert_eq!(request.header_text("webhook-id"), Some("evt_1"));
        assert_eq!(request.header_text("webhook-timestamp"), Some("5"));
        assert_eq!(request.header_value("webhook-signature"), None);
    }
}
