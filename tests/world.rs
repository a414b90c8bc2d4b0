//! The test world: the real binary on a free port with a directory of its own, and clients that talk to it as anybody
//! would.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_config::TokenSettings;
use tidings_http::token::{Grant, mint};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub const SECRET: &str = "a secret for tests, long enough for HS256";
/// How long anything may take that should happen at once. Generous: tests are about truth, not about time.
const PATIENCE: Duration = Duration::from_secs(20);

/// The binary, built if it is not up to date.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built("tidings", "tidings"))
}

/// A binary of the workspace, built if it is not up to date.
pub fn built(package: &str, name: &str) -> PathBuf {
    let mut build = std::process::Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", package, "--bin", name]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo runs").success(), "the binary builds");
    // This test lies in `deps`, beside which the binary is.
    let test = std::env::current_exe().expect("a test has a path");
    test.parent().and_then(Path::parent).expect("a test lies in deps").join(name)
}

/// A server with a directory of its own.
pub struct World {
    pub directory: TempDir,
    pub http: reqwest::Client,
    /// `http` or `https`.
    scheme: String,
    address: String,
    arguments: Vec<String>,
    /// What the server finds in its environment, beside the usual.
    pub environment: Vec<(&'static str, PathBuf)>,
    server: Option<Child>,
}

impl World {
    /// A server with default settings.
    pub async fn start() -> Self {
        Self::with_configuration("").await
    }

    /// A server with a configuration file.
    pub async fn with_configuration(toml: &str) -> Self {
        let mut world = Self::prepared(toml);
        world.resume().await;
        world
    }

    /// The same, before it is started.
    pub fn prepared(toml: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("tidings.toml");
        std::fs::write(&file, toml).expect("a file");
        let arguments = vec!["--config".to_owned(), file.display().to_string()];
        // Trusts nobody: to read the system's list takes a while, and few need it.
        let http = reqwest::Client::builder().tls_certs_only([]).build().expect("a client");
        let (scheme, address) = (String::new(), String::new());
        Self { directory, http, scheme, address, arguments, environment: Vec::new(), server: None }
    }

    /// A flag for the server, before it is started.
    pub fn add_argument(&mut self, flag: &str) {
        self.arguments.push(flag.to_owned());
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Starts the server again, on what it left.
    pub async fn resume(&mut self) {
        let command = self.serve();
        self.resume_with(command).await;
    }

    /// The command that starts the server.
    pub fn serve(&self) -> Command {
        self.serve_on(([127, 0, 0, 1], 0).into())
    }

    /// The same, listening on an address.
    pub fn serve_on(&self, address: std::net::SocketAddr) -> Command {
        let mut command = Command::new(binary());
        command
            .args(["serve", "--listen", &address.to_string(), "--data-dir"])
            .arg(self.data())
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("TIDINGS_SECRET", SECRET)
            .kill_on_drop(true);
        command
    }

    /// Starts the server by a command of one's own.
    pub async fn resume_with(&mut self, mut command: Command) {
        if command.as_std().get_envs().all(|(name, _)| name != "LOG_LEVEL") {
            command.env("LOG_LEVEL", "warn");
        }
        command.env("TIDINGS_SECRET", SECRET).stdout(Stdio::piped()).kill_on_drop(true);
        let mut server = command.spawn().expect("the server starts");
        let mut lines = BufReader::new(server.stdout.take().expect("it has an output")).lines();
        let address = async {
            while let Some(line) = lines.next_line().await.expect("its output is read") {
                if let Some((before, rest)) = line.split_once("://") {
                    let scheme = before.split_whitespace().last().unwrap_or_default();
                    return (scheme.to_owned(), rest.split('/').next().unwrap_or_default().to_owned());
                }
            }
            panic!("the server ended before it served");
        };
        (self.scheme, self.address) = in_time("the server's start", address).await;
        self.server = Some(server);
    }

    /// What a server writes to its log of errors while it starts and stops, on what is there.
    pub async fn errors_of_a_start(&mut self) -> String {
        let file = self.directory.path().join("errors");
        let mut command = Command::new(binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(self.data());
        command.args(&self.arguments).stderr(std::fs::File::create(&file).expect("a file"));
        self.resume_with(command).await;
        assert!(self.stop().await.success());
        std::fs::read_to_string(&file).expect("it was written")
    }

    /// Kills the server as a power switch would, as far as a process can be.
    pub async fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().await.expect("it is killed");
        }
    }

    /// Waits until no server uses the directory: one that is killed while it starts may live a moment longer.
    pub fn released(&self) {
        if let Ok(lock) = std::fs::File::open(self.data().join("lock")) {
            lock.lock().expect("it is let go");
        }
    }

    /// Sends the server a signal: `TERM`, `HUP`.
    pub fn signal(&self, name: &str) {
        let pid = self.server.as_ref().and_then(Child::id).expect("it runs").to_string();
        std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill runs");
    }

    /// Asks the server to stop, and waits until it has.
    pub async fn stop(&mut self) -> std::process::ExitStatus {
        self.signal("TERM");
        let mut server = self.server.take().expect("it runs");
        in_time("the server's end", server.wait()).await.expect("it ends")
    }

    /// How the server ended by itself.
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        let mut server = self.server.take().expect("it was started");
        in_time("the server's end", server.wait()).await.expect("it ends")
    }

    /// Talks to a server in this process instead of one of its own.
    pub fn serve_from(&mut self, address: std::net::SocketAddr) {
        (self.scheme, self.address) = ("http".to_owned(), address.to_string());
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// The command line, pointed at this server.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).args(["--listen", &self.address, "--data-dir"]).arg(self.data());
        command.env("TIDINGS_SECRET", SECRET).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    pub fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(token)
    }

    /// Sends a request with a JSON body and takes the JSON answer.
    pub async fn send(&self, method: Method, path: &str, token: &str, body: &Value) -> (StatusCode, Value) {
        let mut request = self.request(method, path, token);
        if !body.is_null() {
            request = request.json(body);
        }
        let response = request.send().await.expect("the server answers");
        let status = response.status();
        (status, response.json().await.unwrap_or_default())
    }

    /// A request that succeeds.
    pub async fn ok(&self, method: Method, path: &str, token: &str, body: &Value) -> Value {
        let (status, answer) = self.send(method.clone(), path, token, body).await;
        assert!(status.is_success(), "{method} {path} {body}: {status} {answer}");
        answer
    }

    /// Whether every query of these people is answered.
    pub async fn answers_all(&self, tokens: &[&str]) -> bool {
        for token in tokens {
            for path in [
                "/v1/inbox?limit=100",
                "/v1/inbox?archived=true",
                "/v1/inbox?pinned=true",
                "/v1/counts?by=type",
            ] {
                let sent = self.request(Method::GET, path, token).send().await;
                if !sent.is_ok_and(|answer| answer.status().is_success()) {
                    return false;
                }
            }
        }
        let members = self.request(Method::GET, "/v1/channels/everyone/members", &service()).send().await;
        members.is_ok_and(|answer| answer.status().is_success())
    }

    pub async fn get(&self, path: &str, token: &str) -> Value {
        self.ok(Method::GET, path, token, &Value::Null).await
    }

    pub async fn post(&self, path: &str, token: &str, body: Value) -> Value {
        self.ok(Method::POST, path, token, &body).await
    }

    /// Publishes as a service; the receipt.
    pub async fn publish(&self, notification: Value) -> Value {
        self.post("/v1/notifications", &service(), notification).await
    }

    /// All events of the log, as an operator sees them.
    pub async fn log(&self) -> Vec<Value> {
        let mut events = Vec::new();
        let mut after = 0;
        loop {
            let page = self.get(&format!("/v1/log?after={after}&limit=1000"), &service()).await;
            events.extend(page["events"].as_array().expect("events").iter().cloned());
            after = page["next"].as_u64().expect("a position");
            if page["next"] == page["head"] {
                return events;
            }
        }
    }

    /// A device with a token in its `Authorization` header.
    pub async fn connect(&self, token: &str) -> Device {
        self.try_connect(&format!("/v1/ws?token={token}")).await.expect("a device connects")
    }

    /// The same, with a receive buffer as small as the system has it: what it does not read, the server cannot write.
    pub async fn connect_narrow(&self, query: &str) -> Device {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("a small buffer");
        let stream = socket.connect(self.address.parse().expect("an address")).await.expect("it listens");
        let url = format!("ws://{}/v1/ws?{query}", self.address);
        let connected = tokio_tungstenite::client_async(url, MaybeTlsStream::Plain(stream)).await;
        let mut device = Device { socket: connected.expect("it connects").0, hello: Value::Null, next_id: 1 };
        device.hello = device.expect("hello").await;
        device
    }

    pub async fn try_connect(&self, path: &str) -> Result<Device, tungstenite::Error> {
        let mut device = self.open(path).await?;
        if path.contains("token=") {
            device.hello = device.expect("hello").await;
        }
        Ok(device)
    }

    /// A connection of which nothing is expected yet.
    pub async fn open(&self, path: &str) -> Result<Device, tungstenite::Error> {
        let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{}{path}", self.address)).await?;
        Ok(Device { socket, hello: Value::Null, next_id: 1 })
    }

    /// The same over a stream of one's own.
    pub async fn open_over<S>(&self, stream: S, path: &str) -> Result<Device<S>, tungstenite::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let url = format!("ws://{}{path}", self.address);
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await?;
        Ok(Device { socket, hello: Value::Null, next_id: 1 })
    }
}

/// A token that says something.
pub fn token(grant: &Grant) -> String {
    mint(&TokenSettings::default(), SECRET.as_bytes(), grant, Duration::from_secs(3600))
        .expect("a token is made")
}

/// A token of a service that may do everything.
pub fn service() -> String {
    let scopes = ["publish", "admin", "operator"].map(str::to_owned).to_vec();
    token(&Grant { scopes, ..Grant::default() })
}

/// A token of a person who may join and watch topics.
pub fn person(user: &str) -> String {
    token(&Grant { user: Some(user.to_owned()), channels: vec!["topic:*".to_owned()], ..Grant::default() })
}

/// A connected device: a WebSocket client that knows nothing of ours.
pub struct Device<S = MaybeTlsStream<TcpStream>> {
    socket: WebSocketStream<S>,
    pub hello: Value,
    next_id: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Device<S> {
    pub async fn send(&mut self, message: &Value) {
        self.send_raw(Message::text(message.to_string())).await;
    }

    pub async fn send_raw(&mut self, message: Message) {
        self.socket.send(message).await.expect("the frame is sent");
    }

    /// The next message, whatever it is; `Err` with the close frame when the connection has ended.
    pub async fn next(&mut self) -> Result<Value, Option<CloseFrame>> {
        let next = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("JSON")),
                    Some(Ok(Message::Close(frame))) => return Err(frame),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(None),
                }
            }
        };
        in_time("a message", next).await
    }

    /// The code with which the server closes; what it says before is passed over.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.next().await {
                Ok(_) => {}
                Err(Some(frame)) => return frame.code.into(),
                Err(None) => panic!("the connection ended without a close frame"),
            }
        }
    }

    /// The next message of a type; others are passed over.
    pub async fn expect(&mut self, kind: &str) -> Value {
        loop {
            match self.next().await {
                Ok(message) if message["type"] == kind => return message,
                Ok(_) => {}
                Err(frame) => panic!("expected {kind}, but the connection ended: {frame:?}"),
            }
        }
    }

    /// Sends a command and takes its result, or its error message, passing over what else comes.
    pub async fn ask(&mut self, command: Value) -> Value {
        let answer = self.ask_and_hear(command).await.0;
        if answer["type"] == "answer" { answer["result"].clone() } else { answer }
    }

    /// The same, with what came before the answer.
    pub async fn ask_and_hear(&mut self, mut command: Value) -> (Value, Vec<Value>) {
        let id = self.next_id;
        self.next_id += 1;
        command["id"] = json!(id);
        self.send(&command).await;
        let mut heard = Vec::new();
        loop {
            let message = self.next().await.expect("an answer");
            if message["id"] == json!(id) {
                return (message, heard);
            }
            heard.push(message);
        }
    }

    /// What has come by now: everything before the answer to a ping.
    pub async fn heard(&mut self) -> Vec<Value> {
        self.ask_and_hear(json!({ "type": "ping" })).await.1
    }

    /// The ids of the notifications that have come by now.
    pub async fn notifications(&mut self) -> Vec<String> {
        let heard = self.heard().await;
        let notifications = heard.iter().filter(|message| message["type"] == "notification");
        notifications
            .map(|message| message["notification"]["id"].as_str().expect("an id").to_owned())
            .collect()
    }

    pub async fn close(mut self) {
        let _ = self.socket.close(None).await;
    }
}

pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} took too long"))
}

/// The ids of a page's notifications.
pub fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().expect("items").iter();
    items.map(|item| item["notification"]["id"].as_str().expect("an id").to_owned()).collect()
}

pub fn id(receipt: &Value) -> String {
    receipt["id"].as_str().expect("an id").to_owned()
}
