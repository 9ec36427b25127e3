//! The two things about JSON that the project does itself: reading objects by borrowing only the
//! fields that are needed, and writing strings.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A string, borrowed from the document unless it has escapes.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        self
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// Declares structs that are read from JSON objects, each field with its key. As in the Kubernetes
/// API, a field that is absent or null has its default value. Other keys are skipped without being
/// built. A known key that stands twice is an error, and so is anything but an object: serde's
/// derive would take an array as well, which a JSON Patch by field name would then not apply to.
macro_rules! objects {
    ($(
        $(#[$meta:meta])*
        $vis:vis struct $name:ident<$life:lifetime $(, $object:ident)?> {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty = $key:pat, )*
        }
    )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name<$life $(, $object)?> {
            $( $(#[$field_meta])* pub(crate) $field: $type, )*
        }

        impl<'de: $life, $life $(, $object)?> ::serde::Deserialize<'de> for $name<$life $(, $object)?>
        $( where $object: ::serde::Deserialize<'de> + Default )?
        {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct ObjectVisitor<T>(::std::marker::PhantomData<T>);

                impl<'de: $life, $life $(, $object)?> ::serde::de::Visitor<'de>
                    for ObjectVisitor<$name<$life $(, $object)?>>
                $( where $object: ::serde::Deserialize<'de> + Default )?
                {
                    type Value = $name<$life $(, $object)?>;

                    fn expecting(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<M: ::serde::de::MapAccess<'de>>(
                        self,
                        mut map: M,
                    ) -> Result<Self::Value, M::Error> {
                        $( let mut $field = None; )*
                        while let Some(key) = map.next_key::<$crate::json::Text<'de>>()? {
                            match &*key {
                                $( $key if $field.is_some() => {
                                    return Err($crate::json::duplicate(&key));
                                }
                                $key => {
                                    $field = Some(map.next_value::<Option<$type>>()?.unwrap_or_default());
                                } )*
                                _ => {
                                    map.next_value::<::serde::de::IgnoredAny>()?;
                                }
                            }
                        }
                        Ok($name {
                            $( $field: $field.unwrap_or_default(), )*
                        })
                    }
                }

                deserializer.deserialize_map(ObjectVisitor(::std::marker::PhantomData::<Self>))
            }
        }
    )* };
}
pub(crate) use objects;

/// The error for a key that stands twice in one object.
pub(crate) fn duplicate<E: Error>(key: &str) -> E {
    E::custom(format_args!("duplicate field `{key}`"))
}

/// Appends `text` as a JSON string (RFC 8259), quotes included.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text);
    out.push('"');
}

/// Appends `text` as it stands inside a JSON string.
pub(crate) fn push_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest
        .bytes()
        .position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f))
    {
        // What is escaped is ASCII, so that both cuts are between characters.
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            escaped @ (b'"' | b'\\') => out.extend(['\\', char::from(escaped)]),
            control => {
                let hex = |digit: u8| char::from_digit(digit.into(), 16).unwrap_or_default();
                out.push_str("\\u00");
                out.extend([hex(control >> 4), hex(control & 0xf)]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests;
