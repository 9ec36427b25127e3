//! Which images of a Pod are looked at in which request, and what is done to the Pod when some are
//! swapped. Pure: a review in, a patch and a tally out.

mod summary;

use std::collections::{BTreeMap, HashMap};

use crate::patch::Patch;
use crate::review::{
    Annotations, Container, LABEL, Metadata, ORIGINAL_IMAGE, ORIGINAL_VOLUME, PullSecret, Review,
    SKIP, Subject,
};
use crate::rules::{Decision, Reason, Rules};

/// The value of [`LABEL`] on a Pod of which an image was swapped.
const PATCHED: &str = "patched-image";

/// What the names of service accounts, nodes and components of Kubernetes begin with.
const SYSTEM: &str = "system:";

/// The bytes that the annotations of an object may have in all, keys and values: one more, and the
/// API server refuses the Pod (`TotalAnnotationSizeLimitB` in its `apimachinery`).
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// How Pods are changed.
#[derive(Debug)]
pub struct Mutator {
    /// What decides about each image.
    pub rules: Rules,
    /// Whether any Pod is changed at all.
    pub mode: Mode,
    /// Whether the image as the user wrote it is kept in an annotation.
    pub annotate_originals: bool,
    /// Whether people are told what is swapped.
    pub warn: bool,
    /// The name of the Secret to pull swapped images with.
    pub pull_secret: Option<String>,
}

/// What is done about what was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Images are swapped.
    Swap,
    /// Nothing: it is only counted and told what would be.
    Observe,
}

/// What a review comes to.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// What to change in the Pod.
    pub patch: Patch,
    /// What was decided about each image.
    pub images: Vec<Decided<'a>>,
    /// Whether nothing is done about it.
    pub observed: bool,
    /// How many annotations did not fit the Pod.
    pub annotations_omitted: usize,
}

/// An image that was looked at, and what becomes of it.
#[derive(Debug)]
pub struct Decided<'a> {
    /// The image.
    pub image: Image<'a>,
    /// Whether it is swapped.
    pub decision: Decision,
}

/// A list of a Pod's spec whose items name images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Containers,
    InitContainers,
    EphemeralContainers,
    Volumes,
}

/// An image that a request sets or keeps.
#[derive(Debug)]
pub struct Image<'a> {
    list: List,
    index: usize,
    /// The name of the container or volume.
    name: &'a str,
    pub(crate) reference: &'a str,
    pull_policy: &'a str,
    /// Whether the request sets it, rather than keeping what is stored.
    changed: bool,
}

/// Of each annotation to touch, its new value, or none to remove it.
type Originals<'a> = BTreeMap<String, Option<&'a str>>;

impl Mode {
    /// The name that the setting and metrics have for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Swap => "swap",
            Self::Observe => "observe",
        }
    }
}

impl Mutator {
    /// One that swaps, notes the originals, and tells nobody.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            mode: Mode::Swap,
            annotate_originals: true,
            warn: false,
            pull_secret: None,
        }
    }

    /// Decides about every image of a review.
    #[must_use]
    pub fn decide<'a>(&self, review: &'a Review<'a>) -> Vec<Decided<'a>> {
        let exempt = exemption(review);
        let decide = |image: Image<'a>| {
            let decision = match exempt {
                _ if !image.changed => Decision::Skip(Reason::Unchanged),
                Some(reason) => Decision::Skip(reason),
                None => self
                    .rules
                    .decide(image.reference, image.pull_policy == "Never"),
            };
            Decided { image, decision }
        };
        images(review).into_iter().map(decide).collect()
    }

    /// Decides about every image of a review, and builds the patch.
    ///
    /// The patch always applies to the review's object, and changes nothing but image strings, this
    /// project's own label and annotations, and one entry at the end of a new Pod's pull secrets. It is
    /// empty where the mode is to observe.
    #[must_use]
    pub fn mutate<'a>(&self, review: &'a Review<'a>) -> Outcome<'a> {
        let mut outcome = Outcome {
            patch: Patch::default(),
            images: self.decide(review),
            observed: self.mode == Mode::Observe,
            annotations_omitted: 0,
        };
        if !outcome.observed {
            self.patch(review, &mut outcome);
        }
        outcome
    }

    /// What to tell whoever asks, if it is a person: a controller would log it each time.
    #[must_use]
    pub fn warning(&self, review: &Review<'_>, outcome: &Outcome<'_>) -> Option<String> {
        if self.warn && !review.user.starts_with(SYSTEM) {
            outcome.summary()
        } else {
            None
        }
    }

    fn patch(&self, review: &Review<'_>, outcome: &mut Outcome<'_>) {
        let patch = &mut outcome.patch;
        let mut originals = Originals::new();
        let metadata = review.pod.metadata.as_ref();
        let existing = metadata.and_then(|metadata| metadata.annotations.as_ref());
        let sets = review.subject == Subject::Update && exemption(review).is_none();

        for Decided { image, decision } in &outcome.images {
            match decision {
                Decision::Swap { target, .. } => {
                    image.replace(patch, target);
                    let noted = is_dns_label(image.name).then_some(image.reference);
                    originals.insert(image.annotation(), noted);
                }
                Decision::Skip(_) => {
                    if sets && image.changed && self.is_stale(existing, image) {
                        originals.entry(image.annotation()).or_insert(None);
                    }
                }
            }
        }

        // In an update of the ephemeral containers the API server discards all other changes.
        if review.subject != Subject::EphemeralContainers {
            if !self.annotate_originals {
                forget(&mut originals);
            } else if !fit(existing, &originals) {
                outcome.annotations_omitted = forget(&mut originals);
            }
            let swapped = !patch.is_empty();
            patch_metadata(patch, swapped, metadata, &originals);
            // In an update the API server forbids it.
            if swapped && review.subject == Subject::Create {
                self.patch_pull_secrets(patch, &review.pod.spec.image_pull_secrets);
            }
        }
    }

    /// Adds the pull secret to the list, unless it is there already.
    fn patch_pull_secrets(&self, patch: &mut Patch, existing: &[PullSecret<'_>]) {
        let Some(name) = self.pull_secret.as_deref() else {
            return;
        };
        if existing.iter().any(|secret| &*secret.name == name) {
            return;
        }
        let end = ["spec", "imagePullSecrets", "-"];
        // It may as well be missing, or null.
        if existing.is_empty() {
            patch.add_list(&end[..2]);
        }
        patch.add_object(&end, [("name", name)]);
    }

    /// Whether the image has an annotation that is not how it was written. One that is may stand
    /// there already: the API server can ask again about what was patched in the same request.
    fn is_stale(&self, existing: Option<&Annotations<'_>>, image: &Image<'_>) -> bool {
        let original = existing.and_then(|all| all.original(&image.annotation()));
        original.is_some_and(|original| match self.rules.decide(&original, false) {
            Decision::Swap { target, .. } => target != image.reference,
            Decision::Skip(_) => true,
        })
    }
}

impl Outcome<'_> {
    /// Of each swapped image, the index in [`Rules::sources`] of its rule.
    pub fn swapped(&self) -> impl Iterator<Item = usize> {
        let images = self.images.iter().filter(|_| !self.observed);
        images.filter_map(|decided| decided.decision.rule())
    }

    /// Of each image left alone, why.
    pub fn skipped(&self) -> impl Iterator<Item = Reason> {
        let observed = self.observed.then_some(Reason::Observed);
        let images = self.images.iter();
        images.filter_map(move |decided| decided.decision.reason().or(observed))
    }
}

impl List {
    /// Its name in the Kubernetes API.
    fn field(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::InitContainers => "initContainers",
            Self::EphemeralContainers => "ephemeralContainers",
            Self::Volumes => "volumes",
        }
    }
}

impl Image<'_> {
    /// Where it stands in the Pod: `spec.containers[0].image`.
    pub(crate) fn field(&self) -> String {
        let image = match self.list {
            List::Volumes => "image.reference",
            _ => "image",
        };
        format!("spec.{}[{}].{image}", self.list.field(), self.index)
    }

    fn replace(&self, patch: &mut Patch, target: &str) {
        let index = self.index.to_string();
        let pointer = ["spec", self.list.field(), &index, "image", "reference"];
        match self.list {
            List::Volumes => patch.replace(&pointer, target),
            _ => patch.replace(&pointer[..4], target),
        }
    }

    /// The annotation that keeps the image as it was written.
    fn annotation(&self) -> String {
        let prefix = match self.list {
            List::Volumes => ORIGINAL_VOLUME,
            _ => ORIGINAL_IMAGE,
        };
        [prefix, self.name].concat()
    }
}

/// The images that a request sets, or could set.
fn images<'a>(review: &'a Review<'a>) -> Vec<Image<'a>> {
    let (new, old) = (&review.pod.spec, &review.old_pod.spec);
    let lists: &[_] = match review.subject {
        Subject::Create | Subject::Update => &[
            (List::Containers, &new.containers, &old.containers),
            (
                List::InitContainers,
                &new.init_containers,
                &old.init_containers,
            ),
        ],
        Subject::EphemeralContainers => &[(
            List::EphemeralContainers,
            &new.ephemeral_containers,
            &old.ephemeral_containers,
        )],
        Subject::Other => &[],
    };
    let mut images = Vec::new();
    for (list, containers, old) in lists {
        let stored = |container: &'a Container<'a>| (&*container.name, &*container.image);
        let old: HashMap<&str, &str> = old.iter().map(stored).collect();
        images.extend(
            containers
                .iter()
                .enumerate()
                .map(|(index, container)| Image {
                    list: *list,
                    index,
                    name: &container.name,
                    reference: &container.image,
                    pull_policy: &container.pull_policy,
                    changed: match (review.subject, old.get(&*container.name)) {
                        // The API server forbids to change one that exists.
                        (Subject::EphemeralContainers, stored) => stored.is_none(),
                        (_, stored) => stored != Some(&&*container.image),
                    },
                }),
        );
    }
    if review.subject == Subject::Create {
        for (index, volume) in new.volumes.iter().enumerate() {
            images.extend(volume.image.as_ref().map(|image| Image {
                list: List::Volumes,
                index,
                name: &volume.name,
                reference: &image.reference,
                pull_policy: &image.pull_policy,
                changed: true,
            }));
        }
    }
    images
}

/// Why nothing in the Pod is to be touched, if so.
fn exemption(review: &Review<'_>) -> Option<Reason> {
    let metadata = review.pod.metadata.as_ref()?;
    let mirror = metadata.annotations.as_ref().is_some_and(|all| all.mirror);
    let label = metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.ours.as_deref());
    if mirror {
        Some(Reason::MirrorPod)
    } else {
        (label == Some(SKIP)).then_some(Reason::OptedOut)
    }
}

/// Makes of all annotations to set annotations to remove, and returns how many these were.
fn forget(originals: &mut Originals<'_>) -> usize {
    originals.values_mut().filter_map(Option::take).count()
}

/// Whether the API server accepts the annotations once `originals` are set and removed.
fn fit(existing: Option<&Annotations<'_>>, originals: &Originals<'_>) -> bool {
    let (mut added, mut removed) = (0, 0);
    for (key, value) in originals {
        let before = existing.and_then(|existing| existing.original(key));
        added += value.map_or(0, |value| key.len() + value.len());
        removed += before.map_or(0, |before| key.len() + before.len());
    }
    match existing {
        Some(existing) => existing.fit(ANNOTATIONS_MAX, added, removed),
        None => added <= ANNOTATIONS_MAX,
    }
}

/// Adds to the patch what marks the Pod, creating the maps that it lacks.
fn patch_metadata(
    patch: &mut Patch,
    swapped: bool,
    metadata: Option<&Metadata<'_>>,
    originals: &Originals<'_>,
) {
    let labels = metadata.and_then(|metadata| metadata.labels.as_ref());
    if swapped {
        if metadata.is_none() {
            patch.add_object(&["metadata"], []);
        }
        match labels {
            None => patch.add_object(&["metadata", "labels"], [(LABEL, PATCHED)]),
            Some(labels) if labels.ours.as_deref() == Some(PATCHED) => {}
            Some(_) => patch.add(&["metadata", "labels", LABEL], PATCHED),
        }
    }
    match metadata.and_then(|metadata| metadata.annotations.as_ref()) {
        None => {
            let added = originals
                .iter()
                .filter_map(|(key, value)| Some((key.as_str(), (*value)?)));
            let mut added = added.peekable();
            if added.peek().is_some() {
                patch.add_object(&["metadata", "annotations"], added);
            }
        }
        Some(existing) => {
            for (key, value) in originals {
                let pointer = ["metadata", "annotations", key];
                match value {
                    Some(value) => patch.add(&pointer, value),
                    None if existing.original(key).is_some() => patch.remove(&pointer),
                    None => {}
                }
            }
        }
    }
}

/// Whether `name` is what the API server accepts as the name of a container or volume (RFC 1123),
/// and so can end the key of an annotation.
fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && is_dns(name)
}

/// Whether `name` is what the API server accepts as the name of a Secret (RFC 1123).
pub(crate) fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns)
}

fn is_dns(label: &str) -> bool {
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !label.is_empty()
        && label.bytes().all(valid)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests;
