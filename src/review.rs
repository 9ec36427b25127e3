//! The AdmissionReview (`admission.k8s.io`): what is read of a request, and the answer.
//!
//! Reading is one pass that borrows the few fields the decisions need and skips the rest.

mod pod;

use std::fmt;
use std::str::Utf8Error;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;

use crate::json::{self, Text, objects};
pub(crate) use pod::{
    Annotations, Container, LABEL, Metadata, ORIGINAL_IMAGE, ORIGINAL_VOLUME, Pod, PullSecret,
    SKIP, decode,
};

/// The versions of the AdmissionReview that are understood; their fields are the same.
const API_VERSIONS: [&str; 2] = ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"];

/// An API server's question about an object.
#[derive(Debug, Default)]
pub struct Review<'a> {
    /// The version of the AdmissionReview, which the answer must have too.
    pub(crate) api_version: Text<'a>,
    /// Identifies the review; the answer repeats it.
    pub(crate) uid: Text<'a>,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub(crate) operation: Text<'a>,
    /// What is being done, as far as it matters here.
    pub(crate) subject: Subject,
    /// Whether nothing will be stored.
    pub(crate) dry_run: bool,
    /// The name of whoever asks for it.
    pub(crate) user: Text<'a>,
    /// The object's namespace.
    pub(crate) namespace: Text<'a>,
    /// The object's name, or what the API server will make one of.
    pub(crate) name: Text<'a>,
    /// The Pod as it would be stored; one without any field where it could not be read.
    pub(crate) pod: Pod<'a>,
    /// The Pod as it is stored, of an update.
    pub(crate) old_pod: Pod<'a>,
    /// Why the objects could not be read, although the rest of the review could.
    pub(crate) unreadable: Option<serde_json::Error>,
}

/// What a review is about.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A Pod is created.
    Create,
    /// A Pod is updated.
    Update,
    /// A Pod's ephemeral containers are updated.
    EphemeralContainers,
    /// Anything else: not our concern.
    #[default]
    Other,
}

/// Why a body is no AdmissionReview.
#[derive(Debug)]
pub enum NotAReview {
    /// It is not UTF-8, and so not JSON.
    Utf8(Utf8Error),
    /// It is not JSON, or a field has a wrong type.
    Json(serde_json::Error),
    /// Its `kind` is another.
    Kind(String),
    /// Its `apiVersion` is another.
    ApiVersion(String),
    /// It has no `request`, or one without `uid`.
    NoRequest,
}

objects! {
    /// The AdmissionReview on the wire; `O` is how its objects are read.
    struct Wire<'a, O> {
        kind: Text<'a> = "kind",
        api_version: Text<'a> = "apiVersion",
        request: Request<'a, O> = "request",
    }

    /// Its request.
    struct Request<'a, O> {
        uid: Text<'a> = "uid",
        resource: Resource<'a> = "resource",
        sub_resource: Text<'a> = "subResource",
        name: Text<'a> = "name",
        namespace: Text<'a> = "namespace",
        operation: Text<'a> = "operation",
        dry_run: bool = "dryRun",
        user_info: UserInfo<'a> = "userInfo",
        object: O = "object",
        old_object: O = "oldObject",
    }

    /// Who asks.
    struct UserInfo<'a> {
        username: Text<'a> = "username",
    }

    /// The kind of the object, as it stands in a URL.
    #[allow(clippy::struct_field_names, reason = "they are the API's")]
    struct Resource<'a> {
        group: Text<'a> = "group",
        version: Text<'a> = "version",
        resource: Text<'a> = "resource",
    }
}

impl<'a> Review<'a> {
    /// Reads the body of a request.
    ///
    /// Where only the objects in it have another shape than that of a Pod, the review is returned
    /// without them, and says so in `unreadable`.
    ///
    /// # Errors
    /// What keeps it from being an AdmissionReview that can be answered.
    pub fn read(body: &'a [u8]) -> Result<Self, NotAReview> {
        let text = std::str::from_utf8(body).map_err(NotAReview::Utf8)?;
        match serde_json::from_str::<Wire<'a, Pod<'a>>>(text) {
            Ok(wire) => Self::check(wire, None, |object| object),
            Err(error) => {
                let wire = serde_json::from_str::<Wire<'a, IgnoredAny>>(text);
                let wire = wire.map_err(NotAReview::Json)?;
                Self::check(wire, Some(error), |IgnoredAny| Pod::default())
            }
        }
    }

    fn check<O>(
        wire: Wire<'a, O>,
        mut unreadable: Option<serde_json::Error>,
        pod: impl Fn(O) -> Pod<'a>,
    ) -> Result<Self, NotAReview> {
        let Wire {
            kind,
            api_version,
            request,
        } = wire;
        if &*kind != "AdmissionReview" {
            return Err(NotAReview::Kind(kind.to_string()));
        }
        if !API_VERSIONS.contains(&&*api_version) {
            return Err(NotAReview::ApiVersion(api_version.to_string()));
        }
        if request.uid.is_empty() {
            return Err(NotAReview::NoRequest);
        }
        let subject = request.subject();
        if subject == Subject::Other {
            // Of whatever shape: it would not be looked at.
            unreadable = None;
        }
        let pod_or_other = pod(request.object);
        let generate_name = |pod: &Pod<'a>| Some(pod.metadata.as_ref()?.generate_name.clone());
        let name = Some(request.name).filter(|name| !name.is_empty());
        Ok(Self {
            name: name
                .or_else(|| generate_name(&pod_or_other))
                .unwrap_or_default(),
            api_version,
            uid: request.uid,
            operation: request.operation,
            subject,
            dry_run: request.dry_run,
            user: request.user_info.username,
            namespace: request.namespace,
            pod: pod_or_other,
            old_pod: pod(request.old_object),
            unreadable,
        })
    }

    /// The AdmissionReview that allows the object, changed by `patch`, a JSON Patch, if there is
    /// one, and tells whoever asks of `warning`.
    #[must_use]
    pub fn answer(&self, patch: Option<&str>, warning: Option<&str>) -> String {
        let mut answer =
            String::with_capacity(256 + patch.map_or(0, |patch| patch.len().div_ceil(3) * 4));
        answer.push_str("{\"kind\":\"AdmissionReview\",\"apiVersion\":");
        json::push_string(&mut answer, &self.api_version);
        answer.push_str(",\"response\":{\"uid\":");
        json::push_string(&mut answer, &self.uid);
        answer.push_str(",\"allowed\":true");
        if let Some(patch) = patch {
            answer.push_str(",\"patchType\":\"JSONPatch\",\"patch\":\"");
            STANDARD.encode_string(patch, &mut answer);
            answer.push('"');
        }
        if let Some(warning) = warning {
            answer.push_str(",\"warnings\":[");
            json::push_string(&mut answer, warning);
            answer.push(']');
        }
        answer.push_str("}}");
        answer
    }
}

impl<O> Request<'_, O> {
    fn subject(&self) -> Subject {
        let resource = (
            &*self.resource.group,
            &*self.resource.version,
            &*self.resource.resource,
        );
        if resource != ("", "v1", "pods") {
            return Subject::Other;
        }
        match (&*self.operation, &*self.sub_resource) {
            ("CREATE", "") => Subject::Create,
            ("UPDATE", "") => Subject::Update,
            ("UPDATE", "ephemeralcontainers") => Subject::EphemeralContainers,
            _ => Subject::Other,
        }
    }
}

impl fmt::Display for NotAReview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an AdmissionReview as JSON: ")?;
        match self {
            Self::Utf8(error) => write!(f, "{error}"),
            Self::Json(error) => write!(f, "{error}"),
            Self::Kind(kind) => write!(f, "kind is {kind:?}"),
            Self::ApiVersion(version) => {
                write!(
                    f,
                    "apiVersion is {version:?}, and not one of {API_VERSIONS:?}"
                )
            }
            Self::NoRequest => f.write_str("there is no request, or it has no uid"),
        }
    }
}

impl std::error::Error for NotAReview {}

#[cfg(test)]
mod tests;
