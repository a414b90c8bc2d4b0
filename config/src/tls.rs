//! The settings of TLS: the certificate that the server shows, and its key.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Findings;

/// With which certificate the server does TLS; without one, it does none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TlsSettings {
    /// A PEM file with the certificate and those that lead from it to one that clients know.
    pub certificate: Option<PathBuf>,
    /// A PEM file with its private key.
    pub key: Option<PathBuf>,
}

impl TlsSettings {
    /// The files of the certificate and the key, if the server does TLS.
    #[must_use]
    pub fn files(&self) -> Option<(&Path, &Path)> {
        self.certificate.as_deref().zip(self.key.as_deref())
    }

    pub(crate) fn check(&self, findings: &mut Findings) {
        match (&self.certificate, &self.key) {
            (Some(_), None) => {
                findings.wrong("tls.certificate", "expected tls.key, the file of its key, beside it")
            }
            (None, Some(_)) => {
                findings.wrong("tls.key", "expected tls.certificate, the file of its certificate, beside it");
            }
            _ => {}
        }
    }
}
