//! The engine inside a program of one's own: no HTTP, no socket, the same log and the same counts.

use std::sync::Arc;

use tidings_engine::inbox::InboxQuery;
use tidings_engine::{Audience, Draft, Engine, Identity, Opening, Options, Position, Tenant, UserId};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let engine = Engine::start(Options::new(data.path())).await?;
    let ada = Arc::new(Identity::person(Tenant::default(), UserId::new("ada")?));
    let service = Identity::service(Tenant::default());

    let (mut device, _) = engine.subscribe(&ada, Opening::new("example")).await?;
    let mut draft = Draft::new("greeting".parse()?, Audience::of_users([UserId::new("ada")?]));
    draft.title = "Hello, Ada".to_owned();
    let receipt = engine.publish(&service, draft.into()).await?;
    println!("durable at position {}", receipt.position);

    if let Ok(parcel) = device.next().await {
        for delivery in parcel.deliveries() {
            println!("delivered: {}", String::from_utf8_lossy(delivery.encoded(engine.json())));
        }
    }
    engine.read(&ada, &[receipt.id]).await?;
    let page = engine.inbox(&ada, InboxQuery::default(), Position(0)).await?;
    println!("inbox: {} notification, {} unread", page.items.len(), page.counts.unread);
    engine.shutdown().await;
    Ok(())
}
