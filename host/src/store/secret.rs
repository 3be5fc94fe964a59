//! The store's own secret: sealing what is secret at rest, and the keys of fingerprints. It is no store of named secrets.
//!
//! One key of 32 bytes, made at first start in a file of mode 0600 or given by the operator; what is derived from it is separated by purpose.

use std::path::Path;

use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::StoreError;
use super::seam::{FaultPoint, Seam};

/// Bytes of a nonce, in front of what is sealed. Random ones are safe at this length.
const NONCE_BYTES: usize = 24;

/// The name of the key's file in the data folder.
const FILE: &str = "key";

/// Seals, opens and fingerprints.
pub(super) struct Sealer {
    cipher: XChaCha20Poly1305,
    /// Fingerprints of (source, key) are keyed, so that nobody can choose two that collide.
    fingerprints: [u8; 32],
    seam: Seam,
}

impl Sealer {
    /// With the key given, or the one in `dir`, or a new one there. A given key is never written.
    pub(super) fn load(dir: &Path, given: Option<[u8; 32]>, seam: &Seam) -> Result<Self, StoreError> {
        let key = match given {
            Some(key) => key,
            None => Self::load_file(&dir.join(FILE), seam)?,
        };
        let derive = |purpose: &[u8]| -> [u8; 32] {
            let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&key).expect("HMAC takes keys of every length");
            mac.update(purpose);
            mac.finalize().into_bytes().into()
        };
        let cipher = XChaCha20Poly1305::new(&derive(b"seal v1").into());
        Ok(Self { cipher, fingerprints: derive(b"fingerprint v1"), seam: seam.clone() })
    }

    fn load_file(path: &Path, seam: &Seam) -> Result<[u8; 32], StoreError> {
        match std::fs::read(path) {
            Ok(bytes) => bytes.try_into().map_err(|_| StoreError::corrupt(path.display().to_string(), "a key file is 32 bytes long")),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let mut key = [0; 32];
                seam.random(&mut key)?;
                seam.write_file(FaultPoint::Setup, path, &key)?;
                Ok(key)
            }
            Err(e) => Err(StoreError::file(path, e)),
        }
    }

    /// Nonce, cipher text, tag.
    pub(super) fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE_BYTES];
        self.seam.random(&mut nonce)?;
        let sealed = self.cipher.encrypt(XNonce::from_slice(&nonce), plain);
        let sealed = sealed.map_err(|_| StoreError::Conflict("more than 256 GiB cannot be sealed".into()))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// None: another key, or changed.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
        self.cipher.decrypt(XNonce::from_slice(nonce), sealed).ok()
    }

    /// The fingerprint of a producer's key.
    pub(super) fn fingerprint(&self, source: &str, key: &str) -> [u8; 16] {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.fingerprints).expect("HMAC takes keys of every length");
        // The length in front keeps ("ab", "c") and ("a", "bc") apart.
        mac.update(&(source.len() as u64).to_be_bytes());
        mac.update(source.as_bytes());
        mac.update(key.as_bytes());
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        let mut half = [0; 16];
        half.copy_from_slice(&whole[..16]);
        half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let seam = Seam::default();
        let first = Sealer::load(dir.path(), None, &seam).unwrap();
        let sealed = first.seal(b"secret").unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        let again = Sealer::load(dir.path(), None, &seam).unwrap();
        assert_eq!(again.open(&sealed).as_deref(), Some(b"secret".as_slice()));
        assert_eq!(again.fingerprint("a", "bc"), first.fingerprint("a", "bc"));
        assert_ne!(again.fingerprint("a", "bc"), again.fingerprint("ab", "c"));
        let other = Sealer::load(dir.path(), Some([7; 32]), &seam).unwrap();
        assert_eq!(other.open(&sealed), None);
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
