//! Requests: publishing with an answer, and what is asked of inboxes. Servers that share a broker share them, each request going to
//! one; each is worked on by a task of its own, and there are only so many.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::select_all;
use tidings_engine::Engine;
use tidings_engine::problem::Problem;
use tidings_engine::request::{self, RequestId};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::MessageBytes;
use crate::answer::Answer;
use crate::draft::publication;
use crate::header;
use crate::inbox;
use crate::link::Link;
use crate::subject::Subjects;
use crate::table::Table;

/// The servers of this name share the requests.
const GROUP: &str = "tidings";
/// How long the broker may take to say that nothing more comes, at the end.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

/// What works on requests.
#[derive(Clone)]
pub(crate) struct Requests {
    pub(crate) link: Link,
    pub(crate) engine: Engine,
    pub(crate) subjects: Subjects,
    pub(crate) table: Arc<Table>,
    pub(crate) message_bytes: MessageBytes,
    /// So many more may be worked on.
    pub(crate) room: Arc<Semaphore>,
}

type Work = fn(Requests, Message) -> BoxFuture<'static, (Message, Answer)>;

impl Requests {
    /// Answers until the shutdown, and what has come by then.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), async_nats::SubscribeError> {
        let mut kinds: Vec<(Vec<String>, Work)> =
            vec![(self.subjects.requests().into(), |requests, message| {
                Box::pin(async move {
                    let answer = requests.publish(&message).await.into();
                    (message, answer)
                })
            })];
        if self.table.has_inboxes() {
            kinds.push((self.subjects.inboxes().into(), |requests, message| {
                Box::pin(async move {
                    let answer =
                        inbox::answer(&requests.engine, &requests.subjects, &requests.table, &message).await;
                    (message, answer)
                })
            }));
        }
        let mut subscribed = Vec::new();
        for (subjects, work) in kinds {
            for subject in subjects {
                let subscriber = self.link.client.queue_subscribe(subject, GROUP.to_owned()).await?;
                subscribed.push((subscriber, work));
            }
        }
        self.serve(subscribed, shutdown).await;
        Ok(())
    }

    async fn serve(self, mut subscribed: Vec<(Subscriber, Work)>, shutdown: CancellationToken) {
        let tasks = TaskTracker::new();
        {
            let streams = subscribed.iter_mut().map(|(subscriber, work)| {
                let work = *work;
                subscriber.map(move |message| (message, work))
            });
            let mut requests = select_all(streams);
            while let Some((message, work)) = tokio::select! {
                biased;
                () = shutdown.cancelled() => None,
                next = requests.next() => next,
            } {
                self.begin(&tasks, message, work).await;
            }
        }
        // Others get what comes from now on; what came before is answered here.
        for (subscriber, work) in &mut subscribed {
            if !self.link.broker.is_connected() || subscriber.drain().await.is_err() {
                break;
            }
            while let Ok(Some(message)) = tokio::time::timeout(DRAIN_PATIENCE, subscriber.next()).await {
                self.begin(&tasks, message, *work).await;
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn begin(&self, tasks: &TaskTracker, message: Message, work: Work) {
        if message.reply.as_deref().is_some_and(|reply| !self.subjects.may_answer_on(reply)) {
            tracing::debug!(subject = %message.subject, "a request wants its answer where no answers go: it is passed over");
            return;
        }
        let Ok(place) = self.room.clone().try_acquire_owned() else {
            return Answer::busy().send(&self.link, &message).await;
        };
        let requests = self.clone();
        let id = request_id(&message);
        tasks.spawn(request::within(id, async move {
            let (message, answer) = work(requests.clone(), message).await;
            answer.send(&requests.link, &message).await;
            drop(place);
        }));
    }

    async fn publish(&self, message: &Message) -> Result<Answer, Problem> {
        let chosen = self.subjects.published_on(&message.subject).unwrap_or_default();
        let (_, identity) = self.table.speaker(chosen)?;
        let publication = publication(message, self.message_bytes.most())?;
        Ok(Answer::of(&self.engine.publish(identity, publication).await?))
    }
}

/// What the sender calls the request, or its trace; else a new name.
fn request_id(message: &Message) -> RequestId {
    let headers = message.headers.as_ref();
    let named = header::value(headers, header::REQUEST_ID).and_then(RequestId::parse);
    let traced = || header::value(headers, header::TRACEPARENT).and_then(RequestId::of_traceparent);
    named.or_else(traced).unwrap_or_default()
}
