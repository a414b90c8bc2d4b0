//! Locks on files, let go at once when they are dropped.
//!
//! A process that is being started has a copy of every open file until it has begun its own program, and a lock goes with the
//! last copy: closing the file is not enough.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// A lock on a file that is there for nothing else.
#[derive(Debug)]
pub(crate) struct FileLock(File);

impl FileLock {
    /// Locks for nobody else; `None` when somebody has it.
    pub(crate) fn exclusive(path: &Path) -> io::Result<Option<Self>> {
        let file = File::create(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Locks with others who do the same, once nobody has it for themselves.
    pub(crate) fn shared(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        file.lock_shared()?;
        Ok(Self(file))
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        let _ = self.0.unlock(); // else it goes with the file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_dropped_is_free_though_somebody_has_a_copy_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let lock = FileLock::exclusive(&path).unwrap().unwrap();
        let copy = lock.0.try_clone().unwrap();
        assert!(FileLock::exclusive(&path).unwrap().is_none());
        drop(lock);
        assert!(FileLock::exclusive(&path).unwrap().is_some());
        drop(copy);
    }
}
