//! The few fields of a Pod that the decisions need.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{Text, objects};

/// The label that marks a patched Pod, and with the value [`SKIP`] opts one out.
pub(crate) const LABEL: &str = "k8s-proxy-image-swapper";

/// The value of [`LABEL`] with which a Pod opts out.
pub(crate) const SKIP: &str = "skip";

/// Followed by a container's name: the annotation that says how its image was written.
pub(crate) const ORIGINAL_IMAGE: &str = "original-image.k8s-proxy-image-swapper/";

/// Followed by a volume's name: the annotation that says how its image was written.
pub(crate) const ORIGINAL_VOLUME: &str = "original-volume.k8s-proxy-image-swapper/";

/// The kubelet's mark on the mirror of a static Pod.
const MIRROR: &str = "kubernetes.io/config.mirror";

objects! {
    /// A Pod (`v1`).
    pub(crate) struct Pod<'a> {
        metadata: Option<Metadata<'a>> = "metadata",
        spec: Spec<'a> = "spec",
    }

    /// Its metadata. Whether a map is there at all decides how it is patched.
    pub(crate) struct Metadata<'a> {
        generate_name: Text<'a> = "generateName",
        labels: Option<Labels<'a>> = "labels",
        annotations: Option<Annotations<'a>> = "annotations",
    }

    /// Its labels.
    pub(crate) struct Labels<'a> {
        ours: Option<Text<'a>> = LABEL,
    }

    /// Everything in it that names images, and how they are pulled.
    pub(crate) struct Spec<'a> {
        containers: Vec<Container<'a>> = "containers",
        init_containers: Vec<Container<'a>> = "initContainers",
        ephemeral_containers: Vec<Container<'a>> = "ephemeralContainers",
        volumes: Vec<Volume<'a>> = "volumes",
        image_pull_secrets: Vec<PullSecret<'a>> = "imagePullSecrets",
    }

    /// A container of any of the three kinds.
    pub(crate) struct Container<'a> {
        name: Text<'a> = "name",
        image: Text<'a> = "image",
        pull_policy: Text<'a> = "imagePullPolicy",
    }

    /// A Secret with credentials for a registry, by its name.
    pub(crate) struct PullSecret<'a> {
        name: Text<'a> = "name",
    }

    /// A volume of any kind.
    pub(crate) struct Volume<'a> {
        name: Text<'a> = "name",
        image: Option<ImageVolume<'a>> = "image",
    }

    /// An OCI artifact that is mounted.
    pub(crate) struct ImageVolume<'a> {
        reference: Text<'a> = "reference",
        pull_policy: Text<'a> = "pullPolicy",
    }
}

/// A Pod's annotations. Their values, which may be long and full of escapes, are decoded only where
/// that is needed.
#[derive(Debug, Default)]
pub(crate) struct Annotations<'a> {
    /// Whether the Pod mirrors a static Pod.
    pub(crate) mirror: bool,
    /// Our own annotations.
    originals: BTreeMap<Text<'a>, &'a RawValue>,
    keys_size: usize,
    values: Vec<&'a RawValue>,
}

impl Annotations<'_> {
    /// Whether all keys and values together have at most so many bytes, as the API server counts
    /// them, once some are added and some removed.
    pub(crate) fn fit(&self, max: usize, added: usize, removed: usize) -> bool {
        let fits = |values: usize| self.keys_size + values + added <= max + removed;
        // An escape is never shorter than what it stands for.
        fits(self.values.iter().map(|value| value.get().len()).sum())
            || fits(self.values.iter().map(|value| decode(value).len()).sum())
    }

    /// The value of one of our own annotations.
    pub(crate) fn original(&self, key: &str) -> Option<Text<'_>> {
        self.originals.get(key).map(|value| decode(value))
    }
}

/// The string that a value is, or an empty one for any other.
pub(crate) fn decode(value: &RawValue) -> Text<'_> {
    let text = serde_json::from_str::<Option<Text<'_>>>(value.get());
    text.ok().flatten().unwrap_or_default()
}

impl<'de: 'a, 'a> Deserialize<'de> for Annotations<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnnotationsVisitor;

        impl<'de> Visitor<'de> for AnnotationsVisitor {
            type Value = Annotations<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut annotations = Annotations::default();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    let value = map.next_value::<&RawValue>()?;
                    if !value.get().starts_with(['"', 'n']) {
                        return Err(M::Error::custom("expected a string as an annotation"));
                    }
                    annotations.keys_size += key.len();
                    annotations.values.push(value);
                    annotations.mirror |= &*key == MIRROR;
                    let ours = key.starts_with(ORIGINAL_IMAGE) || key.starts_with(ORIGINAL_VOLUME);
                    if ours && annotations.originals.insert(key, value).is_some() {
                        return Err(M::Error::custom("duplicate annotation"));
                    }
                }
                Ok(annotations)
            }
        }

        deserializer.deserialize_map(AnnotationsVisitor)
    }
}
