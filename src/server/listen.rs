//! Binding a listening socket.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// How many connections the kernel completes before they are accepted.
const BACKLOG: i32 = 1024;

/// How long to wait before accepting again when the system is out of something.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds `addr`. `[::]` takes IPv4 connections as well, and where the machine has no IPv6 it is
/// 0.0.0.0 that is bound instead.
///
/// # Errors
/// What the operating system says, for example that the address is in use.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, addr.port()));
    match bind_exactly(addr) {
        Err(error) if addr == any && is_family_missing(&error) => {
            let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port()));
            tracing::info!(%addr, "no IPv6 here, listening on {ipv4} instead");
            bind_exactly(ipv4)
        }
        result => result,
    }
}

fn bind_exactly(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // So that a restart need not wait for connections of the last run to time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_family_missing(error: &io::Error) -> bool {
    // EAFNOSUPPORT where the kernel lacks IPv6, EADDRNOTAVAIL where it is switched off.
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}
