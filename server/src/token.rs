//! `tidings token`: a token for development, signed with the server's secret.

use tidings_config::Settings;
use tidings_http::token::{Grant, Tokens, mint};

use crate::cli::TokenArgs;
use crate::output::say;
use crate::secret;

pub(crate) fn run(settings: &Settings, args: TokenArgs) -> anyhow::Result<()> {
    let grant = Grant {
        tenant: args.tenant,
        user: args.user,
        roles: args.roles,
        session: args.session,
        channels: args.channels,
        scopes: args.scopes,
    };
    let secret = secret::load_or_generate(settings)?;
    let token = mint(&settings.token, &secret, &grant, args.expires_in)?;
    // Said now rather than when it is refused: a name that no server takes.
    Tokens::new(&settings.token, &secret)?.explain(&token).map_err(|reason| anyhow::anyhow!("{reason}"))?;
    say(&token);
    Ok(())
}
