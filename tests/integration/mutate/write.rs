//! A JSON writer that escapes every string in another way, so that the same document is read in
//! every form that JSON allows.

use serde_json::Value;

use super::Tally;
use crate::random::Random;

/// A string this long is written as it is.
const LONG: usize = 1000;

/// The text of a review, and whether some object in its Pods has a key twice.
pub(crate) fn write(review: &Value, random: &mut Random, tally: &mut Tally) -> (String, bool) {
    let mut writer = Writer {
        out: String::new(),
        random,
        tally,
        twice: false,
    };
    writer.value(review, false);
    (writer.out, writer.twice)
}

struct Writer<'r> {
    out: String,
    random: &'r mut Random,
    tally: &'r mut Tally,
    twice: bool,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, in_pod: bool) {
        self.space();
        match value {
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                self.random.shuffle(&mut members);
                // A full map of annotations is not to be measured twice.
                let is_full = members.iter().any(|(_, value)| is_long(value));
                if in_pod && !members.is_empty() && !is_full && self.random.below(200) == 0 {
                    self.twice = true;
                    members.push(members[0]);
                }
                self.out.push('{');
                for (index, (key, value)) in members.into_iter().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.space();
                    self.string("key", key);
                    self.space();
                    self.out.push(':');
                    self.value(value, in_pod || ["object", "oldObject"].contains(&&**key));
                }
                self.out.push('}');
            }
            Value::Array(items) => {
                self.out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.value(item, in_pod);
                }
                self.out.push(']');
            }
            Value::String(text) => self.string("value", text),
            Value::Null | Value::Bool(_) | Value::Number(_) => self.out += &value.to_string(),
        }
        self.space();
    }

    fn space(&mut self) {
        if self.random.below(32) == 0 {
            self.out += self.random.pick(&[" ", "\n", "\t", "\r\n", "  "]);
        }
    }

    fn string(&mut self, place: &'static str, text: &str) {
        if text.len() > LONG {
            self.out += &serde_json::to_string(text).unwrap();
            return;
        }
        self.out.push('"');
        // Most strings are read as they stand, the others have escapes that they do not need.
        let eager = self.random.chance(20);
        for c in text.chars() {
            let short = match c {
                '"' => Some("\\\""),
                '\\' => Some("\\\\"),
                '/' => Some("\\/"),
                '\u{8}' => Some("\\b"),
                '\u{c}' => Some("\\f"),
                '\n' => Some("\\n"),
                '\r' => Some("\\r"),
                '\t' => Some("\\t"),
                _ => None,
            };
            let must = c < ' ' || c == '"' || c == '\\';
            let escape = must || (eager && self.random.chance(50));
            let form = if !escape {
                self.out.push(c);
                if c.is_ascii() {
                    continue;
                }
                "as it is"
            } else if let Some(short) = short.filter(|_| self.random.chance(60)) {
                self.out += short;
                short
            } else {
                let upper = self.random.chance(50);
                let mut units = [0; 2];
                let units = c.encode_utf16(&mut units);
                for unit in &*units {
                    let digits = format!("{unit:04x}");
                    self.out.push_str("\\u");
                    self.out += &if upper { digits.to_uppercase() } else { digits };
                }
                match (units.len(), upper) {
                    (1, true) => "\\uXXXX",
                    (1, false) => "\\uxxxx",
                    _ => "surrogates",
                }
            };
            self.tally.count("escape in", [place, form]);
        }
        self.out.push('"');
    }
}

fn is_long(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() > LONG)
}
