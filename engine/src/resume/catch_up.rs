//! Opening subscriptions and bringing them forward: what the projector has at hand at once, the rest from the view's
//! index and the log, a bounded page at a time.

use crate::deliveries::{Beginning, Track};
use crate::delivery::Message;
use crate::engine::Engine;
use crate::error::Error;
use crate::hub::{SubscriberId, Subscription};
use crate::inbox::{Missed, effect_for, missed};
use crate::limits;
use crate::names::DeviceName;
use crate::position::Position;
use crate::projector::{From, Next, Opened, Request};
use crate::resume::{Gathering, POSITIONS_AT_ONCE, Reset, Resume, Resumed, Viewer};
use crate::subscriber::{Advance, Hello, Subscriber};

impl Engine {
    /// Opens a subscription where the device left off, or else now.
    pub(crate) async fn open(
        &self,
        subscription: Subscription,
        resume: Option<Resume>,
        device: Option<DeviceName>,
    ) -> Result<(Subscriber, Hello), Error> {
        let (key, transport) = (subscription.key.clone(), subscription.transport);
        let (mut from, mut resumed) = (From::Now, None);
        if let Some(resume) = &resume {
            resumed = Some(self.judge(resume));
            if resumed == Some(Resumed::Continued) {
                // Nothing it has seen already may come again.
                self.settle_at(resume.cursor.position).await?;
                from = From::After(resume.cursor.position, resume.most.min(limits::MISSED_MOST));
            }
        }
        let asked = self.projector().ask(|reply| Request::Subscribe(subscription, from, reply)).await;
        let Opened { registration, channels, watching, counts, next } = asked.ok_or(Error::Stopping)?;
        let advance = match (next, from) {
            (Next::Here(advance), _) => Some(advance),
            (Next::Older(viewer), From::After(after, most)) => self.older(*viewer, after, most).await?,
            (Next::Older(_) | Next::TooMany, _) => None,
        };
        let advance = match advance {
            Some(advance) => advance,
            None => {
                resumed = Some(Resumed::Reset(Reset::TooMany));
                let asked =
                    self.projector().ask(|reply| Request::Advance(registration.id, From::Now, reply)).await;
                let Some(Next::Here(advance)) = asked.flatten() else { return Err(Error::Stopping) };
                advance
            }
        };
        let is_of_this_log = |resume: &&Resume| self.judge(resume) == Resumed::Continued;
        let had = resume.as_ref().filter(is_of_this_log).map(|resume| resume.cursor.position);
        let position = match (resumed, resume) {
            (Some(Resumed::Continued), Some(resume)) => resume.cursor.position,
            _ => advance.position,
        };
        let cursor = self.log().cursor(position);
        let is_named = device.is_some();
        let device = device.unwrap_or_else(|| self.name_connection(registration.id));
        let track = self.reports().map(|reports| {
            // Nobody else has the name of a connection: it can have had nothing.
            let had = had.filter(|_| is_named);
            let (device, from, began) = (device.clone(), position, counts.position);
            Track::begin(reports.clone(), Beginning { key, device, transport, from, began, had, is_named })
        });
        let counted = self.log().metrics().connected(transport, resumed);
        let hello = Hello { device, channels, watching, cursor, counts, resume: resumed };
        let folded = self.projector().folded.clone();
        let counting = (track, counted);
        let subscriber = Subscriber::new(registration, self.downgrade(), &hello, folded, advance, counting);
        Ok((subscriber, hello))
    }

    /// What a device is called whose client does not say: no other connection to this log ever has the same name.
    fn name_connection(&self, id: SubscriberId) -> DeviceName {
        DeviceName::stored(&format!("connection-{}-{id}", self.run()))
    }

    fn judge(&self, resume: &Resume) -> Resumed {
        let epochs = self.log().epochs();
        if !epochs.hold(&resume.cursor) && epochs.may_have_forgotten(&resume.cursor) {
            Resumed::Reset(Reset::TooOld)
        } else if !epochs.hold(&resume.cursor) {
            Resumed::Reset(Reset::HistoryChanged)
        } else if resume.cursor.position > self.log().head() {
            Resumed::Reset(Reset::CursorAhead)
        } else {
            Resumed::Continued
        }
    }

    /// The first page for a device that was away for long; `None` when more than `most` is waiting for it.
    async fn older(&self, viewer: Viewer, after: Position, most: usize) -> Result<Option<Advance>, Error> {
        let up_to = viewer.inbox.position();
        let wanted = most.saturating_add(1).max(POSITIONS_AT_ONCE);
        let mut found = self.missed(&viewer, after, up_to, wanted).await?;
        if found.len() > most {
            return Ok(None);
        }
        let is_all = found.len() <= POSITIONS_AT_ONCE;
        found.truncate(POSITIONS_AT_ONCE);
        self.page(&viewer, after, found, is_all.then_some(up_to)).await.map(Some)
    }

    /// What a subscriber that left off at a position gets next; `None` when the engine stops.
    pub(crate) async fn advance(self, id: SubscriberId, after: Position) -> Option<Advance> {
        let from = From::After(after, usize::MAX);
        match self.projector().ask(|reply| Request::Advance(id, from, reply)).await.flatten()? {
            Next::Here(advance) => Some(advance),
            Next::TooMany => None,
            Next::Older(viewer) => match self.next_page(&viewer, after).await {
                Ok(advance) => Some(advance),
                // The view has not come so far: it is asked again.
                Err(Error::NotReached { .. }) => {
                    Some(Advance { parcels: Vec::new(), position: after, mailbox: None })
                }
                Err(error) => {
                    tracing::error!(%error, "what a subscriber missed cannot be read");
                    None
                }
            },
        }
    }

    async fn next_page(&self, viewer: &Viewer, after: Position) -> Result<Advance, Error> {
        let up_to = viewer.inbox.position();
        let found = self.missed(viewer, after, up_to, POSITIONS_AT_ONCE).await?;
        let is_all = found.len() < POSITIONS_AT_ONCE;
        self.page(viewer, after, found, is_all.then_some(up_to)).await
    }

    /// The positions after one that may concern a viewer, the first `most` of them.
    async fn missed(
        &self,
        viewer: &Viewer,
        after: Position,
        up_to: Position,
        most: usize,
    ) -> Result<Vec<Missed>, Error> {
        let viewer = viewer.clone();
        self.look(viewer.inbox.clone(), move |_, connection| missed(connection, &viewer, after, up_to, most))
            .await
    }

    /// What these positions are to a viewer. `all` is where they end, when there are no more.
    async fn page(
        &self,
        viewer: &Viewer,
        after: Position,
        found: Vec<Missed>,
        all: Option<Position>,
    ) -> Result<Advance, Error> {
        let events = self.log().events_at(found.iter().map(|missed| missed.position).collect()).await?;
        let mut gathering = Gathering::after(after);
        let mut is_all = true;
        for (missed, event) in found.into_iter().zip(events) {
            let (position, is_gone) = (missed.position, missed.is_gone);
            let effect = effect_for(&viewer.inbox.key, missed, event);
            let message = effect.as_ref().and_then(|effect| viewer.message(effect));
            let message = if is_gone { message.and_then(Message::of_what_is_gone) } else { message };
            if !gathering.add(position, message) {
                is_all = false;
                break;
            }
        }
        if let Some(end) = all.filter(|_| is_all) {
            gathering.reached = end;
        }
        let step = gathering.into_step();
        Ok(Advance { parcels: step.parcels, position: step.position, mailbox: None })
    }
}
