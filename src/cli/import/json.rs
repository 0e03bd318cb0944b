//! Users in JSON: an object a line, or a list of objects.

use std::fmt;
use std::io::{self, BufRead};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};

/// The longest entry of a list, in octets.
const ENTRY_LENGTH_MAX: usize = 1 << 20;

/// Reads an object in which nothing is said twice.
///
/// # Errors
/// A sentence that says what is wrong and where, and repeats nothing of the text.
pub(in crate::cli) fn read_object(text: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(text) {
        Ok(Object { members, repeated: false }) => Ok(members),
        Ok(Object { repeated: true, .. }) => {
            Err("it says a member twice: nobody knows which of the two counts".to_owned())
        }
        Err(error) => Err(match error.classify() {
            Category::Data => "it is JSON, but not an object".to_owned(),
            Category::Eof => "it ends in the middle of a JSON object".to_owned(),
            Category::Syntax | Category::Io => match (error.line(), error.column()) {
                (1, column) => format!("it is not JSON from its character {column} on"),
                (line, column) => {
                    format!("it is not JSON from character {column} of its line {line} on")
                }
            },
        }),
    }
}

/// The members of an object, and whether one of them stood there twice.
pub(super) struct Object {
    pub(super) members: Map<String, Value>,
    pub(super) repeated: bool,
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut object = Object { members: Map::new(), repeated: false };
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    object.repeated |= object.members.insert(name, value).is_some();
                }
                Ok(object)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// What an object is to Django's `dumpdata`.
pub(super) enum Dumped {
    /// It is of a model with passwords; these are its values by the names of this service.
    User(Map<String, Value>),
    /// It is of another model.
    NoUser,
    /// It is nothing of Django's, and as it was.
    Other(Map<String, Value>),
}

/// Reads an object as `dumpdata` writes it: `model`, `pk` and `fields`. A user's `password` is the
/// `password_hash`, `pk` the `sub`, and the opposite of `is_active` is `disabled`, unless there are fields of
/// these names.
pub(super) fn of_django(mut object: Map<String, Value>) -> Dumped {
    let is_dumped = object.get("model").is_some_and(Value::is_string);
    let Some(Value::Object(fields)) = object.get_mut("fields").filter(|_| is_dumped) else {
        return Dumped::Other(object);
    };
    let mut user = std::mem::take(fields);
    let Some(password) = user.get("password").cloned() else { return Dumped::NoUser };
    let disabled =
        user.get("is_active").and_then(Value::as_bool).map(|active| Value::Bool(!active));
    let (pk, password) = (object.remove("pk"), Some(password));
    for (name, value) in [("password_hash", password), ("sub", pk), ("disabled", disabled)] {
        if let (None, Some(value)) = (user.get(name), value) {
            user.insert(name.to_owned(), value);
        }
    }
    Dumped::User(user)
}

/// The entries of a list, one after the other, as texts.
pub(super) struct Entries {
    reader: Box<dyn BufRead>,
    /// The line that is read.
    line: u64,
    /// Whether the list has begun, an entry must follow, and the list has ended.
    begun: bool,
    ended: bool,
}

impl Entries {
    pub(super) fn new(reader: Box<dyn BufRead>) -> Self {
        Self { reader, line: 1, begun: false, ended: false }
    }

    /// Opens a file that must be a list.
    ///
    /// # Errors
    /// A sentence: it cannot be read, or is none.
    pub(super) fn open(file: impl io::Read + 'static) -> Result<Self, String> {
        let mut entries = Self::new(Box::new(io::BufReader::with_capacity(1 << 16, file)));
        match entries.skip_blanks()? {
            Some(b'[') => Ok(entries),
            _ => Err("it is no list of JSON objects".to_owned()),
        }
    }

    /// The next entry, with the line where it begins.
    ///
    /// # Errors
    /// A sentence: it cannot be read on.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, String> {
        if self.ended {
            return Ok(None);
        }
        let is_first = !self.begun;
        if is_first {
            self.skip_blanks()?;
            self.octet()?;
            self.begun = true;
        }
        self.skip_blanks()?;
        let line = self.line;
        let text = self.entry()?;
        if self.ended && self.skip_blanks()?.is_some() {
            return Err(format!("line {}: something follows the list that ends there", self.line));
        }
        let is_empty_list = is_first && self.ended && text.is_empty();
        Ok((!is_empty_list).then_some((line, text)))
    }

    /// Reads as far as the end of an entry.
    fn entry(&mut self) -> Result<Vec<u8>, String> {
        let begin = self.line;
        let mut text = Vec::new();
        let (mut depth, mut in_text, mut escaped) = (0_u32, false, false);
        loop {
            let Some(octet) = self.octet()? else {
                return Err(format!("the file ends within its list, in the entry of line {begin}"));
            };
            if depth == 0 && !in_text && matches!(octet, b',' | b']') {
                self.ended = octet == b']';
                return Ok(text);
            }
            match octet {
                _ if escaped => escaped = false,
                b'\\' => escaped = in_text,
                b'"' => in_text = !in_text,
                b'[' | b'{' if !in_text => depth += 1,
                b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
                _ => {}
            }
            text.push(octet);
            if text.len() > ENTRY_LENGTH_MAX {
                return Err(format!("the entry of line {begin} has no end within 1 MiB"));
            }
        }
    }

    /// Skips white space, and says what follows.
    fn skip_blanks(&mut self) -> Result<Option<u8>, String> {
        loop {
            let next = self.reader.fill_buf().map_err(cannot_read)?.first().copied();
            match next {
                Some(octet) if octet.is_ascii_whitespace() => self.octet()?,
                next => return Ok(next),
            };
        }
    }

    fn octet(&mut self) -> Result<Option<u8>, String> {
        let next = self.reader.fill_buf().map_err(cannot_read)?.first().copied();
        self.reader.consume(usize::from(next.is_some()));
        self.line += u64::from(next == Some(b'\n'));
        Ok(next)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what an error is mapped by")]
fn cannot_read(error: io::Error) -> String {
    format!("cannot read on: {error}")
}
