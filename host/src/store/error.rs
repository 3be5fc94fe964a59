//! What can go wrong with the store, told to the operator: which tree or file, which key, and what it means.

use std::io;
use std::path::Path;

/// An error of the store. The texts name the place; callers do not add it again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the database failed. The store is closed for writes until the next start, because what reached the disk is unknown.
    #[error("{place}: {source}")]
    Io {
        /// File, folder or tree, with the key where there is one.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something stored cannot be read back.
    #[error("{place}: damaged: {what}")]
    Corrupt {
        /// File, folder or tree, with the key where there is one.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// No room on the disk, or no file descriptor left. The commit did not happen; the store recovers by itself once there is room.
    #[error("{place}: no room")]
    Full {
        /// File, folder or tree, with what the system said.
        place: String,
    },
    /// Somebody else has the data folder, or it is of another version, or a change is not possible as things are.
    #[error("{0}")]
    Conflict(String),
}

/// ENOSPC and EDQUOT, ENFILE and EMFILE: all are cured by making room, and none says anything about what is on disk.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || matches!(error.raw_os_error(), Some(28 | 122 | 23 | 24))
}

impl StoreError {
    /// An error of the system at `place`.
    pub(crate) fn io(place: impl Into<String>, source: io::Error) -> Self {
        let place = place.into();
        if is_full(&source) { Self::Full { place: format!("{place} ({source})") } } else { Self::Io { place, source } }
    }

    /// An error of the system with a file or folder.
    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        Self::io(path.display().to_string(), source)
    }

    /// Something that cannot be read back.
    pub(crate) fn corrupt(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Corrupt { place: place.into(), what: what.into() }
    }

    /// An error of sled at `place`. Its other kinds are all about what lies on disk or about calls that we do not make.
    pub(crate) fn sled(place: impl Into<String>, source: sled::Error) -> Self {
        match source {
            sled::Error::Io(source) => Self::io(place, source),
            sled::Error::Corruption { .. } | sled::Error::CollectionNotFound(_) => Self::corrupt(place, source.to_string()),
            sled::Error::Unsupported(_) | sled::Error::ReportableBug(_) => {
                Self::Io { place: place.into(), source: io::Error::other(source) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_not_a_broken_disk() {
        assert!(matches!(StoreError::io("x", io::Error::from_raw_os_error(28)), StoreError::Full { .. }));
        assert!(matches!(StoreError::io("x", io::Error::from_raw_os_error(122)), StoreError::Full { .. }));
        let descriptors = StoreError::io("x", io::Error::from_raw_os_error(24)).to_string();
        assert!(descriptors.starts_with("x (Too many open files"), "{descriptors}");
        assert!(matches!(StoreError::io("x", io::Error::from_raw_os_error(5)), StoreError::Io { .. }));
    }
}
