//! Handlers' components, as content-addressed files. Written and synced before the commit that names them.

use std::path::PathBuf;

use bytes::Bytes;

use super::StoreError;
use super::seam::FaultPoint;
use super::shared::Shared;
use crate::model::Digest;

impl Shared {
    fn component_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("components").join(format!("{digest}.wasm"))
    }

    /// Keeps a component. One that is there is not written again.
    pub(super) fn put_component(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        let path = self.component_path(&digest);
        // Only a file that was written whole has this name, but bits rot.
        if self.component(&digest).is_err() {
            self.seam.write_file(FaultPoint::Component, &path, bytes)?;
        }
        Ok(digest)
    }

    /// A component's bytes, checked against its digest.
    pub(super) fn component(&self, digest: &Digest) -> Result<Bytes, StoreError> {
        let path = self.component_path(digest);
        let bytes = std::fs::read(&path).map_err(|e| StoreError::file(&path, e))?;
        if Digest::of(&bytes) != *digest {
            return Err(StoreError::corrupt(path.display().to_string(), "the digest does not match"));
        }
        Ok(Bytes::from(bytes))
    }
}
