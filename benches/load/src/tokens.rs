//! Who connects and who publishes: tokens made with the server's secret, or read from a file.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value};

/// How long tokens last that are made here: longer than any run.
const LIFETIME_SECONDS: u64 = 7 * 86_400;

/// A user of the run, with what shows who they are.
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) token: String,
}

/// Makes tokens.
pub(crate) struct Mint<'a> {
    pub(crate) secret: &'a str,
    pub(crate) tenant: &'a str,
    /// What all say beside what is needed.
    pub(crate) claims: &'a [(String, String)],
}

impl Mint<'_> {
    fn token(&self, claim: (&str, &str)) -> Result<String> {
        let now = jsonwebtoken::get_current_timestamp();
        let mut claims: Map<String, Value> = Map::new();
        claims.insert("tenant".to_owned(), self.tenant.into());
        claims.insert(claim.0.to_owned(), claim.1.into());
        claims.insert("iat".to_owned(), now.into());
        claims.insert("exp".to_owned(), (now + LIFETIME_SECONDS).into());
        claims.extend(self.claims.iter().map(|(name, value)| (name.clone(), value.clone().into())));
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        Ok(jsonwebtoken::encode(&Header::default(), &claims, &key)?)
    }

    pub(crate) fn publisher(&self) -> Result<String> {
        self.token(("scope", "publish"))
    }

    /// The same people each time, so that a server that is measured often does not come to know ever more.
    pub(crate) fn users(&self, count: u32) -> Result<Vec<User>> {
        let user = |number| {
            let id = format!("load-{number}");
            Ok(User { token: self.token(("sub", &id))?, id })
        };
        (0..count).map(user).collect()
    }
}

/// Users from a file: a line each, the id and the token.
pub(crate) fn read(file: &Path, count: u32) -> Result<Vec<User>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut users = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (id, token) = line.trim().split_once(char::is_whitespace).with_context(|| {
            format!("{}:{}: expected a user's id, a space, and their token", file.display(), number + 1)
        })?;
        users.push(User { id: id.to_owned(), token: token.trim().to_owned() });
    }
    ensure!(
        users.len() >= count as usize,
        "{} has tokens of {} users, and {count} are needed: give fewer --users or --connections",
        file.display(),
        users.len()
    );
    users.truncate(count as usize);
    Ok(users)
}
