//! `tidings serve`: the engine and its transports, from start to end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tidings_config::{Loaded, Settings};
use tidings_engine::store::StoreError;
use tidings_engine::transport::Transport;
use tidings_engine::{Engine, Options, StartError};
use tidings_http::tls::{Certificate, Tls};
use tidings_http::token::{Tokens, mint};
use tidings_http::{Http, Routes};
use tidings_nats::Nats;
use tidings_sse::EventStreams;
use tidings_web::{Demo, Web};
use tidings_ws::WebSockets;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::cli::{Flags, ServeArgs};
use crate::output::say;
use crate::reload::{Commit, Reloader};
use crate::{logging, open_files, plugins, rules, secret};

/// How long the engine may take to write what it has accepted, once it was told to stop.
const END_PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    engine: Engine,
    tokens: Arc<Tokens>,
    /// What it shows, if it does TLS.
    certificate: Option<Certificate>,
    /// As they are now.
    settings: watch::Sender<Arc<Settings>>,
    /// It is about to stop.
    leaving: CancellationToken,
    shutdown: CancellationToken,
    transports: JoinHandle<anyhow::Result<()>>,
    /// Listened for before anybody is told that it serves.
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// The engine failed while it served.
#[derive(Debug, thiserror::Error)]
#[error("{0}; start again to recover")]
pub(crate) struct Failed(Arc<str>);

/// It was told to stop before it served.
#[derive(Debug, thiserror::Error)]
#[error("told to stop before it served")]
struct StoppedEarly;

/// Whether a server could not start or go on because of what the disk said.
pub(crate) fn is_of_the_disk(error: &anyhow::Error) -> bool {
    error.is::<Failed>()
        || matches!(
            error.downcast_ref(),
            Some(StartError::Log(_) | StartError::Store(StoreError::Database(_)) | StartError::View(_))
        )
}

pub(crate) async fn run(flags: Flags, loaded: Loaded, args: &ServeArgs) -> anyhow::Result<()> {
    let logging = logging::begin(&loaded.settings.log)?;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let server = match Server::start(&loaded.settings, args.demo).await {
        Err(error) if error.is::<StoppedEarly>() => {
            tracing::info!("stopped before it served");
            return Ok(());
        }
        started => started?,
    };
    say(greeting(&loaded.settings, &server));
    let reloader = Reloader::new(flags, loaded)
        .with(move |settings| Ok(Box::new(logging.prepare(&settings.log)?) as Commit))
        .with(reload_of_keys(server.tokens.clone()))
        .with(reload_of_rules(server.tokens.clone(), server.engine.clone()))
        .with(reload_of_certificate(server.certificate.clone()))
        .with(reload_of_open_files);
    server.until_told(Some(reloader)).await
}

fn greeting(settings: &Settings, server: &Server) -> String {
    let address = server.address;
    let metrics = server.metrics_address.map(|address| format!("  metrics    http://{address}/metrics\n"));
    let nats = settings.nats.url.as_ref().map(|url| format!("  NATS       {url}\n"));
    let s = if settings.tls.files().is_some() { "s" } else { "" };
    format!(
        "tidings {version} serves\n  \
           HTTP       http{s}://{address}/v1\n  \
           WebSocket  ws{s}://{address}/v1/ws\n  \
           SSE        http{s}://{address}/v1/events\n  \
           page       http{s}://{address}/\n  \
           health     http{s}://{address}/health/ready\n\
         {metrics}{nats}  data       {data}\n\n\
         Try in another terminal:\n{commands}",
        version = env!("CARGO_PKG_VERSION"),
        metrics = metrics.unwrap_or_default(),
        nats = nats.unwrap_or_default(),
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
    let s = if settings.tls.files().is_some() { "s" } else { "" };
    format!(
        "{program} tail{flags} --after 0\n\
         {program} publish{flags} --user ada --title 'Hello, Ada'\n\
         {program} inbox{flags} ada\n\
         Or without the command line:\n  \
         curl http{s}://{address}/v1/inbox -H \"Authorization: Bearer {token}\"\n"
    )
}

impl Server {
    /// Starts everything; it serves when this returns. With the demo, the page gets tokens of a tenant of its own.
    pub(crate) async fn start(settings: &Settings, with_demo: bool) -> anyhow::Result<Self> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let hang_up = signal(SignalKind::hangup())?;
        let (now, leaving) = (watch::Sender::new(Arc::new(settings.clone())), CancellationToken::new());
        let secret = secret::load_or_generate(settings)?;
        let tokens = Arc::new(Tokens::new(&settings.token, &secret)?.with_keys(&settings.data_dir)?);
        // The address first: a port that is taken is the most likely mistake, and the quickest to find.
        let http = Http::bind(settings.listen, tokens.clone()).await;
        let http =
            http.with_context(|| format!("cannot listen on {}; --listen names another", settings.listen))?;
        let http = http.giving_up_after(Duration::from_secs(settings.stall_seconds.get().into()));
        let tls = settings.tls.files().map(|(certificate, key)| Tls::load(certificate, key)).transpose()?;
        let certificate = tls.as_ref().map(Tls::certificate);
        let http = http.with_tls(tls);
        open_files::allow_for(settings.limits.connections);
        let mut http = http.following(now.subscribe()).leaving(leaving.clone());
        if let Some(address) = settings.metrics_listen {
            let bound = http.with_metrics_on(address).await;
            http =
                bound.with_context(|| format!("cannot listen on {address}, which metrics-listen names"))?;
        }
        let (address, metrics_address) = (http.address(), http.metrics_address());
        let nats = Nats::of(now.subscribe())?;
        let demo = with_demo.then(|| demo(settings, &secret, address)).transpose()?;
        let mut options = Options::new(&settings.data_dir);
        options.plugins = plugins::of(settings)?;
        options.rules = rules::rules(settings)?;
        tokens.keep_claims(options.rules.claims());
        options.reserve_bytes = settings.reserve_bytes;
        options.snapshot_events = settings.snapshot_events;
        if !settings.delivery.progress {
            options.progress_every = None;
        }
        let (told, starting) = watch::channel(None);
        options.progress = Some(Arc::new(move |progress| {
            told.send_replace(Some(progress));
        }));
        let http = http.answering_while_it_starts(starting);
        // A view that has to be built first takes its time; what is built then is begun anew the next time.
        let engine = tokio::select! {
            engine = Engine::start(options) => engine?,
            _ = terminate.recv() => bail!(StoppedEarly),
            _ = interrupt.recv() => bail!(StoppedEarly),
        };
        tracing::info!(%address, data = %settings.data_dir.display(), position = %engine.log().head(), "serving");
        let shutdown = CancellationToken::new();
        let http = transports(demo).into_iter().fold(http, Http::with);
        let nats = nats.map(|nats| Box::new(nats) as Box<dyn Transport>);
        let running = std::iter::once(Box::new(http) as Box<dyn Transport>).chain(nats);
        let transports = tokio::spawn(until_all_end(run_all(running, &engine, &shutdown), shutdown.clone()));
        Ok(Self {
            address,
            metrics_address,
            engine,
            settings: now,
            tokens,
            certificate,
            leaving,
            shutdown,
            transports,
            terminate,
            interrupt,
            hang_up,
        })
    }

    /// Serves until a signal says to stop, or until something fails that cannot be served without. SIGHUP reloads the
    /// configuration.
    pub(crate) async fn until_told(mut self, mut reloader: Option<Reloader>) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return self.stop("SIGTERM").await,
                _ = self.interrupt.recv() => return self.stop("SIGINT").await,
                _ = self.hang_up.recv() => {
                    if let Some(reloader) = &mut reloader {
                        reloader.reload(&self.settings);
                    }
                }
                reason = self.engine.failed() => return self.fail(reason),
                ended = &mut self.transports => match ended {
                    Ok(Ok(())) => bail!("the transports ended without being told to"),
                    Ok(Err(error)) => return Err(error),
                    Err(error) => bail!("the transports failed: {error}"),
                },
            }
        }
    }

    /// What was being written is not known: nothing may be answered any more, and nothing be drained.
    fn fail(&self, reason: Arc<str>) -> anyhow::Result<()> {
        tracing::error!(%reason, "stopping at once");
        self.shutdown.cancel();
        bail!(Failed(reason))
    }

    /// Says that it is not ready, ends connections after a while, then writes what was accepted. A second signal ends it at
    /// once.
    pub(crate) async fn stop(mut self, why: &str) -> anyhow::Result<()> {
        let delay = Duration::from_secs(self.settings.borrow().shutdown.delay_seconds.into());
        tracing::info!(why, delay_seconds = delay.as_secs(), "stopping");
        self.leaving.cancel();
        let engine = self.engine.clone();
        let (shutdown, transports) = (self.shutdown.clone(), &mut self.transports);
        let winding_down = async move {
            tokio::time::sleep(delay).await;
            shutdown.cancel();
            transports.await??;
            if tokio::time::timeout(END_PATIENCE, engine.shutdown()).await.is_err() {
                bail!(
                    "what was accepted could not be written in time; the log is whole, start again to go on"
                );
            }
            tracing::info!("stopped");
            Ok(())
        };
        tokio::select! {
            ended = winding_down => ended,
            reason = self.engine.failed() => {
                tracing::error!(%reason, "stopping at once");
                bail!(Failed(reason))
            }
            _ = self.terminate.recv() => bail!("told to stop once more: stopped at once; the log is whole"),
            _ = self.interrupt.recv() => bail!("told to stop once more: stopped at once; the log is whole"),
        }
    }
}

/// Runs transports: each serves when this returns.
fn run_all(
    transports: impl Iterator<Item = Box<dyn Transport>>,
    engine: &Engine,
    shutdown: &CancellationToken,
) -> JoinSet<anyhow::Result<()>> {
    let mut running = JoinSet::new();
    for transport in transports {
        let name = transport.name();
        let ended = transport.run(engine.clone(), shutdown.child_token());
        running.spawn(async move {
            ended.await.map_err(|error| anyhow::anyhow!("the transport {name} failed: {error}"))
        });
    }
    running
}

/// Waits until all have ended, or until one does that was not told to.
async fn until_all_end(
    mut running: JoinSet<anyhow::Result<()>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    while let Some(ended) = running.join_next().await {
        ended??;
        if !shutdown.is_cancelled() {
            bail!("a transport ended without being told to");
        }
    }
    Ok(())
}

/// What lives on HTTP beside the REST API.
pub(crate) fn transports(demo: Option<Demo>) -> Vec<Box<dyn Routes>> {
    vec![Box::new(WebSockets), Box::new(EventStreams), Box::new(Web::default().with_demo(demo))]
}

/// The keys of tokens, whose files may have changed where no setting did.
fn reload_of_keys(tokens: Arc<Tokens>) -> impl Fn(&Settings) -> anyhow::Result<Commit> + Send + Sync {
    move |settings| {
        let secret = secret::load_or_generate(settings)?;
        Ok(Box::new(tokens.prepare(&settings.token, &secret)?))
    }
}

/// The rules of channels.
fn reload_of_rules(
    tokens: Arc<Tokens>,
    engine: Engine,
) -> impl Fn(&Settings) -> anyhow::Result<Commit> + Send + Sync {
    move |settings| {
        let (rules, tokens, engine) = (rules::rules(settings)?, tokens.clone(), engine.clone());
        Ok(Box::new(move || {
            tokens.keep_claims(rules.claims());
            tokio::spawn(async move { engine.govern(rules).await });
        }))
    }
}

/// The files of the certificate, which are looked at beside, too, as long as they are the same.
fn reload_of_certificate(
    certificate: Option<Certificate>,
) -> impl Fn(&Settings) -> anyhow::Result<Commit> + Send + Sync {
    move |settings| match (&certificate, settings.tls.files()) {
        (None, None) => Ok(Box::new(|| {})),
        (Some(shown), Some((certificate, key))) => Ok(Box::new(shown.prepare(certificate, key)?)),
        (None, Some(_)) => bail!("tls.certificate: that the server does TLS takes a restart"),
        (Some(_), None) => bail!("tls.certificate: that the server does no TLS any more takes a restart"),
    }
}

/// As many open files as there may be connections.
fn reload_of_open_files(settings: &Settings) -> anyhow::Result<Commit> {
    let connections = settings.limits.connections;
    Ok(Box::new(move || open_files::allow_for(connections)))
}

/// Tokens for the page, made with the server's own secret.
fn demo(settings: &Settings, secret: &[u8], address: SocketAddr) -> anyhow::Result<Demo> {
    let (token, secret) = (settings.token.clone(), secret.to_vec());
    Ok(Demo::new(address, move |grant, lifetime| mint(&token, &secret, grant, lifetime))?)
}
