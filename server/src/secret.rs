//! The secret that tokens are signed with: configured, or generated once and kept in the data directory.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tidings_config::{SECRET_BYTES_LEAST, Settings};

/// The secret, generated if there is none yet.
pub(crate) fn load_or_generate(settings: &Settings) -> anyhow::Result<Vec<u8>> {
    if let Some(secret) = configured(settings)? {
        return Ok(secret);
    }
    let path = path_in(&settings.data_dir);
    match generate(&path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("the secret cannot be written to {}", path.display()))
        }
        _ => read(&path),
    }
}

/// The secret that a server on this machine uses.
pub(crate) fn load(settings: &Settings) -> anyhow::Result<Vec<u8>> {
    if let Some(secret) = configured(settings)? {
        return Ok(secret);
    }
    let path = path_in(&settings.data_dir);
    if !path.exists() {
        bail!(
            "there is no secret in {}: run `tidings serve` with the same --data-dir first, or give a --token",
            settings.data_dir.display()
        );
    }
    read(&path)
}

fn configured(settings: &Settings) -> anyhow::Result<Option<Vec<u8>>> {
    match (&settings.token.secret, &settings.token.secret_file) {
        (Some(secret), _) => Ok(Some(secret.as_bytes().to_vec())),
        (None, Some(path)) => read(path).map(Some),
        (None, None) => Ok(None),
    }
}

fn path_in(data: &Path) -> PathBuf {
    data.join("secret")
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let text =
        std::fs::read(path).with_context(|| format!("the secret cannot be read from {}", path.display()))?;
    let secret = text.trim_ascii();
    if secret.len() < SECRET_BYTES_LEAST {
        bail!(
            "expected a secret of at least {SECRET_BYTES_LEAST} bytes in {}, got {}",
            path.display(),
            secret.len()
        );
    }
    Ok(secret.to_vec())
}

/// Writes a new secret that only its owner can read. Complete or not there: it is renamed into place.
fn generate(path: &Path) -> std::io::Result<()> {
    if path.exists() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut random = [0u8; 32];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let building = path.with_extension("new");
    let mut file: File =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&building)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&building, path)
}
