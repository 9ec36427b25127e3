//! A JSON Patch (RFC 6902), written by hand: strings, objects of strings and empty lists are all it
//! sets.

use crate::json;

/// About as long as the patch for a Pod of two containers, so that the text hardly ever moves.
const USUAL_LEN: usize = 1024;

/// The operations so far, in order.
#[derive(Debug, Default)]
pub struct Patch {
    /// The JSON text up to, but not including, the closing bracket; empty without operations.
    text: String,
}

impl Patch {
    /// Whether there is no operation, so that nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The patch as a JSON document.
    #[must_use]
    pub fn into_json(mut self) -> String {
        if self.is_empty() {
            self.text.push('[');
        }
        self.text.push(']');
        self.text
    }

    /// Sets what is at `path`, which must exist, to a string.
    pub fn replace(&mut self, path: &[&str], value: &str) {
        self.begin("replace", path);
        self.value(|text| json::push_string(text, value));
    }

    /// Sets what is at `path`, of which all but the last component must exist, to a string.
    pub fn add(&mut self, path: &[&str], value: &str) {
        self.begin("add", path);
        self.value(|text| json::push_string(text, value));
    }

    /// Sets what is at `path`, of which all but the last component must exist, to an object of
    /// strings.
    pub fn add_object<'m>(
        &mut self,
        path: &[&str],
        members: impl IntoIterator<Item = (&'m str, &'m str)>,
    ) {
        self.begin("add", path);
        self.value(|text| {
            text.push('{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                json::push_string(text, key);
                text.push(':');
                json::push_string(text, value);
            }
            text.push('}');
        });
    }

    /// Sets what is at `path`, of which all but the last component must exist, to an empty list.
    pub fn add_list(&mut self, path: &[&str]) {
        self.begin("add", path);
        self.text.push_str(",\"value\":[]}");
    }

    /// Removes what is at `path`, which must exist.
    pub fn remove(&mut self, path: &[&str]) {
        self.begin("remove", path);
        self.text.push('}');
    }

    /// Writes an operation up to its path, a JSON Pointer (RFC 6901) of the given components.
    fn begin(&mut self, operation: &str, path: &[&str]) {
        if self.is_empty() {
            self.text.reserve(USUAL_LEN);
        }
        self.text.push(if self.is_empty() { '[' } else { ',' });
        for part in ["{\"op\":\"", operation, "\",\"path\":\""] {
            self.text.push_str(part);
        }
        for component in path {
            self.text.push('/');
            let mut rest = *component;
            while let Some(at) = rest.bytes().position(|b| matches!(b, b'~' | b'/')) {
                json::push_escaped(&mut self.text, &rest[..at]);
                let escape = if rest.as_bytes()[at] == b'~' {
                    "~0"
                } else {
                    "~1"
                };
                self.text.push_str(escape);
                rest = &rest[at + 1..];
            }
            json::push_escaped(&mut self.text, rest);
        }
        self.text.push('"');
    }

    fn value(&mut self, write: impl FnOnce(&mut String)) {
        self.text.push_str(",\"value\":");
        write(&mut self.text);
        self.text.push('}');
    }
}

#[cfg(test)]
mod tests;
