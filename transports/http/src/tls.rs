//! TLS: the certificate that is shown, and another one as soon as its files change. Connections that are there go on; a
//! file that cannot be used is reported, and what is shown stays.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// HTTP/2, as ALPN has it.
pub(crate) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Why the server cannot do TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("expected {expected} in {path}: {error}")]
    File {
        /// What should be in it.
        expected: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why it cannot be used.
        error: pem::Error,
    },
    /// The key is another certificate's, or neither can be used.
    #[error("the certificate in {certificate} and the key in {key} cannot be used: {error}")]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// TLS itself cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// What the server does TLS with.
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Certificate,
}

/// The certificate that is shown, and where it comes from.
#[derive(Clone)]
pub struct Certificate {
    shown: Arc<Shown>,
    from: Arc<Mutex<Source>>,
}

/// The files that are shown.
#[derive(Clone)]
struct Source {
    files: Files,
    stamp: Stamp,
}

/// The certificate that is shown to whoever comes.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

#[derive(Clone, Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
}

/// What tells a file from what it was: when it was changed, its size, which file it is. `None` when it is not there.
type Stamp = [Option<(SystemTime, u64, u64)>; 2];

impl Files {
    fn are(&self, others: &Self) -> bool {
        (&self.certificate, &self.key) == (&others.certificate, &others.key)
    }

    fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key].map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
        })
    }

    fn read(&self) -> Result<CertifiedKey, TlsError> {
        let Self { certificate, key, provider } = self;
        let wrong = |expected, path: &Path| {
            let path = path.to_owned();
            move |error| TlsError::File { expected, path, error }
        };
        let chain =
            CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain =
            chain.and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) });
        let chain = chain.map_err(wrong("certificates as PEM", certificate))?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(wrong("a private key as PEM", key))?;
        CertifiedKey::from_der(chain, private, provider).map_err(|error| TlsError::Unusable {
            certificate: certificate.clone(),
            key: key.clone(),
            error,
        })
    }
}

impl Tls {
    /// TLS with a certificate and its key, which are PEM files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        let files = Files { certificate, key, provider: provider.clone() };
        let stamp = files.stamp();
        let shown = Arc::new(Shown(RwLock::new(Arc::new(files.read()?))));
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = config.with_no_client_auth().with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new()?; // who comes back is remembered by themselves
        let from = Arc::new(Mutex::new(Source { files, stamp }));
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate: Certificate { shown, from } })
    }

    /// The certificate, for whoever may name other files.
    #[must_use]
    pub fn certificate(&self) -> Certificate {
        self.certificate.clone()
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Shows what the files hold, until the shutdown.
    pub(crate) async fn follow(self, shutdown: CancellationToken) {
        let certificate = self.certificate;
        let mut last = certificate.from().stamp;
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = look.tick() => {}
            }
            let Source { files, stamp: in_use } = certificate.from();
            let Some(stamp) = blocking(&files, Files::stamp).await else { return };
            // Twice the same: nobody is writing them any more, and they are of the same renewal.
            let has_settled = std::mem::replace(&mut last, stamp) == stamp;
            if stamp == in_use || !has_settled {
                continue;
            }
            let read = blocking(&files, Files::read).await;
            if !certificate.has_come_to(&files, stamp) {
                continue; // other files were named meanwhile
            }
            match read {
                Some(Ok(certified)) => certificate.show(certified, &files),
                Some(Err(error)) => {
                    tracing::error!(%error, "the new certificate cannot be used, the old one stays");
                }
                None => return,
            }
        }
    }
}

impl Certificate {
    /// Reads other files; what is returned shows them from then on, and goes on looking at them.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn prepare(&self, certificate: &Path, key: &Path) -> Result<impl FnOnce() + Send + use<>, TlsError> {
        let (of, provider) = (self.clone(), self.from().files.provider);
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned(), provider };
        let (stamp, certified) = (files.stamp(), files.read()?);
        Ok(move || {
            let mut from = of.from.lock().unwrap_or_else(PoisonError::into_inner);
            if from.stamp != stamp || !from.files.are(&files) {
                of.show(certified, &files);
                *from = Source { files, stamp };
            }
        })
    }

    fn show(&self, certified: CertifiedKey, files: &Files) {
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
        tracing::info!(certificate = %files.certificate.display(), "another certificate is shown");
    }

    fn from(&self) -> Source {
        self.from.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what the files are now, if they are still those that are shown.
    fn has_come_to(&self, files: &Files, stamp: Stamp) -> bool {
        let mut from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        let are_same = from.files.are(files);
        if are_same {
            from.stamp = stamp;
        }
        are_same
    }
}

/// Work with the disk, which may take its time. `None` when the runtime is going.
async fn blocking<T: Send + 'static>(files: &Files, work: fn(&Files) -> T) -> Option<T> {
    let files = files.clone();
    tokio::task::spawn_blocking(move || work(&files)).await.ok()
}
