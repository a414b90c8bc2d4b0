//! Wycheproof's vectors for the algorithms of tokens, by keys that are loaded as an operator's are: what is valid is taken, and
//! what is odd in a signature, or in the numbers behind it, is not.

use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, crypto};
use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

use super::Key;

/// How many were taken and refused, of each algorithm.
#[derive(Default)]
struct Tally(BTreeMap<String, (usize, usize)>);

impl Tally {
    /// One vector.
    fn judge(&mut self, key: &Key, message: &[u8], signature: &[u8], result: TestResult, about: &str) {
        let verified = crypto::verify(&base64(signature), message, &key.decoding, key.algorithm);
        let is_taken = verified.is_ok_and(|is_sound| is_sound);
        if result == TestResult::Acceptable {
            return; // as the library likes
        }
        assert_eq!(is_taken, result == TestResult::Valid, "{:?}: {about}", key.algorithm);
        let (taken, refused) = self.0.entry(format!("{:?}", key.algorithm)).or_default();
        *(if is_taken { taken } else { refused }) += 1;
    }
}

/// As a token has it: without padding, for addresses.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let three = [0, 1, 2].map(|at| u32::from(chunk.get(at).copied().unwrap_or_default()));
        let bits = three[0] << 16 | three[1] << 8 | three[2];
        let digits = (0..=chunk.len()).map(|at| DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char);
        text.extend(digits);
    }
    text
}

fn pem(text: &str, algorithm: Algorithm) -> Key {
    Key::pem(text.as_bytes(), None, Some(algorithm))
        .unwrap_or_else(|error| panic!("{algorithm:?}: {error}: {text}"))
}

macro_rules! public {
    ($tally:expr, $kind:ident, $($name:ident => $algorithm:ident),*) => {
        $(
            for group in $kind::TestSet::load($kind::TestName::$name).unwrap().test_groups {
                let key = pem(&group.pem, Algorithm::$algorithm);
                for test in &group.tests {
                    $tally.judge(&key, &test.msg, &test.sig, test.result, &format!("{} {}", test.tc_id, test.comment));
                }
            }
        )*
    };
}

#[test]
fn what_wycheproof_calls_valid_is_taken_and_nothing_else() {
    let mut tally = Tally::default();
    public!(tally, ecdsa, EcdsaSecp256r1Sha256P1363 => ES256, EcdsaSecp384r1Sha384P1363 => ES384);
    public!(tally, eddsa, Ed25519 => EdDSA);
    public!(tally, rsa_pkcs1_verify,
        Rsa2048Sha256 => RS256, Rsa3072Sha256 => RS256, Rsa4096Sha256 => RS256, Rsa8192Sha256 => RS256,
        Rsa2048Sha384 => RS384, Rsa3072Sha384 => RS384, Rsa4096Sha384 => RS384,
        Rsa2048Sha512 => RS512, Rsa3072Sha512 => RS512, Rsa4096Sha512 => RS512);
    public!(tally, rsa_pss_verify,
        RsaPss2048Sha256Mgf1SaltLen32 => PS256, RsaPss3072Sha256Mgf1SaltLen32 => PS256, RsaPss4096Sha256Mgf1SaltLen32 => PS256,
        RsaPss2048Sha384Mgf1SaltLen48 => PS384, RsaPss4096Sha384Mgf1SaltLen48 => PS384,
        RsaPss4096Sha512Mgf1SaltLen64 => PS512);
    for (name, algorithm, tag_bits) in [
        (mac::TestName::HmacSha256, Algorithm::HS256, 256),
        (mac::TestName::HmacSha384, Algorithm::HS384, 384),
        (mac::TestName::HmacSha512, Algorithm::HS512, 512),
    ] {
        for group in mac::TestSet::load(name).unwrap().test_groups {
            for test in group.tests.iter().filter(|test| !test.key.is_empty()) {
                let key = Key::secret(&test.key, None, Some(algorithm), true).unwrap();
                // A token's tag is whole: one that was cut is none, however well it was cut.
                let result = if group.tag_size == tag_bits { test.result } else { TestResult::Invalid };
                tally.judge(&key, &test.msg, &test.tag, result, &format!("{} {}", test.tc_id, test.comment));
            }
        }
    }
    assert_eq!(tally.0.len(), 12, "every algorithm: {:?}", tally.0);
    assert!(tally.0.values().all(|(taken, refused)| *taken > 20 && *refused > 20), "{:?}", tally.0);
    println!("taken and refused: {:?}", tally.0);
}

#[test]
fn a_salt_of_another_length_or_another_mask_is_not_the_algorithm_of_a_token() {
    for name in [
        rsa_pss_verify::TestName::RsaPss2048Sha256Mgf1SaltLen0,
        rsa_pss_verify::TestName::RsaPss2048Sha256Mgf1Sha1_20,
    ] {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let (key, mut tally) = (pem(&group.pem, Algorithm::PS256), Tally::default());
            let valid = group.tests.iter().filter(|test| test.result == TestResult::Valid);
            for test in valid {
                tally.judge(&key, &test.msg, &test.sig, TestResult::Invalid, &test.comment);
            }
            assert!(tally.0["PS256"].1 > 20);
        }
    }
}
