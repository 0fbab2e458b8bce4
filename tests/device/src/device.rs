//! The device itself: a socket, a walk and a behaviour.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use xiezhi_profiles::{Oid, Value, Walk};

use crate::alive;
use crate::behaviour::{Behaviour, Stray};
use crate::ber::{self, GET, GET_BULK, Message, RESPONSE, TRAP, Told};

/// `sysUpTime.0` and `snmpTrapOID.0`, which begin every trap.
const UPTIME: &[u32] = &[1, 3, 6, 1, 2, 1, 1, 3, 0];
const TRAP_OID: &[u32] = &[1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0];

/// Most names of an answer: what fits into a datagram, about.
const MOST_NAMES: usize = 2000;

/// A device on loopback; it goes away with this.
pub struct FakeDevice {
    address: SocketAddr,
    socket: Arc<UdpSocket>,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    started: Instant,
    walk: Mutex<Arc<Walk>>,
    behaviour: Mutex<Behaviour>,
    asked: AtomicU32,
}

impl Drop for FakeDevice {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeDevice {
    /// Starts one on 127.0.0.1 and any port, in the current runtime.
    ///
    /// # Errors
    /// If no socket can be opened.
    pub async fn start(walk: Walk, behaviour: Behaviour) -> io::Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), Arc::new(walk), behaviour).await
    }

    /// Starts one on an address of loopback.
    ///
    /// # Errors
    /// If no socket can be opened.
    pub async fn start_at(
        address: IpAddr,
        walk: Arc<Walk>,
        behaviour: Behaviour,
    ) -> io::Result<Self> {
        let socket = UdpSocket::bind((address, 0)).await?;
        let address = socket.local_addr()?;
        let state = Arc::new(State {
            started: Instant::now(),
            walk: Mutex::new(walk),
            behaviour: Mutex::new(behaviour),
            asked: AtomicU32::new(0),
        });
        let socket = Arc::new(socket);
        let task = tokio::spawn(serve(Arc::clone(&socket), Arc::clone(&state)));
        Ok(Self {
            address,
            socket,
            state,
            task,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that reached it.
    #[must_use]
    pub fn asked(&self) -> u32 {
        self.state.asked.load(Ordering::Relaxed)
    }

    /// Sends an SNMPv2c trap with its community to `receiver`.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub async fn trap(
        &self,
        receiver: SocketAddr,
        trap: &Oid,
        values: &[(Oid, Value)],
    ) -> io::Result<()> {
        let community = locked(&self.state.behaviour).community.clone();
        let head = [
            (UPTIME, Value::Ticks(100)),
            (TRAP_OID, Value::Oid(trap.clone())),
        ];
        let head = head.map(|(name, value)| (Oid::new(name), value));
        let bindings = head.iter().chain(values);
        let message = Message {
            version: 1,
            community: community.into_bytes(),
            kind: TRAP,
            number: 1,
            first: 0,
            second: 0,
            bindings: bindings
                .map(|(name, value)| (name.clone(), Told::Value(value.clone())))
                .collect(),
        };
        self.socket.send_to(&ber::write(&message), receiver).await?;
        Ok(())
    }

    /// From now on it tells this: after a restart, a renumbering, a change of model.
    pub fn tell(&self, walk: Walk) {
        *locked(&self.state.walk) = Arc::new(walk);
    }

    /// From now on it behaves like this.
    pub fn behave(&self, behaviour: Behaviour) {
        *locked(&self.state.behaviour) = behaviour;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// Shared by all devices of a thread, because thousands of them would need 64 kB each.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 65_536]);
}

/// The next datagram: who sent it, and the request that it is.
async fn next(socket: &UdpSocket) -> Option<(SocketAddr, Option<Message>)> {
    socket.readable().await.ok()?;
    BUFFER.with_borrow_mut(|buffer| {
        let (length, from) = socket.try_recv_from(buffer).ok()?;
        Some((from, buffer.get(..length).and_then(ber::read)))
    })
}

async fn serve(socket: Arc<UdpSocket>, state: Arc<State>) {
    loop {
        let Some((from, request)) = next(&socket).await else {
            continue;
        };
        let asked = state.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let behaviour = locked(&state.behaviour).clone();
        let walk = Arc::clone(&locked(&state.walk));
        let Some(request) = request else {
            continue;
        };
        if request.community != behaviour.community.as_bytes() {
            continue;
        }
        let answer = Teller {
            walk: &walk,
            behaviour: &behaviour,
        }
        .answer(&request);
        let Some(mut answer) = answer else {
            continue;
        };
        if behaviour.alive {
            alive::grow(&mut answer, state.started.elapsed());
        }
        for stray in &behaviour.strays {
            send_stray(&socket, from, &answer, *stray).await;
        }
        let is_due = |every: u32| asked.is_multiple_of(every.max(1));
        if !behaviour.answers || behaviour.drops_every.is_some_and(is_due) {
            continue;
        }
        let data = ber::write(&answer);
        if let Some((_, delay)) = behaviour.late_every.filter(|(every, _)| is_due(*every)) {
            let socket = Arc::clone(&socket);
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                drop(socket.send_to(&data, from).await);
            });
            continue;
        }
        for _ in 0..=u8::from(behaviour.twice) {
            drop(socket.send_to(&data, from).await);
        }
    }
}

/// Answers one request.
struct Teller<'a> {
    walk: &'a Walk,
    behaviour: &'a Behaviour,
}

impl Teller<'_> {
    /// The answer; none if the device is deaf to the request.
    fn answer(&self, request: &Message) -> Option<Message> {
        let names: Vec<&Oid> = request.bindings.iter().map(|(name, _)| name).collect();
        if let Some(deaf) = &self.behaviour.deaf_in
            && names.iter().any(|name| name.is_in(deaf))
        {
            return None;
        }
        let mut answer = Message {
            kind: RESPONSE,
            first: 0,
            second: 0,
            bindings: Vec::new(),
            ..request.clone()
        };
        let rows = if request.kind == GET_BULK {
            request.second.max(0)
        } else {
            1
        };
        let most = self.behaviour.most_names.unwrap_or(MOST_NAMES);
        let mut at: Vec<Oid> = names.into_iter().cloned().collect();
        'rows: for _ in 0..rows {
            let mut is_over = true;
            for (place, name) in at.iter_mut().enumerate() {
                if answer.bindings.len() >= most {
                    break 'rows;
                }
                let (told_name, told) = self.tell(request.kind, name);
                if request.version == 0 && !matches!(told, Told::Value(_)) {
                    return Some(failed(request, 2, place + 1));
                }
                is_over &= told == Told::End;
                name.clone_from(&told_name);
                answer.bindings.push((told_name, told));
            }
            if is_over {
                break;
            }
        }
        let length = ber::write(&answer).len();
        if self
            .behaviour
            .too_big_over
            .is_some_and(|most| length > most)
        {
            return Some(failed(request, 1, 0));
        }
        Some(answer)
    }

    fn tell(&self, kind: u8, name: &Oid) -> (Oid, Told) {
        if kind == GET {
            let told = self
                .walk
                .get(name)
                .cloned()
                .map_or(Told::NoSuchInstance, Told::Value);
            return (name.clone(), told);
        }
        if let Some(endless) = &self.behaviour.endless
            && name.is_in(endless)
        {
            let row = name
                .arcs()
                .last()
                .filter(|_| name != endless)
                .map_or(1, |last| last + 1);
            return (
                endless.at(&Oid::new(&[row])),
                Told::Value(Value::Integer(1)),
            );
        }
        let next = self.walk.next(name);
        let ring = self.behaviour.ring.as_ref().filter(|ring| name.is_in(ring));
        let next = match ring {
            Some(ring) if !next.is_some_and(|(next, _)| next.is_in(ring)) => self.walk.next(ring),
            _ => next,
        };
        match next {
            Some((next, value)) => (next.clone(), Told::Value(value.clone())),
            None => (name.clone(), Told::End),
        }
    }
}

fn failed(request: &Message, status: i64, index: usize) -> Message {
    Message {
        kind: RESPONSE,
        first: status,
        second: i64::try_from(index).unwrap_or_default(),
        ..request.clone()
    }
}

/// Sends something that is not the answer but looks much like it.
async fn send_stray(socket: &UdpSocket, to: SocketAddr, answer: &Message, stray: Stray) {
    let mut wrong = answer.clone();
    for (_, told) in &mut wrong.bindings {
        *told = Told::Value(Value::Octets(b"stranger".as_slice().into()));
    }
    let mut from = None;
    match stray {
        Stray::OtherAddress => {
            let port = socket.local_addr().map_or(0, |own| own.port());
            from = UdpSocket::bind((Ipv4Addr::new(127, 9, 9, 9), port))
                .await
                .ok();
        }
        Stray::OtherPort => from = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.ok(),
        Stray::OtherNumber => wrong.number ^= 0x5555,
        Stray::OtherCommunity => wrong.community = b"private".to_vec(),
        Stray::OtherVersion => wrong.version ^= 1,
        Stray::Cut | Stray::BadLength | Stray::Noise => {}
    }
    let mut data = ber::write(&wrong);
    match stray {
        Stray::Cut => data.truncate(data.len() / 2),
        Stray::BadLength => {
            // The length of the last name: it ends after the datagram does. Behind it come the tag
            // and the length of the value, and `stranger`.
            let name = wrong
                .bindings
                .last()
                .map_or(0, |(name, _)| ber::write_name(name).len());
            let at = data.len().saturating_sub(10 + name + 1);
            data.get_mut(at..)
                .into_iter()
                .flatten()
                .take(1)
                .for_each(|octet| *octet = 0x7f);
        }
        Stray::Noise => data = b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        _ => {}
    }
    let from = from.as_ref().unwrap_or(socket);
    drop(from.send_to(&data, to).await);
}
