//! Sockets that are being connected. Those of one machine to itself go out from several addresses, as one has ports for 28,000.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections from one address, below the ports that the system gives out by itself.
const EACH: usize = 20_000;
/// The receive buffer of a reader that is slow, as small as the system has it.
const NARROW_BYTES: usize = 4_096;

/// Begins to connect the first, second … of the run.
pub(crate) fn connect(address: SocketAddr, number: usize, narrow: bool) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if narrow {
        socket.set_recv_buffer_size(NARROW_BYTES)?;
    }
    if let (IpAddr::V4(there), further @ 1..) = (address.ip(), number / EACH)
        && there.is_loopback()
    {
        let from = Ipv4Addr::new(127, 0, 1, u8::try_from(further).unwrap_or(u8::MAX));
        socket.bind(&SocketAddr::from((from, 0)).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            Err(error)
        }
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}
