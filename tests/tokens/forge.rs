//! Keys of an issuer, in the files that a server reads, and tokens that are signed with them, sound or not: every byte of
//! a token can be chosen.

use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    RsaEncoding,
};
use serde_json::{Value, json};

/// Everything that tokens are signed with.
pub const ALGORITHMS: [&str; 12] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
    "EdDSA",
];

/// Keys of every kind.
pub struct Keys {
    pub secret: Vec<u8>,
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl Keys {
    pub fn generate() -> Self {
        let mut secret = vec![0; 64];
        aws_lc_rs::rand::fill(&mut secret).expect("random numbers");
        Self {
            // A secret that a text file can hold.
            secret: base64url(&secret).into_bytes(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key"),
            ed25519: Ed25519KeyPair::generate().expect("a key"),
        }
    }

    /// A message signed as an algorithm says.
    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(encoding, &SystemRandom::new(), message, &mut signature).expect("a signature");
            signature
        };
        let ec = |key: &EcdsaKeyPair| {
            key.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
        };
        match algorithm {
            "HS256" => hmac(hmac::HMAC_SHA256, &self.secret, message),
            "HS384" => hmac(hmac::HMAC_SHA384, &self.secret, message),
            "HS512" => hmac(hmac::HMAC_SHA512, &self.secret, message),
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "RS384" => rsa(&RSA_PKCS1_SHA384),
            "RS512" => rsa(&RSA_PKCS1_SHA512),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "PS384" => rsa(&RSA_PSS_SHA384),
            "PS512" => rsa(&RSA_PSS_SHA512),
            "ES256" => ec(&self.p256),
            "ES384" => ec(&self.p384),
            "EdDSA" => self.ed25519.sign(message).as_ref().to_vec(),
            other => panic!("there is no algorithm {other}"),
        }
    }

    /// The public half of the key for an algorithm, as a certificate would hold it.
    pub fn der(&self, algorithm: &str) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = match algorithm {
            "ES256" => self.p256.public_key().as_der().expect("it encodes"),
            "ES384" => self.p384.public_key().as_der().expect("it encodes"),
            "EdDSA" => self.ed25519.public_key().as_der().expect("it encodes"),
            _ => self.rsa.public_key().as_der().expect("it encodes"),
        };
        der.as_ref().to_vec()
    }

    pub fn pem(&self, algorithm: &str) -> String {
        pem("PUBLIC KEY", &self.der(algorithm))
    }

    /// The key for an algorithm as a JSON Web Key.
    pub fn jwk(&self, algorithm: &str, kid: Option<&str>) -> Value {
        let point = |curve: &str, key: &EcdsaKeyPair| {
            let (x, y) = key.public_key().as_ref()[1..].split_at((key.public_key().as_ref().len() - 1) / 2);
            json!({ "kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y) })
        };
        let mut jwk = match algorithm {
            "HS256" | "HS384" | "HS512" => json!({ "kty": "oct", "k": base64url(&self.secret) }),
            "ES256" => point("P-256", &self.p256),
            "ES384" => point("P-384", &self.p384),
            "EdDSA" => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(self.ed25519.public_key().as_ref()) })
            }
            _ => {
                let components = PublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key());
                json!({ "kty": "RSA", "n": base64url(&components.n), "e": base64url(&components.e) })
            }
        };
        if let Some(kid) = kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    }

    /// A token with this header and these claims, signed as the header says.
    pub fn token(&self, header: &Value, claims: &Value) -> String {
        self.of_text(&header.to_string(), &claims.to_string(), header["alg"].as_str().expect("an algorithm"))
    }

    /// A token of any text, signed.
    pub fn of_text(&self, header: &str, claims: &str, algorithm: &str) -> String {
        let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        self.signed(&message, algorithm)
    }

    /// Anything, and its signature after a dot.
    pub fn signed(&self, message: &str, algorithm: &str) -> String {
        format!("{message}.{}", base64url(&self.sign(algorithm, message.as_bytes())))
    }
}

fn hmac(algorithm: hmac::Algorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, secret), message).as_ref().to_vec()
}

/// A token signed with bytes of any origin taken for a secret.
pub fn by_secret(secret: &[u8], header: &Value, claims: &Value) -> String {
    let message =
        format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
    format!("{message}.{}", base64url(&hmac(hmac::HMAC_SHA256, secret, message.as_bytes())))
}

/// A file in a directory.
pub fn file(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, content).expect("a file");
    path
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let text = base64(der, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    let padded = format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
    let lines: Vec<&str> =
        padded.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

pub const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub fn base64url(bytes: &[u8]) -> String {
    base64(bytes, BASE64URL)
}

fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            text.push(char::from(alphabet[(number >> (18 - 6 * index)) as usize & 63]));
        }
    }
    text
}
