//! A device: a connection that is opened, read, checked, and comes back with its cursor.

use std::io::ErrorKind;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::check::{Fault, count};
use crate::cli::Transport;
use crate::http::{self, Refusal};
use crate::ledger::Ledger;
use crate::message::{self, Closing, Hello, Mark, Marks, Message};
use crate::run::Clock;
use crate::sample::Tally;
use crate::seen::Seen;
use crate::sse;
use crate::target::Target;
use crate::wire::Wire;
use crate::ws::{self, Piece};

/// A refusal's document is not longer.
const LONGEST_HEAD: usize = 64 << 10;

/// What all devices have in common while they read.
pub(crate) struct Context<'a> {
    pub(crate) clock: &'a Clock,
    pub(crate) marks: &'a Marks,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) tally: &'a mut Tally,
    /// When the bytes that are looked at were read.
    pub(crate) now: u64,
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// It never began.
    Refused(Refusal),
    Closing(Closing),
    /// Without a word.
    Broken(String),
    /// The server said what it should not.
    Wrong(String),
}

/// How the bytes are to be read.
enum Stage {
    Head,
    Frames,
    Events(sse::Stream),
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Away,
    Opening,
    CatchingUp,
    Live,
}

/// One device.
pub(crate) struct Device {
    pub(crate) number: u32,
    /// Which user it is of.
    pub(crate) user: u32,
    pub(crate) state: State,
    /// Reads only when it is told to, and is waited for by nobody.
    pub(crate) is_slow: bool,
    acknowledges: bool,
    /// How many positions it may have missed.
    limit: u32,
    wire: Option<Wire>,
    stage: Stage,
    /// The beginning of something of which the rest has not come.
    rest: Vec<u8>,
    cursor: Vec<u8>,
    acknowledged: Vec<u8>,
    last_position: u64,
    everybodys: Seen,
    own: Seen,
    /// After which and up to which position it was not told what it missed.
    skipped: Vec<(u64, u64)>,
    is_known: bool,
    /// When it was to be opened: however often that is tried, it counts from the first time until it is live.
    intended: u64,
    is_awaited: bool,
}

impl Device {
    pub(crate) fn new(number: u32, user: u32, is_slow: bool, acknowledges: bool, limit: u32) -> Self {
        let (state, stage, is_known) = (State::Away, Stage::Head, false);
        let [rest, cursor, acknowledged] = [(); 3].map(|()| Vec::new());
        let (everybodys, own, skipped) = (Seen::default(), Seen::default(), Vec::new());
        let (wire, last_position, intended, is_awaited) = (None, 0, 0, false);
        Self {
            number,
            user,
            state,
            is_slow,
            acknowledges,
            limit,
            wire,
            stage,
            rest,
            cursor,
            acknowledged,
            last_position,
            everybodys,
            own,
            skipped,
            is_known,
            intended,
            is_awaited,
        }
    }

    /// The sequence of its user.
    fn sequence(&self) -> u32 {
        self.user + 1
    }

    /// Begins to connect; with its cursor, if it was here before. What it is greeted with counts from `intended` on.
    pub(crate) fn open(&mut self, target: &Target, intended: u64) -> std::io::Result<&mut Wire> {
        if !std::mem::replace(&mut self.is_awaited, true) {
            self.intended = intended;
        }
        let mut wire = target.connect(self.number as usize, self.is_slow)?;
        wire.send(self.request(target).as_bytes())?;
        (self.state, self.stage) = (State::Opening, Stage::Head);
        self.rest = Vec::new();
        Ok(self.wire.insert(wire))
    }

    fn request(&self, target: &Target) -> String {
        let mut path = match target.transport {
            Transport::Ws => format!("/v1/ws?limit={}", self.limit),
            Transport::Sse => format!("/v1/events?limit={}", self.limit),
        };
        if self.is_known {
            let cursor = String::from_utf8_lossy(&self.cursor);
            path += &format!("&cursor={}", utf8_percent_encode(&cursor, NON_ALPHANUMERIC));
        }
        if self.acknowledges {
            path += &format!("&device=load-{}", self.number);
        }
        let token = &target.users[self.user as usize].token;
        let mut request = http::request("GET", &path, target.host(), token);
        match target.transport {
            Transport::Ws => http::upgrade(&mut request),
            Transport::Sse => request += "Accept: text/event-stream\r\n",
        }
        request + "\r\n"
    }

    /// Drops the connection as a device that is gone does, without a word.
    pub(crate) fn drop_connection(&mut self, tally: &mut Tally) {
        self.wire = None;
        self.rest = Vec::new();
        if self.state == State::Live {
            tally.live -= 1;
        }
        self.state = State::Away;
    }

    /// Drops it the same way; what it waited for is over.
    pub(crate) fn give_up(&mut self, tally: &mut Tally) {
        self.drop_connection(tally);
        self.is_awaited = false;
    }

    /// Sends what waits for its socket.
    pub(crate) fn flush(&mut self) -> Result<(), End> {
        self.wire.as_mut().map_or(Ok(()), Wire::flush).map_err(broken)
    }

    /// Reads what there is, `most` bytes of it; up to the end, if the other side has closed: nobody tells of that again.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        (mut most, is_ending): (usize, bool),
        cx: &mut Context<'_>,
    ) -> Result<(), End> {
        while most > 0 {
            let Some(wire) = &mut self.wire else { return Ok(()) };
            let room = buffer.len().min(most);
            let bytes = match wire.read(&mut buffer[..room]) {
                Ok(0) => return Err(End::Broken("the server closed the connection".to_owned())),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(error)),
            };
            let is_drained = bytes < room && !is_ending && wire.is_drained_by_a_short_read();
            most -= bytes;
            cx.now = cx.clock.now();
            self.take(&buffer[..bytes], cx)?;
            if is_drained {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Looks at what came, together with what was left over.
    fn take(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Result<(), End> {
        if self.rest.is_empty() {
            let used = self.consume(bytes, cx)?;
            self.rest.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(bytes);
        let used = self.consume(&rest, cx)?;
        if used < rest.len() {
            rest.drain(..used);
            self.rest = rest;
        }
        Ok(())
    }

    fn consume(&mut self, input: &[u8], cx: &mut Context<'_>) -> Result<usize, End> {
        let mut used = 0;
        if matches!(self.stage, Stage::Head) {
            used = self.head(input)?;
            if matches!(self.stage, Stage::Head) {
                return Ok(0);
            }
        }
        if let Stage::Events(stream) = &mut self.stage {
            let mut stream = std::mem::take(stream);
            let mut end = None;
            let read = stream.read(&input[used..], |text| {
                self.message(text, cx).map_err(|ended| {
                    end.get_or_insert(ended);
                    String::new()
                })
            });
            self.stage = Stage::Events(stream);
            return match (end, read) {
                (Some(end), _) => Err(end),
                (None, Err(broken)) => Err(End::Broken(broken)),
                (None, Ok(read)) => Ok(used + read),
            };
        }
        while let Some((piece, length)) = ws::frame(&input[used..]).map_err(End::Wrong)? {
            match piece {
                Piece::Text(text) => self.message(text, cx)?,
                Piece::Ping(content) => self.send(&ws::pong(content))?,
                Piece::Close => return Err(End::Broken("the server closed the WebSocket".to_owned())),
                Piece::Nothing => {}
            }
            used += length;
        }
        Ok(used)
    }

    /// The answer to the request: how long its head is, if it is what was asked for.
    fn head(&mut self, input: &[u8]) -> Result<usize, End> {
        let Some(head) = http::head(input).map_err(End::Wrong)? else { return Ok(0) };
        match head.status {
            101 => self.stage = Stage::Frames,
            200 if head.length.is_none() => self.stage = Stage::Events(sse::Stream::default()),
            status => {
                let body = &input[head.bytes..];
                if head.length.is_some_and(|length| body.len() < length) && input.len() < LONGEST_HEAD {
                    return Ok(0); // the rest of the document is to come
                }
                return Err(End::Refused(Refusal::new(status, body)));
            }
        }
        Ok(head.bytes)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.wire.as_mut().map_or(Ok(()), |wire| wire.send(bytes)).map_err(broken)
    }

    /// Says what it has, if that is more than it has said.
    pub(crate) fn acknowledge(&mut self) -> Result<(), End> {
        let is_due = self.acknowledges && self.state == State::Live && self.acknowledged != self.cursor;
        if !is_due || !matches!(self.stage, Stage::Frames) {
            return Ok(());
        }
        self.acknowledged.clone_from(&self.cursor);
        let cursor = String::from_utf8_lossy(&self.cursor);
        self.send(&ws::text(&format!(r#"{{"type":"ack","upTo":"{cursor}"}}"#)))
    }

    fn message(&mut self, text: &[u8], cx: &mut Context<'_>) -> Result<(), End> {
        match message::read(text, cx.marks).map_err(End::Wrong)? {
            Message::Notification { position, cursor, mark } => {
                self.come_to(cursor);
                self.notification(position, mark, cx);
            }
            Message::Other { cursor } => self.come_to(cursor),
            Message::Aside => {}
            Message::Hello(hello) => self.greeted(hello, cx),
            Message::CaughtUp { cursor } => {
                self.come_to(cursor);
                if self.state == State::CatchingUp {
                    self.live(cx);
                }
            }
            Message::Closing(closing) => return Err(End::Closing(closing)),
        }
        Ok(())
    }

    fn come_to(&mut self, cursor: &[u8]) {
        self.cursor.clear();
        self.cursor.extend_from_slice(cursor);
    }

    fn greeted(&mut self, hello: Hello, cx: &mut Context<'_>) {
        cx.tally.greeted.record(cx.now.saturating_sub(self.intended));
        let is_reset = hello.resume.as_ref().is_some_and(|resume| resume.result == "reset");
        if !self.is_known {
            self.is_known = true;
            self.everybodys = Seen::from(cx.ledger.subscribe(0, self.is_slow));
            self.own = Seen::from(cx.ledger.subscribe(self.sequence(), self.is_slow));
            self.last_position = hello.position;
            self.come_to(hello.cursor.as_bytes());
            return self.live(cx);
        }
        self.state = State::CatchingUp;
        if is_reset {
            self.come_to(hello.cursor.as_bytes());
            // It is not told what it missed, and lives on from here.
            self.skipped.push((self.last_position, hello.position));
            let reason = hello.resume.and_then(|resume| resume.reason).unwrap_or_default();
            count(&mut cx.tally.disturbances.resets, reason);
            self.live(cx);
        }
    }

    fn live(&mut self, cx: &mut Context<'_>) {
        (self.state, self.is_awaited) = (State::Live, false);
        cx.tally.live += 1;
        cx.tally.caught_up.record(cx.now.saturating_sub(self.intended));
    }

    fn notification(&mut self, position: u64, mark: Option<Mark>, cx: &mut Context<'_>) {
        let Some(mark) = mark else {
            cx.tally.checks.of_others += 1;
            return;
        };
        let (number, user) = (self.number, self.user);
        let is_everybodys = mark.sequence == 0;
        if !is_everybodys && mark.sequence != self.sequence() {
            let words = || format!("connection {number} got position {position}, which is for another user");
            return cx.tally.checks.note(Fault::Misdelivered, words);
        }
        cx.tally.delivered += 1;
        let seen = if is_everybodys { &mut self.everybodys } else { &mut self.own };
        if !seen.insert(mark.number) {
            let words = || format!("connection {number} (user {user}) got position {position} once more");
            return cx.tally.checks.note(Fault::Repeat, words);
        }
        if position <= self.last_position {
            let last = self.last_position;
            let words = || format!("connection {number} (user {user}) got position {position} after {last}");
            cx.tally.checks.note(Fault::Disorder, words);
        }
        self.last_position = self.last_position.max(position);
        cx.tally.checks.deliveries += 1;
        let Some(delivered) = cx.ledger.delivered(mark, position, self.is_slow) else { return };
        if delivered.is_misplaced {
            let words = || format!("connection {number} got at position {position} what is at another one");
            cx.tally.checks.note(Fault::Misplaced, words);
        }
        if !self.is_slow {
            let waited = cx.now.saturating_sub(delivered.intended);
            cx.tally.delivery(delivered.series, waited, delivered.is_complete);
        }
    }

    /// Notes what it should have got and did not.
    pub(crate) fn note_gaps(
        &self,
        ledger: &Ledger,
        positions: &std::collections::HashMap<(u32, u32), u64>,
        tally: &mut Tally,
    ) {
        if !self.is_known {
            return;
        }
        for (sequence, seen) in [(0, &self.everybodys), (self.sequence(), &self.own)] {
            for number in seen.missing(ledger.next(sequence)) {
                if !ledger.is_due(sequence, number, positions) {
                    continue;
                }
                let position = positions.get(&(sequence, number)).copied().unwrap_or_default();
                if self.skipped.iter().any(|(after, up_to)| (after + 1..=*up_to).contains(&position)) {
                    tally.checks.missed_by_reset += 1;
                    continue;
                }
                let (number, user) = (self.number, self.user);
                let words = || format!("connection {number} (user {user}) never got position {position}");
                tally.checks.note(Fault::Gap, words);
            }
        }
    }
}

fn broken(error: std::io::Error) -> End {
    End::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Until;

    /// A device of the second of two users, what was published, and what was found.
    fn checked(deliveries: &[(u64, Mark)], published: &[u32]) -> crate::check::Checks {
        let (mut ledger, mut tally) = (Ledger::new(Until::Answered, 2), Tally::new());
        let mut device = Device::new(7, 1, false, false, 10);
        let (marks, clock) = (Marks::new("a1"), Clock::start());
        let mut cx = Context { clock: &clock, marks: &marks, ledger: &mut ledger, tally: &mut tally, now: 0 };
        let hello = Hello { position: 3, cursor: "a.3".to_owned(), resume: None };
        device.greeted(hello, &mut cx);
        for (index, sequence) in published.iter().enumerate() {
            let mark = cx.ledger.publish(*sequence, 0, 0, 0);
            cx.ledger.answered(mark.publish, 10 + index as u64);
        }
        deliveries.iter().for_each(|(position, mark)| device.notification(*position, Some(*mark), &mut cx));
        device.note_gaps(&ledger, &ledger.positions(), &mut tally);
        tally.checks
    }

    #[test]
    fn each_fault_is_told_by_its_name_and_once() {
        let mark = |publish, sequence, number| Mark { publish, sequence, number };
        let (first, own, last) = (mark(0, 0, 0), mark(1, 2, 0), mark(2, 0, 1));
        let faults = |deliveries: &[(u64, Mark)]| {
            let found = checked(deliveries, &[0, 2, 0]);
            [found.gaps, found.repeats, found.disorder, found.misplaced, found.misdelivered]
        };
        assert_eq!(faults(&[(10, first), (11, own), (12, last)]), [0; 5]);
        assert_eq!(faults(&[(10, first), (12, last)]), [1, 0, 0, 0, 0]);
        assert_eq!(faults(&[(10, first), (11, own), (11, own), (12, last)]), [0, 1, 0, 0, 0]);
        assert_eq!(faults(&[(10, first), (12, last), (11, own)]), [0, 0, 1, 0, 0]);
        assert_eq!(faults(&[(10, first), (11, own), (13, last)]), [0, 0, 0, 1, 0]);
        let of_another = (11, mark(1, 1, 0));
        assert_eq!(faults(&[(10, first), of_another, (11, own), (12, last)]), [0, 0, 0, 0, 1]);
    }
}
