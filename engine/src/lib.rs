//! The engine of Tidings: an append-only log of events, the projections that follow from it, and the live fan-out.
//!
//! Everything that happens is first an event in the [`log`]; the [`inbox`] and what the [`hub`] hands out are derived
//! from it. The engine knows no HTTP, no socket and no broker: those are [`transport`]s. It is extended through three
//! traits: [`store::EventStore`], [`transport::Transport`] and [`plugin::Plugin`].
//!
//! ```
//! use std::sync::Arc;
//! use tidings_engine::{Draft, Engine, Identity, Opening, Options, Position, Tenant, UserId};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let data = tempfile::tempdir()?;
//! let engine = Engine::start(Options::new(data.path())).await?;
//! let ada = Arc::new(Identity::person(Tenant::default(), UserId::new("ada")?));
//! let (mut phone, _) = engine.subscribe(&ada, Opening::new("example")).await?;
//!
//! let draft: Draft = serde_json::from_str(r#"{"type": "greeting", "title": "Hello", "audience": {"users": ["ada"]}}"#)?;
//! engine.publish(&Identity::service(Tenant::default()), draft.into()).await?;
//!
//! let parcel = phone.next().await.expect("the engine is running");
//! assert_eq!(parcel.deliveries().len(), 2); // the notification, and the new count
//! assert_eq!(engine.counts(&ada, Position(0)).await?.unread, 1);
//! engine.shutdown().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

pub mod access;
mod audience;
pub mod backup;
pub mod broker;
pub mod check;
pub mod clock;
mod cloudevent;
pub mod command;
pub mod conformance;
pub mod deliveries;
pub mod delivery;
mod draft;
mod engine;
mod epochs;
mod error;
pub mod event;
mod file_lock;
pub mod hub;
pub mod inbox;
pub mod input;
mod known_head;
pub mod limits;
pub mod log;
pub mod metrics;
mod names;
pub mod notification;
pub mod plugin;
mod position;
pub mod problem;
mod progress;
mod projector;
mod query;
mod rebuild;
pub mod request;
mod resume;
pub mod snapshot;
mod sorted_map;
mod space;
mod sqlite;
pub mod stats;
pub mod store;
mod subscriber;
mod timers;
pub mod transport;

pub use access::Identity;
pub use audience::Audience;
pub use cloudevent::{CloudEvent, Publication};
pub use draft::Draft;
pub use engine::{Engine, Options, StartError};
pub use epochs::{Epochs, EpochsError};
pub use error::Error;
pub use inbox::Source;
pub use names::{
    Channel, CollapseKey, DeviceName, IdempotencyKey, NameError, NotificationType, Priority, Publisher, Role,
    SessionId, Tag, Tenant, UserId, UserKey,
};
pub use notification::{Notification, NotificationId};
pub use position::{Cursor, CursorError, Epoch, Offset, Position, StreamId};
pub use progress::Progress;
pub use query::{CountsBy, MembersPage};
pub use rebuild::rebuild;
pub use resume::{Reset, Resume, Resumed};
pub use subscriber::{Ended, Hello, Opening, Subscriber};
