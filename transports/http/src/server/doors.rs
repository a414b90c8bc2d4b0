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
    pub(super) fn new() -> Self {
        let refusals = Arc::new(Semaphore::new(REFUSALS_MOST));
        Self { all: Seats::new(), addresses: Seats::new(), refusals }
    }

    /// A place for a connection from an address, or what to say; `None` when nothing can be said.
    pub(super) fn enter(&self, address: IpAddr, limits: &LimitSettings) -> Result<Place, Option<Refusal>> {
        self.place(address, limits).map_err(|problem| {
            let permit = self.refusals.clone().try_acquire_owned().ok()?;
            Some(Refusal { problem, permit })
        })
    }

    fn place(&self, address: IpAddr, limits: &LimitSettings) -> Result<Place, Problem> {
        let LimitSettings { connections, connections_per_address, .. } = limits;
        // The address first: who takes more than their share is told so, and not that there is none left.
        let of_address =
            self.addresses.take(network(address), *connections_per_address).ok_or_else(|| {
                let most = format!("{connections_per_address} from an address");
                Problem::too_many_connections("limits.connections-per-address", &most)
            })?;
        let of_all = self.all.take((), *connections).ok_or_else(|| {
            let most = format!("{connections} in all");
            Problem::full("limits.connections", &most)
        })?;
        Ok(Place { _of_all: of_all, _of_address: of_address })
    }
}
