//! One UDP socket: receives with the address that a datagram was sent to, and sends runs of packets
//! in as few system calls as the kernel allows.
//!
//! **States.** Generic segmentation offload (UDP_SEGMENT) is on from the start where the kernel has
//! it. A path that refuses it goes without; it goes off for good where so many have and none ever took it, for then
//! it is the device. `sendmmsg` carries the batch without it.
//!
//! **Invariant.** Never blocks. The source address of an answer is the address that the viewer
//! wrote to, on hosts with many addresses too.
//!
//! **Does not know** whose datagrams these are.

use crate::limits::SOCKET_BUFFER_BYTES;
use mio::net::UdpSocket;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn6, SockaddrStorage,
    recvmsg, sendmmsg, sendmsg, setsockopt, sockopt,
};
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

/// Packets handed to the kernel in one call.
pub(crate) const RUN_MAX: usize = 48;
/// Addresses that are remembered for which the kernel does not segment; the oldest is tried again.
const UNSEGMENTED_MAX: usize = 64;
/// So many that refused, and none that took one: nobody is asked any more.
const NONE_AFTER: usize = 8;
/// Linux takes no larger UDP datagram, segmented or not.
const RUN_BYTES_MAX: usize = 60_000;

/// The socket.
pub(crate) struct Port {
    socket: UdpSocket,
    segments: bool,
    /// Some path has taken a segmented run.
    has_segmented: bool,
    /// Where the kernel would not segment, the newest first.
    unsegmented: VecDeque<SocketAddr>,
    control: Vec<u8>,
    headers: MultiHeaders<SockaddrStorage>,
}

/// A datagram that came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) len: usize,
    pub(crate) from: SocketAddr,
    /// Our address that it was sent to, where the kernel says.
    pub(crate) to: Option<IpAddr>,
}

/// Where packets go, and from which of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) remote: SocketAddr,
    pub(crate) local: Option<IpAddr>,
}

/// What the kernel made of a run of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It took so many, from the front.
    Packets(usize),
    /// Its buffer is full: wait until the socket is writable.
    Full,
    /// It cannot send to that address; the run is lost, as a network may lose it.
    Lost,
}

impl Port {
    /// Binds to `address`.
    pub(crate) fn bind(address: SocketAddr, segments: bool) -> io::Result<Self> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        // A privileged process may pass the system's limit; failing that, the limit is what we get.
        if setsockopt(&socket, sockopt::SndBufForce, &SOCKET_BUFFER_BYTES).is_err() {
            socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
        }
        if setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BUFFER_BYTES).is_err() {
            socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
        }
        socket.bind(&address.into())?;
        let segments = segments && setsockopt(&socket, sockopt::UdpGsoSegment, &0).is_ok();
        // The kernel takes the whole buffer for control messages, so this one fits exactly.
        let source = if address.is_ipv6() {
            cmsg_space!(libc::in6_pktinfo)
        } else {
            cmsg_space!(libc::in_pktinfo)
        };
        Ok(Self {
            socket: UdpSocket::from_std(socket.into()),
            segments,
            has_segmented: false,
            unsegmented: VecDeque::new(),
            headers: MultiHeaders::preallocate(RUN_MAX, Some(source)),
            control: cmsg_space!(libc::in6_pktinfo),
        })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The socket, to register it.
    pub(crate) fn source(&mut self) -> &mut UdpSocket {
        &mut self.socket
    }

    /// The next datagram, or `None` if there is none now.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        let mut slices = [IoSliceMut::new(buffer)];
        let message = match recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut slices,
            Some(&mut self.control),
            MsgFlags::empty(),
        ) {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let to = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::from(info.ipi6_addr.s6_addr)),
            _ => None,
        });
        let Some(from) = message.address.as_ref().and_then(plain) else {
            return Ok(None);
        };
        Ok(Some(Received {
            len: message.bytes,
            from,
            to,
        }))
    }

    /// Sends packets from the front of `run`, at most [`RUN_MAX`].
    pub(crate) fn send(&mut self, run: &[IoSlice<'_>], path: Path) -> Sent {
        let fd = self.socket.as_raw_fd();
        let to = SockaddrStorage::from(path.remote);
        let segmented = match self.may_segment(path.remote) {
            true => segments(run),
            false => 0,
        };
        let outcome = with_source(path, |source| {
            if segmented > 1 {
                let size = u16::try_from(run[0].len()).unwrap_or(u16::MAX);
                let segment = ControlMessage::UdpGsoSegments(&size);
                let run = &run[..segmented];
                let sent = match source {
                    [source, ..] => send_one(fd, run, &[segment, *source], &to),
                    [] => send_one(fd, run, &[segment], &to),
                };
                sent.map(|()| segmented)
            } else if run.len() == 1 || source.is_empty() {
                send_one(fd, &run[..1], source, &to).map(|()| 1)
            } else {
                let count = run.len().min(RUN_MAX);
                send_many(fd, &mut self.headers, &run[..count], source, to)
            }
        });
        match outcome {
            Ok(count) => {
                self.has_segmented |= segmented > 1;
                Sent::Packets(count)
            }
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS) => Sent::Full,
            // A path whose MTU is smaller, which its viewer may pretend, or a kernel or device without:
            // one refusal for each viewer then costs nothing.
            Err(Errno::EIO | Errno::EINVAL | Errno::EMSGSIZE) if segmented > 1 => {
                self.refused(path.remote);
                Sent::Packets(0)
            }
            Err(error) => {
                tracing::trace!(%error, "a datagram could not be sent");
                Sent::Lost
            }
        }
    }
}

impl Port {
    /// Whether runs to `remote` are left to the kernel to cut.
    fn may_segment(&self, remote: SocketAddr) -> bool {
        self.segments && !self.unsegmented.contains(&remote)
    }

    /// The kernel would not.
    fn refused(&mut self, remote: SocketAddr) {
        tracing::debug!("the kernel does not segment for a viewer; going without");
        if !self.has_segmented && self.unsegmented.len() + 1 >= NONE_AFTER {
            self.segments = false;
            tracing::info!(
                "packets go without segmentation offload: of {NONE_AFTER} paths none has taken it"
            );
        }
        self.unsegmented.truncate(UNSEGMENTED_MAX - 1);
        self.unsegmented.push_front(remote);
    }
}

/// How many packets at the front one segmented send can carry: all of one size, but the last one
/// may be shorter.
fn segments(run: &[IoSlice<'_>]) -> usize {
    let Some(size) = run.first().map(|first| first.len()) else {
        return 0;
    };
    let most = (RUN_BYTES_MAX / size.max(1)).min(RUN_MAX);
    let mut count = 0;
    for packet in run.iter().take(most) {
        if packet.len() > size {
            break;
        }
        count += 1;
        if packet.len() < size {
            break;
        }
    }
    count
}

/// Calls `send` with the control message that sets the source address.
fn with_source<T>(path: Path, send: impl FnOnce(&[ControlMessage<'_>]) -> T) -> T {
    match (path.local, path.remote) {
        (Some(IpAddr::V4(local)), SocketAddr::V4(_)) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr {
                    s_addr: u32::from_ne_bytes(local.octets()),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            send(&[ControlMessage::Ipv4PacketInfo(&info)])
        }
        (Some(IpAddr::V6(local)), SocketAddr::V6(_)) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr {
                    s6_addr: local.octets(),
                },
                ipi6_ifindex: 0,
            };
            send(&[ControlMessage::Ipv6PacketInfo(&info)])
        }
        (Some(_) | None, _) => send(&[]),
    }
}

fn send_one(
    fd: RawFd,
    packets: &[IoSlice<'_>],
    control: &[ControlMessage<'_>],
    to: &SockaddrStorage,
) -> nix::Result<()> {
    sendmsg(fd, packets, control, MsgFlags::empty(), Some(to)).map(|_| ())
}

fn send_many(
    fd: RawFd,
    headers: &mut MultiHeaders<SockaddrStorage>,
    packets: &[IoSlice<'_>],
    control: &[ControlMessage<'_>],
    to: SockaddrStorage,
) -> nix::Result<usize> {
    let addresses = [Some(to); RUN_MAX];
    let (slices, _) = packets.as_chunks::<1>();
    let addresses = &addresses[..packets.len()];
    let sent = sendmmsg(fd, headers, slices, addresses, control, MsgFlags::empty())?;
    Ok(sent.count())
}

fn plain(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::V4((*v4).into()));
    }
    address
        .as_sockaddr_in6()
        .map(|v6: &SockaddrIn6| SocketAddr::V6((*v6).into()))
}

#[cfg(test)]
mod test {
    use super::*;

    fn pair(segments: bool) -> (Port, Port, Path) {
        let sender = Port::bind("127.0.0.1:0".parse().unwrap(), segments).unwrap();
        let receiver = Port::bind("127.0.0.1:0".parse().unwrap(), segments).unwrap();
        let path = Path {
            remote: receiver.address().unwrap(),
            local: Some("127.0.0.1".parse().unwrap()),
        };
        (sender, receiver, path)
    }

    #[test]
    fn packets_arrive_one_by_one_with_and_without_segmentation() {
        for segments in [true, false] {
            let (mut sender, mut receiver, path) = pair(segments);
            let packets: Vec<Vec<u8>> = [1200, 1200, 1200, 700, 900, 900]
                .iter()
                .enumerate()
                .map(|(i, len)| vec![u8::try_from(i).unwrap(); *len])
                .collect();
            let slices: Vec<IoSlice<'_>> = packets.iter().map(|p| IoSlice::new(p)).collect();
            let mut at = 0;
            while at < slices.len() {
                match sender.send(&slices[at..], path) {
                    Sent::Packets(count) => at += count,
                    Sent::Full | Sent::Lost => panic!("loopback takes six packets"),
                }
            }
            let mut buffer = [0; 2048];
            for packet in &packets {
                let received = receiver.receive(&mut buffer).unwrap().unwrap();
                assert_eq!(&buffer[..received.len], &packet[..]);
                assert_eq!(received.from, sender.address().unwrap());
                assert_eq!(received.to, Some("127.0.0.1".parse().unwrap()));
            }
            assert!(receiver.receive(&mut buffer).unwrap().is_none());
        }
    }

    #[test]
    fn one_viewer_s_path_does_not_end_segmentation_for_the_others() {
        let (mut sender, _receiver, good) = pair(true);
        let bad = |n: u16| SocketAddr::from(([192, 0, 2, 1], 1 + n));
        sender.refused(bad(0));
        assert!(!sender.may_segment(bad(0)) && sender.may_segment(bad(1)));
        let packets = [[0_u8; 1200]; 3];
        let slices: Vec<IoSlice<'_>> = packets.iter().map(|p| IoSlice::new(p)).collect();
        assert_eq!(sender.send(&slices, good), Sent::Packets(3));
        (0..1_000).for_each(|n| sender.refused(bad(n)));
        assert_eq!(sender.unsegmented.len(), UNSEGMENTED_MAX);
        assert!(!sender.may_segment(bad(999)) && sender.may_segment(good.remote));
    }

    #[test]
    fn where_no_path_takes_segments_nobody_is_asked_any_more() {
        let (mut sender, _receiver, good) = pair(true);
        let bad = |n: usize| SocketAddr::from(([192, 0, 2, 1], 1 + n as u16));
        (1..NONE_AFTER).for_each(|n| sender.refused(bad(n)));
        assert!(sender.may_segment(good.remote));
        sender.refused(bad(NONE_AFTER));
        assert!(!sender.may_segment(good.remote));
        let packets = [[0_u8; 1200]; 3];
        let slices: Vec<IoSlice<'_>> = packets.iter().map(|p| IoSlice::new(p)).collect();
        assert_eq!(sender.send(&slices, good), Sent::Packets(3), "by sendmmsg");
    }

    #[test]
    fn a_segmented_run_ends_after_a_shorter_packet_or_before_a_longer_one() {
        let check = |sizes: &[usize], expected: usize| {
            let packets: Vec<Vec<u8>> = sizes.iter().map(|len| vec![0; *len]).collect();
            let slices: Vec<IoSlice<'_>> = packets.iter().map(|p| IoSlice::new(p)).collect();
            assert_eq!(segments(&slices), expected, "{sizes:?}");
        };
        check(&[], 0);
        check(&[1200], 1);
        check(&[1200, 1200, 300], 3);
        check(&[1200, 300, 300], 2);
        check(&[300, 1200], 1);
        check(&[1200; 64], 48);
    }
}
