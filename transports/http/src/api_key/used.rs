//! When keys were last used: a file that only the server writes, now and then. Without it nothing is lost but that.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use jiff::Timestamp;

use super::file::replace;

const FILE: &str = "keys-used.json";

pub(super) fn read(data: &Path) -> HashMap<String, Timestamp> {
    let text = std::fs::read(data.join(FILE)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

pub(super) fn write<'k>(data: &Path, used: impl Iterator<Item = (&'k str, i64)>) {
    let used: BTreeMap<&str, Timestamp> =
        used.filter_map(|(id, at)| Some((id, Timestamp::from_second(at).ok()?))).collect();
    let (path, text) = (data.join(FILE), serde_json::to_vec(&used).unwrap_or_default());
    if std::fs::read(&path).is_ok_and(|was| was == text) || (used.is_empty() && !path.exists()) {
        return;
    }
    if let Err(error) = replace(&path, &text) {
        tracing::debug!(%error, "when keys were last used is not noted");
    }
}
