//! The doors: how many connections there may be, of everybody and from one address. Who finds them full is told so, as
//! long as there are not too many to tell.

use std::net::IpAddr;
use std::sync::Arc;

use tidings_config::LimitSettings;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;
use crate::seats::{Seat, Seats, network};

/// Connections that are being refused with an answer at most: beyond them, one is closed without. A refusal takes about
/// a second, so that so many clients a second learn why.
const REFUSALS_MOST: usize = 256;

/// The doors.
pub(super) struct Doors {
    all: Seats<()>,
    addresses: Seats<IpAddr>,
    refusals: Arc<Semaphore>,
}

/// The place of a connection, until it is dropped.
pub(super) struct Place {
    _of_all: Seat<()>,
    _of_address: Seat<IpAddr>,
}

/// Why somebody does not come in, and the right to say so.
pub(super) struct Refusal {
    pub(super) problem: Problem,
    pub(super) permit: OwnedSemaphorePermit,
}

impl Doors {
    pub(super) fn new(limits: &LimitSettings) -> Self {
        Self {
            all: Seats::new(limits.connections),
            addresses: Seats::new(limits.connections_per_address),
            refusals: Arc::new(Semaphore::new(REFUSALS_MOST)),
        }
    }

    /// A place for a connection from an address, or what to say; `None` when nothing can be said.
    pub(super) fn enter(&self, address: IpAddr) -> Result<Place, Option<Refusal>> {
        self.place(address).map_err(|problem| {
            let permit = self.refusals.clone().try_acquire_owned().ok()?;
            Some(Refusal { problem, permit })
        })
    }

    fn place(&self, address: IpAddr) -> Result<Place, Problem> {
        // The address first: who takes more than their share is told so, and not that there is none left.
        let of_address = self.addresses.take(network(address)).ok_or_else(|| {
            let most = format!("{} from an address", self.addresses.most());
            Problem::too_many_connections("limits.connections-per-address", &most)
        })?;
        let of_all = self.all.take(()).ok_or_else(|| {
            let most = format!("{} in all", self.all.most());
            Problem::full("limits.connections", &most)
        })?;
        Ok(Place { _of_all: of_all, _of_address: of_address })
    }
}
