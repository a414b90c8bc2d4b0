//! Tokens: JSON Web Tokens (RFC 7519), verified against configured keys, and what their claims mean.
//!
//! The algorithm is fixed by the key, never by the token's header, and nothing that a token names is ever fetched. A
//! refusal says nothing about why; the log does.

mod claims;
mod key;
mod keyring;
mod mint;
mod remembered;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jsonwebtoken::Header;
use serde::Deserialize;
use tidings_config::TokenSettings;
use tidings_engine::Identity;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api_key::{self, ApiKeys, KeyFileError};
use crate::click::Links;
use crate::problem::Problem;
use crate::ticket::Tickets;
use claims::{Claims, Reading};
use key::Print;
use keyring::Keyring;
use remembered::{Fingerprint, Remembered};

pub use mint::{Grant, MintError, mint};

/// Bytes of a token at most: more than any has that fits into a header.
const TOKEN_BYTES: usize = 8 * 1024;
/// A clock may be set: however long a token lasts, it is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// How often it is looked whether keys of services have changed: a revocation counts after twice as long at most.
const KEYS_EVERY: Duration = Duration::from_secs(1);
/// After how many of these it is noted when keys were last used.
const USES_EVERY: u64 = 60;
/// What a token may say it is (RFC 9068, 2.1). One that is for something else, such as a logout, says so, and is not for
/// coming in (RFC 8725, 3.11).
const TYPES: [&str; 2] = ["JWT", "at+jwt"];

/// Why tokens cannot be verified this way.
#[derive(Debug, thiserror::Error)]
#[error("the setting {place} cannot be used: {error}")]
pub struct KeyError {
    place: String,
    error: String,
}

/// Verifies tokens.
pub struct Tokens {
    grounds: RwLock<Arc<Grounds>>,
    keys: ApiKeys,
    tickets: Tickets,
    /// Told when what was shown before may not hold any more.
    changed: watch::Sender<()>,
}

/// On what grounds tokens are accepted, and which were: other grounds remember nobody.
struct Grounds {
    keyring: Arc<Keyring>,
    /// Claims that are kept beside those that every identity has.
    kept: Vec<String>,
    remembered: Remembered,
}

impl Grounds {
    fn new(keyring: Arc<Keyring>, kept: Vec<String>) -> Self {
        Self { keyring, kept, remembered: Remembered::nobody() }
    }
}

/// Who somebody has shown to be, and by what.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Who.
    pub identity: Arc<Identity>,
    by: Proof,
}

/// What let somebody in.
#[derive(Clone, Debug)]
enum Proof {
    /// A token, by the key that verified it.
    Token(Print),
    /// A key of a service, by its id.
    Key(Arc<str>),
}

impl Tokens {
    /// Verifies tokens as the settings say, and those that are signed with the server's own secret. Reads files of keys.
    ///
    /// # Errors
    /// When the secret is too easy to guess, or a key cannot be read or used.
    pub fn new(settings: &TokenSettings, secret: &[u8]) -> Result<Self, KeyError> {
        let keyring = Arc::new(Keyring::load(settings, secret)?);
        let grounds = Grounds::new(keyring, Vec::new());
        let (keys, tickets) = (ApiKeys::default(), Tickets::default());
        Ok(Self { grounds: RwLock::new(Arc::new(grounds)), keys, tickets, changed: watch::Sender::new(()) })
    }

    /// Takes keys of services, too, which are kept in a data directory.
    ///
    /// # Errors
    /// When there is a file of keys that cannot be read.
    pub fn with_keys(self, data: &Path) -> Result<Self, KeyFileError> {
        Ok(Self { keys: ApiKeys::open(data)?, ..self })
    }

    /// Looks every second whether keys of services were made or revoked, and notes when they were last used.
    pub(crate) async fn follow_keys(self: Arc<Self>, shutdown: CancellationToken) {
        for second in 1_u64.. {
            let is_over = tokio::time::timeout(KEYS_EVERY, shutdown.cancelled()).await.is_ok();
            let tokens = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                if is_over || second.is_multiple_of(USES_EVERY) {
                    tokens.keys.note_uses();
                }
                tokens.keys.refresh()
            });
            if looked.await.is_ok_and(|changed| changed) {
                self.changed.send_replace(());
            }
            if is_over {
                return;
            }
        }
    }

    /// Keeps these claims of tokens that are shown from now on, for the engine's rules to look at.
    pub fn keep_claims(&self, names: Vec<String>) {
        let mut grounds = self.grounds.write().unwrap_or_else(PoisonError::into_inner);
        let keyring = grounds.keyring.clone();
        *grounds = Arc::new(Grounds::new(keyring, names));
    }

    /// Reads the files of keys again, and goes by these settings from now on: what a key that is gone has verified ends,
    /// also connections that are open.
    ///
    /// # Errors
    /// As [`new`](Self::new); then everything is as it was.
    pub fn reload(self: &Arc<Self>, settings: &TokenSettings, secret: &[u8]) -> Result<(), KeyError> {
        self.prepare(settings, secret)?();
        Ok(())
    }

    /// Reads the files of keys again; what is returned makes them count.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn prepare(
        self: &Arc<Self>,
        settings: &TokenSettings,
        secret: &[u8],
    ) -> Result<impl FnOnce() + Send + use<>, KeyError> {
        let (tokens, keyring) = (self.clone(), Arc::new(Keyring::load(settings, secret)?));
        Ok(move || {
            {
                let mut grounds = tokens.grounds.write().unwrap_or_else(PoisonError::into_inner);
                let kept = grounds.kept.clone();
                *grounds = Arc::new(Grounds::new(keyring, kept));
            }
            tokens.changed.send_replace(());
        })
    }

    fn grounds(&self) -> Arc<Grounds> {
        self.grounds.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes, or reads, links that record a click, signed with a key that is made of the server's own secret.
    pub(crate) fn with_links<T>(&self, use_them: impl FnOnce(&Links) -> T) -> T {
        use_them(&self.grounds().keyring.links)
    }

    pub(crate) fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// Who shows a ticket, which is used up with this.
    ///
    /// # Errors
    /// [`Problem::unauthorized`], also when what it was given for does not hold any more.
    pub(crate) fn redeem(&self, ticket: &str) -> Result<Verified, Problem> {
        let redeemed = self.tickets.redeem(ticket, Instant::now()).filter(|verified| self.is_good(verified));
        redeemed.ok_or_else(Problem::unauthorized)
    }

    /// Who a token says its holder is.
    ///
    /// # Errors
    /// [`Problem::unauthorized`], whatever is wrong; the log says more, though never the token.
    pub fn verify(&self, token: &str) -> Result<Verified, Problem> {
        self.explain(token).map_err(refused)
    }

    /// The same for a token that comes with every request: one that was verified a moment ago is known again.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub(crate) fn verify_again(&self, token: &str) -> Result<Verified, Problem> {
        let grounds = self.grounds();
        let fingerprint = Fingerprint::of(token);
        if let Some(verified) = grounds.remembered.get(&fingerprint, |verified| self.is_good(verified)) {
            return Ok(verified);
        }
        let verified = self.explain_on(&grounds, token).map_err(refused)?;
        if matches!(verified.by, Proof::Token(_)) {
            grounds.remembered.put(fingerprint, token, verified.clone());
        }
        Ok(verified)
    }

    /// Who a token says its holder is, or why it is refused: for those who make tokens, never for those who show them.
    ///
    /// # Errors
    /// The reason in words.
    pub fn explain(&self, token: &str) -> Result<Verified, String> {
        self.explain_on(&self.grounds(), token)
    }

    fn explain_on(&self, grounds: &Grounds, token: &str) -> Result<Verified, String> {
        if token.len() > TOKEN_BYTES {
            return Err(format!("the token has more than {TOKEN_BYTES} bytes"));
        }
        if token.starts_with(api_key::PREFIX) {
            let (identity, id) = self.keys.verify(token)?;
            return Ok(Verified { identity: Arc::new(identity), by: Proof::Key(id) });
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        check_header(&header)?;
        // Only to know with whose key to look; what it says is believed once the signature is verified.
        let issuer =
            jsonwebtoken::dangerous::insecure_decode::<Issuer>(token).map_err(|error| error.to_string())?;
        let (issuer, verifier) = grounds.keyring.choose(&header, issuer.claims.iss.as_deref())?;
        let of_issuer = |error: String| format!("{}: {error}", issuer.name());
        let decoded = jsonwebtoken::decode::<Claims>(token, &verifier.key.decoding, &verifier.validation);
        let decoded = decoded.map_err(|error| of_issuer(error.to_string()))?;
        let (leeway, now) = (verifier.validation.leeway, jsonwebtoken::get_current_timestamp());
        let (names, tenant) = (&issuer.claims, issuer.tenant.as_ref());
        let reading = Reading { names, kept: &grounds.kept, tenant, leeway, now };
        let identity = reading.identity(&decoded.claims).map_err(of_issuer)?;
        Ok(Verified { identity: Arc::new(identity), by: Proof::Token(verifier.print) })
    }

    fn holds(&self, proof: &Proof) -> bool {
        match proof {
            Proof::Token(print) => self.grounds().keyring.has(print),
            Proof::Key(id) => self.keys.has(id),
        }
    }

    /// Whether what was shown is still good, by keys that are there and by the clock of the wall.
    #[must_use]
    pub fn is_good(&self, shown: &Verified) -> bool {
        self.holds(&shown.by) && Timestamp::now().as_second() < shown.identity.expires_at
    }

    /// Tells when keys have come or gone.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until what was shown does not hold any more: it has ended, was revoked, or its key is gone.
    pub async fn ended(&self, shown: &Verified) {
        let mut changed = self.changed.subscribe();
        while self.holds(&shown.by) {
            tokio::select! {
                () = expiry(shown.identity.expires_at) => return,
                _ = changed.changed() => {}
            }
        }
    }
}

/// The one claim that is looked at before anything is verified.
#[derive(Deserialize)]
struct Issuer {
    #[serde(default)]
    iss: Option<String>,
}

fn refused(reason: String) -> Problem {
    tracing::info!(reason, "token refused");
    Problem::unauthorized()
}

fn check_header(header: &Header) -> Result<(), String> {
    // RFC 7515, 4.1.11: who does not understand all of these must refuse. We understand none.
    if let Some(extensions) = &header.crit {
        return Err(format!("the token needs what is not supported: {}", extensions.join(", ")));
    }
    if header.enc.is_some() || header.zip.is_some() {
        return Err("the token is encrypted or compressed".to_owned());
    }
    let Some(kind) = &header.typ else { return Ok(()) };
    let name = kind.get(.."application/".len()).filter(|start| start.eq_ignore_ascii_case("application/"));
    let name = name.map_or(kind.as_str(), |start| &kind[start.len()..]);
    if TYPES.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(format!("the token is for something else: {kind}"))
}

/// Waits until a time in seconds since 1970, by the clock of the wall: that of [`Identity::expires_at`].
async fn expiry(expires_at: i64) {
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let left = expires_at.saturating_sub(i64::try_from(now).unwrap_or(i64::MAX));
        let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) else { return };
        tokio::time::sleep(Duration::from_secs(left).min(LOOK_AGAIN)).await;
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::{Value, json};
    use tidings_engine::access::Scopes;

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn tokens(settings: &TokenSettings) -> Tokens {
        Tokens::new(settings, SECRET).unwrap()
    }

    fn signed(algorithm: Algorithm, secret: &[u8], claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret)).unwrap()
    }

    fn later() -> u64 {
        jsonwebtoken::get_current_timestamp() + 3600
    }

    #[test]
    fn a_token_that_is_remembered_holds_no_longer_than_one_that_is_not() {
        let settings = TokenSettings { leeway_seconds: 0, ..TokenSettings::default() };
        let tokens = Arc::new(tokens(&settings));
        let lasting =
            signed(Algorithm::HS256, SECRET, &json!({ "sub": "ada", "exp": later(), "team": "red" }));
        let known = tokens.verify_again(&lasting).unwrap().identity;
        assert!(Arc::ptr_eq(&known, &tokens.verify_again(&lasting).unwrap().identity), "verified once");
        let mut other = lasting.clone();
        other.pop();
        assert!(tokens.verify_again(&other).is_err(), "and nothing but that token is known");

        let ends = jsonwebtoken::get_current_timestamp() + 4;
        let short = signed(Algorithm::HS256, SECRET, &json!({ "sub": "ada", "exp": ends }));
        assert!(tokens.verify_again(&short).is_ok());
        std::thread::sleep(Duration::from_secs(5));
        assert!(tokens.verify_again(&short).is_err(), "its time is over");

        assert!(known.claims.is_empty());
        tokens.keep_claims(vec!["team".to_owned()]);
        assert_eq!(
            tokens.verify_again(&lasting).unwrap().identity.claims.len(),
            1,
            "rules ask for more of it"
        );
        tokens.reload(&settings, b"another secret, long enough for HS256").unwrap();
        assert!(tokens.verify_again(&lasting).is_err(), "its key is gone");
    }

    #[test]
    fn a_minted_token_says_what_was_granted() {
        let issuer = Some("https://issuer.example".to_owned());
        let mut settings =
            TokenSettings { issuer, audience: Some("tidings".to_owned()), ..Default::default() };
        settings.claims.roles = "realm_access.roles".to_owned();
        let grant = Grant {
            tenant: Some("shop".to_owned()),
            user: Some("ada".to_owned()),
            roles: vec!["ADMIN".to_owned()],
            session: Some("s1".to_owned()),
            channels: vec!["topic:*".to_owned()],
            scopes: vec!["publish".to_owned()],
        };
        let token = mint(&settings, SECRET, &grant, Duration::from_secs(60)).unwrap();
        let identity = tokens(&settings).verify(&token).unwrap().identity;
        assert_eq!((identity.tenant.as_str(), identity.user.as_ref().unwrap().as_str()), ("shop", "ada"));
        assert_eq!(identity.roles[0].as_str(), "ADMIN");
        assert_eq!(identity.session.as_ref().unwrap().as_str(), "s1");
        assert_eq!(identity.channels[0].to_string(), "topic:*");
        assert_eq!(identity.scopes, Scopes { publish: true, ..Scopes::default() });
    }

    #[test]
    fn forged_expired_and_odd_tokens_are_refused_alike() {
        let tokens = tokens(&TokenSettings::default());
        let now = jsonwebtoken::get_current_timestamp();
        let good = signed(Algorithm::HS256, SECRET, &json!({"sub": "ada", "exp": later()}));
        assert!(tokens.verify(&good).is_ok());
        let unsigned = {
            // {"alg":"none"} and {"sub":"ada","exp":9999999999}
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEiLCJleHAiOjk5OTk5OTk5OTl9.".to_owned()
        };
        let cases = [
            ("empty", String::new()),
            ("garbage", "abc.def.ghi".to_owned()),
            ("no signature", unsigned),
            ("cut signature", good[..good.rfind('.').unwrap() + 1].to_owned()),
            (
                "another secret",
                signed(
                    Algorithm::HS256,
                    b"another secret of sufficient length!",
                    &json!({"sub": "ada", "exp": later()}),
                ),
            ),
            ("another algorithm", signed(Algorithm::HS512, SECRET, &json!({"sub": "ada", "exp": later()}))),
            ("expired", signed(Algorithm::HS256, SECRET, &json!({"sub": "ada", "exp": now - 6}))),
            ("without exp", signed(Algorithm::HS256, SECRET, &json!({"sub": "ada"}))),
            (
                "not yet",
                signed(Algorithm::HS256, SECRET, &json!({"sub": "ada", "exp": later(), "nbf": now + 60})),
            ),
            ("odd user", signed(Algorithm::HS256, SECRET, &json!({"sub": "", "exp": later()}))),
            (
                "a user who is rounded",
                signed(Algorithm::HS256, SECRET, &json!({"sub": 1e20, "exp": later()})),
            ),
            ("a user who is none", signed(Algorithm::HS256, SECRET, &json!({"sub": true, "exp": later()}))),
            (
                "odd roles",
                signed(Algorithm::HS256, SECRET, &json!({"sub": "ada", "roles": {}, "exp": later()})),
            ),
            (
                "odd time",
                signed(Algorithm::HS256, SECRET, &json!({"sub": "ada", "iat": "now", "exp": later()})),
            ),
            ("what it needs is not supported", {
                let mut header = Header::new(Algorithm::HS256);
                header.crit = Some(vec!["b64".to_owned()]);
                let claims = json!({"sub": "ada", "exp": later()});
                jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(SECRET)).unwrap()
            }),
            (
                "odd pattern",
                signed(Algorithm::HS256, SECRET, &json!({"sub": "ada", "channels": ["*"], "exp": later()})),
            ),
            (
                "the server's tenant",
                signed(Algorithm::HS256, SECRET, &json!({"tenant": "$server", "exp": later()})),
            ),
            (
                "too long",
                signed(
                    Algorithm::HS256,
                    SECRET,
                    &json!({"sub": "ada", "exp": later(), "x": "x".repeat(9_000)}),
                ),
            ),
        ];
        let expected = serde_json::to_value(Problem::unauthorized()).unwrap();
        for (name, token) in cases {
            let problem = tokens.verify(&token).expect_err(name);
            assert_eq!(serde_json::to_value(problem).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn issuer_and_audience_are_required_once_they_are_configured() {
        let (issuer, audience) = (Some("us".to_owned()), Some("tidings".to_owned()));
        let settings = TokenSettings { issuer, audience, ..Default::default() };
        let tokens = tokens(&settings);
        let verify = |claims: Value| tokens.verify(&signed(Algorithm::HS256, SECRET, &claims)).is_ok();
        assert!(verify(json!({"sub": "ada", "exp": later(), "iss": "us", "aud": ["x", "tidings"]})));
        assert!(!verify(json!({"sub": "ada", "exp": later(), "iss": "us"})));
        assert!(!verify(json!({"sub": "ada", "exp": later(), "aud": "tidings"})));
        assert!(!verify(json!({"sub": "ada", "exp": later(), "iss": "them", "aud": "tidings"})));
        assert!(!verify(json!({"sub": "ada", "exp": later(), "iss": "us", "aud": "others"})));
    }

    #[test]
    fn claims_come_in_the_shapes_that_issuers_give_them() {
        let mut settings = TokenSettings::default();
        settings.claims.user = "userId".to_owned();
        settings.claims.roles = "role".to_owned();
        let tokens = tokens(&settings);
        let claims = json!({"userId": 4711, "role": "ADMIN", "scope": "publish admin", "exp": later()});
        let identity = tokens.verify(&signed(Algorithm::HS256, SECRET, &claims)).unwrap().identity;
        assert_eq!(identity.user.as_ref().unwrap().as_str(), "4711");
        assert_eq!(identity.roles[0].as_str(), "ADMIN");
        let claims = json!({"userId": u64::MAX, "role": ["Key User", "ADMIN"], "exp": later()});
        let odd = tokens.verify(&signed(Algorithm::HS256, SECRET, &claims)).unwrap().identity;
        assert_eq!(odd.user.as_ref().unwrap().as_str(), "18446744073709551615");
        assert_eq!(odd.roles.len(), 1, "a role that can be no channel's name is passed over");
        assert_eq!(identity.scopes, Scopes { publish: true, admin: true, ..Scopes::default() });
    }

    #[test]
    fn a_secret_that_is_easy_to_guess_is_refused() {
        assert!(Tokens::new(&TokenSettings::default(), b"short").is_err());
    }
}
