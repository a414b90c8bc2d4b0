//! Clicks: somebody followed a notification's action, in the application or by a link.

use crate::access::Identity;
use crate::command::Done;
use crate::engine::Engine;
use crate::error::Error;
use crate::event::{EntryRef, Fact, Marked, Read, Selection};
use crate::inbox::action_url;
use crate::names::UserKey;
use crate::notification::NotificationId;

impl Engine {
    /// Records that somebody followed the action of notifications of their own. The first time counts. Who clicked has
    /// read.
    ///
    /// # Errors
    /// See [`Error`]; nothing was done.
    pub async fn clicked(&self, identity: &Identity, ids: &[NotificationId]) -> Result<Done, Error> {
        self.click(&identity.key()?, ids).await
    }

    /// Where a notification's action leads now, for somebody who follows it by a link that was made for them. Recorded, as
    /// long as the notification is still theirs; the link leads there in any case.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such notification, it was taken back, or it has no action; see [`Error`].
    pub async fn follow(&self, key: &UserKey, id: NotificationId) -> Result<String, Error> {
        let not_found = || Error::NotFound { field: "id".to_owned() };
        self.reach_view(self.log().head()).await?;
        let tenant = key.tenant.clone();
        let url = self.on_view(move |view| action_url(view, &tenant, &id)).await?.ok_or_else(not_found)?;
        match self.click(key, &[id]).await {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(url),
            Err(error) => Err(error),
        }
    }

    async fn click(&self, key: &UserKey, ids: &[NotificationId]) -> Result<Done, Error> {
        let (inbox, entries) = self.resolve(key, ids).await?;
        let clicked: Vec<EntryRef> = self.not_clicked(key, entries.clone()).await;
        let unread: Vec<EntryRef> = entries.into_iter().filter(|entry| !inbox.is_read(entry)).collect();
        let mut facts = Vec::new();
        if !clicked.is_empty() {
            facts.push(Fact::Clicked(Marked { user: key.user.clone(), entries: clicked }));
        }
        if !unread.is_empty() {
            let selection = Selection::Entries(unread);
            facts.push(Fact::Read(Read { user: key.user.clone(), selection }));
        }
        if facts.is_empty() {
            return Ok(Done { position: inbox.position() });
        }
        self.record(&key.tenant, facts).await
    }
}
