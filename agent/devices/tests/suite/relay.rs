//! Between us and a device: datagrams that are changed on their way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Changes an answer on its way; it then goes out as these datagrams.
type Change = Box<dyn FnMut(Vec<u8>) -> Vec<Vec<u8>> + Send>;

/// A relay on loopback; it goes away with this.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    device: Arc<Mutex<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Passes requests on to `device` as they are, and its answers back as `change` wants.
    pub(crate) async fn start(device: SocketAddr, change: Change) -> Self {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = front.local_addr().unwrap();
        let device = Arc::new(Mutex::new(device));
        let task = tokio::spawn(pass_on(front, back, Arc::clone(&device), change));
        Self {
            address,
            device,
            task,
        }
    }

    /// From now on another device answers.
    pub(crate) fn turn_to(&self, device: SocketAddr) {
        *self.device.lock().unwrap_or_else(PoisonError::into_inner) = device;
    }
}

async fn pass_on(
    front: UdpSocket,
    back: UdpSocket,
    device: Arc<Mutex<SocketAddr>>,
    mut change: Change,
) {
    let (mut asked, mut told) = (vec![0; 65_536], vec![0; 65_536]);
    let mut asker = None;
    loop {
        tokio::select! {
            Ok((length, from)) = front.recv_from(&mut asked) => {
                asker = Some(from);
                let to = *device.lock().unwrap_or_else(PoisonError::into_inner);
                drop(back.send_to(&asked[..length], to).await);
            }
            Ok(length) = back.recv(&mut told) => {
                let Some(asker) = asker else { continue };
                for datagram in change(told[..length].to_vec()) {
                    drop(front.send_to(&datagram, asker).await);
                }
            }
        }
    }
}
