//! A list within a JSON object, entry by entry: an export may be larger than the memory.

use std::fmt;
use std::io::{BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::json::Object;

/// How many entries are read ahead.
const AHEAD: usize = 256;

/// An entry, or why it cannot be read on.
pub(super) type ReadEntry = Result<Map<String, Value>, String>;

/// The entries of a list, which a thread of its own reads.
pub(super) struct Streamed(Receiver<ReadEntry>);

impl Streamed {
    /// Reads the list `member` of the object that the file is. All else in it is passed over.
    pub(super) fn new(file: Box<dyn Read + Send>, member: &'static str) -> Self {
        let (sender, receiver) = sync_channel(AHEAD);
        std::thread::spawn(move || {
            let mut json =
                serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 16, file));
            let sent = Members { member, sender: &sender }
                .deserialize(&mut json)
                .and_then(|()| json.end());
            if let Err(error) = sent {
                // Whoever has gone needs no error.
                sender.send(Err(sentence(&error))).ok();
            }
        });
        Self(receiver)
    }
}

impl Iterator for Streamed {
    type Item = ReadEntry;

    fn next(&mut self) -> Option<ReadEntry> {
        self.0.recv().ok()
    }
}

/// What is wrong with a text of JSON and where, without repeating anything of it.
pub(super) fn sentence(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        Category::Io => "it cannot be read on".to_owned(),
        Category::Eof => "it ends in the middle of its JSON".to_owned(),
        Category::Syntax => format!("it is not JSON from character {column} of line {line} on"),
        Category::Data => {
            format!("it is JSON, but not what it should be at character {column} of line {line}")
        }
    }
}

/// The object that has the list.
struct Members<'a> {
    member: &'static str,
    sender: &'a SyncSender<ReadEntry>,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(name) = map.next_key::<String>()? {
            if name != self.member {
                map.next_value::<IgnoredAny>()?;
            } else if found {
                return Err(A::Error::custom("a list that is there twice"));
            } else {
                found = true;
                map.next_value_seed(List(self.sender))?;
            }
        }
        Ok(())
    }
}

/// The list.
struct List<'a>(&'a SyncSender<ReadEntry>);

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(Object { members, repeated }) = seq.next_element()? {
            if repeated {
                return Err(A::Error::custom("an entry with a member twice"));
            }
            // Nobody reads any more.
            self.0.send(Ok(members)).map_err(|_| A::Error::custom("the reader has gone"))?;
        }
        Ok(())
    }
}
