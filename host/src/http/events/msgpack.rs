//! MessagePack bodies: written as JSON text, which then goes the way of every JSON body.
//!
//! The format is small enough to be read here, byte by byte: a general reader hides extension types behind its own and does not tell where it
//! stumbled. What JSON has no form for (extension types, binary data, keys that are no strings, numbers that are not finite) is refused with its byte.

use bytes::Bytes;

use super::scan::{DEPTH_MAX, malformed};
use crate::http::Settings;
use crate::http::problem::Problem;

/// Writes the body as JSON. `data_alone`: the body is one event's data, not event objects. The JSON text may be no longer than a body.
pub(super) fn to_json(body: &[u8], settings: &Settings, data_alone: bool) -> Result<Bytes, Problem> {
    let mut reader =
        Reader { body, at: 0, depth: usize::from(data_alone), json: Vec::with_capacity(body.len() * 2), max: settings.max_body };
    if !data_alone {
        reader.check_batch(settings.max_batch)?;
    }
    reader.value()?;
    if reader.at < body.len() {
        return Err(malformed("MessagePack: the body goes on after its value", reader.at));
    }
    Ok(reader.json.into())
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    depth: usize,
    json: Vec<u8>,
    /// Bytes of JSON text.
    max: usize,
}

impl<'a> Reader<'a> {
    /// An array says at once how many elements it has.
    fn check_batch(&self, max: usize) -> Result<(), Problem> {
        let mut ahead = Reader { body: self.body, at: 0, depth: 0, json: Vec::new(), max: 0 };
        let events = match ahead.byte()? {
            marker @ 0x90..=0x9f => usize::from(marker & 0x0f),
            0xdc => ahead.length::<2>()?,
            0xdd => ahead.length::<4>()?,
            _ => return Ok(()),
        };
        if events <= max {
            return Ok(());
        }
        Err(Problem::TooLarge { what: format!("the request has {events} events"), limit: max, setting: Some("events.max_batch") })
    }

    /// One value.
    fn value(&mut self) -> Result<(), Problem> {
        let at = self.at;
        match self.byte()? {
            small @ 0x00..=0x7f => self.write(&small),
            marker @ 0x80..=0x8f => self.map(usize::from(marker & 0x0f), at),
            marker @ 0x90..=0x9f => self.array(usize::from(marker & 0x0f), at),
            marker @ 0xa0..=0xbf => self.string(usize::from(marker & 0x1f)),
            0xc0 => self.raw(b"null"),
            0xc1 => Err(malformed("MessagePack: the marker 0xc1 is never used", at)),
            0xc2 => self.raw(b"false"),
            0xc3 => self.raw(b"true"),
            0xc4..=0xc6 => Err(malformed("MessagePack: binary data has no form in JSON; send it as text, such as base64,", at)),
            0xc7..=0xc9 | 0xd4..=0xd8 => Err(malformed("MessagePack: an extension type has no form in JSON", at)),
            0xca => self.float(|reader| reader.take().map(f32::from_be_bytes), at),
            0xcb => self.double(at),
            0xcc => self.number(u8::from_be_bytes),
            0xcd => self.number(u16::from_be_bytes),
            0xce => self.number(u32::from_be_bytes),
            0xcf => self.number(u64::from_be_bytes),
            0xd0 => self.number(i8::from_be_bytes),
            0xd1 => self.number(i16::from_be_bytes),
            0xd2 => self.number(i32::from_be_bytes),
            0xd3 => self.number(i64::from_be_bytes),
            0xd9 => self.length::<1>().and_then(|length| self.string(length)),
            0xda => self.length::<2>().and_then(|length| self.string(length)),
            0xdb => self.length::<4>().and_then(|length| self.string(length)),
            0xdc => self.length::<2>().and_then(|length| self.array(length, at)),
            0xdd => self.length::<4>().and_then(|length| self.array(length, at)),
            0xde => self.length::<2>().and_then(|length| self.map(length, at)),
            0xdf => self.length::<4>().and_then(|length| self.map(length, at)),
            negative @ 0xe0..=0xff => self.write(&negative.cast_signed()),
        }
    }

    fn array(&mut self, length: usize, at: usize) -> Result<(), Problem> {
        self.enter(at)?;
        self.raw(b"[")?;
        for index in 0..length {
            if index > 0 {
                self.raw(b",")?;
            }
            self.value()?;
        }
        self.depth -= 1;
        self.raw(b"]")
    }

    fn map(&mut self, length: usize, at: usize) -> Result<(), Problem> {
        self.enter(at)?;
        self.raw(b"{")?;
        for index in 0..length {
            if index > 0 {
                self.raw(b",")?;
            }
            self.key()?;
            self.raw(b":")?;
            self.value()?;
        }
        self.depth -= 1;
        self.raw(b"}")
    }

    fn key(&mut self) -> Result<(), Problem> {
        match self.body.get(self.at) {
            None | Some(0xa0..=0xbf | 0xd9..=0xdb) => self.value(),
            Some(_) => Err(malformed("MessagePack: a key of a map is not a string", self.at)),
        }
    }

    fn string(&mut self, length: usize) -> Result<(), Problem> {
        let at = self.at;
        let bytes = self.bytes(length)?;
        let text =
            std::str::from_utf8(bytes).map_err(|error| malformed("MessagePack: a string is not valid UTF-8", at + error.valid_up_to()))?;
        self.write(text)
    }

    fn number<const N: usize, T: serde::Serialize>(&mut self, read: fn([u8; N]) -> T) -> Result<(), Problem> {
        let number = read(self.take()?);
        self.write(&number)
    }

    fn double(&mut self, at: usize) -> Result<(), Problem> {
        let double = f64::from_be_bytes(self.take()?);
        if double.is_finite() { self.write(&double) } else { Err(not_finite(at)) }
    }

    /// Written with as many digits as a single needs, not as the double that it would become.
    fn float(&mut self, read: impl Fn(&mut Self) -> Result<f32, Problem>, at: usize) -> Result<(), Problem> {
        let float = read(self)?;
        if float.is_finite() { self.write(&float) } else { Err(not_finite(at)) }
    }

    fn enter(&mut self, at: usize) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(malformed(&format!("MessagePack: nests deeper than {DEPTH_MAX} levels"), at));
        }
        Ok(())
    }

    fn length<const N: usize>(&mut self) -> Result<usize, Problem> {
        Ok(self.take::<N>()?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let rest = self.body.get(self.at..).unwrap_or_default();
        let taken = rest.first_chunk::<N>().copied().ok_or_else(|| self.cut())?;
        self.at += N;
        Ok(taken)
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Problem> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.body.len()).ok_or_else(|| self.cut())?;
        let bytes = &self.body[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn cut(&self) -> Problem {
        malformed("MessagePack: the body ends inside a value", self.body.len())
    }

    fn write<T: serde::Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        serde_json::to_writer(&mut self.json, value).map_err(|error| Problem::Internal(error.to_string()))?;
        self.fits()
    }

    fn raw(&mut self, text: &[u8]) -> Result<(), Problem> {
        self.json.extend_from_slice(text);
        self.fits()
    }

    fn fits(&self) -> Result<(), Problem> {
        if self.json.len() <= self.max {
            return Ok(());
        }
        Err(Problem::TooLarge { what: "the body has more bytes as JSON".into(), limit: self.max, setting: Some("events.max_body") })
    }
}

fn not_finite(at: usize) -> Problem {
    malformed("MessagePack: a number that is not finite has no form in JSON", at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(body: &[u8]) -> String {
        let settings = Settings { max_body: 1000, max_batch: 3, ..Settings::default() };
        match to_json(body, &settings, false) {
            Ok(json) => String::from_utf8(json.to_vec()).unwrap(),
            Err(Problem::Malformed(message)) => message,
            Err(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn every_kind_of_value_has_its_json() {
        assert_eq!(json(b"\x82\xa6source\xa1s\xa4data\x93\x01\xff\xc0"), r#"{"source":"s","data":[1,-1,null]}"#);
        assert_eq!(json(b"\x93\xc2\xc3\xd9\x02\"\n"), r#"[false,true,"\"\n"]"#);
        assert_eq!(json(b"\xda\x00\x01a"), r#""a""#);
        assert_eq!(json(b"\xdb\x00\x00\x00\x01a"), r#""a""#);
        assert_eq!(json(b"\xdc\x00\x01\xcc\xff"), "[255]");
        assert_eq!(json(b"\xdd\x00\x00\x00\x01\xcd\xff\xff"), "[65535]");
        assert_eq!(json(b"\xde\x00\x01\xa1a\xce\xff\xff\xff\xff"), r#"{"a":4294967295}"#);
        assert_eq!(json(b"\xdf\x00\x00\x00\x01\xa1a\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), r#"{"a":18446744073709551615}"#);
        assert_eq!(json(b"\x91\xd0\x80"), "[-128]");
        assert_eq!(json(b"\x91\xd1\x80\x00"), "[-32768]");
        assert_eq!(json(b"\x91\xd2\x80\x00\x00\x00"), "[-2147483648]");
        assert_eq!(json(b"\x91\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), "[-9223372036854775808]");
        assert_eq!(json(&[b"\x91\xca".as_slice(), &0.1f32.to_be_bytes()].concat()), "[0.1]");
        assert_eq!(json(&[b"\x91\xcb".as_slice(), &1e300f64.to_be_bytes()].concat()), "[1e+300]");
    }

    #[test]
    fn what_json_cannot_say_is_named_with_its_byte() {
        assert_eq!(json(b"\x91\xd4\x01\x00"), "MessagePack: an extension type has no form in JSON at byte 1");
        assert_eq!(json(b"\x91\xc7\x00\x01"), "MessagePack: an extension type has no form in JSON at byte 1");
        assert_eq!(json(b"\x91\xc4\x00"), "MessagePack: binary data has no form in JSON; send it as text, such as base64, at byte 1");
        assert_eq!(json(b"\x82\xa1a\x01\x02\x03"), "MessagePack: a key of a map is not a string at byte 4");
        assert_eq!(json(b"\x91\xa2a\xff"), "MessagePack: a string is not valid UTF-8 at byte 3");
        assert_eq!(json(b"\x91\xc1"), "MessagePack: the marker 0xc1 is never used at byte 1");
        for number in [f64::NAN, f64::INFINITY] {
            let body = [b"\x91\xcb".as_slice(), &number.to_be_bytes()].concat();
            assert_eq!(json(&body), "MessagePack: a number that is not finite has no form in JSON at byte 1");
        }
        let body = [b"\x91\xca".as_slice(), &f32::NEG_INFINITY.to_be_bytes()].concat();
        assert_eq!(json(&body), "MessagePack: a number that is not finite has no form in JSON at byte 1");
    }

    #[test]
    fn a_body_that_lies_about_its_length_is_cut() {
        for body in [&b""[..], b"\x92\x01", b"\xdb\xff\xff\xff\xffa", b"\xdf\xff\xff\xff\xff", b"\xcb\x00", b"\x81\xa1a", b"\x81", b"\xd9"]
        {
            let expected = format!("MessagePack: the body ends inside a value at byte {}", body.len());
            assert_eq!(json(body), expected, "{body:?}");
        }
        assert_eq!(json(b"\x80\x80"), "MessagePack: the body goes on after its value at byte 1");
    }

    #[test]
    fn limits_hold_before_and_while_writing() {
        assert_eq!(json(&[0x91; 127].iter().copied().chain([0x90]).collect::<Vec<_>>()).len(), 256);
        assert_eq!(json(&[0x91; 200]), "MessagePack: nests deeper than 128 levels at byte 128");
        assert!(json(b"\x94\x80\x80\x80\x80").contains("the request has 4 events"));
        assert!(json(b"\xdd\xff\xff\xff\xff").contains("the request has 4294967295 events"));
        let amplified = [b"\x91\xda\x00\xc8".as_slice(), &[1; 200]].concat();
        assert!(json(&amplified).contains("more bytes as JSON"), "200 control characters are 1200 bytes of JSON");
    }
}
