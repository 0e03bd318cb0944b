//! The queue of lines to be written, and its writer.
//!
//! Writing to standard error may wait, so one thread does it. When the queue is full, lines are dropped and counted.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::AUDIT_TARGET;

/// How many octets may wait.
const LENGTH_MAX: usize = 1 << 20;
/// How many of them may be lines that are no audit events, so that a flood of these leaves room for audit events.
const OTHERS_LENGTH_MAX: usize = LENGTH_MAX / 2;
/// How long to wait if standard error is full and in non-blocking mode.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An audit event.
    Audit,
    /// Any other line.
    Other,
}

/// How many lines were dropped, by `kind`.
pub(super) type LinesDropped = Family<[(&'static str, &'static str); 1], Counter>;

/// How many lines are missing at one place of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) audit: u64,
    pub(super) other: u64,
}

enum Entry {
    Line(Kind, Vec<u8>),
    /// Lines are missing here.
    Gap(Lost),
}

impl Entry {
    fn octets(&self) -> usize {
        match self {
            Self::Line(_, line) => line.len(),
            Self::Gap(_) => 0,
        }
    }
}

pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
    audit_dropped: Counter,
    other_dropped: Counter,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    /// The octets of all lines, including the one being written.
    octets: usize,
    /// The octets of the line being written; `None` while none is.
    in_progress: Option<usize>,
}

impl Queue {
    #[expect(clippy::needless_pass_by_value, reason = "clones of it share what they count")]
    pub(super) fn new(dropped: LinesDropped) -> Self {
        let counter = |kind| dropped.get_or_create(&[("kind", kind)]).clone();
        Self {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            audit_dropped: counter("audit"),
            other_dropped: counter("other"),
        }
    }

    /// Adds a whole line, or counts it as dropped. Never waits for standard error.
    pub(super) fn push(&self, kind: Kind, line: &[u8]) {
        let length_max = match kind {
            Kind::Audit => LENGTH_MAX,
            Kind::Other => OTHERS_LENGTH_MAX,
        };
        let mut state = self.lock();
        if state.octets + line.len() > length_max {
            let lost = self.count(kind);
            match state.entries.back_mut() {
                Some(Entry::Gap(gap)) => gap.add(lost),
                _ => state.entries.push_back(Entry::Gap(lost)),
            }
            return;
        }
        state.octets += line.len();
        state.entries.push_back(Entry::Line(kind, line.to_owned()));
        drop(state);
        self.filled.notify_one();
    }

    /// Waits until everything is written, at most this long.
    pub(super) fn wait_until_empty(&self, at_most: Duration) {
        let is_busy = |state: &mut State| !state.entries.is_empty() || state.in_progress.is_some();
        drop(self.emptied.wait_timeout_while(self.lock(), at_most, is_busy));
    }

    /// Waits for the next entry. Calling it means that the previous one is done.
    fn next(&self) -> Entry {
        let mut state = self.lock();
        state.octets -= state.in_progress.take().unwrap_or_default();
        loop {
            if let Some(entry) = state.entries.pop_front() {
                state.in_progress = Some(entry.octets());
                return entry;
            }
            self.emptied.notify_all();
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn count(&self, kind: Kind) -> Lost {
        match kind {
            Kind::Audit => {
                self.audit_dropped.inc();
                Lost { audit: 1, other: 0 }
            }
            Kind::Other => {
                self.other_dropped.inc();
                Lost { audit: 0, other: 1 }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lost {
    fn add(&mut self, more: Self) {
        self.audit += more.audit;
        self.other += more.other;
    }
}

/// Writes one whole line after the other.
pub(super) struct Writer<O, T> {
    queue: Arc<Queue>,
    out: O,
    /// Makes the line that says how many are missing.
    format_lost: T,
    /// What is missing and was not reported yet.
    lost: Lost,
    /// Whether the last line was written only in part.
    incomplete: bool,
}

impl<O: Write, T: Fn(Lost) -> Vec<u8>> Writer<O, T> {
    pub(super) fn new(queue: Arc<Queue>, out: O, format_lost: T) -> Self {
        Self { queue, out, format_lost, lost: Lost::default(), incomplete: false }
    }

    /// Waits for the next line and writes it. If that fails, the line is dropped.
    pub(super) fn write_next(&mut self) {
        let queue = Arc::clone(&self.queue);
        match queue.next() {
            Entry::Gap(lost) => {
                self.lost.add(lost);
                self.report_lost();
            }
            Entry::Line(kind, line) => {
                if !self.report_lost() || self.write(&line).is_err() {
                    self.lost.add(queue.count(kind));
                }
            }
        }
    }

    /// Reports what is missing. Returns whether nothing is left to report.
    fn report_lost(&mut self) -> bool {
        if self.lost != Lost::default() {
            let line = (self.format_lost)(self.lost);
            if self.write(&line).is_err() {
                return false;
            }
            self.lost = Lost::default();
        }
        true
    }

    /// Writes a line, after ending one that was written only in part.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.incomplete {
            self.write_octets(b"\n")?;
            self.incomplete = false;
        }
        self.write_octets(line)
    }

    fn write_octets(&mut self, mut octets: &[u8]) -> io::Result<()> {
        while !octets.is_empty() {
            match self.out.write(octets) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => {
                    octets = octets.get(length..).unwrap_or_default();
                    self.incomplete = !octets.is_empty();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another program that shares the pipe may have made it non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::park_timeout(PAUSE),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Makes a writer for each event, which adds its line to the queue.
pub(super) struct Lines(pub(super) Arc<Queue>);

/// Takes the one line of an event.
pub(super) struct LineOf<'a>(&'a Queue, Kind);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LineOf<'a>;

    fn make_writer(&'a self) -> LineOf<'a> {
        LineOf(&self.0, Kind::Other)
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LineOf<'a> {
        let is_audit = metadata.target() == AUDIT_TARGET;
        LineOf(&self.0, if is_audit { Kind::Audit } else { Kind::Other })
    }
}

impl Write for LineOf<'_> {
    /// `tracing-subscriber` writes each event with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(self.1, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps what was written to it. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Kept {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Kept {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes everything in the queue.
    fn drain<O: Write>(writer: &mut Writer<O, impl Fn(Lost) -> Vec<u8>>) {
        while !writer.queue.lock().entries.is_empty() {
            writer.write_next();
        }
    }

    fn told(lost: Lost) -> Vec<u8> {
        format!("lost {} {}\n", lost.audit, lost.other).into_bytes()
    }

    fn dropped(counts: &LinesDropped) -> (u64, u64) {
        let of = |kind| counts.get_or_create(&[("kind", kind)]).get();
        (of("audit"), of("other"))
    }

    #[test]
    fn other_lines_leave_room_for_audit_events() {
        let counts = LinesDropped::default();
        let queue = Arc::new(Queue::new(counts.clone()));
        let line = [&[b'.'; 1_023][..], b"\n"].concat();
        for _ in 0..600 {
            queue.push(Kind::Other, &line);
        }
        assert_eq!(dropped(&counts), (0, 600 - 512));
        for _ in 0..600 {
            queue.push(Kind::Audit, &line);
        }
        assert_eq!(dropped(&counts), (600 - 512, 600 - 512));
        let out = Kept::default();
        drain(&mut Writer::new(Arc::clone(&queue), out.clone(), told));
        let text = String::from_utf8(out.take()).expect("ASCII");
        let gaps: Vec<_> =
            text.lines().enumerate().filter(|(_, line)| line.starts_with("lost")).collect();
        // At the places where lines are missing.
        assert_eq!(gaps, [(512, "lost 0 88"), (1_025, "lost 88 0")]);
        assert_eq!(text.lines().count(), 1_026);
    }

    /// Accepts this many octets and then none, until it is repaired.
    struct Full(Kept, usize, Arc<Mutex<bool>>);

    impl Write for Full {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            if *self.2.lock().expect("no panic") {
                return self.0.write(octets);
            }
            let length = octets.len().min(self.1);
            self.1 -= length;
            if length == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.0.write(&octets[..length])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told_when_it_can() {
        let counts = LinesDropped::default();
        let queue = Arc::new(Queue::new(counts.clone()));
        let (out, mended) = (Kept::default(), Arc::new(Mutex::new(false)));
        let full = Full(out.clone(), 8, Arc::clone(&mended));
        let mut writer = Writer::new(Arc::clone(&queue), full, told);
        for line in ["first\n", "second\n", "third\n"] {
            queue.push(Kind::Audit, line.as_bytes());
        }
        drain(&mut writer);
        *mended.lock().expect("no panic") = true;
        queue.push(Kind::Other, b"fourth\n");
        drain(&mut writer);
        let text = String::from_utf8(out.take()).expect("ASCII");
        assert_eq!(text, "first\nse\nlost 2 0\nfourth\n");
        assert_eq!(dropped(&counts), (2, 0));
    }
}
