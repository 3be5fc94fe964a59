//! Message authentication codes, for signature schemes that are not Standard Webhooks: Kong's, GitHub's, Stripe's.

use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;

use crate::HmacAlgorithm;

/// HMAC-SHA256 over the parts, one after the other, as if they were one message.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// HMAC-SHA1 over the parts: for receivers that know nothing newer.
pub fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The value of `X-Kong-Signature`: `sha256=<hex>`. The key is the secret's text as it stands, `whsec_` included: Kong knows no other form.
pub fn kong(secret: &str, algorithm: HmacAlgorithm, body: &[u8]) -> String {
    let mut text = String::with_capacity(72);
    text.push_str(algorithm.as_str());
    text.push('=');
    match algorithm {
        HmacAlgorithm::Sha256 => push_hex(&mut text, &hmac_sha256(secret.as_bytes(), &[body])),
        HmacAlgorithm::Sha1 => push_hex(&mut text, &hmac_sha1(secret.as_bytes(), &[body])),
    }
    text
}

/// Appends lower-case hex digits.
pub fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.reserve(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    push_hex(&mut text, bytes);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key `hunter2`: body, HMAC-SHA1, HMAC-SHA256. The first pair is the one that Kong's own tests publish.
    const KONG: [(&str, &str, &str); 3] = [
        ("foobar", "47632029fcc7936dc59ff90b5bb736a44c74ab62", "5a358840a04feeb31ef3f2ee5025f9c8ca772beece1dabc628a84dc946809eea"),
        (
            r#"{"event":"some_event","some":"data","source":"some_source"}"#,
            "5735919d84815191abc598a3587f876a63931231",
            "06de403c9f60eaf69cd85370e11a2a176c1b6e85817b971ea50a080239c6a0ea",
        ),
        ("", "a39f5301f48d7956ac264dad0b0be1d2603778da", "a9ee5d331179aed5d1fba6cd59acb1461a65410fa9cb709781d1d9b2a32fd5c1"),
    ];

    #[test]
    fn kongs_vectors_hold() {
        for (body, sha1, sha256) in KONG {
            assert_eq!(hex(&hmac_sha1(b"hunter2", &[body.as_bytes()])), sha1, "{body}");
            assert_eq!(hex(&hmac_sha256(b"hunter2", &[body.as_bytes()])), sha256, "{body}");
        }
    }

    #[test]
    fn githubs_and_stripes_vectors_hold() {
        assert_eq!(
            hex(&hmac_sha256(b"It's a Secret to Everybody", &[b"Hello, World!"])),
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
        let parts: [&[u8]; 3] = [b"1492774577", b".", br#"{"id":"evt_1","object":"event"}"#];
        assert_eq!(hex(&hmac_sha256(b"whsec_test_secret", &parts)), "654b43d3508ecadb3f8cefc4bc7d3d2bdc5ba9e03bf2c89b2d0657a8e24e4543");
    }
}
