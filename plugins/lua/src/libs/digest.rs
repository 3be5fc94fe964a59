//! Hashes.

use hmac::Mac as _;
use md5::Digest as _;

pub(super) fn md5(bytes: &[u8]) -> Vec<u8> {
    md5::Md5::digest(bytes).to_vec()
}

pub(super) fn sha1(bytes: &[u8]) -> Vec<u8> {
    sha1::Sha1::digest(bytes).to_vec()
}

pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    sha2::Sha256::digest(bytes).to_vec()
}

/// RFC 2104 over SHA-1.
pub(super) fn hmac_sha1(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    match hmac::Hmac::<sha1::Sha1>::new_from_slice(key) {
        Ok(mac) => mac.chain_update(bytes).finalize().into_bytes().to_vec(),
        // A key may have any length.
        Err(_) => Vec::new(),
    }
}

/// The CRC of RFC 1952 section 8, bit by bit from a table of 16: it is fast enough for a line of text and needs no kilobyte.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut index = 0;
        while index < 16 {
            let mut word = index as u32;
            let mut bit = 0;
            while bit < 4 {
                word = if word & 1 == 1 { word >> 1 ^ 0xedb8_8320 } else { word >> 1 };
                bit += 1;
            }
            table[index] = word;
            index += 1;
        }
        table
    };
    let half = |crc: u32, nibble: u32| TABLE[((crc ^ nibble) & 15) as usize] ^ crc >> 4;
    !bytes.iter().fold(!0, |crc, &byte| half(half(crc, u32::from(byte)), u32::from(byte >> 4)))
}

#[cfg(test)]
mod tests {
    use super::super::text::hexadecimal;
    use super::*;

    fn shown(bytes: Vec<u8>) -> String {
        String::from_utf8(hexadecimal(&bytes)).unwrap()
    }

    #[test]
    fn hashes_are_those_of_their_rfcs() {
        assert_eq!(shown(md5(b"abc")), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(shown(sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(shown(sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        // RFC 2202, cases 2 and 6.
        assert_eq!(shown(hmac_sha1(b"Jefe", b"what do ya want for nothing?")), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        let long = hmac_sha1(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(shown(long), "aa4ae5e15272d00e95705637ce8a3b55ed402112");
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
