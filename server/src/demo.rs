//! `tidings demo`: a server, two devices of a person and a publisher, before the reader's eyes. Everything is real: the
//! devices are WebSocket clients, the publisher uses HTTP.

use std::time::Duration;

use anyhow::{Context, anyhow};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tidings_config::{Settings, TlsSettings};
use tidings_http::token::{Grant, mint};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::cli;
use crate::client::Client;
use crate::output::say;
use crate::serve::{Server, commands_to_try};
use crate::{inbox, logging, secret};

const USER: &str = "ada";
/// How long a message may take that is on its way.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two scenes, so that one can follow.
const PAUSE: Duration = Duration::from_millis(600);

pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut quiet = settings.log.clone();
    if quiet.level == "info" {
        quiet.level = "warn".to_owned(); // what happens is told below
    }
    logging::begin(&quiet)?;
    let mut settings = settings;
    settings.tls = TlsSettings::default(); // on this machine alone, and its certificate is for elsewhere
    let server = Server::start(&settings, true).await?;
    settings.listen = server.address;
    if let Err(error) = play(&settings).await {
        let _ = server.stop("the demo failed").await;
        return Err(error.context("the demo failed"));
    }
    say(format_args!(
        "\nNow open http://{}/ and do the same by hand, as two people on four devices.",
        server.address
    ));
    say("The server goes on until Ctrl-C. Try in another terminal:");
    say(commands_to_try(&settings, server.address));
    server.until_told(None).await
}

/// One device of the user: a WebSocket client.
struct Device {
    name: &'static str,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    unread: u64,
}

async fn play(settings: &Settings) -> anyhow::Result<()> {
    let address = settings.listen;
    say(format_args!("tidings {} serves at http://{address}\n", env!("CARGO_PKG_VERSION")));

    scene("Ada opens the application on two devices").await;
    let mut phone = Device::connect(settings, "phone").await?;
    let mut laptop = Device::connect(settings, "laptop").await?;

    scene("a service publishes over HTTP: POST /v1/notifications").await;
    let shop = client(settings, Grant { scopes: vec!["publish".to_owned()], ..Grant::default() })?;
    let booking = json!({
        "type": "booking.accepted",
        "title": "Booking 17 was accepted",
        "body": "See you on Friday at ten.",
        "action": { "url": "/bookings/17", "text": "Open" },
        "audience": { "users": [USER] },
    });
    publish(&shop, &booking).await?;
    let first = phone.receive_notification().await?;
    laptop.receive_notification().await?;

    scene("and another one, to everyone").await;
    let maintenance = json!({
        "type": "system.maintenance",
        "title": "Maintenance tonight at eleven",
        "audience": { "channels": ["everyone"] },
    });
    publish(&shop, &maintenance).await?;
    phone.receive_notification().await?;
    laptop.receive_notification().await?;

    scene("Ada reads the first one on her phone; her laptop knows").await;
    phone.send(json!({ "type": "read", "id": 1, "notifications": [first] })).await?;
    phone.receive_counts().await?;
    laptop.receive_counts().await?;

    scene("her inbox, over HTTP: GET /v1/inbox").await;
    let ada = client(settings, Grant { user: Some(USER.to_owned()), ..Grant::default() })?;
    let page: Value = ada.send(ada.get("/v1/inbox?limit=5")).await?.json().await?;
    say(format_args!("  {} unread, {} unseen", page["unread"], page["unseen"]));
    for item in page["items"].as_array().into_iter().flatten() {
        say(format_args!("  {}", inbox::describe(item)));
    }
    phone.close().await;
    laptop.close().await;
    Ok(())
}

async fn scene(what: &str) {
    tokio::time::sleep(PAUSE).await;
    say(format_args!("\n— {what}"));
}

fn client(settings: &Settings, grant: Grant) -> anyhow::Result<Client> {
    let here = cli::Server { url: Some(format!("http://{}", settings.listen)), token: None, tenant: None };
    Client::new(settings, &here, grant)
}

async fn publish(shop: &Client, notification: &Value) -> anyhow::Result<()> {
    let receipt: Value = shop.send(shop.post("/v1/notifications", notification)).await?.json().await?;
    say(format_args!(
        "  durable at position {}: {}",
        receipt["position"],
        notification["title"].as_str().unwrap_or_default()
    ));
    Ok(())
}

impl Device {
    async fn connect(settings: &Settings, name: &'static str) -> anyhow::Result<Self> {
        let grant = Grant { user: Some(USER.to_owned()), ..Grant::default() };
        let token = mint(&settings.token, &secret::load(settings)?, &grant, Duration::from_secs(3600))?;
        let url = format!("ws://{}/v1/ws", settings.listen);
        let (socket, _) =
            tokio_tungstenite::connect_async(&url).await.context("the device cannot connect")?;
        let mut device = Self { name, socket, unread: 0 };
        device.send(json!({ "type": "token", "token": token })).await?;
        let hello = device.receive("hello").await?;
        device.unread = hello["counts"]["unread"].as_u64().unwrap_or_default();
        say(format_args!("  {:<6} connected over WebSocket, {} unread", name, device.unread));
        Ok(device)
    }

    async fn send(&mut self, message: Value) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }

    /// The next message of a type; others are passed over.
    async fn receive(&mut self, kind: &str) -> anyhow::Result<Value> {
        let receive = async {
            while let Some(message) = self.socket.next().await {
                let Message::Text(text) = message? else { continue };
                let message: Value = serde_json::from_str(&text)?;
                if message["type"] == kind {
                    return Ok(message);
                }
            }
            Err(anyhow!("the connection ended"))
        };
        let received = tokio::time::timeout(PATIENCE, receive).await;
        received.with_context(|| format!("the {} got no {kind} in time", self.name))?
    }

    /// The next notification, and the count that it changes. Its id.
    async fn receive_notification(&mut self) -> anyhow::Result<Value> {
        let message = self.receive("notification").await?;
        let notification = &message["notification"];
        // A notification says whether it counts, so that nobody has to wait for the count.
        self.unread += u64::from(message["counts"] == true);
        let (kind, title) = (&notification["type"], &notification["title"]);
        let line = format!("{}: {}", kind.as_str().unwrap_or_default(), title.as_str().unwrap_or_default());
        say(format_args!("  {:<6} gets {line}  ({} unread)", self.name, self.unread));
        Ok(notification["id"].clone())
    }

    /// The next counts that are news.
    async fn receive_counts(&mut self) -> anyhow::Result<()> {
        loop {
            let counts = self.receive("counts").await?;
            let unread = counts["unread"].as_u64().unwrap_or_default();
            if unread != self.unread {
                say(format_args!("  {:<6} {} → {unread} unread", self.name, self.unread));
                self.unread = unread;
                return Ok(());
            }
        }
    }

    async fn close(mut self) {
        let _ = self.socket.close(None).await; // it is over either way
    }
}
