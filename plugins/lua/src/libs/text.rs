//! Base64 and the escapes of URLs, as OpenResty has them.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 section 4, with or without padding.
pub(super) fn encode_base64(bytes: &[u8], padded: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().enumerate().fold(0_u32, |word, (index, &byte)| word | u32::from(byte) << (16 - 8 * index));
        let digits = (0..=group.len()).map(|index| ALPHABET[(word >> (18 - 6 * index) & 0x3f) as usize]);
        text.extend(digits);
        if padded {
            text.extend(std::iter::repeat_n(b'=', 3 - group.len()));
        }
    }
    text
}

/// Lenient as nginx is: the text ends at the first `=`, padding may be missing. None: another character, or one digit too many.
pub(super) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().position(|&byte| byte == b'=').unwrap_or(text.len());
    if end % 4 == 1 {
        return None;
    }
    let mut values = [None; 256];
    for (value, &digit) in (0_u32..).zip(ALPHABET) {
        values[usize::from(digit)] = Some(value);
    }
    let mut bytes = Vec::with_capacity(end / 4 * 3 + 3);
    for group in text[..end].chunks(4) {
        let mut word = 0;
        for (index, &digit) in group.iter().enumerate() {
            word |= values[usize::from(digit)]? << (18 - 6 * index);
        }
        bytes.extend_from_slice(&word.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

/// All but RFC 3986's unreserved characters; in a whole URL only what cannot stand in one.
pub(super) fn escape_uri(bytes: &[u8], whole: bool) -> Vec<u8> {
    const HEXADECIMAL: &[u8; 16] = b"0123456789ABCDEF";
    let plain = |byte: u8| match whole {
        true => !matches!(byte, 0..=0x20 | b'#' | b'%' | b'?' | 0x7f..),
        false => byte.is_ascii_alphanumeric() || b"-._~".contains(&byte),
    };
    let mut text = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        if plain(byte) {
            text.push(byte);
        } else {
            text.extend([b'%', HEXADECIMAL[usize::from(byte >> 4)], HEXADECIMAL[usize::from(byte & 15)]]);
        }
    }
    text
}

/// `+` is a space; a `%` without two digits stays.
pub(super) fn unescape_uri(text: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, digit(text.get(at + 1)), digit(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(high << 4 | low);
                at += 3;
                continue;
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(byte),
        }
        at += 1;
    }
    bytes
}

/// `dead`.
pub(super) fn hexadecimal(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let cases: [(&[u8], &[u8]); 8] = [
            (b"", b""),
            (b"f", b"Zg=="),
            (b"fo", b"Zm8="),
            (b"foo", b"Zm9v"),
            (b"foob", b"Zm9vYg=="),
            (b"fooba", b"Zm9vYmE="),
            (b"foobar", b"Zm9vYmFy"),
            (b"\xff\xfe\xfb\0", b"//77AA=="),
        ];
        for (bytes, text) in cases {
            assert_eq!(encode_base64(bytes, true), text);
            assert_eq!(decode_base64(text).as_deref(), Some(bytes));
            let bare: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'=').collect();
            assert_eq!(encode_base64(bytes, false), bare);
            assert_eq!(decode_base64(&bare).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for text in [&b"Z"[..], b"Zm9vY", b"Zm 9", b"Zm\n9", b"\xc3\xa9==", b"__4="] {
            assert_eq!(decode_base64(text), None, "{text:?}");
        }
        assert_eq!(decode_base64(b"Zg==junk").as_deref(), Some(&b"f"[..]));
    }

    #[test]
    fn urls_are_escaped_as_openresty_does() {
        assert_eq!(escape_uri("a b&c=d/é?~-._'()*!".as_bytes(), false), b"a%20b%26c%3Dd%2F%C3%A9%3F~-._%27%28%29%2A%21");
        assert_eq!(escape_uri(b"http://h/a b?c#d%\x01\x7f", true), b"http://h/a%20b%3Fc%23d%25%01%7F");
        assert_eq!(unescape_uri(b"b%r56+7"), b"b%r56 7");
        assert_eq!(unescape_uri(b"%20+%C3%a9%"), " \u{20}é%".as_bytes());
        assert_eq!(unescape_uri(b"%4"), b"%4");
    }

    #[test]
    fn hexadecimal_is_in_lower_case() {
        assert_eq!(hexadecimal(b"\x00\xab\xff"), b"00abff");
    }
}
