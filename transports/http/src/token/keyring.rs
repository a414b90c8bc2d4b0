//! Whose tokens are accepted, and with which key each is verified.

use jsonwebtoken::{Header, Validation};
use tidings_config::{ClaimNames, IssuerSettings, TokenSettings};
use tidings_engine::Tenant;

use super::KeyError;
use super::key::{Key, Print};
use crate::click::Links;

/// What the issuer is called that the server is itself.
const OWN: &str = "token";
/// The `kid` of tokens that the server makes itself. Others who know its secret need none.
pub(super) const OWN_KID: &str = "tidings";

/// Whose tokens are accepted at a time. Read anew it is another one.
pub(super) struct Keyring {
    issuers: Vec<Issuer>,
    /// Links are signed with a key that is made of the server's own secret.
    pub(super) links: Links,
}

/// Somebody who makes tokens.
pub(super) struct Issuer {
    name: String,
    /// What `iss` must be, if it matters.
    iss: Option<String>,
    pub(super) tenant: Option<Tenant>,
    pub(super) claims: ClaimNames,
    keys: Vec<Verifier>,
}

/// A key with everything else that its tokens have to be.
pub(super) struct Verifier {
    pub(super) key: Key,
    pub(super) print: Print,
    pub(super) validation: Validation,
}

impl Keyring {
    /// The issuers of the settings, and the server itself with its secret. Reads the files of keys.
    pub(super) fn load(settings: &TokenSettings, secret: &[u8]) -> Result<Self, KeyError> {
        let own = IssuerSettings {
            name: OWN.to_owned(),
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            ..IssuerSettings::default()
        };
        let failed = |place: String| move |error: String| KeyError { place, error };
        let key = Key::secret(secret, None, None, false).map_err(failed("token.secret".to_owned()))?;
        let mut issuers = vec![Issuer::new(&own, settings, vec![key])?];
        for issuer in &settings.issuers {
            let mut keys = Vec::new();
            for (index, key) in issuer.keys.iter().enumerate() {
                let place = format!("token.issuers `{}`, keys[{index}]", issuer.name);
                keys.extend(Key::load(key, issuer.allow_weak_secret).map_err(failed(place))?);
            }
            issuers.push(Issuer::new(issuer, settings, keys)?);
        }
        Ok(Self { issuers, links: Links::new(secret) })
    }

    /// The key of a token with this header and issuer: the one that its `kid` names; if there is none of that name, or it
    /// names none, the only one of its algorithm's family that could be meant. Never one of another algorithm. The
    /// server's own secret stands back behind other keys.
    pub(super) fn choose(&self, header: &Header, iss: Option<&str>) -> Result<(&Issuer, &Verifier), String> {
        let all = || self.of_issuer(iss).flat_map(|issuer| issuer.keys.iter().map(move |key| (issuer, key)));
        let kid = header.kid.as_deref();
        let has = |issuer: &Issuer, key: &Key, kid: &str| {
            key.kid.as_deref() == Some(kid) || (issuer.name == OWN && kid == OWN_KID)
        };
        let is_known = kid.is_some_and(|kid| all().any(|(issuer, verifier)| has(issuer, &verifier.key, kid)));
        let is_meant = |issuer: &Issuer, key: &Key| match kid {
            Some(kid) if is_known => has(issuer, key, kid),
            Some(_) => key.kid.is_none(),
            None => true,
        };
        let family = header.alg.family();
        let is_candidate =
            |issuer: &Issuer, key: &Key| key.algorithm.family() == family && is_meant(issuer, key);
        let mut candidates: Vec<(&Issuer, &Verifier)> =
            all().filter(|(issuer, verifier)| is_candidate(issuer, &verifier.key)).collect();
        if candidates.len() > 1 {
            candidates.retain(|(issuer, _)| issuer.name != OWN);
        }
        match candidates.as_slice() {
            [one] if one.1.key.algorithm == header.alg => Ok(*one),
            [one] => {
                Err(format!("the key is for {:?}, and the token has {:?}", one.1.key.algorithm, header.alg))
            }
            [] => Err("there is no key for it".to_owned()),
            _ => Err("several keys could be meant, and the token's kid names none of them".to_owned()),
        }
    }

    /// Whether a key is still there.
    pub(super) fn has(&self, print: &Print) -> bool {
        self.issuers.iter().flat_map(|issuer| &issuer.keys).any(|key| key.print == *print)
    }

    /// Those who may have issued a token that names `iss`: exactly those of that name, if there are any.
    fn of_issuer(&self, iss: Option<&str>) -> impl Iterator<Item = &Issuer> {
        let is_known = iss.is_some() && self.issuers.iter().any(|issuer| issuer.iss.as_deref() == iss);
        let wanted = iss.filter(|_| is_known);
        self.issuers.iter().filter(move |issuer| issuer.iss.as_deref() == wanted)
    }
}

impl Issuer {
    fn new(settings: &IssuerSettings, of: &TokenSettings, keys: Vec<Key>) -> Result<Self, KeyError> {
        let place = |what: &str| format!("token.issuers `{}`{what}", settings.name);
        let tenant = settings.tenant.as_deref().map(str::parse::<Tenant>).transpose();
        let tenant =
            tenant.map_err(|error| KeyError { place: place(", tenant"), error: error.to_string() })?;
        for (index, key) in keys.iter().enumerate() {
            let same =
                |other: &Key| other.kid == key.kid && other.algorithm.family() == key.algorithm.family();
            if let Some(kid) = key.kid.as_ref().filter(|_| keys[..index].iter().any(same)) {
                let error = format!("expected each kid once among keys of a kind, got {kid} twice");
                return Err(KeyError { place: place(""), error });
            }
        }
        let verifier = |key: Key| {
            let validation = validation(&key, settings, of.leeway_seconds);
            // A key that is used for less from now on is another one.
            let used_for =
                format!("{} {:?} {:?} {:?}", settings.name, settings.issuer, settings.audience, tenant);
            Verifier { print: key.print(&used_for), validation, key }
        };
        let keys = keys.into_iter().map(verifier).collect();
        let claims = settings.claims.clone().unwrap_or_else(|| of.claims.clone());
        Ok(Self { name: settings.name.clone(), iss: settings.issuer.clone(), tenant, claims, keys })
    }

    /// What the log calls it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// What the library is to check: its defaults pass over `nbf`, and allow a minute of leeway.
fn validation(key: &Key, issuer: &IssuerSettings, leeway_seconds: u64) -> Validation {
    let mut validation = Validation::new(key.algorithm);
    validation.leeway = leeway_seconds;
    validation.validate_nbf = true;
    validation.validate_aud = issuer.audience.is_some();
    let mut required = vec!["exp"];
    if let Some(issuer) = &issuer.issuer {
        validation.set_issuer(&[issuer]);
        required.push("iss");
    }
    if let Some(audience) = &issuer.audience {
        validation.set_audience(&[audience]);
        required.push("aud");
    }
    validation.set_required_spec_claims(&required);
    validation
}
