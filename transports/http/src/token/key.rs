//! Keys that verify tokens: from a secret, a PEM file or a JSON Web Key Set. Each is for one algorithm, which it has from
//! its own kind or from the configuration, and never from a token.

use std::path::Path;

use aws_lc_rs::digest;
use aws_lc_rs::rsa::PublicKey as RsaKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, VerificationAlgorithm,
};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::Value;
use tidings_config::{KeyAlgorithm, KeySettings, KeySource, SECRET_BYTES_LEAST};

/// Bytes of a file with keys at most: hundreds of keys fit.
const FILE_BYTES: u64 = 1 << 20;
/// Bytes of the modulus of an RSA key: what RFC 7518, 3.3 asks for, and what takes no noticeable time to verify.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// A key that verifies tokens.
pub(super) struct Key {
    /// Its id, which tokens may name.
    pub(super) kid: Option<String>,
    /// The one algorithm it is for.
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

/// What tells a key from every other, without being it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print([u8; 32]);

impl Key {
    /// The keys that a place of the configuration names.
    pub(super) fn load(settings: &KeySettings, allow_weak: bool) -> Result<Vec<Self>, String> {
        let wanted = settings.algorithm.map(algorithm);
        let kid = || settings.kid.clone();
        let within = |path: &Path, error: String| format!("{}: {error}", path.display());
        match settings.source() {
            Some(KeySource::Secret(secret)) => {
                Ok(vec![Self::secret(secret.as_bytes(), kid(), wanted, allow_weak)?])
            }
            Some(KeySource::SecretFile(path)) => {
                let secret = secret_in(&read(path)?).map_err(|error| within(path, error))?.to_vec();
                let key = Self::secret(&secret, kid(), wanted, allow_weak);
                Ok(vec![key.map_err(|error| within(path, error))?])
            }
            Some(KeySource::PemFile(path)) => {
                let key = Self::pem(&read(path)?, kid(), wanted);
                Ok(vec![key.map_err(|error| within(path, error))?])
            }
            Some(KeySource::JwksFile(path)) => {
                Self::set(&read(path)?, wanted, allow_weak).map_err(|error| within(path, error))
            }
            None => Err("expected exactly one of secret, secret-file, pem-file and jwks-file".to_owned()),
        }
    }

    /// A secret, for HS256 unless another algorithm is wanted.
    pub(super) fn secret(
        secret: &[u8],
        kid: Option<String>,
        wanted: Option<Algorithm>,
        allow_weak: bool,
    ) -> Result<Self, String> {
        if secret.is_empty() {
            return Err("expected a secret, got nothing".to_owned());
        }
        if secret.len() < SECRET_BYTES_LEAST {
            let length = secret.len();
            if !allow_weak {
                return Err(format!(
                    "expected a secret of at least {SECRET_BYTES_LEAST} bytes, or allow-weak-secret = true, got {length}"
                ));
            }
            tracing::warn!(bytes = length, "a secret is easy to guess: whoever does can be anybody");
        }
        Self::checked(kid, wanted.unwrap_or(Algorithm::HS256), DecodingKey::from_secret(secret))
    }

    fn pem(text: &[u8], kid: Option<String>, wanted: Option<Algorithm>) -> Result<Self, String> {
        let expected = "expected one public key in PEM (-----BEGIN PUBLIC KEY-----), as `openssl pkey -pubout` or \
                        `openssl x509 -pubkey -noout` writes it";
        let mut keys = SubjectPublicKeyInfoDer::pem_slice_iter(text);
        let (Some(Ok(der)), None) = (keys.next(), keys.next()) else { return Err(expected.to_owned()) };
        let is = |kind: &'static dyn VerificationAlgorithm| ParsedPublicKey::new(kind, &*der).is_ok();
        let (own, decoding) = if is(&ECDSA_P256_SHA256_FIXED) {
            (Algorithm::ES256, DecodingKey::from_ec_der(&der))
        } else if is(&ECDSA_P384_SHA384_FIXED) {
            (Algorithm::ES384, DecodingKey::from_ec_der(&der))
        } else if is(&ED25519) {
            (Algorithm::EdDSA, DecodingKey::from_ed_der(&der))
        } else if is(&RSA_PKCS1_2048_8192_SHA256) {
            (Algorithm::RS256, DecodingKey::from_rsa_der(&der))
        } else {
            return Err("expected a public key of RSA, P-256, P-384 or Ed25519".to_owned());
        };
        Self::checked(kid, settle(own, wanted)?, decoding)
    }

    /// The keys of a set. Those that are for something else, or of a kind that is not supported, are passed over.
    fn set(text: &[u8], wanted: Option<Algorithm>, allow_weak: bool) -> Result<Vec<Self>, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(text)
            .map_err(|error| format!("expected a JSON Web Key Set, {{\"keys\": […]}}: {error}"))?;
        let mut keys = Vec::with_capacity(set.keys.len());
        for (index, value) in set.keys.into_iter().enumerate() {
            let key = Self::of_set(value, wanted, allow_weak);
            keys.extend(key.map_err(|error| format!("keys[{index}]: {error}"))?);
        }
        if keys.is_empty() {
            Err("expected at least one key that verifies tokens".to_owned())
        } else {
            Ok(keys)
        }
    }

    fn of_set(value: Value, wanted: Option<Algorithm>, allow_weak: bool) -> Result<Option<Self>, String> {
        if value.get("d").is_some() {
            return Err("expected a public key, got a private one, which has no business here".to_owned());
        }
        let jwk: Jwk = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let for_something_else = jwk
            .common
            .public_key_use
            .as_ref()
            .is_some_and(|purpose| *purpose != PublicKeyUse::Signature)
            || jwk.common.key_operations.as_ref().is_some_and(|all| !all.contains(&KeyOperations::Verify));
        let own = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => Algorithm::ES384,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
            _ => return Ok(None),
        };
        // What the key says itself comes first; the configuration speaks for those that say nothing.
        let said = match jwk.common.key_algorithm {
            Some(said) => match Algorithm::try_from(said) {
                Ok(said) => Some(said),
                Err(_) => return Ok(None),
            },
            None => wanted.filter(|wanted| wanted.family() == own.family()),
        };
        if for_something_else {
            return Ok(None);
        }
        let decoding = DecodingKey::from_jwk(&jwk).map_err(|error| error.to_string())?;
        if let (AlgorithmFamily::Hmac, DecodingKeyKind::SecretOrDer(secret)) =
            (decoding.family(), decoding.kind())
        {
            return Self::secret(secret, jwk.common.key_id, Some(settle(own, said)?), allow_weak).map(Some);
        }
        Self::checked(jwk.common.key_id, settle(own, said)?, decoding).map(Some)
    }

    /// A key that the library would refuse only when a token comes is refused here.
    fn checked(kid: Option<String>, algorithm: Algorithm, decoding: DecodingKey) -> Result<Self, String> {
        let is = |kind: &'static dyn VerificationAlgorithm, bytes: &[u8]| {
            ParsedPublicKey::new(kind, bytes).is_ok()
        };
        let is_sound = match (algorithm, decoding.kind()) {
            (_, _) if decoding.family() == AlgorithmFamily::Hmac => true,
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(bytes)) => is(&ECDSA_P256_SHA256_FIXED, bytes),
            (Algorithm::ES384, DecodingKeyKind::SecretOrDer(bytes)) => is(&ECDSA_P384_SHA384_FIXED, bytes),
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(bytes)) => is(&ED25519, bytes),
            (_, DecodingKeyKind::SecretOrDer(bytes)) => is_wide_enough(bytes)?,
            (_, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                let parsed =
                    RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
                parsed.is_ok_and(|key| is_wide_enough(key.as_ref()) == Ok(true))
            }
        };
        if is_sound {
            Ok(Self { kid, algorithm, decoding })
        } else {
            Err(format!("expected a sound public key for {algorithm:?}, of RSA one of 2048 to 8192 bits"))
        }
    }

    /// What tells this key, for what it is used by `issuer`, from every other.
    pub(super) fn print(&self, issuer: &str) -> Print {
        let mut hash = digest::Context::new(&digest::SHA256);
        let mut add = |bytes: &[u8]| {
            hash.update(&bytes.len().to_be_bytes());
            hash.update(bytes);
        };
        add(issuer.as_bytes());
        add(format!("{:?}", self.algorithm).as_bytes());
        add(self.kid.as_deref().unwrap_or_default().as_bytes());
        match self.decoding.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => add(bytes),
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                add(n);
                add(e);
            }
        }
        let mut print = [0; 32];
        print.copy_from_slice(hash.finish().as_ref());
        Print(print)
    }
}

fn is_wide_enough(der: &[u8]) -> Result<bool, String> {
    let key = RsaKey::from_der(der).map_err(|_| "expected a public key of RSA".to_owned())?;
    Ok(RSA_BYTES.contains(&key.modulus_len()))
}

/// The algorithm of a key of a kind, of which another may be wanted that the kind can do.
fn settle(own: Algorithm, wanted: Option<Algorithm>) -> Result<Algorithm, String> {
    let of_curve = matches!(own.family(), AlgorithmFamily::Ec | AlgorithmFamily::Ed);
    match wanted {
        None => Ok(own),
        Some(wanted) if wanted == own || (wanted.family() == own.family() && !of_curve) => Ok(wanted),
        Some(wanted) => Err(format!("expected a key for {wanted:?}, got one for {own:?}")),
    }
}

/// A secret as a file holds it. A public key taken for a secret would let everybody sign.
fn secret_in(text: &[u8]) -> Result<&[u8], String> {
    let secret = text.trim_ascii();
    if secret.starts_with(b"-----BEGIN") {
        return Err("expected a secret, got PEM: a public key belongs in pem-file".to_owned());
    }
    Ok(secret)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > FILE_BYTES {
        return Err(format!("{}: expected at most {FILE_BYTES} bytes, got {length}", path.display()));
    }
    std::fs::read(path).map_err(failed)
}

fn algorithm(configured: KeyAlgorithm) -> Algorithm {
    match configured {
        KeyAlgorithm::HS256 => Algorithm::HS256,
        KeyAlgorithm::HS384 => Algorithm::HS384,
        KeyAlgorithm::HS512 => Algorithm::HS512,
        KeyAlgorithm::RS256 => Algorithm::RS256,
        KeyAlgorithm::RS384 => Algorithm::RS384,
        KeyAlgorithm::RS512 => Algorithm::RS512,
        KeyAlgorithm::PS256 => Algorithm::PS256,
        KeyAlgorithm::PS384 => Algorithm::PS384,
        KeyAlgorithm::PS512 => Algorithm::PS512,
        KeyAlgorithm::ES256 => Algorithm::ES256,
        KeyAlgorithm::ES384 => Algorithm::ES384,
        KeyAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

#[cfg(test)]
mod vectors;
