//! An object of the Kubernetes API, and the Pod that it holds.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::json::Text;
use crate::review::{Review, Subject, decode};

/// Where objects hold a Pod, or the template of one: a Pod itself, a Deployment and most others, a
/// `CronJob`, a `PodTemplate`. Each ends so that a field of the Pod can follow.
const PLACES: [&str; 4] = [
    "",
    "spec.template.",
    "spec.jobTemplate.spec.template.",
    "template.",
];

/// The members of an object by their keys, unread.
type Members<'a> = BTreeMap<Text<'a>, &'a RawValue>;

/// What an object is here.
#[derive(Debug)]
pub(super) enum Object<'a> {
    /// One that holds a Pod.
    Pod {
        /// Its kind, if it says.
        kind: Text<'a>,
        /// Where the Pod is in it: nothing, or a path that ends in `.`.
        place: &'static str,
        /// What an API server asks about that Pod.
        review: Box<Review<'a>>,
    },
    /// A list, and its kind.
    List(Text<'a>),
    /// Any other.
    Other,
}

impl<'a> Object<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(json: &'a [u8]) -> Result<Self, String> {
        let json = std::str::from_utf8(json).map_err(|error| error.to_string())?;
        let object = members(json).map_err(|error| error.to_string())?;
        let kind = text(&object, "kind");
        match object.get("items").map(|items| items.get()) {
            // What a list looks like once its items were cut out of it (`split`).
            Some("[]" | "null") => return Ok(Self::List(kind)),
            Some(items) if items.starts_with('[') => {
                return Err("a list within too many others, or with a key that is escaped".into());
            }
            _ => {}
        }
        if &*kind == "AdmissionReview" {
            return Self::admission_review(kind, json);
        }
        // Custom resources, whose group has a `.`, hold templates as well (a Rollout of Argo's, a
        // Service of Knative's); but what looks like a Pod there is none, and need not have its shape.
        let custom = text(&object, "apiVersion").contains('.');
        let place = PLACES
            .iter()
            .skip(usize::from(custom))
            .find(|place| at(&object, &[place, "spec.containers"].concat()).is_some());
        let Some(place) = place else {
            return Ok(Self::Other);
        };
        let pod = match serde_json::from_str(at(&object, place).unwrap_or(json)) {
            Ok(pod) => pod,
            Err(_) if custom => return Ok(Self::Other),
            Err(error) => return Err(format!("the Pod in it: {error}")),
        };
        let metadata = at(&object, "metadata").and_then(|json| members(json).ok());
        let metadata = metadata.unwrap_or_default();
        let name = ["name", "generateName"].map(|key| text(&metadata, key));
        let name = name.into_iter().find(|name| !name.is_empty());
        let review = Review {
            subject: Subject::Create,
            namespace: text(&metadata, "namespace"),
            name: name.unwrap_or_default(),
            pod,
            ..Review::default()
        };
        Ok(Self::Pod {
            kind,
            place,
            review: Box::new(review),
        })
    }

    fn admission_review(kind: Text<'a>, json: &'a str) -> Result<Self, String> {
        let review = Review::read(json.as_bytes()).map_err(|error| error.to_string())?;
        match &review.unreadable {
            Some(error) => Err(error.to_string()),
            None if review.subject == Subject::Other => Ok(Self::Other),
            None => Ok(Self::Pod {
                kind,
                place: "request.object.",
                review: Box::new(review),
            }),
        }
    }
}

fn members(json: &str) -> serde_json::Result<Members<'_>> {
    serde_json::from_str(json)
}

/// What is at a path within an object, if it is there; the empty path leads nowhere.
fn at<'a>(object: &Members<'a>, path: &str) -> Option<&'a str> {
    let mut keys = path.split('.').filter(|key| !key.is_empty());
    let first = object.get(keys.next()?)?.get();
    keys.try_fold(first, |json, key| Some(members(json).ok()?.get(key)?.get()))
}

fn text<'a>(members: &Members<'a>, key: &str) -> Text<'a> {
    members.get(key).copied().map(decode).unwrap_or_default()
}

#[cfg(test)]
mod tests;
