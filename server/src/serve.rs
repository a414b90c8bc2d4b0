//! `tidings serve`: the engine and its transports, from start to end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tidings_config::Settings;
use tidings_engine::plugin::Plugin;
use tidings_engine::store::StoreError;
use tidings_engine::transport::Transport;
use tidings_engine::{Engine, Options, StartError};
use tidings_http::Http;
use tidings_http::token::{Tokens, mint};
use tidings_sse::EventStreams;
use tidings_type_routes::TypeRoutes;
use tidings_web::{Demo, Web};
use tidings_ws::WebSockets;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::ServeArgs;
use crate::output::say;
use crate::{logging, secret};

/// How long the engine may take to write what it has accepted, once it was told to stop.
const END_PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    engine: Engine,
    shutdown: CancellationToken,
    transports: JoinHandle<anyhow::Result<()>>,
    /// Listened for before anybody is told that it serves.
    terminate: Signal,
    interrupt: Signal,
}

/// The engine failed while it served.
#[derive(Debug, thiserror::Error)]
#[error("{0}; start again to recover")]
pub(crate) struct Failed(Arc<str>);

/// Whether a server could not start or go on because of what the disk said.
pub(crate) fn is_of_the_disk(error: &anyhow::Error) -> bool {
    error.is::<Failed>()
        || matches!(
            error.downcast_ref(),
            Some(StartError::Log(_) | StartError::Store(StoreError::Database(_)) | StartError::View(_))
        )
}

pub(crate) async fn run(settings: Settings, args: &ServeArgs) -> anyhow::Result<()> {
    logging::begin(&settings.log)?;
    let server = Server::start(&settings, args.demo).await?;
    say(greeting(&settings, server.address));
    server.until_told().await
}

fn greeting(settings: &Settings, address: SocketAddr) -> String {
    format!(
        "tidings {version} serves\n  \
           HTTP       http://{address}/v1\n  \
           WebSocket  ws://{address}/v1/ws\n  \
           SSE        http://{address}/v1/events\n  \
           page       http://{address}/\n  \
           health     http://{address}/health/ready\n  \
           data       {data}\n\n\
         Try in another terminal:\n{commands}",
        version = env!("CARGO_PKG_VERSION"),
        data = settings.data_dir.display(),
        commands = commands_to_try(settings, address),
    )
}

/// Commands that reach this very server, as they have to be typed.
pub(crate) fn commands_to_try(settings: &Settings, address: SocketAddr) -> String {
    let default = Settings::default();
    let mut program = std::env::args().next().unwrap_or_else(|| "tidings".to_owned());
    let mut flags = String::new();
    if settings.data_dir != default.data_dir {
        flags.push_str(&format!(" --data-dir {}", settings.data_dir.display()));
    }
    if address != default.listen {
        flags.push_str(&format!(" --listen {address}"));
    }
    program = format!("  {program}");
    let token = format!("$({} token{flags} --user ada)", program.trim_start());
    format!(
        "{program} tail{flags} --after 0\n\
         {program} publish{flags} --user ada --title 'Hello, Ada'\n\
         {program} inbox{flags} ada\n\
         Or without the command line:\n  \
         curl http://{address}/v1/inbox -H \"Authorization: Bearer {token}\"\n"
    )
}

impl Server {
    /// Starts everything; it serves when this returns. With the demo, the page gets tokens of a tenant of its own.
    pub(crate) async fn start(settings: &Settings, with_demo: bool) -> anyhow::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let secret = secret::load_or_generate(settings)?;
        let tokens = Tokens::new(&settings.token, &secret)?;
        // The address first: a port that is taken is the most likely mistake, and the quickest to find.
        let http = Http::bind(settings.listen, tokens).await;
        let http =
            http.with_context(|| format!("cannot listen on {}; --listen names another", settings.listen))?;
        let http = http.giving_up_after(Duration::from_secs(settings.stall_seconds.get().into()));
        let address = http.address()?;
        let demo = with_demo.then(|| demo(settings, &secret, address)).transpose()?;
        let mut options = Options::new(&settings.data_dir);
        options.plugins = plugins(settings)?;
        options.reserve_bytes = settings.reserve_bytes;
        if !settings.delivery.progress {
            options.progress_every = None;
        }
        let engine = Engine::start(options).await?;
        tracing::info!(%address, data = %settings.data_dir.display(), position = %engine.log().head(), "serving");
        let shutdown = CancellationToken::new();
        let http: Box<dyn Transport> = Box::new(
            http.with_action_base(settings.delivery.action_base.as_deref())
                .with(WebSockets)
                .with(EventStreams)
                .with(Web::default().with_demo(demo)),
        );
        let name = http.name();
        let running = http.run(engine.clone(), shutdown.clone());
        let transports = tokio::spawn(async move {
            running.await.map_err(|error| anyhow::anyhow!("the transport {name} failed: {error}"))
        });
        Ok(Self { address, engine, shutdown, transports, terminate, interrupt })
    }

    /// Serves until a signal says to stop, or until something fails that cannot be served without.
    pub(crate) async fn until_told(mut self) -> anyhow::Result<()> {
        tokio::select! {
            _ = self.terminate.recv() => self.stop("SIGTERM").await,
            _ = self.interrupt.recv() => self.stop("SIGINT").await,
            reason = self.engine.failed() => {
                // What was being written is not known: nothing may be answered any more, and nothing be drained.
                tracing::error!(%reason, "stopping at once");
                self.shutdown.cancel();
                bail!(Failed(reason))
            }
            ended = &mut self.transports => match ended {
                Ok(Ok(())) => bail!("the transports ended without being told to"),
                Ok(Err(error)) => Err(error),
                Err(error) => bail!("the transports failed: {error}"),
            },
        }
    }

    /// Ends connections, then writes what was accepted.
    pub(crate) async fn stop(self, why: &str) -> anyhow::Result<()> {
        tracing::info!(why, "stopping");
        self.shutdown.cancel();
        self.transports.await??;
        if tokio::time::timeout(END_PATIENCE, self.engine.shutdown()).await.is_err() {
            bail!("what was accepted could not be written in time; the log is whole, start again to go on");
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Tokens for the page, made with the server's own secret.
fn demo(settings: &Settings, secret: &[u8], address: SocketAddr) -> anyhow::Result<Demo> {
    let (token, secret) = (settings.token.clone(), secret.to_vec());
    Ok(Demo::new(address, move |grant, lifetime| mint(&token, &secret, grant, lifetime))?)
}

/// The plugins that the settings name, each with its settings.
fn plugins(settings: &Settings) -> anyhow::Result<Vec<Arc<dyn Plugin>>> {
    let mut plugins: Vec<Arc<dyn Plugin>> = Vec::new();
    for (name, value) in &settings.plugins {
        match name.as_str() {
            tidings_type_routes::NAME => {
                let settings = value.clone().try_into();
                let settings =
                    settings.with_context(|| format!("the settings of [plugins.{name}] are not as expected"));
                plugins.push(Arc::new(TypeRoutes::new(settings?)));
            }
            _ => bail!("there is no plugin {name}; there is {}", tidings_type_routes::NAME),
        }
    }
    Ok(plugins)
}
