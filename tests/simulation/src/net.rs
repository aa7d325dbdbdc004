//! The network: which links are cut, how slow and lossy it is, and the streams between agents and masters.
//!
//! Raft's messages are datagrams here: lost, doubled, late and out of order. An agent's stream is TCP: in order
//! and without holes, but it stalls while its link is cut and may break at any moment, with what is under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use spec::protocol::{AgentMessage, MasterMessage};

use crate::queue::Millis;

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A master, by its number.
    Master(u64),
    /// An agent, by its number.
    Agent(usize),
    /// A client, by its number.
    Client(usize),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self::Master(id) => format!("m{id}"),
            Self::Agent(number) => format!("a{number}"),
            Self::Client(number) => format!("c{number}"),
        };
        f.pad(&text)
    }
}

/// What travels on a stream.
#[derive(Clone, Debug)]
pub enum Frame<T> {
    /// A message.
    Message(T),
    /// The other side has closed.
    Closed,
}

/// One direction of a stream.
#[derive(Debug)]
pub struct Pipe<T> {
    /// Under way.
    pub frames: VecDeque<Frame<T>>,
    /// A delivery is on the agenda.
    pub scheduled: bool,
}

/// An agent's connection to a master.
#[derive(Debug)]
pub struct Conn {
    /// The agent's number and the life of its process.
    pub agent: (usize, u64),
    /// The master and the life of its process.
    pub master: (u64, u64),
    /// To the master.
    pub up: Pipe<AgentMessage>,
    /// To the agent.
    pub down: Pipe<MasterMessage>,
}

impl<T> Default for Pipe<T> {
    fn default() -> Self {
        Self { frames: VecDeque::new(), scheduled: false }
    }
}

/// How messages fare now.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Of a thousand datagrams so many are lost.
    pub loss: u32,
    /// Of a thousand datagrams so many arrive twice.
    pub doubled: u32,
    /// Longest time under way.
    pub delay_max: Millis,
}

impl Weather {
    /// A quiet local network.
    pub const FAIR: Self = Self { loss: 0, doubled: 0, delay_max: 4 };
}

/// The network.
#[derive(Debug)]
pub struct Net {
    /// Links on which nothing gets through, in this direction.
    pub cut: BTreeSet<(Place, Place)>,
    /// How messages fare on the others.
    pub weather: Weather,
    /// Open streams.
    pub conns: BTreeMap<u64, Conn>,
    next_conn: u64,
}

impl Default for Net {
    fn default() -> Self {
        Self { cut: BTreeSet::new(), weather: Weather::FAIR, conns: BTreeMap::new(), next_conn: 1 }
    }
}

impl Net {
    /// Does something get from here to there?
    pub fn passes(&self, from: Place, to: Place) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// A new stream.
    pub fn open(&mut self, agent: (usize, u64), master: (u64, u64)) -> u64 {
        let conn = self.next_conn;
        self.next_conn += 1;
        self.conns.insert(conn, Conn { agent, master, up: Pipe::default(), down: Pipe::default() });
        conn
    }
}
