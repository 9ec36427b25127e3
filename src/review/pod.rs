//! The few fields of a Pod that the decisions need.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

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

    /// Everything in it that names images.
    pub(crate) struct Spec<'a> {
        containers: Vec<Container<'a>> = "containers",
        init_containers: Vec<Container<'a>> = "initContainers",
        ephemeral_containers: Vec<Container<'a>> = "ephemeralContainers",
        volumes: Vec<Volume<'a>> = "volumes",
    }

    /// A container of any of the three kinds.
    pub(crate) struct Container<'a> {
        name: Text<'a> = "name",
        image: Text<'a> = "image",
        pull_policy: Text<'a> = "imagePullPolicy",
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

/// A Pod's annotations: their size, and those that matter here.
#[derive(Debug, Default)]
pub(crate) struct Annotations<'a> {
    /// The sum of the bytes of all keys and values, as the API server limits it.
    pub(crate) size: usize,
    /// Whether the Pod mirrors a static Pod.
    pub(crate) mirror: bool,
    /// Our own annotations.
    pub(crate) originals: BTreeMap<Text<'a>, Text<'a>>,
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
                    let value = map.next_value::<Option<Text<'de>>>()?.unwrap_or_default();
                    annotations.size += key.len() + value.len();
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
